"""How wide red cells are in the pixels of a set: what brings cells of different microscopes to one scale."""

from collections.abc import Iterable

import numpy as np
from scipy import ndimage

from bloodcell.common.errors import InputError
from bloodcell.data.crops.finder import NUCLEUS, purple_of
from bloodcell.data.micrographs import Pixels

# What is taken for one whole red cell: it touches no frame, holds no nucleus, and its box is about filled and square.
SMALLEST = 300  # area in pixels
LONGEST = 1.3  # longer by shorter side of the box
FILLED = 0.7  # share of the box; a disc fills 0.79
DENSITY = 0.04, 0.12  # optical density of green above which is a cell: between these, where Otsu's threshold lies
ENOUGH, FEWEST = 300, 20


def red_cell_width(images: Iterable[Pixels], name: str) -> float:
    """Measure how wide red cells are, as the median over those that lie alone.

    Args:
        images: RGB, uint8, shape (H, W, 3); no more are taken than it needs.
        name: Of the set, for the message.

    Returns:
        Diameter of the disc of their area, in pixels.

    Raises:
        InputError: If too few lie alone.
    """
    widths: list[float] = []
    for image in images:
        widths += _widths(image)
        if len(widths) >= ENOUGH:
            break
    if len(widths) < FEWEST:
        raise InputError(
            f"--set {name}",
            expected=f"{FEWEST} or more red cells that lie alone, to know its scale",
            got=str(len(widths)),
            fix=f"say how wide they are in pixels: --red-cell {name}=90",
        )
    return float(np.median(widths))


def _widths(image: Pixels) -> list[float]:
    background = np.percentile(image.reshape(-1, 3), 90, axis=0)
    green = np.log10(np.maximum(background[1], 1) / np.maximum(image[..., 1].astype(np.float32), 1))
    green = ndimage.gaussian_filter(green, 1)
    cells = ndimage.binary_fill_holes(green > np.clip(_otsu(green), *DENSITY))
    nuclei = ndimage.gaussian_filter(purple_of(image), 1) > NUCLEUS
    labels, _ = ndimage.label(cells)
    found = []
    for number, box in enumerate(ndimage.find_objects(labels), 1):
        height, width = (side.stop - side.start for side in box)
        inside = all(side.start > 0 and side.stop < end for side, end in zip(box, cells.shape, strict=True))
        cell = labels[box] == number
        area = int(cell.sum())
        alone = inside and max(height, width) <= LONGEST * min(height, width) and area >= FILLED * height * width
        if alone and area >= SMALLEST and not (nuclei[box] & cell).sum() > 0.02 * area:
            found.append(2 * float(np.sqrt(area / np.pi)))
    return found


def _otsu(values: np.ndarray) -> float:
    """The threshold that sets two kinds of values most apart (Otsu 1979)."""
    counts, edges = np.histogram(values, 128)
    middles = (edges[1:] + edges[:-1]) / 2
    below, sums = np.cumsum(counts), np.cumsum(counts * middles)
    above = below[-1] - below
    gap = sums / np.maximum(below, 1) - (sums[-1] - sums) / np.maximum(above, 1)
    return float(middles[np.argmax(below * above * gap**2)])
