"""The coverage study from its grid to ``coverage.json`` and its table."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bloodcell.common.console import progress_bar
from bloodcell.common.files import write_json, write_text
from bloodcell.evidence.pages import markdown_table
from bloodcell.studies.coverage.simulation import CLASSES, coverage, simulated_sets
from bloodcell.tracking.manifest import manifest

NAMES = {
    "acc": "accuracy",
    "balanced_acc": "balanced accuracy",
    "macro_precision": "macro-precision",
    "macro_f1": "macro-F1",
    "recalls": "recall of a class",
}


def run_coverage(draws: int, out: Path) -> None:
    """Simulate the whole grid, then write ``coverage.json``, ``coverage.md`` and the manifest.

    Args:
        draws: Test sets for each cell of the grid.
        out: Folder for the results.
    """
    made = manifest({"seed": 0}, {})
    with progress_bar() as progress:
        cells = [coverage(cell, draws) for cell in progress.track(simulated_sets(), description="simulating test sets")]
    out.mkdir(parents=True, exist_ok=True)
    write_json(out / "coverage.json", {"draws": draws, "cells": cells})
    write_json(out / "manifest.json", made)
    write_text(out / "coverage.md", coverage_table(cells))
    print(coverage_table(cells))


def coverage_table(cells: Sequence[dict[str, Any]]) -> str:
    """Write the least and the mean coverage for each number of groups as a Markdown table.

    Args:
        cells: Of ``coverage.json``.

    Returns:
        What it shows in words, and the table.
    """
    rows = []
    for classes in CLASSES:
        held = [cell for cell in cells if cell["classes"] == classes]
        shares = [[cell[name] for cell in held] for name in NAMES]
        rows.append([classes, *(f"{min(each):.3f} (mean {sum(each) / len(each):.3f})" for each in shares)])
    said = (
        f"How often intervals of 95 % hold the true value in {cells[0]['draws']:,} simulated test sets: the least over "
        f"recalls of 0.5 to 0.99 and four kinds of groups, and the mean.\n\n"
    )
    return f"{said}{markdown_table(['groups of each class', *NAMES.values()], rows)}\n"
