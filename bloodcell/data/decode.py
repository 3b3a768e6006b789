"""One picture, from a file that anybody may have written, to RGB: shown right, or refused with the reason."""

import errno
import io
import os
import stat
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Condition
from typing import BinaryIO

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError

from bloodcell.common.errors import InputError, limit_of

# What is opened, whatever a file is called: no format that starts programs (EPS) or reads other files.
FORMATS = ("JPEG", "PNG", "TIFF", "WEBP", "BMP", "PPM")
# Names that pictures have: those of torchvision's ImageFolder, which takes as long to import as torch.
SUFFIXES = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")
# A photograph of a large camera. Pillow keeps 4 bytes a pixel, and conversions and resizing as much again several
# times: about 1 GB for one such picture.
MAX_PIXELS = 64_000_000
# Of its longer side: a resize keeps numbers for every pixel of a side.
MAX_SIDE = 32_000
# Of a file: four channels of 16 bits for each of them.
MAX_BYTES = 8 * MAX_PIXELS
# Pictures that are decoded at the same time, over all threads, have together no more pixels than the largest one
# may have. Small ones, up to a megapixel or a megabyte, need not wait.
SMALL = 1_000_000
END_OF_JPEG = b"\xff\xd9"

# Pillow would warn of pictures that are refused here anyhow.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)
# And of tags that it cannot read: a picture is shown or refused, and this is said in one line.
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")


class _Room:
    """Pixels that may be decoded at the same time."""

    def __init__(self, pixels: int) -> None:
        self.left = self.all = pixels
        self.changed = Condition()

    @contextmanager
    def __call__(self, pixels: int) -> Iterator[None]:
        if pixels <= SMALL:
            yield
            return
        with self.changed:
            self.changed.wait_for(lambda: self.left >= min(pixels, self.all))
            self.left -= pixels
        try:
            yield
        finally:
            with self.changed:
                self.left += pixels
                self.changed.notify_all()


_room = _Room(MAX_PIXELS)


def open_picture(path: Path | str) -> Image.Image:
    """Open a picture as RGB.

    Raises:
        InputError: As :func:`opened`.
    """
    with opened(Path(path)) as image:
        return image


@contextmanager
def opened(path: Path) -> Iterator[Image.Image]:
    """Open a picture as RGB, and let other large ones wait until it is no longer needed.

    Raises:
        InputError: If it is no regular file, or cannot be decoded.
    """
    try:
        with opened_file(path) as file, decoded(file) as (image, _):
            yield image
    except InputError:
        raise
    except Exception as error:  # decoders raise what they like
        raise InputError(
            str(path),
            expected="an image that can be decoded",
            got=reason(error, path),
            fix="replace or remove the file",
        ) from error


@contextmanager
def decoded(file: BinaryIO) -> Iterator[tuple[Image.Image, str]]:
    """Decode a picture to RGB, and let other large ones wait until it is no longer needed.

    Yields:
        The picture, upright, over white where it is transparent, 16 bits scaled to 8; and Pillow's name of the format
        that its pixels had. Pixels of 8 bits are as they are in the file; colour profiles are not applied.

    Raises:
        ValueError: If the picture is larger than ``MAX_PIXELS``, has several pages, ends early, or its values have no
            known range. Decoders raise other errors too.
    """
    with Image.open(file, formats=FORMATS) as image:
        width, height = image.size
        if width * height > MAX_PIXELS:
            raise ValueError(f"{width:,}x{height:,} pixels, of which at most {MAX_PIXELS:,} are read")
        if max(width, height) > MAX_SIDE:
            raise ValueError(f"{width:,}x{height:,} pixels, of which a side has at most {MAX_SIDE:,}")
        # A JPEG of several pictures (MPO) has the others for other screens; its first is the picture.
        if image.format != "MPO" and getattr(image, "is_animated", False):
            raise ValueError("a picture of several pages")
        with _room(width * height):
            mode, scaled = image.mode, _range(image)
            image.load()
            if image.format == "PNG":
                _check_sums(file)
            elif image.format in ("JPEG", "MPO"):
                _check_end(file)
            with suppress(Exception):  # of what cannot be read there is no orientation
                ImageOps.exif_transpose(image, in_place=True)
            rgb = _from_numbers(image, *scaled) if scaled else _over_white(image)
            rgb.info.clear()  # a colour profile of grey would be saved with an RGB copy
            yield rgb, mode


