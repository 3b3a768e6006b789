"""An external set as a trained net sees it: with the net's classes, whatever the set calls its own."""

import unicodedata
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from bloodcell.common.console import counted
from bloodcell.common.errors import InputError
from bloodcell.data.index import Index, IntArray

# What white cells are called for short, without separators and in lower case.
SHORT = {
    "basophil": ("ba", "bas", "baso"),
    "eosinophil": ("eo", "eos", "eosino"),
    "erythroblast": ("erb", "nrbc", "normoblast"),
    "ig": ("immaturegranulocyte",),
    "lymphocyte": ("ly", "lym", "lymph", "lympho"),
    "monocyte": ("mo", "mon", "mono"),
    "neutrophil": ("ne", "neu", "neut", "neutro"),
    "platelet": ("plt", "thrombocyte"),
}
WHOLE = {short: name for name, each in SHORT.items() for short in each}


def with_classes_of(index: Index, classes: Sequence[str]) -> tuple[Index, str]:
    """Number the classes of an external set as a net does, and leave out what the net does not know.

    Args:
        index: The external set; its classes may differ from the net's in case, number and abbreviation.
        classes: Those of the net, in the order of its outputs.

    Returns:
        The index of the images of known classes, and what must be said of classes that are missing, unknown, or known
        under another name.

    Raises:
        InputError: If no class is known.
    """
    number = np.array([_number(name, classes) for name in index.classes], dtype=np.int64)
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
    renamed = [
        f"{name} as {classes[k]}"
        for name, k in zip(index.classes, number.tolist(), strict=True)
        if k >= 0 and _folded(name) != _folded(classes[k])
    ]
    taken = f"taken: {', '.join(renamed)}" if renamed else ""
    return known, "; ".join(filter(None, [left_out, taken, absent(known, np.arange(len(rows)))]))


def class_name(name: str) -> str:
    """Write the name of a class as all write it: in lower case, one cell, no abbreviation.

    >>> class_name("Neutrophils"), class_name("EOS"), class_name("Immature_Granulocytes")
    ('neutrophil', 'eosinophil', 'ig')
    """
    plain = "".join(letter for letter in _folded(name) if letter.isalnum())
    one = plain[:-1] if len(plain) > 3 and plain.endswith("s") and not plain.endswith("ss") else plain
    return WHOLE.get(plain, WHOLE.get(one, one))


def _number(name: str, classes: Sequence[str]) -> int:
    """Number of the class of that name, as it is or as nearly as one class alone has it; -1 if none has."""
    for write in (str, _folded, class_name):
        alike = [number for number, known in enumerate(classes) if write(known) == write(name)]
        if len(alike) == 1:
            return alike[0]
    return -1


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
