"""Pictures of what an answer rests on, each with two numbers that say whether to believe it."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from matplotlib import colormaps
from PIL import Image, ImageDraw
from scipy.stats import spearmanr

from bloodcell.common.console import progress_bar
from bloodcell.common.errors import InputError, printable
from bloodcell.common.files import replacing, write_csv, write_json
from bloodcell.data.crops.finder import find_cells
from bloodcell.data.micrographs import Pixels
from bloodcell.evidence.intervals import Bools, Floats
from bloodcell.model.attribution import Method, attribute, randomised
from bloodcell.prediction.board import DrawnMap, write_board
from bloodcell.prediction.inputs import check_words, find_pictures, opened_picture
from bloodcell.prediction.nearest import Nearest, in_words, nearest_cells
from bloodcell.prediction.predictor import Box, Predictor, View

SHOWN = 320  # height of what is drawn, in pixels
WIDEST = 8  # times its height; a wider picture is squeezed
MOST_DRAWN = 200  # pictures; the numbers are of all
HEADER = ["file", "class", "probability", "share_in_cell", "chance", "alike_when_randomised", "nearest", "drawn"]


class Explained(NamedTuple):
    """A map with its two numbers.

    Attributes:
        share: Share of the attribution within the white cell's box; ``None`` where no cell is found or the map is
            empty.
        chance: Share of the area that the box has: what a map without knowledge would give.
        alike: Rank correlation (Spearman) with the map of the same net with random weights: near 1 the map shows the
            picture and not what was learnt; ``None`` where either is constant.
        nearest: The learnt cells that are most like it, nearest first; none where the net keeps none.
        drawn: The picture, the map over it.
    """

    name: str
    answer: str
    probability: float
    share: float | None
    chance: float | None
    alike: float | None
    nearest: list[Nearest]
    drawn: Image.Image


def explain_pictures(
    predictor: Predictor, words: Sequence[str], method: Method, out: Path, view: View = "auto"
) -> dict[str, Any]:
    """Explain the answers for pictures.

    Args:
        predictor: The net.
        words: As of :func:`bloodcell.prediction.inputs.find_pictures`.
        method: Of :mod:`bloodcell.model.attribution`.
        out: Folder for the pictures, ``explained.csv``, ``explained.json``, and the maps of each class and of mistakes
            for TensorBoard.
        view: Of :meth:`bloodcell.prediction.predictor.Predictor.views`.

    Returns:
        Means of the two numbers, as in ``explained.json``.

    Raises:
        InputError: If there are no pictures, or one cannot be read.
    """
    check_words(words)
    rows: list[list[object]] = []
    with progress_bar("pictures") as progress:
        for picture in progress.track(list(find_pictures(words)), description="explaining"):
            for one in explained(predictor, opened_picture(picture), picture.name, method, view):
                drawn = f"{len(rows):04d}-{Path(one.name).stem[:60]}.png" if len(rows) < MOST_DRAWN else ""
                if drawn:
                    with replacing(out / drawn) as file:
                        one.drawn.save(file, "PNG")
                found = (one.probability, one.share, one.chance, one.alike)
                rows.append([one.name, one.answer, *found, in_words(one.nearest), drawn])
    if not rows:
        raise InputError(" ".join(words), expected="pictures with cells", got="none", fix="check the folder")
    numbers = np.array([[np.nan if value is None else value for value in row[3:6]] for row in rows], dtype=np.float64)
    write_csv(out / "explained.csv", HEADER, ([_text(value) for value in row] for row in rows))
    maps = [DrawnMap(str(row[0]), str(row[1]), float(str(row[2])), out / str(row[7])) for row in rows if row[7]]
    write_board(maps, predictor.classes, method, out / "tensorboard")
    means = {"method": method, "cells": len(rows), **_means(numbers)}
    write_json(out / "explained.json", means)
    return means


def explained(
    predictor: Predictor, image: Image.Image, name: str, method: Method, view: View = "auto"
) -> Iterator[Explained]:
    """Explain the answer for each cell of a picture."""
    net, classes = predictor.trained.net, predictor.classes
    for box, looked_at in predictor.views(image, view):
        pixels = predictor.squeezed(looked_at)[None]
        images = predictor.trained.images(pixels)
        shares, features = predictor.trained.outputs(pixels)
        target = torch.from_numpy(shares.argmax(axis=1))
        heat = attribute(net, images, target, method)[0].numpy().astype(np.float64)
        blind = attribute(randomised(net), images, target, method)[0].numpy().astype(np.float64)
        cell = _cell_in_view(looked_at, box, heat.shape)
        inside = cell if cell is not None and heat.sum() > 0 else None
        yield Explained(
            name=name,
            answer=classes[int(target)],
            probability=float(shares.max()),
            share=None if inside is None else float(heat[inside].sum() / heat.sum()),
            chance=None if inside is None else float(inside.mean()),
            alike=float(spearmanr(heat.ravel(), blind.ravel())[0]) if np.ptp(heat) > 0 < np.ptp(blind) else None,
            nearest=nearest_cells(predictor.trained, features)[0],
            drawn=_drawn(looked_at, heat, cell),
        )


def _cell_in_view(view: Image.Image, box: Box, shape: tuple[int, ...]) -> Bools | None:
    """Which pixels of a map lie in the box of the white cell; ``None`` where none is found."""
    if box != (0, 0, *view.size):  # a crop around a box: both have the same middle
        width, height = box[2] - box[0], box[3] - box[1]
        left, top = (view.width - width) / 2, (view.height - height) / 2
        edges = (left, top, left + width, top + height)
    else:
        found = find_cells(np.asarray(view))
        if not found:
            return None
        edges = found[0][:4]
    inside = np.zeros(shape, dtype=bool)
    left, right = (max(0, round(edge * shape[1] / view.width)) for edge in (edges[0], edges[2]))
    top, bottom = (max(0, round(edge * shape[0] / view.height)) for edge in (edges[1], edges[3]))
    inside[top:bottom, left:right] = True
    return inside if inside.any() else None


def _drawn(view: Image.Image, heat: Floats, cell: Bools | None) -> Image.Image:
    """The picture, and the map over it with the box of the cell, side by side."""
    width = min(max(1, round(view.width * SHOWN / view.height)), WIDEST * SHOWN)
    picture = view.resize((width, SHOWN), Image.Resampling.BICUBIC)
    scaled = heat / heat.max() if heat.max() > 0 else heat
    small = Image.fromarray((255 * scaled).astype(np.uint8))
    share = np.asarray(small.resize((width, SHOWN), Image.Resampling.BILINEAR)).astype(np.float64) / 255
    colours = 255 * colormaps["inferno"](share)[..., :3]
    grey = np.asarray(picture.convert("L").convert("RGB"), dtype=np.float64)
    mixed: Pixels = (0.45 * grey + 0.55 * colours).astype(np.uint8)
    over = Image.fromarray(mixed)
    if cell is not None:
        rows, columns = np.flatnonzero(cell.any(axis=1)), np.flatnonzero(cell.any(axis=0))
        tall, wide = SHOWN / cell.shape[0], width / cell.shape[1]
        corners = (columns[0] * wide, rows[0] * tall, (columns[-1] + 1) * wide - 1, (rows[-1] + 1) * tall - 1)
        ImageDraw.Draw(over).rectangle(corners, outline="white", width=2)
    both = Image.new("RGB", (2 * width + 8, SHOWN), "white")
    both.paste(picture, (0, 0))
    both.paste(over, (width + 8, 0))
    return both


def _means(numbers: Floats) -> dict[str, float | int]:
    located = numbers[~np.isnan(numbers[:, 0])]
    alike = numbers[~np.isnan(numbers[:, 2]), 2]
    return {
        "cells located": len(located),
        "share of the attribution in the cell": float(located[:, 0].mean()) if len(located) else float("nan"),
        "share of the area": float(located[:, 1].mean()) if len(located) else float("nan"),
        "cells where it is more than chance": float((located[:, 0] > located[:, 1]).mean())
        if len(located)
        else float("nan"),
        "rank correlation with a net of random weights": float(alike.mean()) if len(alike) else float("nan"),
    }


def _text(value: object) -> str:
    text = "" if value is None else f"{value:.4f}" if isinstance(value, float) else printable(str(value))
    return f"'{text}" if text[:1] in ("=", "+", "@") else text
