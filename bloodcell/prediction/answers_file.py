"""``predictions.csv`` of new pictures: written while the answers come, whole or not at all, and gone on with."""

import csv
import hmac
import io
import os
import secrets
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import chain
from pathlib import Path
from typing import BinaryIO

from bloodcell.common.env import cache_dir
from bloodcell.common.errors import InputError, printable
from bloodcell.common.files import as_found, check_file_place, held, quoted_cell, write_bytes
from bloodcell.prediction.inputs import Picture
from bloodcell.prediction.predictor import CellAnswer


def header(classes: Sequence[str]) -> list[str]:
    """Name the columns."""
    start = ["file", "left", "top", "right", "bottom", "class"]
    return [*start, *(f"p_{name}" for name in classes), "doubt", "reason", "possible", "learnt", "group"]


def line_of(cell: CellAnswer, classes: Sequence[str]) -> list[str]:
    """Write a cell as texts."""
    box = [str(edge) for edge in cell.box] if cell.box else [""] * 4
    shares = [f"{cell.probabilities[name]:.6f}" if cell.probabilities else "" for name in classes]
    doubt = "" if cell.doubt is None else f"{cell.doubt:.4f}"
    texts = [cell.file, *box, cell.name, *shares, doubt, cell.reason, " ".join(cell.possible), cell.learnt, cell.group]
    return [_safe(text) for text in texts]


KEY_BYTES = 32


class AnswersFile:
    """Rows on disk beside their place, until all are there.

    Stopped and typed again, what is there is kept: pictures come in the same order, so the first ones are answered.
    One process at a time writes them.

    Args:
        path: Where the table is to be.
        classes: Of the net.
        by: Who answers: what another net has answered, or the same one of another view, is not gone on with.
    """

    file: BinaryIO

    def __init__(self, path: Path, classes: Sequence[str], by: str) -> None:
        check_file_place(path)
        self.path, self.classes = path, tuple(classes)
        self.part = path.with_name(f".{path.name}.{_tag(path, by)}.part")

    def __enter__(self) -> "AnswersFile":
        """Take up what is there.

        Raises:
            InputError: If another process is at the same table.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_NONBLOCK
        self.file = os.fdopen(os.open(self.part, flags, 0o644), "ab")
        if not held(self.file.fileno(), self.part):
            self.file.close()
            fix = "wait, or give another --out"
            raise InputError(str(self.path), expected="a table for one process", got="a second one", fix=fix)
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()

    def left(self, pictures: Iterator[Picture]) -> Iterator[Picture]:
        """Pass over the pictures that are answered, and cut off what was being written.

        Args:
            pictures: All of them, in the order of every time.

        Returns:
            The rest.
        """
        end, waiting = self._answered(pictures)
        self.file.truncate(end)
        if not end:
            self._write([header(self.classes)])
        return waiting

    def add(self, cells: Iterable[CellAnswer]) -> None:
        """Write the cells of some pictures."""
        self._write(line_of(cell, self.classes) for cell in cells)

    def finish(self) -> None:
        """Put the table in its place."""
        os.fsync(self.file.fileno())
        self.part.replace(self.path)

    def _write(self, lines: Iterable[Sequence[str]]) -> None:
        self.file.write(_encoded(lines))
        self.file.flush()

    def _answered(self, pictures: Iterator[Picture]) -> tuple[int, Iterator[Picture]]:
        """Find where the answers end that are whole and still asked for, and the pictures that are left."""
        with self.part.open("rb") as file:
            if file.readline() != _encoded([header(self.classes)]):
                return 0, pictures
            end = file.tell()
            with suppress(csv.Error, UnicodeDecodeError, LookupError):  # a damaged line ends what is known
                for name, stop in _ends(file):
                    picture = next(pictures, None)
                    if picture is None:
                        return end, iter(())
                    if _safe(picture.name) != name:
                        return end, chain([picture], pictures)
                    end = stop
        return end, pictures


def _tag(path: Path, by: str) -> str:
    """A name that only this user's commands know: a part in anybody's folder is not taken for answers."""
    return hmac.new(_key(), f"{path.absolute()} {by}".encode("utf-8", "surrogateescape"), "sha256").hexdigest()[:32]


def _key() -> bytes:
    """A number of this user's own, kept in the cache; another one each time where there is no place for it."""
    path = cache_dir() / "parts.key"
    with suppress(OSError):
        if path.stat().st_size == KEY_BYTES:
            return path.read_bytes()
    key = secrets.token_bytes(KEY_BYTES)
    with suppress(OSError, InputError):
        write_bytes(path, key)
    return key


def table_rows(path: Path) -> Iterator[dict[str, str]]:
    """Read a finished table, a row at a time."""
    with path.open(encoding="utf-8", newline="") as file:
        yield from ({name: as_found(cell) for name, cell in row.items()} for row in csv.DictReader(file))


def _ends(file: BinaryIO) -> Iterator[tuple[str, int]]:
    """Each picture in a part and where its rows end, but for the last, whose rows may not all be there."""
    before, end = "", file.tell()
    while (line := file.readline()).endswith(b"\r\n"):
        name = next(csv.reader([line.decode("utf-8")]))[0]
        if before and name != before:
            yield before, end
        before, end = name, file.tell()


def _encoded(lines: Iterable[Sequence[str]]) -> bytes:
    text = io.StringIO()
    csv.writer(text).writerows(lines)  # RFC 4180
    return text.getvalue().encode("utf-8", "backslashreplace")


def _safe(text: str) -> str:
    """A text that stays on its line, and that no spreadsheet takes for a formula."""
    return str(quoted_cell(printable(text)))
