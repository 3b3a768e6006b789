"""Pictures to answer for: files, folders, zips, globs and lists, one after another and never all at once."""

import glob
import io
import os
import sys
import zipfile
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from PIL import Image

from bloodcell.common.errors import InputError
from bloodcell.data.decode import MAX_BYTES, SUFFIXES, decoded, opened_file, reason

STDIN = "-"
MOST_LETTERS = 4096  # of a name, as systems have it


class Picture(NamedTuple):
    """A picture that has not been looked at.

    Attributes:
        name: Its path as it was found, with slashes; within a zip, after the path of the zip.
        read: Returns the bytes of its file; raises ``ValueError`` or ``OSError`` where there are none to be had.
    """

    name: str
    read: Callable[[], bytes]


def check_words(words: Sequence[str]) -> None:
    """Stop at what leads to no picture.

    Args:
        words: What was typed.

    Raises:
        InputError: If it names nothing that is there.
    """
    for word in words:
        if word != STDIN and not os.path.lexists(word) and not glob.glob(word, recursive=True):  # noqa: PTH207 (the word may be absolute)
            raise InputError(word, expected="a picture, folder, zip or glob", got="nothing there", fix="check the path")


def find_pictures(words: Sequence[str]) -> Iterator[Picture]:
    """Find pictures, in the order of the words and of the names; the same ones each time.

    Args:
        words: Files, folders (with all below them that are called like pictures and are not hidden), zips, globs, or
            ``-`` for a list on stdin, one a line.

    Yields:
        The pictures, as they are found; one that comes twice in a row, once.
    """
    before = None
    if STDIN in words and isinstance(sys.stdin, io.TextIOWrapper):
        sys.stdin.reconfigure(errors="surrogateescape")  # names of files need not be UTF-8
    for word in words:
        lines = (line.rstrip("\r\n") for line in sys.stdin if line.strip())
        for one in lines if word == STDIN else [word]:
            for picture in _of_word(one):
                if picture.name != before:
                    yield picture
                before = picture.name


def opened_picture(picture: Picture) -> Image.Image:
    """Decode a picture to RGB.

    Raises:
        InputError: If it cannot be read.
    """
    try:
        with decoded(io.BytesIO(picture.read())) as (image, _):
            return image
    except Exception as error:  # decoders raise what they like
        got = reason(error, Path(picture.name))
        raise InputError(picture.name, expected="a picture", got=got, fix="replace or remove the file") from error


def picture_named(name: str) -> Picture:
    """Find a picture again by the name that :func:`find_pictures` gave it."""
    path = Path(name)
    archive = next((one for one in path.parents if one.suffix.lower() == ".zip" and one.is_file()), None)
    if archive is None:
        return Picture(name, partial(_read, path))
    return next(
        (one for one in _in_zip(archive) if one.name == name), Picture(name, partial(_refuse, "no longer there"))
    )


def _of_word(word: str) -> Iterator[Picture]:
    if len(word) > MOST_LETTERS:
        yield Picture(word[:100], partial(_refuse, f"a name of {len(word):,} letters"))
        return
    if os.path.lexists(word) or not glob.has_magic(word):
        yield from _of_path(Path(word))
        return
    for found in sorted(glob.glob(word, recursive=True)):  # noqa: PTH207
        yield from _of_path(Path(found))


def _of_path(path: Path) -> Iterator[Picture]:
    try:
        folder, file = path.is_dir(), path.is_file()
    except OSError as error:  # a name that is too long, in a list of anybody
        yield Picture(path.as_posix(), partial(_refuse, error.strerror or str(error)))
        return
    if folder:
        yield from _below(path)
    elif path.suffix.lower() == ".zip" and file:
        yield from _in_zip(path)
    else:
        yield Picture(path.as_posix(), partial(_read, path))


def _below(folder: Path) -> Iterator[Picture]:
    """Pictures below a folder; links to folders are not followed, as they might lead round in a circle."""
    try:
        entries = sorted(os.scandir(folder), key=lambda one: one.name)
    except OSError as error:
        yield Picture(folder.as_posix(), partial(_refuse, f"a folder that cannot be read: {error.strerror}"))
        return
    for entry in entries:
        if entry.name.startswith("."):
            continue
        path = Path(entry.path)
        if entry.is_dir(follow_symlinks=False):
            yield from _below(path)
        elif path.suffix.lower() in SUFFIXES:
            yield Picture(path.as_posix(), partial(_read, path))


def _in_zip(path: Path) -> Iterator[Picture]:
    try:
        archive = zipfile.ZipFile(path)  # closed with the last of its pictures, which may be read much later
    except (zipfile.BadZipFile, OSError, NotImplementedError, UnicodeDecodeError) as error:
        yield Picture(path.as_posix(), partial(_refuse, str(error)))
        return
    for info in sorted(archive.infolist(), key=lambda one: one.filename):
        inside = PurePosixPath(info.filename)
        hidden = any(part.startswith((".", "__MACOSX")) for part in inside.parts)
        if inside.name and not info.is_dir() and not hidden and inside.suffix.lower() in SUFFIXES:
            yield Picture(f"{path.as_posix()}/{info.filename}", partial(_unzip, archive, info))


def _refuse(reason: str) -> bytes:
    raise ValueError(reason)


def _read(path: Path) -> bytes:
    with opened_file(path) as file:
        return file.read()


def _unzip(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes:
    try:
        with archive.open(info) as file:
            content = file.read(MAX_BYTES + 1)
    except (RuntimeError, NotImplementedError, zipfile.BadZipFile, EOFError) as error:  # encrypted, damaged, unknown
        raise ValueError(str(error)) from error
    if len(content) > MAX_BYTES:
        raise ValueError(f"a file of more than {MAX_BYTES:,} bytes")
    return content
