"""The sets: which cells each has of the classes that all have, and in which fold."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from bloodcell.common.env import path_of
from bloodcell.common.errors import InputError
from bloodcell.data.external import class_name, with_classes_of
from bloodcell.evidence.intervals import Ints

if TYPE_CHECKING:  # torch takes seconds to import: --help must not wait for it
    from bloodcell.data.crops.cut import Crop
    from bloodcell.data.datamodule import CellImages
    from bloodcell.data.index import Index

FOLDS = 5
# How the sets that the project knows are read; any other name is a folder of class folders.
READ = {
    "blood_cells": ("data=blood_cells", "data.protocol=everything", "data.train_view=original", "data.view=crop"),
    "pbc": ("data=pbc",),
}
FOLDER = ("data=folder", "data.view=crop")


@dataclass(frozen=True)
class FoundSet:
    """A set as it is found.

    Attributes:
        name: What it is called.
        index: Its cells of the shared classes, a row for each, labelled by these; each with a group, itself if unknown.
        fold: Fold of each, int64.
        crop: Where the cell of an image is.
        said: What is left out of it, or read under another name.
    """

    name: str
    index: "Index"
    fold: Ints
    crop: "Crop"
    said: str


def find_sets(words: Sequence[str], most: int | None) -> list[FoundSet]:
    """Find the sets, and the classes that all of them have.

    Args:
        words: ``NAME`` of a set that the project knows, or ``NAME=FOLDER``.
        most: Cells of a class to keep of each set; ``None`` for all.

    Raises:
        InputError: If there are fewer than two sets, or two classes that all have.
    """
    names = [word.partition("=")[0] for word in words]
    if len(names) < 2 or len(set(names)) < len(names) or not all(names):
        raise InputError("--set", expected="two sets or more, each name once", got=" ".join(words), fix="see --help")
    found = {check_name(name): _find(word) for name, word in zip(names, words, strict=True)}
    known = [{class_name(name) for name in data.classes} for data in found.values()]
    shared = sorted(set.intersection(*known))
    if len(shared) < 2:
        raise InputError(
            "--set",
            expected="two classes or more that all sets have",
            got="; ".join(f"{name}: {', '.join(data.classes)}" for name, data in found.items()),
            fix="call the class folders alike",
        )
    return [_cells(name, data, shared, most) for name, data in found.items()]


def check_name(name: str) -> str:
    """Give back the name of a set, if files and settings can be called so.

    Raises:
        InputError: If they cannot.
    """
    if not re.fullmatch(r"\w[\w.-]{0,63}", name):
        expected = "the name of a set: letters, digits, - and _"
        raise InputError(name[:80], expected=expected, got="another", fix="rename it")
    return name


def _find(word: str) -> "CellImages":
    from bloodcell.config.compose import composed
    from bloodcell.training.assemble import find_data

    name, _, folder = word.partition("=")
    if not folder and name not in READ:
        raise InputError(
            f"--set {word}", expected=f"{' or '.join(READ)}, or NAME=FOLDER", got="no folder", fix="give its folder"
        )
    root = [f"data.root={path_of(folder).absolute()}"] if folder else []
    return find_data(composed([*READ.get(name, FOLDER), *root]))


def _cells(name: str, data: "CellImages", classes: Sequence[str], most: int | None) -> FoundSet:
    from bloodcell.data.cuts import cut_folds

    originals = np.flatnonzero(data.index.view == "original")
    index, said = with_classes_of(data.index.take(originals) if len(originals) else data.index, classes)
    if most is not None:
        kept = [np.flatnonzero(index.label == k)[:most] for k in range(len(classes))]
        index = index.take(np.sort(np.concatenate(kept)))
    index = replace(index, group=np.where(index.group == "", index.file, index.group))
    fold = np.full(len(index), -1)
    for number, rows in enumerate(cut_folds(index, np.arange(len(index)), FOLDS, seed=0)):
        fold[rows] = number
    assert data.crop is not None
    return FoundSet(name, index, fold, data.crop, said)
