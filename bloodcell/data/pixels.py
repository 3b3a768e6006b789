"""Pixels: from files to bytes of one size."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from bloodcell.common.console import counted, progress_bar
from bloodcell.common.errors import InputError
from bloodcell.data.crops.cut import PHOTOGRAPH, Crop
from bloodcell.data.decode import opened
from bloodcell.data.index import Index
from bloodcell.data.masks import RADIUS, Mask, hide_middle, mask_image
from bloodcell.data.micrographs import as_copy, brightened
from bloodcell.data.scaling import squeezed

# Images that are decoded before they are handed on: keeps all threads busy and takes little memory.
BLOCK = 512
# Pictures whose darkest and brightest values lie less apart, of 255, show next to nothing.
FAINT = 32


@dataclass(frozen=True)
class Decoder:
    """Turns rows of an index into pixels.

    Attributes:
        index: The table of images.
        image_size: Height and width to resize to, in pixels (the frame is squeezed, not cropped).
        mask: What to hide of every image, or ``None``.
        workers: Threads; the decoder releases Python's lock.
        crop: How to cut the cell out before; ``None`` for the whole field.
    """

    index: Index
    image_size: tuple[int, int]
    mask: Mask | None
    workers: int
    crop: Crop | None = None

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Shape of the pixels of all rows."""
        return (len(self.index), 3, *self.image_size)

    def __getitem__(self, rows: Tensor) -> Tensor:
        """Decode some rows: stands in for a tensor with all pixels where these are not kept.

        Args:
            rows: Rows of the index, int64, shape (N,).

        Returns:
            Pixels, uint8, shape (N, 3, height, width).

        Raises:
            InputError: Naming a file that cannot be decoded.
        """
        with ThreadPoolExecutor(self.workers) as pool:
            return self._together(pool, rows.tolist())

    def blocks(self) -> Iterator[Tensor]:
        """Decode all rows in order, a block at a time, with a progress bar.

        Raises:
            InputError: Naming the first file that cannot be decoded.
        """
        rows = range(len(self.index))
        with ThreadPoolExecutor(self.workers) as pool, progress_bar() as progress:
            task = progress.add_task("decoding images", total=len(rows))
            for first in rows[::BLOCK]:
                block = rows[first : first + BLOCK]
                yield self._together(pool, block)
                progress.advance(task, len(block))

    def all(self) -> Tensor:
        """Decode all rows into memory."""
        pixels = torch.empty(self.shape, dtype=torch.uint8)
        done = 0
        for block in self.blocks():
            pixels[done : done + len(block)] = block
            done += len(block)
        return pixels

    def _together(self, pool: ThreadPoolExecutor, rows: Sequence[int]) -> Tensor:
        # Put together here and not by the threads: inference mode, which a caller may be in, is each thread's own.
        return torch.stack(list(pool.map(self._decode, rows)))

    def _decode(self, row: int) -> Tensor:
        with self._picture(row) as image:
            pixels = squeezed(image, self.image_size)
        if self.mask is not None and self.crop is not None:
            hide_middle(pixels, RADIUS * PHOTOGRAPH / self.crop.side)
        elif self.mask is not None:
            mask_image(pixels, self.index, row, self.mask)
        return pixels

    @contextmanager
    def _picture(self, row: int) -> Iterator[Image.Image]:
        """Open what a net is to see of an image; for a crop, a photograph is not reduced before."""
        if self.crop is None:
            with row_opened(self.index, row) as image:
                yield image
            return
        with opened(self.index.where(row)) as image:
            field = np.asarray(brightened(image) if self.index.view[row] == "original" else image)
        yield Image.fromarray(self.crop.cut(field, self.index.cell[row].tolist()))


def faint_pictures(pixels: Tensor | Decoder, index: Index) -> str:
    """Look for a picture that shows something; the first one mostly does.

    Args:
        pixels: Of all rows of the index, uint8, shape (N, 3, H, W), N at least 1.
        index: The table of images.

    Returns:
        What is to be said if none does; empty otherwise.

    Raises:
        InputError: If all pixels of all pictures are the same.
    """
    lows: list[Tensor] = []
    highs: list[Tensor] = []
    start = 0
    while start < len(index):
        part = pixels[torch.arange(start, min(2 * start + 1, start + BLOCK, len(index)))]
        low, high = part.amin(dim=(2, 3)), part.amax(dim=(2, 3))
        if int((high - low).max()) >= FAINT:
            return ""
        lows.append(low.amin(dim=0))
        highs.append(high.amax(dim=0))
        start += len(part)
    if torch.equal(torch.stack(lows).amin(dim=0), torch.stack(highs).amax(dim=0)):
        raise InputError(
            f"data.root={index.root}",
            expected="pictures that show something",
            got=f"{counted(len(index), 'picture')} of one and the same colour",
            fix="look at the files: were they exported right?",
        )
    return (
        f"no picture shows much: in each, the darkest and the brightest value lie less than {FAINT} of 255 apart "
        "(12 bits that were stored as 16 without scaling look like that)"
    )


@contextmanager
def row_opened(index: Index, row: int) -> Iterator[Image.Image]:
    """Open one image of an index, RGB; an original micrograph is reduced as the published copies were.

    Raises:
        InputError: If it cannot be decoded.
    """
    with opened(index.where(row)) as image:
        yield as_copy(image) if index.view[row] == "original" else image


def open_row(index: Index, row: int) -> Image.Image:
    """Open one image as :func:`row_opened` does, for whoever keeps it."""
    with row_opened(index, row) as image:
        return image
