"""What a net says of images: ``Answers`` in memory, by row of an index, and ``Predictions``, the table on disk."""

import csv
import gzip
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from bloodcell.common.errors import InputError
from bloodcell.common.files import as_found, below, write_bytes, write_csv
from bloodcell.evidence.intervals import Floats, Ints, Strings

FILE = "predictions.csv"
# The view of copies of photographs that were learnt: of no test.
LEFT_OUT = "left_out"
COLUMNS = ["file", "view", "micrograph", "group", "class", "predicted"]  # then p_CLASS for each class
Table = TypeVar("Table")
# Two million images; a larger file, or a cell that would make a larger array, comes from something else.
MOST_BYTES = 256 * 2**20


class Answers(NamedTuple):
    """Class probabilities of some rows of an index, as a net gives them.

    Attributes:
        rows: Rows of the index, int64, shape (N,).
        probabilities: float64, shape (N, classes).
    """

    rows: Ints
    probabilities: Floats


@dataclass(frozen=True, eq=False)
class Predictions:
    """``predictions.csv``: a row for each tested image, readable without an index.

    ::

        file,view,micrograph,group,class,predicted,p_EOSINOPHIL,p_LYMPHOCYTE,...
        TEST/EOSINOPHIL/_0_1616.jpeg,twin,00121,g0093,EOSINOPHIL,EOSINOPHIL,0.981205,0.000313,...

    Attributes:
        classes: Class names.
        file: Path of each image below the root of its data, shape (N,), as every column.
        view: ``twin`` (a published copy), ``original``, ``simple`` or ``image``: what of its photograph it is; or
            ``left_out``, a copy of a photograph of which others were learnt.
        photograph: Name of the photograph that it shows; ``""`` where it is not known.
        group: Field group; ``""`` where it is not known.
        correct: Number of the correct class, int64.
        predicted: Number of the predicted class, int64.
        probabilities: float64, shape (N, classes); six decimals on disk.
    """

    classes: tuple[str, ...]
    file: Strings
    view: Strings
    photograph: Strings
    group: Strings
    correct: Ints
    predicted: Ints
    probabilities: Floats

    def __len__(self) -> int:
        """Count the rows."""
        return len(self.file)

    def take(self, rows: Ints) -> "Predictions":
        """Keep some rows, in the order given."""
        return Predictions(self.classes, *(column[rows] for column in self._columns))

    def of_view(self, view: str) -> "Predictions":
        """Keep the rows of one view."""
        return self.take(np.flatnonzero(self.view == view))

    @property
    def _columns(self) -> tuple[npt.NDArray[Any], ...]:
        texts = (self.file, self.view, self.photograph, self.group)
        return (*texts, self.correct, self.predicted, self.probabilities)


def joined_predictions(tables: Sequence[Predictions]) -> Predictions:
    """Put tables of the same classes one below the other."""
    columns = zip(*(table._columns for table in tables), strict=True)
    return Predictions(tables[0].classes, *(np.concatenate(parts) for parts in columns))


def write_predictions(path: Path, table: Predictions) -> None:
    """Write ``predictions.csv``."""
    write_csv(path, header_of(table), rows_of(table))


def header_of(table: Predictions) -> list[str]:
    """Name the columns of a table on disk."""
    return [*COLUMNS, *(f"p_{name}" for name in table.classes)]


def rows_of(table: Predictions) -> Iterator[list[str]]:
    """Write out a table row by row."""
    names = np.array(table.classes)
    texts = (table.file, table.view, table.photograph, table.group, names[table.correct], names[table.predicted])
    shares = ([f"{share:.6f}" for share in row] for row in table.probabilities)
    for *cells, probabilities in zip(*(column.tolist() for column in texts), shares, strict=True):
        yield [*cells, *probabilities]


def write_packed(path: Path, table: Predictions) -> None:
    """Write ``predictions.csv.gz``; the same predictions are the same bytes."""
    write_packed_csv(path, header_of(table), rows_of(table))


