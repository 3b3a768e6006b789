"""Find the white cells of a field by the colour of their nuclei; no class label has a part in it."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy import ndimage

from bloodcell.data.micrographs import Pixels

Floats = npt.NDArray[np.float32]
Bools = npt.NDArray[np.bool_]

# To be raised whenever another box may come out of the same image: crops on disk are known by it.
FINDER_VERSION = "1"

# All lengths below are pixels of a field whose shorter side is reduced to about this: a red cell is then 26 wide.
SHORT_SIDE = 120
# The values were chosen on the photographs of TRAIN that share no field group with TEST (results/finder).
NUCLEUS = 0.2  # purple of a nucleus; red cells reach about 0.05
BODY = 0.06  # purple of the palest cytoplasm
LOBES_APART = 4  # half the widest gap between the lobes of one nucleus
SMALLEST_LOBE = 40  # area of what may be a part of a nucleus
SMALLEST_NUCLEUS = 120  # area of what may be a cell; platelets and their clumps are smaller
OVERLAP = 0.05  # share of the smaller box above which two boxes hold lobes of one cell
REACH = 12  # how far cytoplasm extends beyond the nucleus at most
MARGIN = 2  # pale rim that no threshold holds
BLACK = 20  # brightest channel of what is no part of the slide: corners of rotated copies


class FoundCell(NamedTuple):
    """A white cell: its box in pixels of the image, and how sure the finder is.

    Attributes:
        left: First column.
        top: First row.
        right: Column after the last.
        bottom: Row after the last.
        score: Between 0.5 and 1; it grows with the area of the nucleus.
    """

    left: float
    top: float
    right: float
    bottom: float
    score: float


def find_cells(image: Pixels) -> list[FoundCell]:
    """Find the white cells of a field.

    Red cells absorb green and blue light alike; what the stain makes of a nucleus absorbs green and red, and lets blue
    through. So a nucleus is where the optical densities of red and green together exceed twice that of blue. Lobes
    that lie close are joined, and the box is grown over the paler cytoplasm around them.

    Args:
        image: RGB, uint8, shape (H, W, 3): a whole field at the scale of this set (a red cell about a fifth of the
            shorter side). Cells that are much smaller are taken for platelets.

    Returns:
        The cells, largest nucleus first; none if there is none. Two cells that touch may come out as one.
    """
    factor = max(1, round(min(image.shape[:2]) / SHORT_SIDE))
    purple = purple_of(np.asarray(Image.fromarray(image).reduce(factor)))
    nuclei = _nuclei(purple > NUCLEUS)
    if not nuclei:
        return []
    body = ndimage.binary_opening(purple > BODY, _disc(2)) | (purple > NUCLEUS)
    height, width = image.shape[:2]
    found = []
    for area, nucleus in nuclei:
        left, top, right, bottom = _grown(nucleus, body)
        right, bottom = min(right * factor, width), min(bottom * factor, height)
        found.append(FoundCell(left * factor, top * factor, right, bottom, area / (area + SMALLEST_NUCLEUS)))
    return found


class _Box(NamedTuple):
    left: int
    top: int
    right: int
    bottom: int

    @property
    def area(self) -> int:
        return max(0, self.right - self.left) * max(0, self.bottom - self.top)

    def meet(self, other: "_Box") -> "_Box":
        return _Box(*map(max, self[:2], other[:2]), *map(min, self[2:], other[2:]))

    def join(self, other: "_Box") -> "_Box":
        return _Box(*map(min, self[:2], other[:2]), *map(max, self[2:], other[2:]))


def purple_of(field: Pixels) -> Floats:
    """Optical density of red and green less twice that of blue, against the field's own background."""
    black = ndimage.binary_dilation(field.max(axis=2) < BLACK, iterations=2)
    seen = field[~black]
    if not len(seen):
        return np.zeros(field.shape[:2], np.float32)
    background = np.percentile(seen, 90, axis=0)
    density = np.log10(np.maximum(background, 1) / np.maximum(field, 1)).astype(np.float32)
    purple = density[..., 0] + density[..., 1] - 2 * density[..., 2]
    purple[black] = 0
    return np.asarray(ndimage.gaussian_filter(purple, 0.7), np.float32)


def _nuclei(dark: Bools) -> list[tuple[int, _Box]]:
    """Area and box of each nucleus, lobes joined, largest first."""
    # Padded, for the erosion of a closing takes what lies outside for empty and would eat a nucleus at the frame.
    inner = slice(LOBES_APART, -LOBES_APART)
    joined = ndimage.binary_closing(np.pad(dark, LOBES_APART), _disc(LOBES_APART))[inner, inner]
    labels, count = ndimage.label(joined)
    areas = np.bincount(labels[dark], minlength=count + 1)[1:]
    lobes = [
        (int(area), _Box(across.start, down.start, across.stop, down.stop))
        for area, (down, across) in zip(areas, ndimage.find_objects(labels), strict=True)
        if area >= SMALLEST_LOBE
    ]
    cells: list[tuple[int, _Box]] = []
    for area, box in sorted(lobes, reverse=True):
        for number, (larger, nucleus) in enumerate(cells):
            if nucleus.meet(box).area > OVERLAP * min(nucleus.area, box.area):
                cells[number] = (larger + area, nucleus.join(box))
                break
        else:
            cells.append((area, box))
    return sorted((one for one in cells if one[0] >= SMALLEST_NUCLEUS), reverse=True)


def _grown(nucleus: _Box, body: Bools) -> _Box:
    """The box of a nucleus and of all that is connected with it within reach."""
    height, width = body.shape
    frame = _Box(0, 0, width, height)
    left, top, right, bottom = nucleus
    window = _Box(left - REACH, top - REACH, right + REACH, bottom + REACH).meet(frame)
    labels, _ = ndimage.label(body[window.top : window.bottom, window.left : window.right])
    core = labels[top - window.top : bottom - window.top, left - window.left : right - window.left]
    down, across = np.nonzero(np.isin(labels, np.unique(core[core > 0])))
    cell = _Box(int(across.min()), int(down.min()), int(across.max()) + 1, int(down.max()) + 1)
    return _Box(
        window.left + cell.left - MARGIN,
        window.top + cell.top - MARGIN,
        window.left + cell.right + MARGIN,
        window.top + cell.bottom + MARGIN,
    ).meet(frame)


def _disc(radius: int) -> Bools:
    y, x = np.ogrid[-radius : radius + 1, -radius : radius + 1]
    return np.asarray(x * x + y * y <= radius * radius)
