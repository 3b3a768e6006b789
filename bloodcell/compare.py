"""Compare two models on the same photographs: ``python -m bloodcell.compare RUNS_A RUNS_B``."""

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from bloodcell.common.errors import InputError
from bloodcell.config.command import run_command
from bloodcell.tracking.predictions import Answers, read_answers

HELP = """\
RUNS_A and RUNS_B are run directories, or folders with one run per fold; both must have tested the same images.
Originals are compared where they were tested (one answer per photograph), else what was tested.

  exact McNemar      photographs that only one of the two has right, on one answer per photograph
  group permutation  whole field groups change sides; of balanced accuracy and macro-F1

Runs of several seeds are several comparisons: compare them one by one, and see the seeds' spread first.
"""


def compare(one: Answers, other: Answers) -> dict[str, Any]:
    """Test whether two models differ.

    Args:
        one: The first model's answers.
        other: The second's, on the same images.

    Returns:
        Number of images and groups; for McNemar ``only_first``, ``only_second`` and ``p`` (``None`` if photographs
        were answered more than once); for each of ``balanced_acc`` and ``macro_f1`` the difference, first minus
        second, and its ``p``.

    Raises:
        InputError: If the images differ, or their field groups are not known.
    """
    from bloodcell.evidence.comparison import group_permutation, mcnemar

    files = _common_files(one, other)
    classes = sorted(set(one.truth.values()) | set(one.said.values()) | set(other.said.values()))
    truth, first, second = (
        np.array([classes.index(column[file]) for file in files]) for column in (one.truth, one.said, other.said)
    )
    groups = np.array([one.group[file] for file in files])
    photographs = [one.micrograph[file] or one.group[file] for file in files]
    found: dict[str, Any] = {"images": len(files), "groups": len(set(groups.tolist())), "mcnemar": None}
    if len(set(photographs)) == len(files):
        test = mcnemar(first == truth, second == truth)
        found["mcnemar"] = {"only_first": test.only_one, "only_second": test.only_two, "p": test.p}
    for name in ("balanced_acc", "macro_f1"):
        result = group_permutation(truth, first, second, groups, len(classes), statistic=name)
        found[name] = {"difference": result.difference, "p": result.p}
    return found


def _common_files(one: Answers, other: Answers) -> list[str]:
    files = sorted(one.truth)
    if one.truth != other.truth:
        apart = len(set(one.truth) ^ set(other.truth))
        raise InputError(
            "RUNS_A and RUNS_B",
            expected="tests of the same images",
            got=f"{apart:,} images that only one of them tested" if apart else "other classes for some images",
            fix="compare runs of one protocol, fold and data set",
        )
    if not all(one.group.values()):
        raise InputError(
            "RUNS_A", expected="known field groups", got="none for some images", fix="see `groups.csv` in the README"
        )
    return files


def _show(found: dict[str, Any]) -> None:
    table = Table("test", "A minus B", "p", title=f"{found['images']:,} images, {found['groups']:,} field groups")
    for name, words in (("balanced_acc", "balanced accuracy"), ("macro_f1", "macro-F1")):
        one = found[name]
        table.add_row(f"{words}, group permutation", f"{one['difference']:+.3f}", f"{one['p']:.4f}")
    if found["mcnemar"]:
        one = found["mcnemar"]
        said = f"{one['only_first']} only A right, {one['only_second']} only B"
        table.add_row("exact McNemar", said, f"{one['p']:.4f}")
    Console().print(table)
    if not found["mcnemar"]:
        print("no McNemar test: some photographs were answered more than once, and its answers must be independent")


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(
        prog="python -m bloodcell.compare",
        description="Compare two models on the same photographs.",
        epilog=HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("first", metavar="RUNS_A", type=Path, help="a run directory, or a folder of folds")
    parser.add_argument("second", metavar="RUNS_B", type=Path, help="likewise")
    words = parser.parse_args()
    run_command(lambda: _show(compare(read_answers(words.first), read_answers(words.second))))


if __name__ == "__main__":
    main()
