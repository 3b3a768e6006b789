"""The differential of a set of pictures: how many cells of each class, and between what and what that may be."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich.table import Table

from bloodcell.common.console import number_table
from bloodcell.evidence.intervals import wilson


def differential(rows: Iterable[Mapping[str, str]], classes: Sequence[str]) -> dict[str, Any]:
    """Count the cells of a table of answers.

    Args:
        rows: Of ``predictions.csv``.
        classes: Of the net.

    Returns:
        ``cells``, those without a doubt; of each class its count, its share of them and the 95 % interval of that
        (Wilson): what a sample of so many cells leaves open, even if every answer were right. And ``doubtful``, apart,
        by the class that they were called.
    """
    sure, doubtful = Counter[str](), Counter[str]()
    for row in rows:
        if row["class"]:
            (doubtful if row["reason"] else sure)[row["class"]] += 1
    cells = sure.total()
    shares = {name: [sure[name] / cells, *wilson(sure[name], cells)] if cells else None for name in classes}
    return {
        "cells": cells,
        "classes": {name: {"count": sure[name], "share": shares[name]} for name in classes},
        "doubtful": {name: doubtful[name] for name in classes},
    }


def differential_table(found: Mapping[str, Any]) -> Table:
    """Write a differential for the terminal."""
    table = number_table(
        f"{found['cells']:,} cells without a doubt", ["", "cells", "share", "95 % interval", "doubtful"]
    )
    for name, one in found["classes"].items():
        share = one["share"]
        texts = ["", ""] if share is None else [f"{share[0]:.1%}", f"{share[1]:.1%} to {share[2]:.1%}"]
        table.add_row(name, f"{one['count']:,}", *texts, f"{found['doubtful'][name]:,}")
    return table
