"""The index: a table with one row per image. Splits work on it, never on folders."""

import csv
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
from torchvision.datasets import ImageFolder
from torchvision.datasets.folder import IMG_EXTENSIONS

from bloodcell.data.download import cache_dir, originals_of
from bloodcell.data.fingerprint import remembered_digests
from bloodcell.data.lineage import Lineage
from bloodcell.data.micrographs import COPY_SIZE
from bloodcell.errors import InputError

IntArray = npt.NDArray[np.int64]
StrArray = npt.NDArray[np.str_]
FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]

# What a row can be: any image; a published copy (twin), a published reduction (simple), or an original micrograph
# that is reduced here as the copies were.
VIEWS = ("image", "twin", "simple", "original")


@dataclass(frozen=True)
class Index:
    """One row per image, in an order that depends on names alone.

    Attributes:
        root: Folder that ``file`` is relative to.
        classes: Class names in the order of the labels.
        file: Paths below ``root`` with forward slashes, as ``TRAIN/EOSINOPHIL/_0_207.jpeg``.
        label: Class numbers, int64.
        subset: ``TRAIN``, ``TEST``, ``val``, ... that an image is published in, or ``""``.
        micrograph: Name of the photograph that an image was made from; ``""`` where it is not known.
        group: Name of the field group, the unit of independence; ``""`` where it is not known.
        view: One of ``VIEWS``.
        cell: Centre of the white cell as shares of width and height, float64, shape (N, 2); NaN if not known.
    """

    root: Path
    classes: tuple[str, ...]
    file: StrArray
    label: IntArray
    subset: StrArray
    micrograph: StrArray
    group: StrArray
    view: StrArray
    cell: FloatArray

    def __len__(self) -> int:
        """Number of images."""
        return len(self.file)

    @property
    def grouped(self) -> bool:
        """Whether the field group of every image is known."""
        return bool((self.group != "").all())

    @property
    def published(self) -> BoolArray:
        """Which rows are images to train on as they were published; not their originals or reductions."""
        return np.isin(self.view, ("image", "twin"))

    def rows(self, subset: str) -> IntArray:
        """Row numbers of the published images in one subset."""
        return np.flatnonzero(self.published & (self.subset == subset))

    def originals(self, groups: npt.ArrayLike) -> IntArray:
        """Row numbers of the original micrographs in some field groups."""
        return np.flatnonzero((self.view == "original") & np.isin(self.group, groups))

    def path(self, row: int) -> Path:
        """Where an image is."""
        if self.view[row] == "original":
            return originals_of(self.root) / str(self.file[row]).rpartition("/")[2]
        return self.root / str(self.file[row])

    def counts(self, rows: IntArray) -> IntArray:
        """Images of each class among some rows, int64, shape (classes,)."""
        return np.bincount(self.label[rows], minlength=len(self.classes))

    def digests(self) -> dict[str, str]:
        """SHA-256 of each image's bytes in hexadecimal digits, by ``file``; unchanged files are not read."""
        memory = cache_dir() / "digests"
        below = remembered_digests(self.file[self.view != "original"].tolist(), self.root, memory)
        above = self.file[self.view == "original"].tolist()
        folder = originals_of(self.root)
        found = remembered_digests([name.rpartition("/")[2] for name in above], folder, memory) if above else {}
        return below | {name: found[name.rpartition("/")[2]] for name in above}


class VisibleFolder(ImageFolder):  # type: ignore[misc]  # torchvision has no types
    """An ImageFolder that passes over hidden folders (``.cache``), as it should over hidden files."""

    def find_classes(self, directory: str | Path) -> tuple[list[str], dict[str, int]]:
        """Class names, sorted, and their numbers."""
        names = sorted(entry.name for entry in os.scandir(directory) if entry.is_dir() and entry.name[0] != ".")
        return names, {name: number for number, name in enumerate(names)}


