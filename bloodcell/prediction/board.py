"""Drawn maps in TensorBoard: the surest answers of each class, and the worst mistakes."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from bloodcell.prediction.answering import class_by_folder

EACH = 8  # maps of a class, and mistakes


class DrawnMap(NamedTuple):
    """A map that was drawn.

    Attributes:
        file: The picture that it explains.
        answer: Its class.
        probability: Of that class.
        drawn: The file of the map.
    """

    file: str
    answer: str
    probability: float
    drawn: Path


def write_board(maps: Sequence[DrawnMap], classes: Sequence[str], title: str, folder: Path) -> None:
    """Write maps for ``tensorboard --logdir FOLDER``.

    Args:
        maps: All of them.
        classes: Of the net.
        title: Before the names of the groups, as the method.
        folder: Where the events go; those of an earlier time are removed.
    """
    from torch.utils.tensorboard import SummaryWriter  # here: it takes a second to import

    surest = sorted(maps, key=lambda one: -one.probability)
    labels = {one.drawn: class_by_folder(one.file, classes) for one in maps}
    groups = {name: [one for one in surest if one.answer == name] for name in classes}
    groups["mistakes"] = [one for one in surest if labels[one.drawn] not in (None, one.answer)]
    for old in folder.glob("events.out.tfevents.*"):
        old.unlink()
    with SummaryWriter(str(folder)) as writer:
        for name, some in groups.items():
            for number, one in enumerate(some[:EACH]):
                writer.add_image(f"{title}/{name}", np.asarray(Image.open(one.drawn)), number, dataformats="HWC")
