"""Masked pictures for control models: what can be told without the cell?"""

import hashlib
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from bloodcell.data.index import Index, IntArray

# Radius of the disc in shares of the frame's height. The widest white-cell box of the 348 micrographs measures
# 169 of 240 pixels: half of that and a little more, the same for all classes. (Shearing may stretch a copy of
# that micrograph some 7 pixels beyond the disc.)
RADIUS = 0.36
# Further discs at random places, so that a disc as such does not say where a cell is.
DECOYS = 1
GREY = 128

Mask = Literal["background", "geometry"]


def mask_image(pixels: Tensor, index: Index, row: int, kind: Mask) -> None:
    """Hide the white cell of an image behind a disc, in place.

    Args:
        pixels: uint8, shape (3, height, width).
        index: With the place of the cell, if the image is to be used.
        row: The image's row of the index.
        kind: ``background``: a grey disc over the cell and others elsewhere, the rest as it is. ``geometry``: the
            same discs, white on black: whatever is learnt from them is learnt from the places of the discs.
    """
    height, width = pixels.shape[1:]
    y, x = np.ogrid[:height, :width]
    inside = np.zeros((height, width), bool)
    for cx, cy in _centres(index, row):
        # Shares of the width are longer than shares of the height: the published frame is 4 to 3.
        inside |= (((x + 0.5) / width - cx) * 4 / 3) ** 2 + ((y + 0.5) / height - cy) ** 2 < RADIUS**2
    hidden = torch.from_numpy(inside)
    if kind == "geometry":
        pixels[:] = 255 * hidden
    else:
        pixels[:, hidden] = GREY


def hide_middle(pixels: Tensor, radius: float) -> None:
    """Hide what is in the middle of a crop behind a grey disc, in place: the cell, and of its surroundings the same.

    Args:
        pixels: uint8, shape (3, height, width).
        radius: Of the disc, in shares of the crop's side.
    """
    height, width = pixels.shape[1:]
    y, x = np.ogrid[:height, :width]
    hidden = ((x + 0.5) / width - 0.5) ** 2 + ((y + 0.5) / height - 0.5) ** 2 < radius**2
    pixels[:, torch.from_numpy(hidden)] = GREY


def located(index: Index, rows: IntArray) -> IntArray:
    """Those rows whose white cell has a known place."""
    return rows[~np.isnan(index.cell[rows]).any(axis=1)]


def _centres(index: Index, row: int) -> list[tuple[float, float]]:
    """The cell's place and the decoys'; they depend on the name of the file alone."""
    seed = int.from_bytes(hashlib.sha256(str(index.file[row]).encode()).digest()[:8], "big")
    decoys = np.random.default_rng(seed).random((DECOYS, 2))
    return [(float(one), float(other)) for one, other in [index.cell[row], *decoys]]
