"""The learnt cells that are most like a new one: which photographs they are from, and what they were called."""

import re
from collections.abc import Sequence
from typing import NamedTuple

from bloodcell.data.lineage_table import read_lineage
from bloodcell.evidence.intervals import Floats
from bloodcell.training.trained import TrainedNet

# A photograph among the originals of the published set; its number.
_ORIGINAL = re.compile(r"ORIGINAL/(?:[^/]*/)*(?:[^/]*_)?([0-9]{1,9})(?:\.[^./]*)?")


class Nearest(NamedTuple):
    """A learnt cell beside a new one.

    Attributes:
        photograph: Its number in the published set, as ``207``; elsewhere the file that was learnt.
        label: Its class.
        distance: Between the two in the net's feature space; what doubt is measured by.
    """

    photograph: str
    label: str
    distance: float

    def __str__(self) -> str:
        """Write it in a few words."""
        return f"{self.photograph} {self.label} {self.distance:.2f}"


def nearest_cells(trained: TrainedNet, features: Floats, count: int = 5) -> list[list[Nearest]]:
    """Find the learnt cells that are most like each of some cells.

    Args:
        trained: A net that keeps what it has learnt; without, there are none.
        features: As the net gives them, shape (N, D).
        count: Learnt cells of different photographs for each.

    Returns:
        Of each cell, nearest first; a photograph that comes again, as itself and in copies, once.
    """
    known = trained.learnt
    if known is None:
        return [[] for _ in features]
    photographs = [photograph_of(file) for file in known.files.tolist()]
    found = []
    for row, distances in zip(known.nearest(features, len(photographs)), known.distances(features), strict=True):
        first: dict[str, Nearest] = {}
        for point in row.tolist():
            name = photographs[point]
            label = trained.card.classes[int(known.labels[point])]
            first.setdefault(name, Nearest(name, label, float(distances[point])))
            if len(first) == count:
                break
        found.append(list(first.values()))
    return found


def photograph_of(file: str) -> str:
    """Give the number of the photograph behind a published file, as ``207``; of every other file its own name."""
    row = read_lineage().images.get(file)
    if row is not None and row.micrograph:
        return row.micrograph
    original = _ORIGINAL.fullmatch(file)
    return str(int(original[1])) if original else file


def in_words(cells: Sequence[Nearest]) -> str:
    """Write the learnt cells beside one, nearest first."""
    return "; ".join(map(str, cells))
