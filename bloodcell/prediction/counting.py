"""The differential of a set of pictures: how many cells of each class, and between what and what that may be."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich.table import Table

from bloodcell.common.console import number_table
from bloodcell.evidence.intervals import wilson
from bloodcell.prediction.predictor import UNLIKE


def differential(rows: Iterable[Mapping[str, str]], classes: Sequence[str]) -> dict[str, Any]:
    """Count the cells of a table of answers.

    Args:
        rows: Of ``predictions.csv``.
        classes: Of the net.

    Returns:
        ``cells``, those like the learnt ones; of each class its count, its share of them and the 95 % interval of that
        (Wilson): what a sample of so many cells leaves open, even if every answer were right. Those that could be of
        other classes too are counted, as ``undecided`` once more: without them the classes that are easy to tell would
        seem to be common. And ``unlike`` the learnt cells, apart, by the class that they were called.
    """
    counted, undecided, unlike = Counter[str](), Counter[str](), Counter[str]()
    for row in rows:
        if row["class"]:
            (unlike if row["reason"] == UNLIKE else counted)[row["class"]] += 1
            undecided[row["class"]] += bool(row["reason"]) and row["reason"] != UNLIKE
    cells = counted.total()
    shares = {name: [counted[name] / cells, *wilson(counted[name], cells)] if cells else None for name in classes}
    return {
        "cells": cells,
        "classes": {
            name: {"count": counted[name], "share": shares[name], "undecided": undecided[name]} for name in classes
        },
        "unlike": {name: unlike[name] for name in classes},
    }


def differential_table(found: Mapping[str, Any]) -> Table:
    """Write a differential for the terminal."""
    table = number_table(
        f"{found['cells']:,} cells like the learnt ones",
        ["", "cells", "share", "95 % interval", "undecided", "unlike"],
    )
    for name, one in found["classes"].items():
        share = one["share"]
        texts = ["", ""] if share is None else [f"{share[0]:.1%}", f"{share[1]:.1%} to {share[2]:.1%}"]
        table.add_row(name, f"{one['count']:,}", *texts, f"{one['undecided']:,}", f"{found['unlike'][name]:,}")
    return table
