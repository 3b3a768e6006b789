"""The lineage table: which photograph and which field group each published image belongs to.

Three small tables are part of the package, written by ``python -m bloodcell.lineage`` and tied to the data by
content hashes: ``lineage.csv.gz`` (an image a row), ``micrographs.csv`` and ``field_pairs.csv``.
"""

import csv
import gzip
import io
import math
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from bloodcell.common.errors import InputError
from bloodcell.common.files import CSV_BYTES

SHIPPED = Path(__file__).parent
IMAGES, MICROGRAPHS, PAIRS = "lineage.csv.gz", "micrographs.csv", "field_pairs.csv"
Row = TypeVar("Row", bound=tuple[Any, ...])


class ImageRow(NamedTuple):
    """One published image.

    Attributes:
        file: Below ``images``, with forward slashes: ``TRAIN/EOSINOPHIL/_0_207.jpeg``.
        sha256: Of its bytes, hexadecimal.
        label: The folder it is in.
        subset: ``TRAIN``, ``TEST`` or ``TEST_SIMPLE``.
        micrograph: The photograph it was made from, as ``207``; ``""`` where that is not certain.
        group: Field group of that photograph, called after its first member.
        inliers: Point pairs that confirm the photograph.
        runner_up: Point pairs of the second-best photograph.
        correlation: Of the pixels with the warped photograph, -1 to 1.
        cell_x: Centre of the white cell in pixels of the image, from the left; NaN without a box. It may lie outside.
        cell_y: Likewise, from above.
        cell_inside: Share of the white cell (the ellipse in its box) inside the frame, 0 to 1; NaN without a box.
    """

    file: str
    sha256: str
    label: str
    subset: str
    micrograph: str
    group: str
    inliers: int
    runner_up: int
    correlation: float
    cell_x: float
    cell_y: float
    cell_inside: float


class MicrographRow(NamedTuple):
    """One photograph, 640x480.

    Attributes:
        micrograph: Its number, as ``207``.
        sha256: Of its bytes, hexadecimal.
        label: What ``labels.csv`` says, several cells with commas; ``""`` for nothing.
        subset: ``TRAIN`` or ``TEST`` if published copies were made from it, else ``""``.
        group: Field group, called after its first member.
        cell_x: Centre of the largest white cell in pixels of the 320x240 reduction; NaN without a box.
        cell_y: Likewise.
        cell_width: Width of its box, likewise.
        cell_height: Height of its box, likewise.
    """

    micrograph: str
    sha256: str
    label: str
    subset: str
    group: str
    cell_x: float
    cell_y: float
    cell_width: float
    cell_height: float


class FieldPair(NamedTuple):
    """Two photographs that show the same part of the slide.

    Attributes:
        first: The one.
        second: The other.
        shift_x: What stands at x in the second stands at x + shift_x in the first; pixels of 640x480.
        shift_y: Likewise, downwards.
        overlap: Share of the frame that both show, 0 to 1.
        correlation: Of the grey values there, -1 to 1.
        points: Point pairs that agree on the shift; 0 if the search by points did not find it.
        evidence: Of the search by correlation for this shift; 0 if it did not find it.
    """

    first: str
    second: str
    shift_x: int
    shift_y: int
    overlap: float
    correlation: float
    points: int
    evidence: float


@dataclass(frozen=True)
class Lineage:
    """The three tables.

    Attributes:
        images: By file.
        micrographs: By number.
        pairs: Overlapping photographs.
    """

    images: Mapping[str, ImageRow]
    micrographs: Mapping[str, MicrographRow]
    pairs: Sequence[FieldPair]

    @property
    def published(self) -> dict[str, MicrographRow]:
        """The 348 photographs that published copies were made from."""
        return {name: row for name, row in self.micrographs.items() if row.subset}


@cache
def read_lineage(folder: Path = SHIPPED) -> Lineage:
    """Read the tables.

    Args:
        folder: Where they are; by default those of the package.

    Raises:
        InputError: If one is missing or is not such a table.
    """
    images = _read(folder / IMAGES, ImageRow)
    micrographs = _read(folder / MICROGRAPHS, MicrographRow)
    return Lineage(
        {row.file: row for row in images},
        {row.micrograph: row for row in micrographs},
        _read(folder / PAIRS, FieldPair),
    )


