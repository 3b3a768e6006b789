"""Decoded pixels, kept as bytes in memory so that an epoch never decodes a file twice."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch
from PIL import Image, UnidentifiedImageError
from rich.progress import track
from torch import Tensor
from torchvision.datasets.folder import default_loader
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as F

from bloodcell.data.index import Index
from bloodcell.data.micrographs import as_copy
from bloodcell.errors import InputError


def decode_all(index: Index, image_size: Sequence[int], workers: int) -> Tensor:
    """Decode and resize every image of an index.

    Args:
        index: The table of images.
        image_size: Height and width to resize to, in pixels (the frame is squeezed, not cropped).
        workers: Threads; the decoder releases Python's lock.

    Returns:
        Pixels, uint8, shape (images, 3, height, width), in the order of the index.

    Raises:
        InputError: Naming the first file that cannot be decoded.
    """
    height, width = image_size
    pixels = torch.empty(len(index), 3, height, width, dtype=torch.uint8)
    resize = v2.Resize((height, width), antialias=True)

    def decode(row: int) -> None:
        pixels[row] = resize(F.pil_to_tensor(open_row(index, row)))

    with ThreadPoolExecutor(workers) as pool:
        jobs = pool.map(decode, range(len(index)))
        try:
            for _ in track(jobs, description="decoding images", total=len(index), transient=True):
                pass
        except InputError:
            pool.shutdown(cancel_futures=True)
            raise
    return pixels


def open_row(index: Index, row: int) -> Image.Image:
    """Open one image of an index, RGB; an original micrograph is reduced as the published copies were.

    Raises:
        InputError: If it cannot be decoded.
    """
    image = _open(index.path(row))
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
