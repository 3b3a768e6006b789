"""The index: a table with one row per image. Splits work on it, never on folders."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from torchvision.datasets import ImageFolder
from torchvision.datasets.folder import IMG_EXTENSIONS

from bloodcell.data.fingerprint import fingerprint
from bloodcell.errors import InputError

IntArray = npt.NDArray[np.int64]
StrArray = npt.NDArray[np.str_]


@dataclass(frozen=True)
class Index:
    """One row per image, in an order that depends on names alone.

    Attributes:
        root: Folder that ``file`` is relative to.
        classes: Class names in the order of the labels.
        file: Paths below ``root`` with forward slashes, as ``TRAIN/EOSINOPHIL/_0_207.jpeg``.
        label: Class numbers, int64.
        subset: Folder that the files were found in (``TRAIN``, ``TEST``, ``val``, ...), or ``""``.
        micrograph: Name of the photograph that an image was made from; ``""`` where it is not known.
        group: Name of the field group, the unit of independence; ``""`` where it is not known.
    """

    root: Path
    classes: tuple[str, ...]
    file: StrArray
    label: IntArray
    subset: StrArray
    micrograph: StrArray
    group: StrArray

    def __len__(self) -> int:
        """Number of images."""
        return len(self.file)

    @property
    def grouped(self) -> bool:
        """Whether the field group of every image is known."""
        return bool((self.group != "").all())

    def rows(self, subset: str) -> IntArray:
        """Row numbers of the images in one subset."""
        return np.flatnonzero(self.subset == subset)

    def counts(self, rows: IntArray) -> IntArray:
        """Images of each class among some rows, int64, shape (classes,)."""
        return np.bincount(self.label[rows], minlength=len(self.classes))

    def fingerprint(self) -> str:
        """SHA-256 over the sorted (file, SHA-256 of its bytes), in hexadecimal digits."""
        return fingerprint(self.file.tolist(), self.root)


class VisibleFolder(ImageFolder):  # type: ignore[misc]  # torchvision has no types
    """An ImageFolder that passes over hidden folders (``.cache``), as it should over hidden files."""

    def find_classes(self, directory: str | Path) -> tuple[list[str], dict[str, int]]:
        """Class names, sorted, and their numbers."""
        names = sorted(entry.name for entry in os.scandir(directory) if entry.is_dir() and entry.name[0] != ".")
        return names, {name: number for number, name in enumerate(names)}


def index_folders(root: Path, subsets: Sequence[str], *, independent: bool = False) -> Index:
    """Index ImageFolder trees.

    Args:
        root: The folder that holds the trees.
        subsets: Names of the trees below ``root`` (``["TRAIN", "TEST"]``), or ``[""]`` for ``root`` itself.
        independent: Whether each image is a micrograph of its own, as synthetic smears are; its field
            group is then its own name.

    Returns:
        The index, subsets in the order given, files sorted by name.

    Raises:
        InputError: If a folder is missing, a class has no image or is not in every tree, or a file is
            none of the image types that are read.
    """
    trees = {subset: _image_folder(root / subset) for subset in subsets}
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
    return Index(root, tuple(first.classes), names, np.array(label), np.array(subset_of), own, own)


def _image_folder(folder: Path) -> ImageFolder:
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
        _check_class_folder(entry)
    return VisibleFolder(folder, is_valid_file=lambda path: not Path(path).name.startswith("."))


def _check_class_folder(folder: Path) -> None:
    files = [path for path in folder.rglob("*") if path.is_file() and not path.name.startswith(".")]
    if not files:
        raise InputError(
            str(folder),
            expected="at least one image",
            got="an empty class",
            fix="add images or remove the folder",
        )
    other = sorted(path for path in files if path.suffix.lower() not in IMG_EXTENSIONS)
    if other:
        raise InputError(
            str(other[0]),
            expected=f"images only ({' '.join(IMG_EXTENSIONS)})",
            got=f"{len(other)} other file(s) in the class folder",
            fix="move them elsewhere",
        )
