"""Search a setting with Optuna: ``python -m bloodcell.search [KEY=VALUE] [KEY=SPACE]``."""

import argparse

from bloodcell.common.errors import InputError
from bloodcell.config.command import run_command
from bloodcell.sweeps.space import read_space
from bloodcell.sweeps.study import open_study, search, show_study, told_in_one_line

HELP = """\
Search for the setting that validation likes best. KEY=VALUE are overrides as of bloodcell.train; a SPACE is one of
  KEY=interval(0.0,0.6)              a number; int(interval(1,9)) a whole one
  'KEY=tag(log,interval(1e-4,1e-2))' a number, looked for by its logarithm
  KEY=range(1,5)                     1, 2, 3 or 4
  KEY=a,b,c  or  choice(a,b,c)       one of them
The parameters of a sweep file are spaces too; without any, sweep=search is taken (conf/sweep/search.yaml).

Trials are proposed by TPE and stopped early by the median of earlier ones. Every trial is a run in
runs/NAME-search/..., and the study is study.db (SQLite) beside them. Run the same command again to
resume, or in a second terminal to share the work.
The test images are not looked at (test=false is set for you): test the winner once, by bloodcell.evaluate.
"""


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(
        prog="python -m bloodcell.search",
        description=__doc__,
        epilog=HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("words", nargs="*", metavar="KEY=VALUE", help="overrides and spaces, as experiment=quickstart")
    parser.add_argument("--trials", type=int, default=30, help="that the study shall have in all (default: 30)")
    parser.add_argument(
        "--jobs", type=int, default=1, help="processes on this machine, which share its cores (default: 1)"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the proposals (default: 0)")
    parser.add_argument("--no-pruning", action="store_true", help="let every trial run to its end")
    given = parser.parse_intermixed_args()
    for name, least in (("jobs", 1), ("seed", 0)):
        if getattr(given, name) < least:
            parser.error(f"--{name}: expected a whole number from {least}, got {getattr(given, name)}")

    def command() -> None:
        try:
            import optuna  # noqa: F401  (only whether it is there)
        except ImportError:
            raise InputError(
                "bloodcell.search", expected="Optuna", got="none installed", fix='pip install "bloodcell[search]"'
            ) from None
        space = read_space(given.words)
        print(f"search: {given.trials} trials in {space.folder}", flush=True)
        if given.jobs > 1:
            from joblib import Parallel, delayed

            work = delayed(search)(space, given.trials, given.seed, not given.no_pruning)
            Parallel(n_jobs=given.jobs)(work for _ in range(given.jobs))
        else:
            search(space, given.trials, given.seed, not given.no_pruning)
        with told_in_one_line(space):
            show_study(open_study(space, not given.no_pruning), space)

    run_command(command)


if __name__ == "__main__":
    main()
