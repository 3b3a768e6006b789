"""The ladder by the number of the photograph, which seems to be the order of taking: two parts, and its worth."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from bloodcell.data.lineage_table import read_lineage
from bloodcell.evidence.pages import markdown_table
from bloodcell.studies.ladder.rows import RUNG_NAMES, Tested, difference, ladder_rows, mean_cell, points
from bloodcell.studies.ladder.trainings import CNN, FOLDED, PAPER, WIDE

# The photographs from this number on show larger white cells: of all numbers, it parts the sizes of the annotated boxes
# best (least squares of log edges), and no net has a part in them. But an earlier look at results of these photographs
# had suggested to part them, at 164.
LARGE_FROM = 160
PARTS = (f"below {LARGE_FROM}", f"from {LARGE_FROM} on")
VIEWS = ("twin", "original")


def rows_by_number(tested: Sequence[Tested]) -> list[dict[str, Any]]:
    """Score the nets that were cross-validated on the two parts of the photographs, each trained on both.

    Args:
        tested: All predictions.

    Returns:
        Rows as of :func:`ladder_rows`, with ``photographs`` in front: which part they were tested on.
    """
    nets = [one for one in tested if one.model in (CNN, PAPER, WIDE) and one.rung in FOLDED and one.view in VIEWS]
    rows = []
    for number, name in enumerate(PARTS):
        held = [one._replace(predictions=one.predictions.take(_rows_of(one, number))) for one in nets]
        rows += [{"photographs": name, **row} for row in ladder_rows([one for one in held if len(one.predictions)])]
    return rows


def _rows_of(tested: Tested, part: int) -> np.ndarray[Any, np.dtype[np.int64]]:
    numbers = tested.predictions.photograph.astype(np.int64)
    return np.flatnonzero((numbers >= LARGE_FROM) == bool(part))


def order_effect(rows: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, dict[str, float]]]:
    """Compare folds of whole fields with folds of consecutive photographs: what neighbours in number are worth.

    Args:
        rows: Of :func:`ladder_rows`.

    Returns:
        For each net that was trained under both, for each view: ``grouped`` less ``blocked``, as in ``drop``.
    """
    of = {(row["model"], row["rung"]): row for row in rows if row["model"] in (CNN, PAPER, WIDE)}
    return {
        model: {
            view: difference(of[model, "grouped"][view]["balanced_acc"], row[view]["balanced_acc"]) for view in VIEWS
        }
        for (model, rung), row in of.items()
        if rung == "blocked" and (model, "grouped") in of
    }


def box_edges() -> list[float]:
    """Find the median edge of the annotated boxes (root of the area) in both parts, in pixels of the copies."""
    boxes = [row for row in read_lineage().micrographs.values() if row.cell_width > 0]
    large = np.array([int(row.micrograph) >= LARGE_FROM for row in boxes])
    edges = np.sqrt([row.cell_width * row.cell_height for row in boxes])
    return [float(np.median(edges[large == part])) for part in (False, True)]


def order_text(rows: Sequence[Mapping[str, Any]], effect: Mapping[str, Mapping[str, Mapping[str, float]]]) -> str:
    """Write both in words and as a Markdown table.

    Args:
        rows: Of :func:`rows_by_number`.
        effect: Of :func:`order_effect`.
    """
    small, large = box_edges()
    header = ["model", "split", "photographs", "on held-out copies", "on originals"]
    cells = [
        [row["model"], RUNG_NAMES[row["rung"]], f"{row['photographs']} ({row['original']['images']})"]
        + [mean_cell(row[view]["balanced_acc"]) for view in VIEWS]
        for row in sorted(rows, key=lambda row: (row["model"], FOLDED.index(row["rung"])))
    ]
    said = (
        "The same nets by the number of the photograph, which seems to be the order of taking. The two parts differ: "
        f"the annotated boxes have a median edge of {small:.0f} pixels (of copies) below {LARGE_FROM} and of "
        f"{large:.0f} from there on. {LARGE_FROM} parts the sizes of the boxes best, but that there are two parts was "
        "suggested by an earlier look at results of the same photographs.\n\n"
    )
    worth = "".join(
        f"* {model}, grouped by field less by blocks, in points: {points(of['twin'])} on held-out copies, "
        f"{points(of['original'])} on originals\n"
        for model, of in effect.items()
    )
    return f"{said}{markdown_table(header, cells)}\n" + (f"\n{worth}" if worth else "")
