"""Pixels: from files to bytes of one size."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor
from torchvision.datasets.folder import default_loader
from torchvision.transforms.v2 import functional as F

from bloodcell.common.console import progress_bar
from bloodcell.common.errors import InputError
from bloodcell.data.index import Index
from bloodcell.data.masks import Mask, mask_image
from bloodcell.data.micrographs import as_copy

# Images that are decoded before they are handed on: keeps all threads busy and takes little memory.
BLOCK = 512


@dataclass(frozen=True)
class Decoder:
    """Turns rows of an index into pixels.

    Attributes:
        index: The table of images.
        image_size: Height and width to resize to, in pixels (the frame is squeezed, not cropped).
        mask: What to hide of every image, or ``None``.
        workers: Threads; the decoder releases Python's lock.
    """

    index: Index
    image_size: tuple[int, int]
    mask: Mask | None
    workers: int

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
        picture = F.pil_to_tensor(open_row(self.index, row))
        pixels: Tensor = F.resize(picture, list(self.image_size), antialias=True)
        if self.mask is not None:
            mask_image(pixels, self.index, row, self.mask)
        return pixels


def open_row(index: Index, row: int) -> Image.Image:
    """Open one image of an index, RGB; an original micrograph is reduced as the published copies were.

    Raises:
        InputError: If it cannot be decoded.
    """
    image = _open(index.where(row))
    return as_copy(image) if index.view[row] == "original" else image


def _open(path: Path) -> Image.Image:
    try:
        image = default_loader(str(path))
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise InputError(
            str(path),
            expected="an image that can be decoded",
            got=f"{type(error).__name__}: {error}".replace(str(path), path.name),
            fix="replace or remove the file",
        ) from error
    assert isinstance(image, Image.Image)
    return image
