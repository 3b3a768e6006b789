"""Search a setting with Optuna: ``python -m bloodcell.search [KEY=VALUE] [KEY=SPACE]``."""

import argparse
import hashlib
import logging
import time
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from filelock import FileLock, Timeout
from omegaconf import DictConfig

from bloodcell.cli import CONF, run_command
from bloodcell.errors import InputError
from bloodcell.files import read_json
from bloodcell.rundir import DONE, read_status
from bloodcell.sweep import job_name, slug
from bloodcell.train import run_once

if TYPE_CHECKING:
    import optuna
    from hydra.core.override_parser.types import Override
    from optuna.distributions import BaseDistribution

HELP = """\
Search for the setting that validation likes best. KEY=VALUE are overrides as of bloodcell.train; a SPACE is one of
  KEY=interval(0.0,0.6)              a number; int(interval(1,9)) a whole one
  'KEY=tag(log,interval(1e-4,1e-2))' a number, looked for by its logarithm
  KEY=range(1,5)                     1, 2, 3 or 4
  KEY=a,b,c  or  choice(a,b,c)       one of them
The parameters of a sweep file are spaces too; without any, sweep=search is taken (conf/sweep/search.yaml).

Trials are proposed by TPE and stopped early by the median of earlier ones. Every trial is a run in
runs/NAME-search/..., and the study is study.db (SQLite) beside them. Stopped at any moment and typed again, the
search goes on where it was; typed in a second terminal, it helps.
The test images are not looked at (test=false is set for you): test the winner once, by bloodcell.evaluate.
"""
LOCKS = ".locks"  # in the study's folder: one of the study, and one of each trial while somebody is at it
SHOWN = 10
HOPELESS = 3  # so many trials, all failed, and the search stops


class Space(NamedTuple):
    """What is searched.

    Attributes:
        fixed: Overrides that all trials share.
        axes: What Optuna chooses from, by key.
        metric: What is to become better.
        mode: ``max`` or ``min``.
        folder: Where the study and its runs are.
    """

    fixed: list[str]
    axes: dict[str, "BaseDistribution"]
    metric: str
    mode: str
    folder: Path


def read_space(words: Sequence[str]) -> Space:
    """Split what was typed into what is fixed and what is searched.

    Raises:
        InputError: If nothing is left to search, or a space is none.
        HydraException: If there is no such key.
    """
    from hydra import compose, initialize_config_dir
    from hydra.core.override_parser.overrides_parser import OverridesParser

    if not any(word.startswith("sweep=") for word in words) and not any(map(_is_sweep, words)):
        words = [*words, "sweep=search"]
    # The last one of a key holds, as Hydra has it. What chooses a setting leaves the test images alone.
    last = {"test": "test=false", **{word.partition("=")[0]: word for word in words}}
    fixed = [word for word in last.values() if not _is_sweep(word)]
    with initialize_config_dir(str(CONF), version_base="1.3"):
        cfg = compose("train", fixed, return_hydra_config=True)
    params = [f"{key}={value}" for key, value in (cfg.hydra.sweeper.params or {}).items()]
    typed = {word.partition("=")[0] for word in fixed}
    parsed = OverridesParser.create().parse_overrides([*params, *(word for word in last.values() if _is_sweep(word))])
    axes = {one.get_key_element(): _distribution(one) for one in parsed if one.get_key_element() not in typed}
    if not axes:
        raise InputError(" ".join(words), expected="a key with a space", got="fixed values alone", fix="see --help")
    folder = (
        Path("runs")
        / f"{cfg.name}-search"
        / (slug([word for word in fixed if not word.startswith(("name=", "test="))]) or "defaults")
    )
    return Space(fixed, axes, cfg.monitor.metric, cfg.monitor.mode, folder)


def _is_sweep(word: str) -> bool:
    from hydra.core.override_parser.overrides_parser import OverridesParser

    return OverridesParser.create().parse_override(word).is_sweep_override()


