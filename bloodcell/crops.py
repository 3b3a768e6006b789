"""The cell finder, and what crops of cells are worth: ``python -m bloodcell.crops finder|arms|curve|labels``."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bloodcell.common.errors import InputError
from bloodcell.config.command import run_command

if TYPE_CHECKING:
    from bloodcell.data.datamodule import CellImages
    from bloodcell.tracking.cross_validations import Repeats

HELP = """\
  python -m bloodcell.crops finder                     the finder against the annotator's boxes, into runs/finder
  python -m bloodcell.crops finder --red-cells FOLDER  with false alarms on fields without white cells; --pbc FOLDER:
                                                       with another laboratory's cells
  python -m bloodcell.crops arms field=runs/a "found=runs/b"
                                                       cross-validations side by side, with a baseline of features,
                                                       into runs/crops
  python -m bloodcell.crops arms field=results/crops/field.csv.gz found=runs/b --ensemble found \\
    --average "found ensemble+features"                also from predictions; seeds averaged; two arms averaged
  python -m bloodcell.crops arms small=runs/a lite=runs/b --select small,lite
                                                       nested selection: in each fold the recipe that validation
                                                       inside it chooses
  python -m bloodcell.crops arms --again results/crops all numbers again, from the predictions
  python -m bloodcell.crops labels found=results/crops/found.csv.gz features=results/crops/features.csv.gz
                                                       labels that all arms contradict, with pictures, into runs/labels
  python -m bloodcell.crops curve RUNS                 what more photographs would give, into runs/curve: the runs of
                                                       `make sweep SWEEP=curve ARGS=experiment=crops`
  python -m bloodcell.crops curve --again DIR          its numbers again, from the predictions

An arm is a folder with the runs that `make sweep SWEEP=folds ARGS="experiment=crops ..."` leaves, for any number of
seeds (seed=0,1,2) and of fold seeds (data.fold_seed=0,1,2), or a file of predictions that `arms` has written.
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
    finder.add_argument("--pbc", type=Path, help="the folder of PBC: one cell in the middle of each picture")
    finder.add_argument("--out", type=Path, default=Path("runs/finder"), help="folder (default: runs/finder)")
    _arms_arguments(commands.add_parser("arms", help="cross-validations side by side"))
    curve = commands.add_parser("curve", help="what more photographs would give")
    curve.add_argument("runs", nargs="?", type=Path, metavar="RUNS", help="runs for several values of data.train_share")
    curve.add_argument("--out", type=Path, default=Path("runs/curve"), help="folder (default: runs/curve)")
    curve.add_argument("--again", type=Path, metavar="DIR", help="compute all of a folder from its predictions alone")
    labels = commands.add_parser("labels", help="labels that all arms contradict")
    labels.add_argument("arms", nargs="+", metavar="NAME=RUNS", help="as of arms")
    labels.add_argument("--root", help="the Kaggle set (default: BLOODCELL_DATA, else the cache)")
    labels.add_argument("--out", type=Path, default=Path("runs/labels"), help="folder (default: runs/labels)")
    args = parser.parse_args()
    run_command(lambda: {"finder": _finder, "arms": _arms, "curve": _curve, "labels": _labels}[args.what](args))


def _arms_arguments(arms: argparse.ArgumentParser) -> None:
    add = arms.add_argument
    add("arms", nargs="*", metavar="NAME=RUNS", help="a name, and a folder of runs or a file of predictions (.csv.gz)")
    add("--ensemble", action="append", default=[], metavar="NAME", help="an arm more: the seeds of that one averaged")
    add("--select", metavar="A,B,..", help="an arm more: in each fold the one of these that its validation chooses")
    add("--average", action="append", default=[], metavar="A+B", help="an arm more: those two averaged")
    add("--against", action="append", metavar="NAME", help="what the others are compared with (default: the first)")
    add("--out", type=Path, default=Path("runs/crops"), help="folder (default: runs/crops)")
    add("--again", type=Path, metavar="DIR", help="compute all of a folder from its predictions alone")