def write_lineage(lineage: Lineage, folder: Path) -> None:
    """Write the tables; the same content gives the same bytes."""
    from bloodcell.common.files import write_bytes

    for name, kind, rows in (
        (IMAGES, ImageRow, lineage.images.values()),
        (MICROGRAPHS, MicrographRow, lineage.micrographs.values()),
        (PAIRS, FieldPair, lineage.pairs),
    ):
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(kind._fields)
        writer.writerows([_cell(value) for value in row] for row in rows)
        content = text.getvalue().encode()
        write_bytes(folder / name, gzip.compress(content, 9, mtime=0) if name.endswith(".gz") else content)


def check_hashes(digests: Mapping[str, str], lineage: Lineage) -> None:
    """Compare images with the table.

    Args:
        digests: SHA-256 by file as in :class:`bloodcell.data.index.Index`, originals included.
        lineage: The tables.

    Raises:
        InputError: Naming the first image that is another one than in the table.
    """
    known = {file: digest for file in digests if (digest := _known_digest(file, lineage))}
    other = [file for file, digest in known.items() if digests[file] != digest]
    if other:
        file = min(other)
        raise InputError(
            file,
            expected=f"the image of the lineage table, SHA-256 {known[file][:12]}",
            got=f"{digests[file][:12]}" + (f" (and {len(other) - 1:,} more that differ)" if len(other) > 1 else ""),
            fix="get the published set again (`make data`), or register your copy with `make lineage`",
        )


def _known_digest(file: str, lineage: Lineage) -> str:
    """What the table says of a copy, or of an original as ``ORIGINAL/.../BloodImage_N.jpg``."""
    if file.startswith("ORIGINAL/"):
        row = lineage.micrographs.get(str(int(file.rpartition("_")[2].partition(".")[0])))
        return row.sha256 if row else ""
    return lineage.images[file].sha256 if file in lineage.images else ""


def across_split(lineage: Lineage) -> list[FieldPair]:
    """List overlapping photographs of which one is in TRAIN and the other in TEST."""
    subset = {name: row.subset for name, row in lineage.micrographs.items()}
    return [pair for pair in lineage.pairs if {subset[pair.first], subset[pair.second]} == {"TRAIN", "TEST"}]


def conflicts(lineage: Lineage) -> list[FieldPair]:
    """List overlapping photographs that show the same white cell under two labels."""
    return [pair for pair in pairs_of_one_cell(lineage) if len(_labels(pair, lineage)) == 2]


def pairs_of_one_cell(lineage: Lineage) -> list[FieldPair]:
    """List overlapping photographs that show the same white cell."""
    return [pair for pair in lineage.pairs if _same_cell(pair, lineage)]


def _labels(pair: FieldPair, lineage: Lineage) -> set[str]:
    """The labels of a pair; a photograph of several cells says nothing of one of them."""
    labels = [lineage.micrographs[name].label for name in (pair.first, pair.second)]
    return {label for label in labels if label and "," not in label}


def _same_cell(pair: FieldPair, lineage: Lineage) -> bool:
    one, other = lineage.micrographs[pair.first], lineage.micrographs[pair.second]
    apart = math.hypot(one.cell_x - other.cell_x - pair.shift_x / 2, one.cell_y - other.cell_y - pair.shift_y / 2)
    return apart < min(one.cell_width, other.cell_width) / 2


def _read(path: Path, kind: type[Row]) -> list[Row]:
    if not path.is_file():
        raise InputError(
            str(path), expected="a table of the lineage", got="no such file", fix="write it with `make lineage`"
        )
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            content = file.read(CSV_BYTES + 1)
        if len(content) > CSV_BYTES:
            raise ValueError(f"more than {CSV_BYTES:,} bytes")
        lines = csv.reader(io.StringIO(content.decode()))
        if next(lines) != list(kind.__annotations__):
            raise ValueError("other columns")
        return [_row(kind, line) for line in lines]
    except (ValueError, StopIteration, EOFError, OSError, zlib.error) as error:
        raise InputError(
            str(path),
            expected=f"a table with the columns {', '.join(kind.__annotations__)}",
            got=str(error) or "an empty file",
            fix="write it again with `make lineage`",
        ) from error


def _row(kind: type[Row], line: Sequence[str]) -> Row:
    converters = kind.__annotations__.values()
    values = [
        (float(cell or "nan") if convert is float else convert(cell))
        for convert, cell in zip(converters, line, strict=True)
    ]
    return kind(*values)  # type: ignore[arg-type]  # a NamedTuple, made from its fields


def _cell(value: object) -> object:
    if isinstance(value, float):
        return "" if value != value else f"{value:.4g}"  # NaN is the only value that differs from itself
    return value