def _distribution(word: "Override") -> "BaseDistribution":
    from hydra.core.override_parser.types import IntervalSweep, RangeSweep
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    space = word.value()
    try:
        if isinstance(space, IntervalSweep):
            log = "log" in space.tags
            if isinstance(space.start, int) and isinstance(space.end, int):
                return IntDistribution(space.start, space.end, log=log)
            return FloatDistribution(float(space.start or 0), float(space.end or 0), log=log)
        if isinstance(space, RangeSweep) and all(isinstance(one, int) for one in (space.start, space.stop, space.step)):
            values = range(int(space.start or 0), int(space.stop or 0), int(space.step))
            return IntDistribution(values[0], values[-1], step=values.step)
        return CategoricalDistribution(list(word.sweep_string_iterator()))
    except (ValueError, IndexError) as error:
        raise InputError(str(word.input_line), expected="a space", got=str(error), fix="see --help") from error


def _any_of(axis: "BaseDistribution") -> object:
    """A value of an axis."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if isinstance(axis, CategoricalDistribution):
        return axis.choices[0]
    assert isinstance(axis, FloatDistribution | IntDistribution)
    return axis.low


def search(space: Space, trials: int, seed: int, prune: bool) -> None:
    """Do trials until the study has so many; several processes may be at it.

    Args:
        space: What is searched.
        trials: How many trials the study shall have, earlier ones counted in.
        seed: Of the proposals.
        prune: Whether to stop bad trials early.

    Raises:
        InputError: If the first trials all fail.
    """
    from optuna.trial import TrialState

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", datefmt="%H:%M:%S")
    study, begun, mine = open_study(space, prune), time.monotonic(), 0
    while (taken := _take(study, space, trials, seed)) is not None:
        trial, lock = taken
        try:
            why = _try(study, space, trial, prune)
        finally:
            lock.release()
        mine += 1
        ended = [one for one in _trials(study) if one.state.is_finished()]
        if len(ended) >= HOPELESS and all(one.state == TrialState.FAIL for one in ended):
            raise InputError("search", expected="trials that end well", got=f"{HOPELESS} failures", fix=why)
        left = timedelta(seconds=round((time.monotonic() - begun) / mine * max(trials - len(ended), 0)))
        print(f"search: {len(ended)} of {trials} trials, {_best(study)}, about {left} left at this pace", flush=True)


def _try(study: "optuna.Study", space: Space, trial: "optuna.Trial", prune: bool) -> str:
    """Run what a trial proposes and tell the study how it went.

    Returns:
        Why it has no value; empty if it has one.
    """
    from optuna.trial import TrialState

    from bloodcell.pruning import Pruning, report_epochs

    chosen = {key: str(value) for key, value in trial.params.items()}
    overrides = [*space.fixed, *(f"{key}={value}" for key, value in chosen.items())]
    cfg = _compose(overrides)
    run_dir = space.folder / job_name(overrides, " ".join(space.axes), _root_=cfg)
    trial.set_user_attr("run", run_dir.name)
    if read_status(run_dir)["state"] in DONE:
        report_epochs(trial, space.metric, run_dir)
    run_once(cfg, run_dir, overrides, chosen, [Pruning(trial, space.metric, run_dir)] if prune else [])
    while (status := read_status(run_dir))["state"] == "running":
        time.sleep(1)  # the same proposal, which another process is at: its value is this one's too
    found = read_json(run_dir / "metrics.json") if status["state"] == "ok" else {}
    if space.metric in found:
        study.tell(trial, float(found[space.metric]))
        return ""
    study.tell(trial, state=TrialState.PRUNED if status["state"] == "pruned" else TrialState.FAIL)
    return str(status.get("error", f"no {space.metric} in metrics.json"))


def open_study(space: Space, prune: bool) -> "optuna.Study":
    """The study beside its runs: made, or gone on with."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    (space.folder / LOCKS).mkdir(parents=True, exist_ok=True)
    content = repr((sorted((key, repr(axis)) for key, axis in space.axes.items()), space.metric, sorted(space.fixed)))
    with FileLock(space.folder / LOCKS / "study"):  # two processes would both make its tables
        return optuna.create_study(
            storage=f"sqlite:///{(space.folder / 'study.db').resolve()}",
            study_name=hashlib.sha256(content.encode()).hexdigest()[:12],  # another space is another study
            load_if_exists=True,
            direction="maximize" if space.mode == "max" else "minimize",
            pruner=optuna.pruners.MedianPruner(n_warmup_steps=1) if prune else optuna.pruners.NopPruner(),
        )