def index_folders(
    root: Path, subsets: Sequence[str], *, independent: bool = False, others: list[str] | None = None
) -> Index:
    """Index ImageFolder trees.

    Args:
        root: The folder that holds the trees.
        subsets: Names of the trees below ``root`` (``["TRAIN", "TEST"]``), or ``[""]`` for ``root`` itself.
        independent: Whether each image is a micrograph of its own, as synthetic smears are; its field
            group is then its own name.
        others: Takes the paths of files that are none of the image types; ``None`` to stop at the first.

    Returns:
        The index, subsets in the order given, files sorted by name.

    Raises:
        InputError: If a folder is missing, a class has no image or is not in every tree, or a file is
            none of the image types that are read.
    """
    strange: list[Path] | None = None if others is None else []
    trees = {subset: _image_folder(root / subset, strange) for subset in subsets}
    if others is not None:
        others += [path.relative_to(root).as_posix() for path in strange or []]
    first = next(iter(trees.values()))
    for subset, tree in trees.items():
        if tree.classes != first.classes:
            raise InputError(
                str(root / subset),
                expected=f"the class folders {first.classes} of {root / subsets[0]}",
                got=str(tree.classes),
                fix="give every subset the same class folders",
            )
    found = [
        (Path(path).relative_to(root).as_posix(), label, subset)
        for subset, tree in trees.items()
        for path, label in tree.samples
    ]
    file, label, subset_of = zip(*found, strict=True)
    names = np.array(file)
    own = names if independent else np.full(len(names), "")
    nowhere = np.full((len(names), 2), np.nan)
    view = np.full(len(names), "image")
    return Index(root, tuple(first.classes), names, np.array(label), np.array(subset_of), own, own, view, nowhere)


def index_blood_cells(images: Path, lineage: Lineage) -> Index:
    """Index the Kaggle set with a row per view: the copies of TRAIN and TEST, TEST_SIMPLE, and the originals.

    Args:
        images: The folder that holds ``TRAIN`` and ``TEST``.
        lineage: Which photograph and field group each image belongs to; files that it does not know stay without.

    Returns:
        The index; first the copies, then the reductions if they are there, then the micrographs that the copies
        were made from if ``dataset-master`` is there.

    Raises:
        InputError: As ``index_folders``, and if some but not all of these micrographs are there.
    """
    twins = index_folders(images, ["TRAIN", "TEST"])
    parts = [_with_lineage(replace(twins, view=np.full(len(twins), "twin")), lineage)]
    if (images / "TEST_SIMPLE").is_dir():
        simple = index_folders(images, ["TEST_SIMPLE"])
        if simple.classes == twins.classes:
            parts.append(_with_lineage(replace(simple, view=np.full(len(simple), "simple")), lineage))
    if originals_of(images).is_dir():
        parts.append(_originals(parts[0], lineage))
    columns = ("file", "label", "subset", "micrograph", "group", "view", "cell")
    return Index(images, twins.classes, *(np.concatenate([getattr(one, name) for one in parts]) for name in columns))


def _with_lineage(index: Index, lineage: Lineage) -> Index:
    rows = [lineage.images.get(str(file)) for file in index.file]
    height, width = COPY_SIZE
    return replace(
        index,
        micrograph=np.array([row.micrograph if row else "" for row in rows]),
        group=np.array([row.group if row else "" for row in rows]),
        cell=np.array([(row.cell_x / width, row.cell_y / height) if row else (np.nan, np.nan) for row in rows]),
    )


def _originals(twins: Index, lineage: Lineage) -> Index:
    """The micrographs that the copies were made from, in numerical order."""
    found = sorted(set(twins.micrograph.tolist()) - {""}, key=int)
    rows = [lineage.micrographs[name] for name in found]
    height, width = COPY_SIZE
    originals = Index(
        twins.root,
        twins.classes,
        np.array([f"ORIGINAL/{row.label}/BloodImage_{int(row.micrograph):05d}.jpg" for row in rows], dtype=str),
        np.array([twins.classes.index(row.label) for row in rows], dtype=np.int64),
        np.array([row.subset for row in rows], dtype=str),
        np.array(found, dtype=str),
        np.array([row.group for row in rows], dtype=str),
        np.full(len(rows), "original"),
        np.array([(row.cell_x / width, row.cell_y / height) for row in rows]).reshape(-1, 2),
    )
    for row in range(len(originals)):
        if not originals.path(row).is_file():
            raise InputError(
                str(originals.path(row)),
                expected="the original micrograph that published copies were made from",
                got="no such file",
                fix="get the complete set again (`make data`)",
            )
    return originals


