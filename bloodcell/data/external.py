"""An external set as a trained net sees it: with the net's classes, whatever the set calls its own."""

import unicodedata
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from bloodcell.common.console import counted
from bloodcell.common.errors import InputError
from bloodcell.data.index import Index, IntArray


def with_classes_of(index: Index, classes: Sequence[str]) -> tuple[Index, str]:
    """Number the classes of an external set as a net does, and leave out what the net does not know.

    Args:
        index: The external set; its classes may differ from the net's in case.
        classes: Those of the net, in the order of its outputs.

    Returns:
        The index of the images of known classes, and what must be said of classes that are missing or unknown.

    Raises:
        InputError: If no class is known.
    """
    exact = {name: number for number, name in enumerate(classes)}
    alike = {_folded(name): number for number, name in enumerate(classes)}
    number = np.array([exact.get(name, alike.get(_folded(name), -1)) for name in index.classes], dtype=np.int64)
    label = number[index.label]
    counts = index.counts(np.arange(len(index)))
    unknown = [f"{name} ({counted(int(counts[k]), 'image')})" for k, name in enumerate(index.classes) if number[k] < 0]
    rows = np.flatnonzero(label >= 0)
    if not len(rows):
        raise InputError(
            f"data.root={index.root}",
            expected=f"images of at least one of the net's classes ({', '.join(classes)})",
            got=f"only {', '.join(index.classes)}",
            fix="set data.root to the folder that holds the class folders, and call them as the net does",
        )
    known = replace(index, classes=tuple(classes), label=label).take(rows)
    left_out = f"left out, as the net does not know them: {', '.join(unknown)}" if unknown else ""
    return known, "; ".join(filter(None, [left_out, absent(known, np.arange(len(rows)))]))


def absent(index: Index, rows: IntArray) -> str:
    """Say which classes have no image among some rows, and what that does to the numbers; empty if all have."""
    counts = index.counts(rows)
    missing = [name for name, number in zip(index.classes, counts, strict=True) if not number]
    if not missing:
        return ""
    there = int((counts > 0).sum())
    return (
        f"no test image of {', '.join(missing)}: precision, recall and F1 of it are not defined, and balanced accuracy "
        f"and macro-F1 are means over the {there} of {len(counts)} classes that are there"
    )


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()
