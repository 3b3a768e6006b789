"""Cut out the picture around a white cell, at the scale that it was photographed at."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from bloodcell.data.crops.finder import FINDER_VERSION, FoundCell, find_cells
from bloodcell.data.micrographs import Pixels

# Shorter side of the photographs, in whose pixels the side of a crop is given.
PHOTOGRAPH = 480
# What is taken for a crop of one cell already, chosen on every second photograph (results/finder has the rest): a cell
# spans about 0.4 of the shorter side of a field, and 0.65 of a crop of 280 pixels.
SQUARE = 0.9  # its shorter side, as a share of the longer one
MIDDLE = 0.1  # how far from its middle the cell lies at most, as a share of its shorter side
FILLS = 0.4  # longer side of the cell's box at least, likewise
Centre = Literal["found", "annotated"]


@dataclass(frozen=True)
class Crop:
    """How the crops of a data set are cut.

    Attributes:
        centre: Around the cell that the finder finds, or around the annotator's (else the one found).
        side: Of the square, in pixels of a 640x480 photograph; in proportion where the shorter side is not 480.
        field_side: Shorter side to take for that of all images; ``None`` for that of each.
    """

    centre: Centre
    side: int
    field_side: int | None = None

    def __str__(self) -> str:
        """Say all that a crop depends on, beside its image and the annotated place."""
        return f"crop {self.side} px around the {self.centre} cell, finder {FINDER_VERSION}"

    def cut(self, image: Pixels, cell: Sequence[float]) -> Pixels:
        """Cut the crop of an image.

        Where several cells are found it shows the one with the largest nucleus, where none is the middle of the field.

        Args:
            image: RGB, uint8, shape (H, W, 3).
            cell: The annotated centre as shares of width and height; NaN if there is none.
        """
        return crop_cell(image, self.place(image, cell), self.side_in(image))

    def place(self, image: Pixels, cell: Sequence[float]) -> Sequence[float]:
        """Find the box around whose centre :meth:`cut` cuts: left, top, right and bottom in pixels."""
        height, width = image.shape[:2]
        x, y = cell[0] * width, cell[1] * height
        if self.centre == "found" or np.isnan((x, y)).any():
            found = find_cells(image)
            return found[0][:4] if found else (0, 0, width, height)
        return (x, y, x, y)

    def side_in(self, image: Pixels) -> int:
        """Side of a crop in the pixels of an image."""
        return max(1, round(self.side * (self.field_side or min(image.shape[:2])) / PHOTOGRAPH))


def crop_cell(image: Pixels, box: Sequence[float], side: int) -> Pixels:
    """Cut out a square around a cell; what lies outside of the frame is filled with the field's background.

    Mirroring the frame there instead would show a second cell where one is cut by it.

    Args:
        image: RGB, uint8, shape (H, W, 3).
        box: Left, top, right and bottom of the cell, in pixels; anything after them (a score) is not looked at.
        side: Of the square in pixels of the image: a crop is never scaled.

    Returns:
        RGB, uint8, shape (side, side, 3); the centre of the box is in the middle.
    """
    height, width = image.shape[:2]
    left, top = round((box[0] + box[2] - side) / 2), round((box[1] + box[3] - side) / 2)
    crop = np.empty((side, side, 3), np.uint8)
    crop[:] = background_of(image)
    x, y = max(left, 0), max(top, 0)
    part = image[y : max(min(top + side, height), y), x : max(min(left + side, width), x)]
    crop[y - top : y - top + part.shape[0], x - left : x - left + part.shape[1]] = part
    return crop


def is_crop(image: Pixels, found: Sequence[FoundCell]) -> bool:
    """Tell whether a picture is a crop of one cell already: about square, and filled by a cell in its middle.

    Args:
        image: RGB, uint8, shape (H, W, 3).
        found: What :func:`find_cells` finds in it: the cell with the largest nucleus is looked at.
    """
    height, width = image.shape[:2]
    side = min(height, width)
    if not found or side < SQUARE * max(height, width):
        return False
    left, top, right, bottom = found[0][:4]
    away = max(abs(left + right - width), abs(top + bottom - height)) / 2
    return bool(away <= MIDDLE * side and max(right - left, bottom - top) >= FILLS * side)


def background_of(image: Pixels) -> Pixels:
    """Colour of the empty slide: the median of the brightest fifth of a field, uint8, shape (3,)."""
    some = image[::4, ::4].reshape(-1, 3)
    brightness = some.sum(axis=1)
    return np.asarray(np.median(some[brightness >= np.percentile(brightness, 80)], axis=0), np.uint8)
