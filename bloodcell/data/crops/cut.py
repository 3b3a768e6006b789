"""Cut out the picture around a white cell, at the scale that it was photographed at."""

from collections.abc import Sequence

import numpy as np

from bloodcell.data.micrographs import Pixels


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


def background_of(image: Pixels) -> Pixels:
    """Colour of the empty slide: the median of the brightest fifth of a field, uint8, shape (3,)."""
    some = image[::4, ::4].reshape(-1, 3)
    brightness = some.sum(axis=1)
    return np.asarray(np.median(some[brightness >= np.percentile(brightness, 80)], axis=0), np.uint8)
