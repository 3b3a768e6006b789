"""The lineage recovered from pixels: every image placed in a photograph, every photograph in a field group."""

import hashlib
import math
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from bloodcell.common.console import progress_bar
from bloodcell.data.decode import open_picture
from bloodcell.data.groups import groups
from bloodcell.data.kaggle import CLASSES, SUBSETS, images_in, originals_of
from bloodcell.data.lineage_table import FieldPair, ImageRow, Lineage, MicrographRow
from bloodcell.data.micrographs import (
    COPY_SIZE,
    Cell,
    Pixels,
    micrograph_files,
    official_subsets,
    open_micrograph,
    read_cell,
    read_labels,
)

if TYPE_CHECKING:  # OpenCV is an extra: --help must not need it
    from bloodcell.studies.lineage.registration import Atlas, Fit

NOWHERE = math.nan


def recover(images: Path, workers: int) -> Lineage:
    """Recover the three tables from the pixels.

    Args:
        images: The folder that holds ``TRAIN`` and ``TEST``; the photographs are beside it, as Kaggle has them.
        workers: Threads.

    Returns:
        The lineage; images that cannot be placed with confidence have no photograph.

    Raises:
        InputError: If a folder or file is missing or cannot be decoded.
    """
    from bloodcell.studies.lineage.registration import Atlas, in_threads

    folder = originals_of(images)
    files = micrograph_files(folder)
    labels = read_labels(folder.parent / "labels.csv")
    cells = {name: read_cell(folder.parent / "Annotations" / f"{path.stem}.xml") for name, path in files.items()}
    names = [
        f"{subset}/{label}/{path.name}"
        for subset in SUBSETS
        for label in CLASSES
        for path in sorted(images_in(images / subset / label))
    ]
    with progress_bar() as progress, ThreadPoolExecutor(workers) as pool:
        task = progress.add_task("reading photographs", total=len(files))
        photographs = dict(zip(files, pool.map(open_micrograph, files.values()), strict=True))
        progress.update(task, description="comparing photographs", total=len(files))
        pairs, group = _field_groups(photographs, workers, lambda: progress.advance(task))
        atlas = Atlas(photographs, pool)
        task = progress.add_task("placing images", total=len(names))
        rows = in_threads(
            lambda name: _place(name, images, atlas, cells, group), names, workers, lambda: progress.advance(task)
        )
    subsets = official_subsets(labels, files)
    micrographs = {
        name: MicrographRow(
            name,
            hashlib.sha256(path.read_bytes()).hexdigest(),
            labels.get(name, ""),
            subsets.get(name, ""),
            group[name],
            *_box(cells[name]),
        )
        for name, path in files.items()
    }
    return Lineage({row.file: row for row in rows}, micrographs, pairs)


def _field_groups(
    photographs: Mapping[str, Pixels], workers: int, seen: Callable[[], None]
) -> tuple[list[FieldPair], Mapping[str, str]]:
    from bloodcell.studies.lineage import overlaps as fields

    names = list(photographs)
    found = fields.overlaps(list(photographs.values()), workers, seen)
    pairs = [
        # Compared at half size: twice the shift.
        FieldPair(names[one.first], names[one.second], 2 * one.x, 2 * one.y, *one[4:])
        for one in found
    ]
    return pairs, groups(names, [(pair.first, pair.second) for pair in pairs])


def _place(
    name: str, images: Path, atlas: "Atlas", cells: Mapping[str, Cell | None], group: Mapping[str, str]
) -> ImageRow:
    found = atlas.place(_decode(images / name))  # which opens no pipe
    content = (images / name).read_bytes()
    subset, label, _ = name.split("/")
    cell = cells[found.name] if found.name else None
    return ImageRow(
        name,
        hashlib.sha256(content).hexdigest(),
        label,
        subset,
        found.name,
        group.get(found.name, ""),
        found.fit.inliers,
        found.runner_up,
        round(found.fit.correlation, 4),
        *(_where(cell, found.fit) if cell else (NOWHERE, NOWHERE, NOWHERE)),
    )


def _decode(path: Path) -> Pixels:
    return np.asarray(open_picture(path))


def _box(cell: Cell | None) -> tuple[float, float, float, float]:
    return (cell.x, cell.y, cell.width, cell.height) if cell else (NOWHERE,) * 4


def _where(cell: Cell, fit: "Fit") -> tuple[float, float, float]:
    """Centre of a white cell in a copy, and the share of it inside the frame."""
    import cv2

    from bloodcell.studies.lineage.registration import point_in_copy

    height, width = COPY_SIZE
    turn = np.linspace(0, 2 * np.pi, 64, endpoint=False)
    outline = np.stack([cell.x + cell.width / 2 * np.cos(turn), cell.y + cell.height / 2 * np.sin(turn)], axis=1)
    there = point_in_copy(fit, outline, width).astype(np.float32)
    frame = np.array([(0, 0), (width, 0), (width, height), (0, height)], np.float32)
    inside, _ = cv2.intersectConvexConvex(there, frame)
    x, y = there.mean(axis=0)
    return round(float(x), 1), round(float(y), 1), round(float(inside / cv2.contourArea(there)), 4)