def with_groups(index: Index, table: Path | None, pattern: str | None) -> Index:
    """Give the images of a folder their groups: patients, slides, fields, whatever is independent.

    Args:
        index: The table of images.
        table: CSV with the columns ``file`` (relative to the root, with slashes) and ``group``; ``None`` for none.
        pattern: Regular expression whose first bracket is the group, searched in ``file``; ``None`` for none.

    Returns:
        The index with groups, or as it was if neither is given.

    Raises:
        InputError: If an image is left without a group.
    """
    if table is not None:
        known = _read_groups(table)
        group, where = [known.get(str(file), "") for file in index.file], str(table)
    elif pattern is not None:
        group, where = [_first_bracket(pattern, str(file)) for file in index.file], f"data.group_pattern={pattern}"
    else:
        return index
    without = [str(file) for file, name in zip(index.file, group, strict=True) if not name]
    if without:
        raise InputError(
            where,
            expected="a group for every image",
            got=f"none for {without[0]}" + (f" and {len(without) - 1:,} more" if len(without) > 1 else ""),
            fix="add the missing lines" if table else "correct the pattern",
        )
    return replace(index, group=np.array(group))


def _read_groups(table: Path) -> Mapping[str, str]:
    try:
        with table.open(encoding="utf-8-sig", newline="") as file:
            rows = [(row["file"], (row["group"] or "").strip()) for row in csv.DictReader(file)]
        found: dict[str, str] = {}
        for name, group in rows:
            if found.setdefault(name, group) != group:
                raise ValueError(f"{name} in the groups {found[name]} and {group}")
        return found
    except (OSError, KeyError, ValueError, csv.Error) as error:
        raise InputError(
            str(table),
            expected="a CSV with the columns file and group",
            got=f"{type(error).__name__}: {error}",
            fix="correct the table",
        ) from error


def _first_bracket(pattern: str, file: str) -> str:
    try:
        found = re.search(pattern, file)
        return (found[1] or "") if found else ""
    except (re.error, IndexError) as error:
        raise InputError(
            f"data.group_pattern={pattern}",
            expected="a regular expression with brackets around the group, as 'patient([0-9]+)'",
            got=str(error),
            fix="correct it",
        ) from error


def _image_folder(folder: Path, others: list[Path] | None) -> ImageFolder:
    """Open one ImageFolder tree after a look at what would make it fail or mislead."""
    if not folder.is_dir():
        raise InputError(
            str(folder),
            expected="a folder with one folder of images per class",
            got="no such folder" if not folder.exists() else "a file",
            fix="set data.root (or BLOODCELL_DATA) to the data",
        )
    classes = sorted(entry for entry in folder.iterdir() if entry.is_dir() and entry.name[0] != ".")
    if not classes:
        raise InputError(
            str(folder),
            expected="one folder of images per class",
            got="no folder in it",
            fix="check data.root",
        )
    for entry in classes:
        _check_class_folder(entry, others)
    return VisibleFolder(folder, is_valid_file=_is_image)


def _is_image(path: str | Path) -> bool:
    return not Path(path).name.startswith(".") and Path(path).suffix.lower() in IMG_EXTENSIONS


def _check_class_folder(folder: Path, others: list[Path] | None) -> None:
    files = [path for path in folder.rglob("*") if path.is_file() and not path.name.startswith(".")]
    other = sorted(path for path in files if not _is_image(path))
    if others is not None:
        others += other
    elif other:
        raise InputError(
            str(other[0]),
            expected=f"images only ({' '.join(IMG_EXTENSIONS)})",
            got=f"{len(other)} other file(s) in the class folder",
            fix="move them elsewhere",
        )
    if len(files) == len(other):
        raise InputError(
            str(folder),
            expected="at least one image",
            got="an empty class",
            fix="add images or remove the folder",
        )
