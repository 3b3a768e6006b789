"""TODO studies/lineage/recover.py."""

import hashlib
import math
import sys
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, UnidentifiedImageError

from bloodcell.common.console import progress_bar
from bloodcell.common.errors import InputError
from bloodcell.common.files import write_json
from bloodcell.data.fingerprint import fingerprint_of
from bloodcell.data.groups import groups
from bloodcell.data.kaggle import CLASSES, KAGGLE, SUBSETS, count_images, find_images, images_in, locate, originals_of
from bloodcell.data.lineage_table import FieldPair, ImageRow, Lineage, MicrographRow, write_lineage
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
from bloodcell.studies.lineage.summary import _print, summary, write_pictures
from bloodcell.tracking.manifest import manifest, now

if TYPE_CHECKING:
    from bloodcell.studies.lineage.registration import Atlas, Fit


NOWHERE = math.nan


def recover(images: Path, workers: int) -> Lineage:
    """Recover the three tables from the pixels.

    Args:
        images: The folder that holds ``TRAIN`` and ``TEST``; the micrographs stand beside it as Kaggle has them.
        workers: Threads.

    Returns:
        The lineage; images that cannot be placed with confidence have no micrograph.

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
        task = progress.add_task("reading micrographs", total=len(files))
        photographs = dict(zip(files, pool.map(open_micrograph, files.values()), strict=True))
        progress.update(task, description="comparing micrographs", total=len(files))
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
        FieldPair(names[one.first], names[one.second], 2 * one.x, 2 * one.y, one.share, one.correlation, one.votes)
        for one in found
    ]
    return pairs, groups(names, [(pair.first, pair.second) for pair in pairs])


def _place(
    name: str, images: Path, atlas: "Atlas", cells: Mapping[str, Cell | None], group: Mapping[str, str]
) -> ImageRow:
    content = (images / name).read_bytes()
    found = atlas.place(_decode(images / name))
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
    try:
        with Image.open(path) as image:
            return np.asarray(image.convert("RGB"))
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError) as error:
        raise InputError(
            str(path), expected="an image that can be decoded", got=type(error).__name__, fix="get the set again"
        ) from error


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


def _recover_and_write(root: str | None, out: Path, workers: int) -> None:
    import resource

    begun, started = now(), time.perf_counter()
    images = _images(root)
    if find_spec("cv2") is None:
        raise InputError(
            "python -m bloodcell.lineage", expected="OpenCV", got="none", fix="pip install opencv-python-headless"
        )
    count_images(images, KAGGLE, str(images))
    lineage = recover(images, workers)
    took = time.perf_counter() - started
    write_lineage(lineage, out)
    write_pictures(lineage, originals_of(images), out)
    said = summary(lineage)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    cost = {"started": begun, "wall_seconds": round(took), "threads": workers, "peak_memory_bytes": memory}
    write_json(out / "lineage.json", said)
    write_json(out / "manifest.json", {**manifest({}, {"fingerprint": _fingerprint(lineage)}), **cost})
    _print(said)
    print(f"took {took:.0f} s on {workers} threads, {memory / 1e9:.2f} GB")
    print(f"tables: {out}")


def _fingerprint(lineage: Lineage) -> str:
    return fingerprint_of({row.file: row.sha256 for row in lineage.images.values()})


def _images(root: str | None) -> Path:
    found = locate(root)
    if found is None:
        raise InputError(
            "ROOT", expected="the Kaggle set, given or in BLOODCELL_DATA", got="none", fix="type `make data`"
        )
    return find_images(found)
