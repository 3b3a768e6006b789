"""Pictures of the photographs that overlap."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from bloodcell.data.lineage_table import Lineage, MicrographRow, across_split, conflicts
from bloodcell.data.micrographs import micrograph_files, open_micrograph
from bloodcell.evidence.figures import VAL_COLOUR, save


def write_pictures(lineage: Lineage, originals: Path, out: Path) -> None:
    """Draw the pairs of photographs that overlap: all, those across the split, those with two labels."""
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


def overlap_sheet(
    pictures: Sequence[tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]],
    shifts: Sequence[tuple[int, int]],
    captions: Sequence[Sequence[str]],
    titles: Sequence[str],
) -> Figure:
    """Draw pairs of photographs side by side, two pairs to a row, with a frame around the part that both show.

    Args:
        pictures: uint8, shape (H, W, 3) each; may be empty.
        shifts: A point at (x, y) in the second is at (x, y) + shift in the first, in pixels.
        captions: One for each picture of a pair.
        titles: One for each pair.

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


def _caption(row: MicrographRow) -> str:
    return f"{row.micrograph} {(row.label or 'no label').lower()}{', ' + row.subset if row.subset else ''}"
