"""The study from the runs of a cross-validation to ``explain.json``, its table and a gallery."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from scipy.stats import spearmanr

from bloodcell.common.console import progress_bar
from bloodcell.common.errors import InputError
from bloodcell.common.files import read_json, write_json, write_text
from bloodcell.data.datamodule import CellImages
from bloodcell.data.decode import open_picture
from bloodcell.data.micrographs import COPY_SIZE, Pixels
from bloodcell.evidence.intervals import Bools, Floats, Strings
from bloodcell.evidence.pages import markdown_table
from bloodcell.model.attribution import METHODS, Method, attribute, randomised, weighted_layers
from bloodcell.prediction.predictor import Box, Predictor
from bloodcell.studies.maps.gallery import Shown, write_gallery
from bloodcell.tracking.save import portable
from bloodcell.training.publish import fold_runs, opened_with_data

BATCH = 32
RESAMPLES = 2_000
SAME = 0.5  # rank correlation above which the maps of two cells are called nearly the same


class Looked(NamedTuple):
    """A held-out photograph as a net looks at it.

    Attributes:
        group: Its field group.
        label: Class number.
        view: RGB, uint8, of the net's size.
        inside: Which pixels lie in the annotator's box.
    """

    group: str
    label: int
    view: Pixels
    inside: Bools


class Maps(NamedTuple):
    """Maps of one method for the cells of one fold.

    Attributes:
        own: Of the trained net, shape (N, H, W).
        blind: Of the net whose last 1, 2, ... layers are random, shape (layers, N, H, W).
    """

    own: Floats
    blind: Floats


def run(folder: Path, out: Path) -> None:
    """Measure the maps of nets on what they left out.

    Args:
        folder: The runs of a cross-validation on the published photographs.
        out: Folder for ``explain.json``, ``explain.md``, ``maps.jpg`` and ``manifest.json``.

    Raises:
        InputError: If there are no such runs, or one left out no photograph whose cell is marked.
    """
    runs = fold_runs(folder)
    found: dict[str, list[dict[str, Any]]] = {method: [] for method in METHODS}
    cells: list[Looked] = []
    shown: list[Shown] = []
    layers: list[str] = []
    with progress_bar() as progress:
        task = progress.add_task("maps", total=len(runs) * len(METHODS))
        for number, path in enumerate(runs):
            trained, data = opened_with_data(path)
            fold, layers = list(_cells(Predictor(trained), data)), weighted_layers(trained.net)
            if not fold:
                expected, fix = "photographs of the published set that were left out", "give runs of data=blood_cells"
                raise InputError(str(path), expected=expected, got="none", fix=fix)
            pixels = torch.from_numpy(np.stack([cell.view for cell in fold])).permute(0, 3, 1, 2)
            images, probabilities = trained.images(pixels), trained.outputs(pixels)[0]
            answers = probabilities.argmax(axis=1)
            maps = {}
            for method in METHODS:
                maps[method] = _maps(trained.net, images, torch.from_numpy(answers), method, number)
                found[method] += _numbers(fold, maps[method])
                progress.advance(task)
            cells += fold
            shown += [
                Shown(cell.view, cell.label, int(answers[k]), float(probabilities[k].max()), drawn)
                for k, cell in enumerate(fold)
                for drawn in [[(maps[m].own[k], maps[m].blind[-1, k]) for m in METHODS]]
            ]
    groups = np.array([cell.group for cell in cells])
    result = {
        "cells": len(cells),
        "groups": len(np.unique(groups)),
        "chance": _mean(np.array([cell.inside.mean() for cell in cells]), groups),
        "layers": layers[::-1],
        "methods": {method: _of_method(rows, groups) for method, rows in found.items()},
    }
    write_json(out / "explain.json", result)
    write_text(out / "explain.md", maps_table(result))
    write_json(out / "manifest.json", portable(read_json(runs[0] / "manifest.json")))
    write_gallery(shown, trained.card.classes, METHODS, out / "maps.jpg")
    print(maps_table(result))


def _cells(predictor: Predictor, data: CellImages) -> Iterator[Looked]:
    """The held-out photographs in which the finder finds the cell that the annotator has marked."""
    index, (height, width) = data.index, predictor.trained.card.preparation.image_size
    for row in data.split.test.tolist():
        known = data.lineage.micrographs.get(str(index.micrograph[row])) if data.lineage else None
        views = predictor.views(open_picture(index.where(row))) if known is not None else []
        if known is None or not np.isfinite(known.cell_width) or not views:
            continue
        scale = 480 / COPY_SIZE[0]  # of the photograph to the reduction that boxes are given in
        x, y, wide, tall = (
            scale * value for value in (known.cell_x, known.cell_y, known.cell_width, known.cell_height)
        )
        found, view = views[0]
        inside = _inside((x - wide / 2, y - tall / 2, x + wide / 2, y + tall / 2), found, view.width, (height, width))
        if inside.any():
            pixels = predictor.squeezed(view).permute(1, 2, 0).numpy()
            yield Looked(str(index.group[row]), int(index.label[row]), pixels, inside)


def _inside(marked: Sequence[float], found: Box, side: int, shape: tuple[int, int]) -> Bools:
    """Which pixels of a crop around a found cell, squeezed to a shape, lie in a marked box."""
    left, top = round((found[0] + found[2] - side) / 2), round((found[1] + found[3] - side) / 2)
    ends = [
        round((edge - start) * to / side)
        for edge, start, to in zip(marked, (left, top) * 2, shape[::-1] * 2, strict=True)
    ]
    inside = np.zeros(shape, dtype=bool)
    inside[max(0, ends[1]) : max(0, ends[3]), max(0, ends[0]) : max(0, ends[2])] = True
    return inside


def _maps(net: torch.nn.Module, images: torch.Tensor, targets: torch.Tensor, method: Method, seed: int) -> Maps:
    def of(one: torch.nn.Module) -> Floats:
        parts = [slice(first, first + BATCH) for first in range(0, len(images), BATCH)]
        return torch.cat([attribute(one, images[part], targets[part], method) for part in parts]).double().numpy()

    blind = [of(randomised(net, count + 1, seed)) for count in range(len(weighted_layers(net)))]
    return Maps(of(net), np.stack(blind))


def _numbers(cells: Sequence[Looked], maps: Maps) -> list[dict[str, Any]]:
    """Of each cell: shares of the attribution in the box, and how alike maps are."""
    rows = []
    for k, cell in enumerate(cells):
        own, other = maps.own[k], maps.own[k - 1]
        rows.append(
            {
                "share": _share(own, cell.inside),
                "blind share": _share(maps.blind[-1, k], cell.inside),
                "chance": float(cell.inside.mean()),
                "another cell": _alike(own, other),
                "layers": [_alike(own, blind[k]) for blind in maps.blind],
            }
        )
    return rows


def _share(heat: Floats, inside: Bools) -> float:
    return float(heat[inside].sum() / heat.sum()) if heat.sum() > 0 else float("nan")


def _alike(one: Floats, other: Floats) -> float:
    """Rank correlation of two maps; not a number where one of them is constant."""
    return float(spearmanr(one.ravel(), other.ravel())[0]) if np.ptp(one) > 0 < np.ptp(other) else float("nan")


def _of_method(rows: Sequence[Mapping[str, Any]], groups: Strings) -> dict[str, Any]:
    columns = {
        key: np.array([row[key] for row in rows])
        for key in ("share", "blind share", "chance", "another cell", "layers")
    }
    alike, other = columns["layers"][:, -1], columns["another cell"]
    return {
        "share": _mean(columns["share"], groups),
        "more than chance": _mean(columns["share"] - columns["chance"], groups),
        "share, random weights": _mean(columns["blind share"], groups),
        "more than random weights": _mean(columns["share"] - columns["blind share"], groups),
        "alike, by random layers": [_mean(one, groups) for one in columns["layers"].T],
        "alike, map of another cell": _mean(other, groups),
        "more alike than another cell's": _mean(alike - other, groups),
        "empty maps": int(np.isnan(columns["share"]).sum()),
    }


def _mean(values: Floats, groups: Strings, seed: int = 0) -> list[float]:
    """Mean over cells and its 95 % interval, by resampling field groups; what is no number is left out."""
    kept = ~np.isnan(values)
    _, number = np.unique(groups[kept], return_inverse=True)
    sums, counts = np.bincount(number, values[kept]), np.bincount(number)
    drawn = np.random.default_rng(seed).integers(0, len(sums), (RESAMPLES, len(sums)))
    means = sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1)
    return [float(values[kept].mean()), *map(float, np.quantile(means, [0.025, 0.975]))]


def verdict(one: Mapping[str, Any], layers: Sequence[str]) -> str:
    """Say what speaks against a method, where the intervals leave no doubt of it."""
    against = []
    if one["more than chance"][1] <= 0:
        against.append("no more in the cell than chance")
    if one["more than random weights"][1] <= 0:
        against.append("no more in the cell than with random weights")
    other = one["alike, map of another cell"]
    shown = [low > other[2] for _, low, _ in one["alike, by random layers"]]
    if any(shown):
        last = layers[len(shown) - 1 - shown[::-1].index(True)]
        against.append(f"shows the picture: without what {last} learnt it changes less than from cell to cell")
    if other[1] > SAME:
        against.append("shows the middle: nearly the same map for every cell")
    return "; ".join(against) or "nothing here"


def maps_table(result: Mapping[str, Any]) -> str:
    """Write what was found as Markdown."""
    methods = result["methods"]
    shares = [
        [name, _written(one["share"]), _written(one["share, random weights"]), verdict(one, result["layers"])]
        for name, one in methods.items()
    ]
    alike = [
        [
            f"{name} and all after it" if k else name,
            *(_written(one["alike, by random layers"][k]) for one in methods.values()),
        ]
        for k, name in enumerate(result["layers"])
    ]
    alike.append(["none; another cell", *(_written(one["alike, map of another cell"]) for one in methods.values())])
    empty = ", ".join(f"{name} {one['empty maps']}" for name, one in methods.items())
    parts = [
        f"Maps of {result['cells']} held-out cells ({result['groups']} field groups), each for the answer of the net "
        "that had left it out; means with 95 % intervals over field groups.",
        "Share of the attribution in the annotator's box. Chance, the share of the area, is "
        f"{_written(result['chance'])}.",
        markdown_table(
            ["method", "share in the box", "the same net, random weights", "what speaks against it"], shares
        ),
        "Rank correlation of a map with that of the same net whose last layers have random weights: near 1, what was "
        "learnt has no part in the map. The last row is what two cells have in common, as a map in the middle: "
        f"above {SAME} it is held against a method, and so is a map that changes less without what was learnt: "
        "tests that were set while the first numbers were read.",
        markdown_table(["random layers", *methods], alike, 1),
        f"Empty maps: {empty}.",
    ]
    return "\n\n".join(parts) + "\n"


def _written(estimate: Sequence[float]) -> str:
    return f"{estimate[0]:.3f} ({estimate[1]:.3f} to {estimate[2]:.3f})"
