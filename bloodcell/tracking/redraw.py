"""The figures of a run drawn again for print (``--pdf OUT``), from what it left: no image and no net is opened."""

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from bloodcell.common.errors import InputError
from bloodcell.common.files import read_csv
from bloodcell.evidence import figures
from bloodcell.tracking.predictions import LEFT_OUT, read_predictions
from bloodcell.tracking.reader import Run

VIEWS = ("twin", "original", "simple", "image", LEFT_OUT)


def redraw(run: Run, out: Path) -> list[Path]:
    """Write loss and accuracy by epoch and, of a test, what it showed, as PDF.

    Args:
        run: The run.
        out: Folder to write into; made if missing.

    Returns:
        The files.

    Raises:
        InputError: If it left neither epochs nor predictions.
    """
    drawn = drawn_again(run)
    if not drawn:
        raise InputError(str(run.path), expected="a run with epochs or a test", got="neither", fix="train first")
    for name, figure in drawn.items():
        figures.save(figure, out / f"{name}.pdf")
    return [out / f"{name}.pdf" for name in drawn]


def drawn_again(run: Run) -> dict[str, Figure]:
    """Draw loss and accuracy by epoch and, of a test, what it showed, by the name of the figure."""
    data = run.part("data")
    label = f"{data.get('source', '')}: " if data.get("synthetic") else ""
    drawn: dict[str, Figure] = {}
    rows = read_csv(run.path / "metrics.csv")
    for quantity, key in (("loss", "loss"), ("accuracy", "acc")):
        train, val = ([float(row.get(name) or "nan") for row in rows] for name in (f"train/{key}", f"val/{key}"))
        if train or val:
            drawn[quantity] = figures.curves(train, val, quantity, "validation", f"{label}{quantity} by epoch")
    if (run.path / "predictions.csv").is_file():
        table = read_predictions(run.path)
        beside = [view for view in VIEWS if f"{view}/acc" in run.metrics]  # what was tested besides the test images
        tested = table.take(np.flatnonzero(~np.isin(table.view, beside)))
        groups = tested.group if np.all(tested.group != "") else None
        title = f"{label}test, protocol {run.record.get('protocol', '')}, {len(tested):,} images"
        drawn |= figures.of_test(tested.correct, tested.probabilities, groups, tested.classes, title)
    return drawn