def write_packed_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write a packed CSV file; the same rows are the same bytes."""
    with TemporaryDirectory() as folder:
        write_csv(Path(folder) / FILE, header, rows)
        write_bytes(path, gzip.compress((Path(folder) / FILE).read_bytes(), mtime=0))


def read_predictions(path: Path) -> Predictions:
    """Read the predictions of a run.

    Args:
        path: A run directory, or the file itself, packed (``.gz``) or not.

    Returns:
        The table, with at least one row.

    Raises:
        InputError: If there is no such file, or it is not what ``write_predictions`` writes.
    """
    file = below(path, FILE) if path.is_dir() else path
    return read_as(file, parsed_table, ",".join(COLUMNS))


def read_as(file: Path, meaning: Callable[[list[str], list[list[str]]], Table], columns: str) -> Table:
    """Read a table of predictions.

    Args:
        file: The CSV file, packed (``.gz``) or not.
        meaning: Makes of its header and its rows what is wanted; a ``ValueError`` says what is wrong with them.
        columns: Those before the probabilities, for the message.

    Raises:
        InputError: If there is no such file, or it holds something else.
    """
    if not file.is_file():
        raise InputError(str(file), expected="the predictions of a run", got="no such file", fix="check the path")
    try:
        return meaning(*_content(file))
    except (OSError, EOFError, ValueError, zlib.error, csv.Error) as error:
        raise InputError(
            str(file),
            expected=f"a table of predictions ({columns},p_CLASS,...)",
            got=str(error)[:200],
            fix=f"make it again: python -m bloodcell.evaluate {file.parent}",
        ) from error


def read_folds(folder: Path) -> Predictions:
    """Read the predictions of a run, or of all runs below a folder as those of one model.

    Args:
        folder: A run directory, or a folder with a run for each fold.

    Returns:
        The originals where originals were tested, else what was tested first.

    Raises:
        InputError: If there are no predictions, two runs tested the same image, or their classes differ.
    """
    paths = tested_below(folder)
    if not paths:
        raise InputError(
            str(folder), expected=f"a run, or a folder of runs, with {FILE}", got="none", fix="check the path"
        )
    return joined_folds(str(folder), [read_predictions(path / FILE) for path in paths])


def tested_below(folder: Path) -> list[Path]:
    """List the runs at or below a folder that have predictions, sorted; later evaluations of them left out."""
    return sorted(path.parent for path in folder.rglob(FILE) if "evaluations" not in path.parts)


def joined_folds(where: str, tables: Sequence[Predictions]) -> Predictions:
    """Put the predictions of the folds of one model together.

    Args:
        where: What they are called in a message.
        tables: Those of each fold, at least one.

    Returns:
        As :func:`read_folds`.

    Raises:
        InputError: Likewise.
    """
    if len({table.classes for table in tables}) > 1:
        raise InputError(
            where, expected="runs of the same classes", got="other classes in some", fix="give the folds of one"
        )
    everything = joined_predictions(tables)
    found = everything.of_view("original" if "original" in everything.view else str(everything.view[0]))
    if len(np.unique(found.file)) < len(found):
        raise InputError(
            where,
            expected="each image tested once, as the folds of one model are",
            got=f"{len(found):,} predictions from {len(tables)} runs, some of the same image",
            fix="give the folds of one seed",
        )
    return found


def _content(path: Path) -> tuple[list[str], list[list[str]]]:
    """The header and the rows of a file."""
    with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as opened:
        content = opened.read(MOST_BYTES + 1)
    if len(content) > MOST_BYTES:
        raise ValueError(f"more than {MOST_BYTES:,} bytes")
    header, *lines = list(csv.reader(StringIO(content.decode(), newline=""), strict=True)) or [[]]
    return header, lines


def parsed_table(header: list[str], lines: list[list[str]]) -> Predictions:
    """Read the rows of a table.

    Raises:
        ValueError: If it is another one; says what it is instead.
    """
    shares = header[len(COLUMNS) :]
    classes = tuple(name.removeprefix("p_") for name in shares)
    whole = header[: len(COLUMNS)] == COLUMNS and all(name.startswith("p_") for name in shares)
    if not whole or not classes or len(set(classes)) < len(classes):
        raise ValueError(f"the columns {','.join(header)[:80] or '(none)'}")
    if not lines:
        raise ValueError("no rows")
    for number, line in enumerate(lines, 1):
        if len(line) != len(header):
            raise ValueError(f"{len(line)} cells in row {number}")
    texts = [[as_found(cell) for cell in column] for column in zip(*lines, strict=True)]
    numbers = {name: number for number, name in enumerate(classes)}
    unknown = sorted({*texts[4], *texts[5]} - numbers.keys())
    if unknown:
        raise ValueError(f"the class {unknown[0][:40]!r}, which has no column of its own")
    probabilities = np.array(texts[len(COLUMNS) :], dtype=np.float64).T
    if not ((probabilities >= 0) & (probabilities <= 1)).all():
        raise ValueError("probabilities outside 0 to 1")
    correct, predicted = (np.array([numbers[name] for name in column], dtype=np.int64) for column in texts[4:6])
    file, view, photograph, group = map(_strings, texts[:4])
    return Predictions(classes, file, view, photograph, group, correct, predicted, probabilities)


def _strings(cells: Sequence[str]) -> Strings:
    # NumPy gives every cell the room of the longest one.
    if max(map(len, cells)) * len(cells) > MOST_BYTES:
        raise ValueError(f"a cell of {max(map(len, cells)):,} characters")
    return np.array(cells, dtype=np.str_)