def reason(error: Exception, path: Path) -> str:
    """Say in a few words why a picture was refused.

    Raises:
        InputError: If it is not the picture's fault.
    """
    if isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.ENFILE) and (limit := limit_of(error)):
        raise limit from error
    if isinstance(error, UnidentifiedImageError):  # its own words name an address in memory
        return f"none of the formats that are read ({', '.join(FORMATS)})"
    if type(error) is ValueError:
        return str(error)
    return f"{type(error).__name__}: {error}".replace(str(path), path.name)[:200]


@contextmanager
def opened_file(path: Path) -> Iterator[BinaryIO]:
    """Open a file unless it is a pipe, a device or a link to one, which might never end.

    Raises:
        ValueError: If it is, or is larger than ``MAX_BYTES``.
        OSError: If it cannot be read.
    """
    with open(path, "rb", opener=_without_waiting) as file:
        seen = os.fstat(file.fileno())
        if not stat.S_ISREG(seen.st_mode):
            raise ValueError("no regular file")
        if seen.st_size > MAX_BYTES:
            raise ValueError(f"a file of {seen.st_size:,} bytes, of which at most {MAX_BYTES:,} are read")
        # One call reads most pictures; a decoder would make dozens.
        yield io.BytesIO(file.read()) if seen.st_size <= SMALL else file


def _without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))  # a pipe would wait for a writer


def _range(image: Image.Image) -> tuple[float, bool] | None:
    """Largest value that a pixel of more than 8 bits can have, and whether it is black; ``None`` for 8 bits."""
    if image.mode != "F" and not image.mode.startswith("I"):
        return None
    tags = getattr(image, "tag_v2", {})
    black = tags.get(262) == 0  # PhotometricInterpretation: WhiteIsZero
    if image.mode == "F":
        return 1.0, black
    if image.mode == "I" and image.format == "TIFF":
        raise ValueError("whole numbers of 32 bits or with a sign, whose range is not known")
    return float(2 ** (tags.get(258) or (16,))[0] - 1), black  # BitsPerSample


def _from_numbers(image: Image.Image, largest: float, black: bool) -> Image.Image:
    """Scale a grey picture of more than 8 bits by the range that its pixels can have."""
    values: npt.NDArray[np.float32] = np.asarray(image).astype(np.float32)
    if not (values.min() >= 0 and values.max() <= largest):  # not a number is neither
        raise ValueError(f"values from {values.min():g} to {values.max():g}, where 0 to {largest:g} is expected")
    if "transparency" in image.info:
        raise ValueError("a transparent grey value in 16 bits")
    values *= 255 / largest
    grey = np.rint(values, out=values).astype(np.uint8)
    return Image.fromarray(255 - grey if black else grey).convert("RGB")


def _over_white(image: Image.Image) -> Image.Image:
    if not image.has_transparency_data:
        return image if image.mode == "RGB" else image.convert("RGB")
    whole = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", whole.size, "white"), whole).convert("RGB")


def _check_end(file: BinaryIO) -> None:
    """Stop at a JPEG without the marker that ends it; what follows the marker is left alone."""
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - 2 * len(END_OF_JPEG)))
    if END_OF_JPEG in file.read():
        return
    file.seek(0)
    if END_OF_JPEG not in file.read():
        raise ValueError("a file that ends early")


def _check_sums(file: BinaryIO) -> None:
    """Stop at a part of a PNG whose sum does not fit, and where the end is missing; Pillow does not for its pixels."""
    file.seek(8)
    kind = b""
    while kind != b"IEND":
        head = file.read(8)
        length, kind = int.from_bytes(head[:4], "big"), head[4:]
        part = file.read(length + 4)
        if len(head) < 8 or len(part) < length + 4:
            raise ValueError("a file that ends early")
        if zlib.crc32(part[:-4], zlib.crc32(kind)) != int.from_bytes(part[-4:], "big"):
            raise ValueError("a file that was changed: the sum of a part does not fit")
