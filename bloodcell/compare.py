"""Compare two models on the same photographs: ``python -m bloodcell.compare RUNS_A RUNS_B``."""

import argparse
from pathlib import Path
from typing import Any, Literal

import numpy as np
from rich.console import Console

from bloodcell.common.console import number_table
from bloodcell.common.errors import InputError, printable
from bloodcell.common.files import read_json
from bloodcell.config.command import run_command
from bloodcell.evidence.intervals import Ints
from bloodcell.tracking.predictions import Predictions, read_folds, tested_below

HELP = """\
RUNS_A and RUNS_B are run directories, or folders with one run for each fold. Both must have tested the same images.
Originals are compared where they were tested (one per photograph), else what was tested.

  exact McNemar      field groups that only one of the two predicts correctly, where each was tested with one image
  group permutation  whole field groups are exchanged; for balanced accuracy, macro-F1 and accuracy

Runs of several seeds are several comparisons: compare them one by one, and look at how much the seeds differ first.
"""

SUMMARIES: dict[Literal["balanced_acc", "macro_f1", "acc"], str] = {
    "balanced_acc": "balanced accuracy",
    "macro_f1": "macro-F1",
    "acc": "accuracy",
}


def compare_models(one: Predictions, other: Predictions) -> dict[str, Any]:
    """Test whether two models differ.

    Args:
        one: The first model's predictions.
        other: The second's, of the same images.

    Returns:
        Number of images and groups (``None`` where they are not known: each image is then counted on its own); for
        McNemar ``only_first``, ``only_second`` and ``p`` (``None`` if a group was tested more than once, as its images
        are not independent); for each of ``balanced_acc``, ``macro_f1`` and ``acc`` the difference, first minus second,
        and its ``p``.

    Raises:
        InputError: If the images differ.
    """
    from bloodcell.evidence.comparison import group_permutation, mcnemar

    one, other = (table.take(np.argsort(table.file)) for table in (one, other))
    classes = sorted({*one.classes, *other.classes})
    mine, theirs = (np.array([classes.index(name) for name in table.classes]) for table in (one, other))
    correct, first, second = mine[one.correct], mine[one.predicted], theirs[other.predicted]
    _check_same_images(one, other, correct, theirs[other.correct])
    known = bool((one.group != "").all())
    group = np.where(one.group == "", one.file, one.group)
    groups = len(np.unique(group))
    found: dict[str, Any] = {"images": len(one), "groups": groups if known else None, "mcnemar": None}
    if groups == len(one):
        test = mcnemar(first == correct, second == correct)
        found["mcnemar"] = {"only_first": test.only_one, "only_second": test.only_two, "p": test.p}
    for name in SUMMARIES:
        result = group_permutation(correct, first, second, group, len(classes), statistic=name)
        found[name] = {"difference": result.difference, "p": result.p}
    return found


def _check_same_images(one: Predictions, other: Predictions, correct: Ints, other_correct: Ints) -> None:
    apart = len(np.setxor1d(one.file, other.file))
    if apart or (correct != other_correct).any():
        raise InputError(
            "RUNS_A and RUNS_B",
            expected="tests of the same images",
            got=f"{apart:,} images that only one of them tested" if apart else "other classes for some images",
            fix="compare runs of one protocol, fold and data set",
        )


def _warnings(folder: Path) -> list[str]:
    """What runs say of their test images, above all that the weights have seen them."""
    records = [path / "metrics.json" for path in tested_below(folder)]
    said = {path.parent: str(read_json(path).get("warning") or "") for path in records if path.is_file()}
    return [printable(f"{run}: {warning}") for run, warning in said.items() if warning]


def _show(found: dict[str, Any]) -> None:
    groups = "groups not known" if found["groups"] is None else f"{found['groups']:,} field groups"
    title = f"{found['images']:,} images, {groups}"
    table = number_table(title, ["test", "A minus B", "p"])
    for name, words in SUMMARIES.items():
        one = found[name]
        table.add_row(f"{words}, group permutation", f"{one['difference']:+.3f}", f"{one['p']:.4f}")
    if found["mcnemar"]:
        one = found["mcnemar"]
        said = f"only A correct {one['only_first']}, only B {one['only_second']}"
        table.add_row("exact McNemar", said, f"{one['p']:.4f}")
    Console(markup=False).print(table)
    if found["groups"] is None:
        print(
            "WARNING: it is not known which images belong together (of a patient, of a slide, copies), so that each "
            "was counted on its own: p is too small if some do (name them by groups.csv or data.group_pattern)"
        )
    if not found["mcnemar"]:
        print("no McNemar test: some field groups were tested more than once, and it takes independent predictions")


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(
        prog="python -m bloodcell.compare",
        description="Compare two models on the same photographs.",
        epilog=HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("first", metavar="RUNS_A", type=Path, help="a run directory, or a folder of folds")
    parser.add_argument("second", metavar="RUNS_B", type=Path, help="the same for the second model")
    args = parser.parse_args()

    def command() -> None:
        _show(compare_models(read_folds(args.first), read_folds(args.second)))
        for line in [*_warnings(args.first), *_warnings(args.second)]:
            print(line)

    run_command(command)


if __name__ == "__main__":
    main()
