"""TODO training/printout.py."""

from typing import NamedTuple

from rich.console import Console
from rich.table import Table

from bloodcell.data.datamodule import BloodCells
from bloodcell.data.describe import SYNTHETIC, warning_of
from bloodcell.data.index import IntArray
from bloodcell.evidence.intervals import Estimate
from bloodcell.evidence.per_class import class_results
from bloodcell.model.classifier import CellClassifier


class Result(NamedTuple):
    """What a test gave.

    Attributes:
        metrics: Numbers by name (``test/acc``).
        intervals: Their 95 % intervals over field groups, where groups are known.
    """

    metrics: dict[str, float]
    intervals: dict[str, Estimate]


def print_results(data: BloodCells, classifier: CellClassifier, result: Result, which: str) -> None:
    """Print the table of test metrics by class and the lines below it."""
    confusion = classifier.confusion["test"].numpy()
    intervals = result.intervals
    title = f"test, protocol {data.split.protocol}, {which}"
    table = Table(title=f"{SYNTHETIC}\n{title}" if data.synthetic else title, title_justify="left")
    columns = ["class", "precision", "recall", *(["95 % interval", "groups"] if intervals else []), "F1", "images"]
    for column in columns:
        table.add_column(column, justify="left" if column == "class" else "right")
    recalls = [intervals.get(f"test/recall/{name}") for name in data.classes] if intervals else None
    for row in class_results(confusion, data.classes, recalls):
        cells = [f"{row.interval.low:.3f}-{row.interval.high:.3f}", f"{row.interval.groups}"] if row.interval else []
        table.add_row(
            row.name,
            f"{row.precision:.3f}",
            f"{row.recall:.3f}",
            *(cells or [""] * (2 if intervals else 0)),
            f"{row.f1:.3f}",
            f"{row.images:,}",
        )
    Console().print(table)
    _print_lines("test", result, confusion.sum(axis=1), len(data.classes))
    beside = data.split.test_beside
    if len(beside):
        view = str(data.index.view[beside[0]])
        names = {"original": "originals", "twin": "copies"}
        print(f"the same photographs as {len(beside):,} {names[view]}:")
        _print_lines(view, result, data.index.counts(beside), len(data.classes))
    if intervals:
        print("intervals: 95 %, over field groups; they leave out what another seed of the training would change")
    else:
        print(
            "no intervals: the field groups of the images are not known, and copies of a photograph are not independent"
        )
    if data.split.caveat:
        print(f"note: {data.split.caveat}")
    if warning_of(data):
        print(warning_of(data))


def _print_lines(view: str, result: Result, counts: IntArray, classes: int) -> None:
    """The three summaries with intervals, beside what guessing would give."""
    beside = {
        "balanced_acc": f"chance {1 / classes:.3f}",
        "macro_f1": "",
        "acc": f"always the commonest class: {counts.max() / counts.sum():.3f}",
    }
    for key, guess in beside.items():
        name = {"balanced_acc": "balanced accuracy", "macro_f1": "macro-F1", "acc": "accuracy"}[key]
        one = result.intervals.get(f"{view}/{key}")
        words = [f"{one.low:.3f}-{one.high:.3f}"] if one else []
        said = ", ".join([*words, *([guess] if guess else [])])
        print(f"{name:17} {result.metrics[f'{view}/{key}']:.3f}" + (f" ({said})" if said else ""))
