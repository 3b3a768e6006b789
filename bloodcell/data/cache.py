"""Decoded pixels on disk: made once, mapped by every process that needs them, and never half made."""

import errno
import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import PIL
import torch
from filelock import FileLock, Timeout
from torch import Tensor

from bloodcell.common.console import counted
from bloodcell.common.env import cache_dir
from bloodcell.common.errors import InputError
from bloodcell.common.files import replacing
from bloodcell.data.index import Index
from bloodcell.data.pixels import Decoder

# To be raised when what is written changes.
FORMAT = 2


def mapped(decoder: Decoder) -> Tensor:
    """Map the pixels of all rows from the cache, which is filled first if it does not hold them.

    An entry is found by the bytes of the images, their order, the size, the mask and the crop, and by the versions of
    the libraries that decode: wherever the images lie, the same pixels are kept once; another image is another entry.

    Args:
        decoder: Makes the pixels.

    Returns:
        uint8, shape (images, 3, height, width). The memory is the file's: it is shared with other processes that
        map it, and read when it is used.

    Raises:
        InputError: If an image cannot be decoded, or the cache cannot be written.
    """
    path = cache_dir() / "pixels" / f"{_key(decoder)}.npy"
    found = _open(path, decoder.shape)
    if found is not None:
        return found
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _alone(path):
            found = _open(path, decoder.shape)  # by another process, while this one waited
            if found is None:
                _fill(path, decoder)
                found = _open(path, decoder.shape)
    except (OSError, NotImplementedError) as error:  # the latter where a file system has no locks
        raise _refused(path.parent, error) from error
    assert found is not None
    return found


def _key(decoder: Decoder) -> str:
    index, digests = decoder.index, decoder.index.digests
    made_by = f"format {FORMAT}, pillow {PIL.__version__}, torch {torch.__version__}"
    key = hashlib.sha256(f"{made_by}, {decoder.image_size}, {decoder.mask}{decoder.crop or ''}\n".encode())
    for row, name in enumerate(index.file):
        # A mask depends on the name of the file and the place of the cell, a crop on that place alone.
        hidden = f" {name}" if decoder.mask else ""
        cell = f" {index.cell[row].tolist()}" if decoder.mask or decoder.crop else ""
        key.update(f"{digests[name]} {index.view[row] == 'original'}{hidden}{cell}\n".encode())
    return key.hexdigest()[:32]


def _open(path: Path, shape: tuple[int, ...]) -> Tensor | None:
    """Map a file; ``None`` if it is not there or not whole."""
    try:
        # Copy on write: torch has no tensors that cannot be written to; the file stays as it is.
        pixels = np.load(path, mmap_mode="c", allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    return torch.from_numpy(pixels) if pixels.shape == shape and pixels.dtype == np.uint8 else None


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Hold the lock of an entry; say so while another process holds it. It is let go of when a process dies."""
    lock = FileLock(f"{path}.lock")
    try:
        lock.acquire(timeout=0.5)
    except Timeout:
        print("waiting for another process that decodes the same images", flush=True)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _fill(path: Path, decoder: Decoder) -> None:
    for left in path.parent.glob(f".{path.name}.*"):  # by a process that was killed: nobody else holds the lock
        left.unlink()
    size = int(np.prod(decoder.shape))
    if shutil.disk_usage(path.parent).free < size:
        raise OSError(errno.ENOSPC, f"room for less than {size / 1e6:,.0f} MB")
    with replacing(path) as file:
        header = {"descr": "|u1", "fortran_order": False, "shape": decoder.shape}
        np.lib.format.write_array_header_1_0(file, header)
        for block in decoder.blocks():
            # Written, not mapped: a full disk is then an error to be told, not a signal that kills the process.
            file.write(block.numpy().data)
        _check_unchanged(decoder.index)
        file.flush()
        os.fsync(file.fileno())  # or a machine that stops may leave holes under the final name


def _check_unchanged(index: Index) -> None:
    """Refuse pixels of images that were written to meanwhile: the entry would be theirs under the key of others."""
    before, now = index.digests, index.digests_now()
    changed = [name for name in before if before[name] != now[name]]
    if changed:
        raise InputError(
            str(index.root / changed[0]),
            expected="images that stay as they are while they are read",
            got=f"{counted(len(changed), 'image')} changed meanwhile",
            fix="run it again when nothing writes there",
        )


def _refused(folder: Path, error: Exception) -> InputError:
    return InputError(
        str(folder),
        expected="a folder for decoded pixels that can be written to",
        got=getattr(error, "strerror", None) or str(error) or type(error).__name__,
        fix="set BLOODCELL_CACHE=/another/folder, or data.cache=ram to keep them in memory",
    )
