"""TODO studies/lineage/summary.py."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from bloodcell.common.errors import InputError
from bloodcell.data.fingerprint import digests
from bloodcell.data.kaggle import originals_of
from bloodcell.data.lineage_table import (
    SHIPPED,
    FieldPair,
    Lineage,
    MicrographRow,
    across_split,
    check_hashes,
    conflicts,
    read_lineage,
)
from bloodcell.data.micrographs import micrograph_files, open_micrograph
from bloodcell.evidence.figures import VAL_COLOUR


def overlap_sheet(
    pictures: Sequence[tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]],
    shifts: Sequence[tuple[int, int]],
    captions: Sequence[Sequence[str]],
    titles: Sequence[str],
) -> Figure:
    """Pairs of photographs side by side, two pairs to a row, with a frame around the part that both show.

    Args:
        pictures: uint8, shape (H, W, 3) each; may be empty.
        shifts: A point at (x, y) in the second is at (x, y) + shift in the first, in pixels.
        captions: One for each picture of a pair.
        titles: One per pair.

    Returns:
        The figure.
    """
    columns = 4
    rows = max(1, -(-len(pictures) // 2))
    figure = Figure(figsize=(1.9 * columns, 1.75 * rows + 0.2), layout="constrained")
    FigureCanvasAgg(figure)
    for number, (pair, (x, y), words, title) in enumerate(zip(pictures, shifts, captions, titles, strict=True)):
        for side, (picture, sign) in enumerate(zip(pair, (1, -1), strict=True)):
            axes = figure.add_subplot(rows, columns, 2 * number + side + 1)
            axes.imshow(picture)
            axes.set_axis_off()
            height, width = picture.shape[:2]
            corner = (max(sign * x, 0), max(sign * y, 0))
            size = (width - abs(x), height - abs(y))
            axes.add_patch(Rectangle(corner, *size, fill=False, edgecolor=VAL_COLOUR, lw=1.5))
            axes.set_title(f"{words[side]}\n{title if side == 0 else ' '}", fontsize=5.5)
    return figure


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
    from bloodcell.evidence.figures import save
    from bloodcell.studies.lineage.summary import overlap_sheet

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