def _finder(args: argparse.Namespace) -> None:
    from bloodcell.studies.crops.finding import measure_finder
    from bloodcell.studies.lineage.run import published_images

    measure_finder(published_images(args.root), args.red_cells, args.pbc, args.out)
    print((args.out / "finder.md").read_text(encoding="utf-8"))


def _arms(args: argparse.Namespace) -> None:
    from bloodcell.studies.crops.arms import CHOSEN, FEATURES, with_averages, write_again, write_arms
    from bloodcell.studies.crops.selection import selected
    from bloodcell.tracking.cross_validations import read_repeats

    if args.again:
        write_again(args.again)
        print((args.again / "crops.md").read_text(encoding="utf-8"))
        return
    sources = _sources(args.arms)
    arms = {name: read_repeats(path) for name, path in sources.items()}
    choices = None
    if args.select:
        chosen = selected({name: sources[name] for name in _named(args.select, sources)})
        arms[CHOSEN], choices = chosen.repeats, {"choices": chosen.choices, "validation": chosen.validation}
    if FEATURES not in arms:
        fold_seeds = sorted({repeat.fold_seed for repeats in arms.values() for repeat in repeats})
        arms[FEATURES] = _features(fold_seeds)
    every = with_averages(arms, args.ensemble, args.average)
    write_arms(every, sources, args.out, choices, list(dict.fromkeys(args.against or [])))
    print((args.out / "crops.md").read_text(encoding="utf-8"))


def _curve(args: argparse.Namespace) -> None:
    from bloodcell.studies.crops.curve import write_curve, write_curve_again

    if args.again:
        write_curve_again(args.again)
    elif args.runs:
        write_curve(args.runs, args.out)
    else:
        raise InputError("curve", expected="a folder of runs", got="none", fix="see --help")
    print(((args.again or args.out) / "curve.md").read_text(encoding="utf-8"))


def _labels(args: argparse.Namespace) -> None:
    from bloodcell.studies.crops.labels import label_doubts, write_labels
    from bloodcell.studies.lineage.run import published_images
    from bloodcell.tracking.cross_validations import read_repeats

    doubts = label_doubts({name: read_repeats(path) for name, path in _sources(args.arms).items()})
    write_labels(doubts, published_images(args.root), args.out)
    print((args.out / "labels.md").read_text(encoding="utf-8"))


def _sources(words: Sequence[str]) -> dict[str, Path]:
    if not words:
        raise InputError("arms", expected="NAME=RUNS for each arm", got="none", fix="see --help")
    found = {}
    for word in words:
        name, equals, path = word.partition("=")
        if not (name and equals and Path(path).exists()):
            expected = "NAME=RUNS, a folder of runs or a file of predictions"
            raise InputError(word, expected=expected, got="no such folder or file", fix="see --help")
        found[name] = Path(path)
    return found


def _named(words: str, sources: dict[str, Path]) -> list[str]:
    names = [name.strip() for name in words.split(",")]
    for name in names:
        if name not in sources or not sources[name].is_dir():
            expected = f"names of folders of runs ({', '.join(sources)})"
            raise InputError(f"--select {words}", expected=expected, got=name or "nothing", fix="correct it")
    return names


def _features(fold_seeds: Sequence[int]) -> "Repeats":
    from bloodcell.config.compose import composed
    from bloodcell.studies.crops.handmade import features_out_of_fold
    from bloodcell.training.assemble import find_data

    def folds(fold_seed: int) -> list["CellImages"]:
        words = ["experiment=crops", f"data.fold_seed={fold_seed}"]
        return [find_data(composed([*words, f"data.fold={fold}"])) for fold in range(5)]

    return features_out_of_fold({fold_seed: folds(fold_seed) for fold_seed in fold_seeds})


if __name__ == "__main__":
    main()
