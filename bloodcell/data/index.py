"""The index: a table with one row per image. Splits work on it, never on folders."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from torchvision.datasets import ImageFolder
from torchvision.datasets.folder import IMG_EXTENSIONS

from bloodcell.common.env import cache_dir
from bloodcell.common.errors import InputError
from bloodcell.data.fingerprint import remembered_digests

IntArray = npt.NDArray[np.int64]
StrArray = npt.NDArray[np.str_]
FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]


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
        view: What a row is: any ``image``; a published copy (``twin``) or reduction (``simple``) of a photograph, or
            the ``original`` photograph, which is reduced here as the copies were.
        cell: Centre of the white cell as shares of width and height, float64, shape (N, 2); NaN if not known.
        path: Where each image is, absolute or below ``root``.
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
    path: StrArray

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

    def where(self, row: int) -> Path:
        """Return the path of an image."""
        return self.root / str(self.path[row])

    def counts(self, rows: IntArray) -> IntArray:
        """Images of each class among some rows, int64, shape (classes,)."""
        return np.bincount(self.label[rows], minlength=len(self.classes))

    def digests(self) -> dict[str, str]:
        """Return SHA-256 of each image's bytes in hexadecimal digits, by ``file``; unchanged files are not read."""
        folders: dict[Path, dict[str, str]] = {}
        for path, file in zip(self.path.tolist(), self.file.tolist(), strict=True):
            place = Path(path)
            folder = place.parent if place.is_absolute() else self.root
            folders.setdefault(folder, {})[place.name if place.is_absolute() else path] = file
        memory = cache_dir() / "digests"
        return {
            files[name]: digest
            for folder, files in folders.items()
            for name, digest in remembered_digests(files, folder, memory).items()
        }


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
    return Index(
        root, tuple(first.classes), names, np.array(label), np.array(subset_of), own, own, view, nowhere, names
    )


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
    return VisibleFolder(folder, is_valid_file=lambda path: _is_image(path) and not _is_hidden(Path(path), folder))


def _is_image(path: str | Path) -> bool:
    return not Path(path).name.startswith(".") and Path(path).suffix.lower() in IMG_EXTENSIONS


def _is_hidden(path: Path, root: Path) -> bool:
    """Tell whether a file lies in a hidden folder below a root, as the copies in ``.ipynb_checkpoints`` do."""
    return any(part.startswith(".") for part in path.relative_to(root).parts[:-1])


def _check_class_folder(folder: Path, others: list[Path] | None) -> None:
    visible = (path for path in folder.rglob("*") if not path.name.startswith(".") and not _is_hidden(path, folder))
    files = [path for path in visible if path.is_file()]
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
