"""A look at every file of an index: what it is, what its border looks like, whether it can be decoded at all."""

import hashlib
import io
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import imagehash
import numpy as np
import numpy.typing as npt
from PIL import Image

from bloodcell.data.colours import colour_histogram
from bloodcell.data.decode import decoded, opened_file, reason
from bloodcell.data.index import Index, IntArray

# Width of the border whose colour is looked at, as a share of the shorter side.
BORDER = 0.02
# All that flips and quarter turns can make of a picture.
TURNS = (None, *Image.Transpose)


class Look(NamedTuple):
    """What one file is.

    Attributes:
        sha256: Of its bytes, hexadecimal.
        size: Bytes.
        error: Why it cannot be decoded; ``""`` if it can. Everything below is then empty.
        shape: Width and height in pixels.
        mode: Pillow's name of the pixel format, as ``RGB``.
        border: Mean colour of the border, RGB, 0 to 255.
        hashes: Perceptual hash of each of the eight flips and quarter turns, uint64, shape (8,).
        histogram: :func:`bloodcell.data.colours.colour_histogram` as float16.
    """

    sha256: str
    size: int
    error: str
    shape: tuple[int, int] = (0, 0)
    mode: str = ""
    border: tuple[float, float, float] = (0.0, 0.0, 0.0)
    hashes: npt.NDArray[np.uint64] = np.zeros(8, np.uint64)
    histogram: npt.NDArray[np.float16] = np.zeros(0, np.float16)


def inspect(index: Index, rows: IntArray, workers: int, seen: Callable[[], None]) -> list[Look]:
    """Look at some files of an index; a broken one is a finding, not an error.

    Args:
        index: The table of images.
        rows: Which of them.
        workers: Threads; the decoder releases Python's lock.
        seen: Called after each file.

    Returns:
        One look per row.
    """
    found = []
    with ThreadPoolExecutor(workers) as pool:
        for look in pool.map(lambda row: _look(index.where(row)), rows.tolist()):
            found.append(look)
            seen()
    return found


def _look(path: Path) -> Look:
    try:
        with opened_file(path) as file:
            content = file.read()
    except (OSError, ValueError) as error:
        return Look("", 0, getattr(error, "strerror", None) or str(error))
    digest = hashlib.sha256(content).hexdigest()
    try:
        with decoded(io.BytesIO(content)) as (rgb, mode):
            pixels = np.asarray(rgb)
            colours = colour_histogram(pixels).astype(np.float16)  # of 12,000 images: 100 MB instead of 200
            return Look(digest, len(content), "", rgb.size, mode, _border(pixels), _hashes(rgb), colours)
    except Exception as error:  # decoders raise what they like, and it is what an audit is for
        return Look(digest, len(content), reason(error, path) if content else "an empty file")


def _border(pixels: npt.NDArray[np.uint8]) -> tuple[float, float, float]:
    width = max(1, round(BORDER * min(pixels.shape[:2])))
    inner = np.ones(pixels.shape[:2], bool)
    inner[width:-width, width:-width] = False
    red, green, blue = pixels[inner].mean(axis=0)
    return float(red), float(green), float(blue)


def _hashes(image: Image.Image) -> npt.NDArray[np.uint64]:
    """Perceptual hashes (DCT of 32x32 grey values) of a small copy, turned and flipped."""
    small = image.convert("L").resize((64, 64), Image.Resampling.BOX)
    bits = [imagehash.phash(small if turn is None else small.transpose(turn)).hash.ravel() for turn in TURNS]
    return np.packbits(np.stack(bits), axis=1).view(">u8").astype(np.uint64).ravel()