def _take(study: "optuna.Study", space: Space, trials: int, seed: int) -> "tuple[optuna.Trial, FileLock] | None":
    """The next trial, and the lock that tells others that somebody is at it; ``None`` if there are enough.

    A trial whose process is gone is taken up first, as a new one with its values: its run goes on from its last
    checkpoint.
    """
    import optuna
    from optuna.trial import TrialState

    locks = space.folder / LOCKS
    with FileLock(locks / "study"):
        for one in study.get_trials(deepcopy=False, states=[TrialState.RUNNING]):
            try:
                with FileLock(locks / f"trial-{one.number}", blocking=False):
                    study.tell(one.number, state=TrialState.FAIL)
                    study.enqueue_trial(one.params, user_attrs={"again": one.number})
            except Timeout:
                continue
        waiting = study.get_trials(deepcopy=False, states=[TrialState.WAITING])
        count = len(_trials(study))
        if not waiting and count >= trials:
            return None
        # A sampler anew for each trial: what is proposed then depends on the trials so far alone, and a search that
        # was stopped goes on as one that was not.
        study.sampler = optuna.samplers.TPESampler(seed=seed * 10_007 + count, constant_liar=True)
        trial = study.ask(dict(space.axes))
        lock = FileLock(locks / f"trial-{trial.number}")
        lock.acquire()
        return trial, lock


def _trials(study: "optuna.Study") -> "list[optuna.trial.FrozenTrial]":
    """Trials of the study without those that were taken up again as another one."""
    found = study.get_trials(deepcopy=False)
    before = {one.user_attrs.get("again") for one in found}
    return [one for one in found if one.number not in before]


def _best(study: "optuna.Study") -> str:
    try:
        return f"best {study.best_value:.4f} by {study.best_trial.user_attrs['run']}"
    except ValueError:
        return "none finished"


def _compose(overrides: Sequence[str]) -> DictConfig:
    from hydra import compose, initialize_config_dir

    with initialize_config_dir(str(CONF), version_base="1.3"):
        return compose("train", list(overrides))


def show(study: "optuna.Study", space: Space) -> None:
    """Print the best trials, which keys mattered, and how the winner is tested."""
    import optuna
    from optuna.trial import TrialState
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    done = study.get_trials(deepcopy=False, states=[TrialState.COMPLETE])
    if not done:
        raise InputError(
            str(space.folder), expected="a trial that ended", got="none", fix="see status.json of the runs"
        )
    states = [one.state.name.lower() for one in _trials(study)]
    counts = ", ".join(f"{states.count(name)} {name}" for name in dict.fromkeys(states))
    done.sort(key=lambda one: one.value or 0.0, reverse=space.mode == "max")
    runs = {one.user_attrs["run"]: one for one in done}  # the same proposal is the same run
    table = Table(*space.axes, space.metric, "run", title=f"search: {counts}", title_justify="left")
    for one in list(runs.values())[:SHOWN]:
        table.add_row(
            *(_short(one.params[key]) for key in space.axes), f"{one.value:.4f}", escape(one.user_attrs["run"])
        )
    Console().print(table)
    if len(done) > 1 and len({one.value for one in done}) > 1:
        weights = optuna.importance.get_param_importances(study)
        print("share of the spread: " + ", ".join(f"{key} {share:.0%}" for key, share in weights.items()))
    winner = space.folder / done[0].user_attrs["run"]
    print(f"to test the winner once: make evaluate RUN={winner}")
    print(f"all runs: make runs ARGS={space.folder}", flush=True)


def _short(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


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
    given = parser.parse_args()

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
        show(open_study(space, not given.no_pruning), space)

    run_command(command)


if __name__ == "__main__":
    main()
