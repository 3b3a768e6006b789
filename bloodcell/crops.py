"""Measure the cell finder, and what crops of cells are worth: ``python -m bloodcell.crops finder|arms``."""

import argparse
from pathlib import Path

from bloodcell.common.errors import InputError
from bloodcell.config.command import run_command

HELP = """\
  python -m bloodcell.crops finder                     the finder against the annotator's boxes, into runs/finder
  python -m bloodcell.crops finder --red-cells FOLDER  with false alarms on fields without white cells
  python -m bloodcell.crops arms field=runs/a "found=runs/b"
                                                       cross-validations side by side, with a baseline of features
                                                       and its average with the last one, into runs/crops

An arm is a folder with the five runs that `make sweep SWEEP=folds ARGS="experiment=crops ..."` leaves.
"""


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(
        prog="python -m bloodcell.crops",
        description="Measure how well white cells are found, and what crops of them are worth.",
        epilog=HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="what", required=True)
    finder = commands.add_parser("finder", help="the finder against the annotator's boxes")
    finder.add_argument("--root", help="the Kaggle set (default: BLOODCELL_DATA, else the cache)")
    finder.add_argument("--red-cells", type=Path, help="a folder of fields without white cells")
    finder.add_argument("--out", type=Path, default=Path("runs/finder"), help="folder (default: runs/finder)")
    arms = commands.add_parser("arms", help="cross-validations side by side")
    arms.add_argument("arms", nargs="+", metavar="NAME=FOLDER", help="a name and the runs of its five folds")
    arms.add_argument("--out", type=Path, default=Path("runs/crops"), help="folder (default: runs/crops)")
    args = parser.parse_args()
    run_command(lambda: _finder(args) if args.what == "finder" else _arms(args))


def _finder(args: argparse.Namespace) -> None:
    from bloodcell.studies.crops.finding import measure_finder
    from bloodcell.studies.lineage.run import published_images

    measure_finder(published_images(args.root), args.red_cells, args.out)
    print((args.out / "finder.md").read_text(encoding="utf-8"))


def _arms(args: argparse.Namespace) -> None:
    from bloodcell.config.compose import composed
    from bloodcell.studies.crops.arms import write_arms
    from bloodcell.studies.crops.handmade import features_out_of_fold
    from bloodcell.training.assemble import find_data

    named = {}
    for word in args.arms:
        name, equals, folder = word.partition("=")
        if not (name and equals and Path(folder).is_dir()):
            raise InputError(word, expected="NAME=FOLDER of runs", got="no such folder", fix="see --help")
        named[name] = Path(folder)
    folds = [find_data(composed(["experiment=crops", f"data.fold={fold}"])) for fold in range(5)]
    write_arms(named, [list(named)[-1]], features_out_of_fold(folds), args.out)
    print((args.out / "crops.md").read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
