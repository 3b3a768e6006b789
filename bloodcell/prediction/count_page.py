"""A differential as one page: the counts with their intervals, and cells of each class to look at."""

import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from bloodcell.common.errors import InputError
from bloodcell.data.crops.cut import crop_cell
from bloodcell.evidence.pages import STYLE, data_uri
from bloodcell.prediction.inputs import opened_picture, picture_named
from bloodcell.prediction.predictor import UNLIKE

TEMPLATE = Path(__file__).with_name("count.html.j2")
SHOWN = 24  # cells of a class, and as many of each kind of doubt
SIDE = 96  # of the picture of a cell, in pixels
AROUND = 1.4  # side of what is shown, as a share of the longer side of the cell's box


class PictureOfCell(NamedTuple):
    """A cell on the page.

    Attributes:
        picture: A small JPEG as an address; ``""`` where its file can no longer be read.
        file: Where it is from.
        name: What it was called.
        probability: Of that class.
        reason: Why the answer is not to be trusted, or ``""``.
    """

    picture: str
    file: str
    name: str
    probability: float
    reason: str


def pick_cells(rows: Iterable[Mapping[str, str]], classes: Sequence[str]) -> dict[str, list[Mapping[str, str]]]:
    """Pick cells to show, evenly over a table that is read once.

    Args:
        rows: Of ``predictions.csv``.
        classes: Of the net.

    Returns:
        At most ``SHOWN`` rows of each class without a doubt, of those that are ``undecided``, and of those ``unlike``
        the learnt cells.
    """
    kept: dict[str, list[Mapping[str, str]]] = {name: [] for name in (*classes, "undecided", "unlike")}
    seen, step = dict.fromkeys(kept, 0), dict.fromkeys(kept, 1)
    for row in rows:
        if not row["class"]:
            continue
        kind = row["class"] if not row["reason"] else "unlike" if row["reason"] == UNLIKE else "undecided"
        if seen[kind] % step[kind] == 0:
            kept[kind].append(row)
        seen[kind] += 1
        if len(kept[kind]) == 2 * SHOWN:  # every second one stays, and of those to come likewise
            kept[kind], step[kind] = kept[kind][::2], 2 * step[kind]
    return {kind: some[:: -(-len(some) // SHOWN) or 1] for kind, some in kept.items()}


def count_page(found: Mapping[str, Any], picked: Mapping[str, Sequence[Mapping[str, str]]], said: Sequence[str]) -> str:
    """Write the page; it needs no other file, and names from files are escaped.

    Args:
        found: Of :func:`bloodcell.prediction.counting.differential`.
        picked: Of :func:`pick_cells`.
        said: What the command says of the table.
    """
    from jinja2 import Environment, StrictUndefined

    galleries = {kind: [_shown(row) for row in rows] for kind, rows in picked.items()}
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    template = environment.from_string(TEMPLATE.read_text(encoding="utf-8"))
    return template.render(style=STYLE, found=found, galleries=galleries, said=said, side=SIDE)


def _shown(row: Mapping[str, str]) -> PictureOfCell:
    file, name = row["file"], row["class"]
    return PictureOfCell(_thumbnail(file, row), file, name, float(row[f"p_{name}"]), row["reason"])


def _thumbnail(file: str, row: Mapping[str, str]) -> str:
    """The cell and a little around it."""
    try:
        image = opened_picture(picture_named(file))
    except InputError:  # it has gone since
        return ""
    box = [int(row[edge]) for edge in ("left", "top", "right", "bottom")]
    if tuple(box) != (0, 0, *image.size):
        side = round(AROUND * max(box[2] - box[0], box[3] - box[1]))
        image = Image.fromarray(crop_cell(np.asarray(image), box, side))
    image.thumbnail((SIDE, SIDE))
    packed = io.BytesIO()
    image.save(packed, "JPEG", quality=85)
    return data_uri(packed.getvalue(), "image/jpeg")
