"""A CSV that says what the images of a folder are: their classes, groups and splits, any of the three."""

import csv
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

import numpy as np

from bloodcell.common.console import counted
from bloodcell.common.env import path_of
from bloodcell.common.errors import UNPRINTABLE, InputError
from bloodcell.data.index import Index, index_of
from bloodcell.data.layout import SUBSETS
from bloodcell.data.tree import Tree, shown

COLUMNS = ("class", "group", "split")
# What columns are called elsewhere, in lower case; where two of a kind are there, none is taken.
ALSO = {
    "file": ("filename", "file_name", "filepath", "path", "image", "image_path", "image_id", "img"),
    "class": ("label", "class_name", "category", "diagnosis"),
    "group": ("patient", "patient_id", "slide", "slide_id", "case", "case_id"),
    "split": ("subset", "set", "partition"),
}
# A million lines of 100 characters.
MAX_BYTES = 100_000_000


@dataclass(frozen=True)
class Table:
    """What a CSV says.

    Attributes:
        path: The CSV.
        columns: Those of ``class``, ``group`` and ``split`` that it has.
        rows: Values by column, by file.
    """

    path: Path
    columns: tuple[str, ...]
    rows: Mapping[str, Mapping[str, str]]

    def column(self, name: str) -> dict[str, str]:
        """Return one of its columns, by file."""
        return {file: row[name] for file, row in self.rows.items()}


def find_table(name: str, root: Path) -> Path:
    """Return where a table is: as typed, or else below the root of the images."""
    typed = path_of(name)
    return root / typed if not typed.exists() and (root / typed).exists() else typed


def read_table(path: Path, needs: Sequence[str] = COLUMNS) -> Table:
    """Read a CSV with the column ``file`` and any of ``class``, ``group`` and ``split``.

    Args:
        path: The CSV, in UTF-8, with commas, semicolons or tabs.
        needs: Columns of which it must have at least one.

    Raises:
        InputError: If it is no such CSV, or says two things of one file.
    """
    try:
        if not path.is_file():
            raise ValueError("no regular file" if path.exists() else "no such file")
        if path.stat().st_size > MAX_BYTES:
            raise ValueError(f"more than {MAX_BYTES // 1_000_000} MB")
        with path.open(encoding="utf-8-sig", newline="") as file:
            header = file.readline()
            file.seek(0)
            lines = csv.reader(file, delimiter=max(",;\t", key=header.count))
            names = _known([name.strip().lower() for name in next(lines, [])])
            columns = tuple(name for name in COLUMNS if name in names)
            if "file" not in names or not set(columns) & set(needs):
                raise ValueError(f"the columns {', '.join(names)}" if any(names) else "no columns")
            rows: dict[str, dict[str, str]] = {}
            for line in filter(None, lines):
                values = dict(zip(names, line, strict=False))
                name, said = values.get("file", ""), {column: values.get(column, "").strip() for column in columns}
                if rows.setdefault(name, said) != said:
                    raise ValueError(f"{name} twice: {', '.join(rows[name].values())}; {', '.join(said.values())}")
    except (OSError, ValueError, csv.Error) as error:
        raise InputError(
            shown(str(path)),
            expected=f"a CSV in UTF-8 with the columns file and {' or '.join(needs)}, each file once",
            got=shown(str(error) if type(error) is ValueError else f"{type(error).__name__}: {error}"),
            fix="correct the table",
        ) from error
    return Table(path, columns, rows)


def of_images(table: Table, tree: Tree) -> Table:
    """Find the images that a table speaks of.

    Returns:
        The table with their paths as they are below the root; its own may have backslashes, a leading ``./`` or
        accents in the other of Unicode's two ways, or be a name alone, with its ending or without, that one image has.

    Raises:
        InputError: If it speaks of a file that is no image below the root, or of one in two ways.
    """
    images = set(tree.files(""))
    spelled = {} if table.rows.keys() <= images else _spellings(images)
    found: dict[str, Mapping[str, str]] = {}
    unknown = []
    for name, row in table.rows.items():
        image = name if name in images else spelled.get(_canonical(name))
        if image is None:
            unknown.append(name)
        elif found.setdefault(image, row) != row:
            raise _refused(table, "each file once", f"two lines on {image}", "correct the table")
    if unknown:
        more = f" and {len(unknown) - 1:,} more" if len(unknown) > 1 else ""
        expected = f"the paths of images below {tree.root}, as folder/name.png"
        raise _refused(table, expected, f"{unknown[0]!r}{more}: no such image", "correct the column file")
    return replace(table, rows=found)


def index_table(tree: Tree, table: Table) -> Index:
    """Index the images that a table lists, with the classes that it names; its folders are no classes.

    Args:
        tree: What a walk has found.
        table: From :func:`of_images`, with the column ``class``.

    Returns:
        The index, by folder and name. Folders ``train``, ``val`` and ``test`` are the subsets if all images are in
        such.

    Raises:
        InputError: If a file has no class, or one that cannot be shown.
    """
    files = [file for file in tree.files("") if file in table.rows]
    classes = [unicodedata.normalize("NFC", table.rows[file]["class"]) for file in files]
    for file, name in zip(files, classes, strict=True):
        if not name or UNPRINTABLE.search(name):
            raise _refused(table, "a class for every file", f"{name!r} for {file}", "correct the column class")
    if not files:
        raise _refused(table, "at least one file", "none", "list the images")
    if left := tree.count("") - len(files):
        tree.passed_over.append((table.path.name, f"does not list {counted(left, 'image')}"))
    names = sorted(set(classes))
    number = {name: k for k, name in enumerate(names)}
    subsets = [SUBSETS.get(file.partition("/")[0].casefold(), "") for file in files]
    labels = [number[name] for name in classes]
    return index_of(tree, names, files, labels, subsets if all(subsets) else [""] * len(files))


def with_subsets(index: Index, table: Table) -> Index:
    """Give the images the subsets that a table names.

    Raises:
        InputError: If it does not for one of them.
    """
    words = [table.rows.get(file, {}).get("split", "") for file in index.file.tolist()]
    for file, word in zip(index.file.tolist(), words, strict=True):
        if word.casefold() not in SUBSETS:
            raise _refused(
                table, "train, val or test for every image", f"{word!r} for {file}", "correct the column split"
            )
    return replace(index, subset=np.array([SUBSETS[word.casefold()] for word in words]))


def _known(names: list[str]) -> list[str]:
    """Column names as they are called here."""
    found = list(names)
    for ours, others in ALSO.items():
        alike = [number for number, name in enumerate(names) if name in others]
        if ours not in names and len(alike) == 1:
            found[alike[0]] = ours
    return found


def _spellings(images: set[str]) -> dict[str, str]:
    """Images by their path in one spelling, and by their name, with and without its ending, where one image has it."""
    paths = {_canonical(image): image for image in images}
    found: dict[str, str] = {}
    for names in ([PurePosixPath(path).stem for path in paths], [PurePosixPath(path).name for path in paths]):
        counts = Counter(names)
        found |= {name: image for name, image in zip(names, paths.values(), strict=True) if counts[name] == 1}
    return found | paths


def _canonical(path: str) -> str:
    return unicodedata.normalize("NFC", path.strip().replace("\\", "/").removeprefix("./"))


def _refused(table: Table, expected: str, got: str, fix: str) -> InputError:
    return InputError(shown(str(table.path)), expected=expected, got=shown(got), fix=fix)
