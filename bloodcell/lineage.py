"""Recover which photograph each published image was made from: ``python -m bloodcell.lineage [ROOT]``."""

import argparse
import hashlib
import math
import os
import sys
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, UnidentifiedImageError

from bloodcell.cli import run_command
from bloodcell.data.download import CLASSES, KAGGLE, SUBSETS, count_images, find_images, images_in, locate, originals_of
from bloodcell.data.fingerprint import digests, fingerprint_of, progress_bar
from bloodcell.data.groups import groups
from bloodcell.data.lineage import (
    SHIPPED,
    FieldPair,
    ImageRow,
    Lineage,
    MicrographRow,
    across_split,
    check_hashes,
    conflicts,
    read_lineage,
    write_lineage,
)
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
from bloodcell.errors import InputError
from bloodcell.files import write_json
from bloodcell.rundir import manifest, now

if TYPE_CHECKING:  # OpenCV is an extra: --check and --help must not need it
    from bloodcell.data.registration import Atlas, Fit

HELP = """\
Registers every image of dataset2-master to the 367 micrographs of dataset-master with SIFT and RANSAC, among all of
them and whatever the class or the split, and finds the micrographs that overlap. A few minutes on two cores.

  python -m bloodcell.lineage --check                 compare the images with the shipped table, by SHA-256
  python -m bloodcell.lineage                         recover the table again, into runs/lineage
  python -m bloodcell.lineage /data/blood-cells --out bloodcell/data   another copy; into the package

Write the tables elsewhere and train with data.lineage=FOLDER to use them for another copy of the set.
"""
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
    from bloodcell.data.registration import Atlas, in_threads

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
    from bloodcell.data import fields

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

    from bloodcell.data.registration import point_in_copy

    height, width = COPY_SIZE
    turn = np.linspace(0, 2 * np.pi, 64, endpoint=False)
    outline = np.stack([cell.x + cell.width / 2 * np.cos(turn), cell.y + cell.height / 2 * np.sin(turn)], axis=1)
    there = point_in_copy(fit, outline, width).astype(np.float32)
    frame = np.array([(0, 0), (width, 0), (width, height), (0, height)], np.float32)
    inside, _ = cv2.intersectConvexConvex(there, frame)
    x, y = there.mean(axis=0)
    return round(float(x), 1), round(float(y), 1), round(float(inside / cv2.contourArea(there)), 4)


def summary(lineage: Lineage) -> dict[str, object]:
    """What the recovered tables say, and how they agree with what they were not told.

    Classes and splits were not used to place an image, so that both are independent checks.
    """
    rows, published = list(lineage.images.values()), lineage.published
    placed = [row for row in rows if row.micrograph]
    label = {name: row.label for name, row in lineage.micrographs.items()}
    subset = {name: row.subset for name, row in lineage.micrographs.items()}
    simple = [row for row in placed if row.subset == "TEST_SIMPLE"]
    return {
        "images": len(rows),
        "placed": len(placed),
        "unplaced": [row.file for row in rows if not row.micrograph],
        "other class than its micrograph": [row.file for row in placed if label[row.micrograph] != row.label],
        "other side than its micrograph": [
            row.file for row in placed if subset[row.micrograph] != row.subset.removesuffix("_SIMPLE")
        ],
        "TEST_SIMPLE": {"files": len(simple), "micrographs": len({row.micrograph for row in simple})},
        "micrographs with copies": {
            side: len({row.micrograph for row in placed if row.subset == side}) for side in ("TRAIN", "TEST")
        },
        "least inliers": min(row.inliers for row in placed),
        "least correlation": min(row.correlation for row in placed),
        "white cell less than half inside": sum(row.cell_inside < 0.5 for row in rows),
        "field pairs": len(lineage.pairs),
        "groups of all micrographs": len({row.group for row in lineage.micrographs.values()}),
        "groups of micrographs with copies": len({row.group for row in published.values()}),
        "pairs across TRAIN and TEST": [_name(pair) for pair in across_split(lineage)],
        "one cell with two labels": [_name(pair) for pair in conflicts(lineage)],
    }


def _name(pair: FieldPair) -> str:
    return f"{pair.first}/{pair.second}"


def write_pictures(lineage: Lineage, originals: Path, out: Path) -> None:
    """Draw each pair with the part that both show: all of them, across the split, and with two labels."""
    from bloodcell.evidence.figures import overlap_sheet, save

    files = micrograph_files(originals)
    for name, pairs in (
        ("pairs", lineage.pairs),
        ("pairs_across_split", across_split(lineage)),
        ("pairs_with_two_labels", conflicts(lineage)),
    ):
        pictures = [(open_micrograph(files[one.first]), open_micrograph(files[one.second])) for one in pairs]
        shifts = [(one.shift_x // 2, one.shift_y // 2) for one in pairs]
        captions = [tuple(_caption(lineage.micrographs[end]) for end in (one.first, one.second)) for one in pairs]
        titles = [f"{one.overlap:.0%} shared, correlation {one.correlation:.2f}" for one in pairs]
        save(overlap_sheet(pictures, shifts, captions, titles), out / f"{name}.jpg")


def _caption(row: MicrographRow) -> str:
    return f"{row.micrograph} {(row.label or 'no label').lower()}{', ' + row.subset if row.subset else ''}"


def check(images: Path, tables: Path = SHIPPED) -> tuple[int, int]:
    """Compare the images on disk with the table, by name and SHA-256.

    Returns:
        Number of images and number of originals compared; no originals if their folder is missing.

    Raises:
        InputError: If an image is missing or another one.
    """
    lineage = read_lineage(tables)
    missing = [file for file in lineage.images if not (images / file).is_file()]
    if missing:
        raise InputError(
            str(images / missing[0]),
            expected="an image of the lineage table",
            got="no such file" + (f" ({len(missing):,} are missing)" if len(missing) > 1 else ""),
            fix="get the complete set again (`make data`)",
        )
    found = digests(lineage.images, images)
    folder = originals_of(images)
    originals: dict[str, str] = {}
    if folder.is_dir():  # training on copies does not need them, so they may be missing altogether
        originals = digests([path.name for path in micrograph_files(folder).values()], folder)
    check_hashes(found | {f"ORIGINAL/{name}": digest for name, digest in originals.items()}, lineage)
    return len(found), len(originals)


def _print(said: Mapping[str, object]) -> None:
    width = max(map(len, said))
    for name, value in said.items():
        text = (
            (f"{len(value)}: " if value else "none") + " ".join(value[:12]) if isinstance(value, list) else str(value)
        )
        print(f"{name:{width}}  {text}")


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


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(
        prog="python -m bloodcell.lineage",
        description="Recover which photograph each published image was made from, or check the shipped table.",
        epilog=HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("root", nargs="?", help="the Kaggle set (default: BLOODCELL_DATA, else the cache)")
    parser.add_argument("--check", action="store_true", help="only compare the images with the table")
    parser.add_argument("--out", type=Path, default=Path("runs/lineage"), help="folder for the tables")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="threads (default: all cores)")
    words = parser.parse_args()

    def command() -> None:
        if words.check:
            copies, originals = check(_images(words.root))
            beside = f"and {originals:,} originals" if originals else "(the originals are not there)"
            print(f"all {copies:,} images {beside} are those of the lineage tables")
            return
        _recover_and_write(words.root, words.out, words.workers)

    run_command(command)


if __name__ == "__main__":
    main()
