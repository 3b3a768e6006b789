"""What a run says on the terminal: what is about to be done, and what came out."""

from pathlib import Path

from rich.console import Console
from rich.table import Table

from bloodcell.data.datamodule import CellImages
from bloodcell.data.describe import DataDescription
from bloodcell.data.index import IntArray
from bloodcell.evidence.per_class import class_results
from bloodcell.tracking.predictions import LEFT_OUT
from bloodcell.training.measure import Result

SUMMARIES = {"balanced_acc": "balanced accuracy", "macro_f1": "macro-F1", "acc": "accuracy"}
CLASSES_SAID = 30
VIEWS = {
    "original": "the same photographs as {} originals:",
    "twin": "the same photographs as {} copies:",
    LEFT_OUT: "{} copies of photographs that were learnt, left out of the training (no test):",
}


_SAID = set[str]()  # of the jobs of a sweep in this process: each thing once, not twice a job


def announce(about: DataDescription, run_dir: Path, arithmetic: str, *, job: bool = False) -> None:
    """Print what is about to be done, on which data, in which arithmetic, and where it goes.

    Args:
        about: The data.
        run_dir: The run directory.
        arithmetic: What ``settle`` says of it.
        job: Whether it is a job of a sweep, whose others have said the warnings too.
    """
    if about.synthetic:
        print(f"*** {about.source} ***")
    print_data(about)
    train, val, test = (about.images[name] for name in ("train", "val", "test"))
    print(f"      {train:,} train, {val:,} validation, {test:,} test images")
    _print_warnings(about, job=job)
    if about.picture:
        print(f"net sees: {about.picture}")
    print(f"math: {arithmetic}")
    print(f"run:  {run_dir}", flush=True)


def print_data(about: DataDescription) -> None:
    """Print where the images are, how many there are of each class, and what was passed over."""
    classes = [f"{name} {number:,}" for name, number in about.classes.items()]
    more = f" and {len(classes) - CLASSES_SAID:,} more" if len(classes) > CLASSES_SAID else ""
    print(f"data: {about.root}, protocol {about.protocol}; classes: {', '.join(classes[:CLASSES_SAID])}{more}")
    if about.passed_over:
        print(f"      passed over: {', '.join(about.passed_over)}")


def show(result: Result, data: CellImages, about: DataDescription, run_dir: Path, *, job: bool = False) -> None:
    """Print the table of test metrics by class, the summaries below it, and where everything is.

    Args:
        result: What was measured.
        data: What it was measured on.
        about: Its description.
        run_dir: Where the artefacts are.
        job: Whether it is a job of a sweep.
    """
    if not result.views:
        if "val/balanced_acc" in result.metrics:
            reached = result.metrics["val/balanced_acc"]
            print(f"validation balanced accuracy {reached:.3f}; the test images were not looked at")
        return
    Console(markup=False).print(_table(result, data, about))
    for view, tested in result.views.items():
        if view != "test":
            print(VIEWS[view].format(f"{len(tested.rows):,}"))
        _print_summaries(view, result, data.index.counts(tested.rows), len(data.classes))
    if result.intervals:
        print(
            "intervals: 95 %, over field groups; in simulation they hold the true value in at least 91 % of test sets; "
            "they leave out what another seed of the training would change"
        )
    else:
        print(
            "no intervals: the field groups of the images are not known, and copies of a photograph are not independent"
        )
    _print_warnings(about, job=job)
    print(f"figures:     {run_dir / 'figures'}\nnumbers:     {run_dir / 'metrics.json'}", flush=True)


def _print_warnings(about: DataDescription, *, job: bool) -> None:
    for line in (f"note: {about.caveat}" if about.caveat else "", about.warning):
        if line and not (job and line in _SAID):
            print(line)
        if job:
            _SAID.add(line)


def _table(result: Result, data: CellImages, about: DataDescription) -> Table:
    title = f"test, protocol {about.protocol}, {result.checkpoint} checkpoint, epoch {result.epoch}"
    table = Table(title=f"{about.source}\n{title}" if about.synthetic else title, title_justify="left")
    known = bool(result.intervals)
    for column in ["class", "precision", "recall", *(["95 % interval", "groups"] if known else []), "F1", "images"]:
        table.add_column(column, justify="left" if column == "class" else "right")
    recalls = [result.intervals.get(f"test/recall/{name}") for name in data.classes] if known else None
    for row in class_results(result.confusion, data.classes, recalls):
        cells = [f"{row.interval.low:.3f}-{row.interval.high:.3f}", f"{row.interval.groups}"] if row.interval else []
        table.add_row(
            row.name,
            *([f"{row.precision:.3f}", f"{row.recall:.3f}"] if row.images else ["-", "-"]),
            *(cells or [""] * (2 if known else 0)),
            f"{row.f1:.3f}" if row.images else "-",
            f"{row.images:,}",
        )
    return table


def _print_summaries(view: str, result: Result, counts: IntArray, classes: int) -> None:
    """Print the three summaries with their intervals, beside what guessing would give."""
    guessing = {
        "balanced_acc": f"chance {1 / classes:.3f}",
        "acc": f"majority class {counts.max() / counts.sum():.3f}",
    }
    for key, name in SUMMARIES.items():
        one = result.intervals.get(f"{view}/{key}")
        words = [f"{one.low:.3f}-{one.high:.3f}"] if one else []
        said = ", ".join([*words, *([guessing[key]] if key in guessing else [])])
        print(f"{name:17} {result.metrics[f'{view}/{key}']:.3f}" + (f" ({said})" if said else ""))
