"""The index: a table with one row per image. Splits work on it, never on folders."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt
from torchvision.datasets import ImageFolder

from bloodcell.common.console import counted
from bloodcell.common.env import cache_dir
from bloodcell.common.errors import InputError
from bloodcell.data.decode import SUFFIXES, open_picture
from bloodcell.data.fingerprint import remembered_digests
from bloodcell.data.layout import TABLE, class_names
from bloodcell.data.ranges import require_folder
from bloodcell.data.tree import Tree, shown, summarised, walk

IntArray = npt.NDArray[np.int64]
StrArray = npt.NDArray[np.str_]
FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]

COLUMNS = ("file", "label", "subset", "micrograph", "group", "view", "cell", "path")


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
        passed_over: What was found below ``root`` and is not in the table, in few words.
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
    passed_over: tuple[str, ...] = ()

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

    def take(self, rows: IntArray) -> "Index":
        """Return the index of some rows."""
        return replace(self, **{name: getattr(self, name)[rows] for name in COLUMNS})

    def where(self, row: int) -> Path:
        """Return the path of an image."""
        return self.root / str(self.path[row])

    def counts(self, rows: IntArray) -> IntArray:
        """Images of each class among some rows, int64, shape (classes,)."""
        return np.bincount(self.label[rows], minlength=len(self.classes))

    @cached_property
    def digests(self) -> dict[str, str]:
        """SHA-256 of each image's bytes in hexadecimal digits, by ``file``, as when they were first asked for."""
        return self.digests_now()

    def digests_now(self) -> dict[str, str]:
        """Look at each file; those that were hashed before and have not changed since are not read."""
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


class WalkedFolder(ImageFolder):  # type: ignore[misc]  # torchvision has no types
    """An ImageFolder over what a walk has found: hidden folders and circles of links stay out of it.

    Args:
        tree: What was found.
        folder: The folder in it that holds the class folders; ``""`` for the root.
        lenient: Whether a class may be without images; it is then left out.
    """

    def __init__(self, tree: Tree, folder: str, *, lenient: bool = False) -> None:
        self.tree, self.folder, self.lenient = tree, folder, lenient
        super().__init__(tree.root / folder, loader=open_picture)

    def find_classes(self, directory: str | Path) -> tuple[list[str], dict[str, int]]:
        """Class names, sorted, and their numbers."""
        self.names = class_names(self.tree, self.folder)
        if self.lenient:
            self.names = {one: name for one, name in self.names.items() if self.tree.count(one)}
        return list(self.names.values()), {name: number for number, name in enumerate(self.names.values())}

    def make_dataset(self, *_: object, **__: object) -> list[tuple[str, int]]:
        """Path below the root and class number of each image, in ImageFolder's order."""
        return [(path, number) for number, one in enumerate(self.names) for path in self.tree.files(one)]


def index_folders(
    root: Path, subsets: Sequence[str], *, independent: bool = False, others: list[str] | None = None
) -> Index:
    """Index ImageFolder trees whose subsets are known by name.

    Args:
        root: The folder that holds the trees.
        subsets: Names of the trees below ``root`` (``["TRAIN", "TEST"]``), or ``[""]`` for ``root`` itself.
        independent: As of :func:`index_tree`.
        others: As of :func:`index_tree`.

    Returns:
        As :func:`index_tree`.

    Raises:
        InputError: If a folder is missing, and as :func:`index_tree`.
    """
    for subset in subsets:
        require_folder(root / subset)
    return index_tree(walk(root, subsets), {name: name for name in subsets}, independent=independent, others=others)


def index_tree(
    tree: Tree,
    subsets: Mapping[str, str],
    *,
    independent: bool = False,
    lenient: bool = False,
    others: list[str] | None = None,
) -> Index:
    """Index a tree whose folders are the classes.

    Args:
        tree: What a walk has found.
        subsets: Name of the subset by folder; ``{"": ""}`` if the root holds the classes.
        independent: Whether each image is a micrograph of its own, as synthetic smears are; its field
            group is then its own name.
        lenient: Whether class folders may be empty, as in an external set.
        others: Takes the paths of files in class folders that are none of the image types; ``None`` to stop at the
            first.

    Returns:
        The index, subsets in the order given, files sorted by name.

    Raises:
        InputError: If a class has no image or is not in every subset, or a file is none of the image types that
            are read.
    """
    for folder in subsets:
        _check_class_folders(tree, folder, others, lenient=lenient)
    _pass_over_loose(tree, {"", *subsets})
    sets = {folder: WalkedFolder(tree, folder, lenient=lenient) for folder in subsets}
    first = next(iter(sets))
    for folder, one in sets.items():
        if one.classes != sets[first].classes:
            raise InputError(
                str(tree.root / folder),
                expected=f"the class folders {sets[first].classes} of {tree.root / first}",
                got=str(one.classes),
                fix="give every subset the same class folders",
            )
    found = [(path, label, subset) for folder, subset in subsets.items() for path, label in sets[folder].samples]
    file, label, subset_of = zip(*found, strict=True)
    return index_of(tree, sets[first].classes, file, label, subset_of, independent=independent)


def index_of(
    tree: Tree,
    classes: Sequence[str],
    file: Sequence[str],
    label: Sequence[int],
    subset: Sequence[str],
    *,
    independent: bool = False,
) -> Index:
    """Make the index of images of which no more is known than where they are and what they show."""
    names = np.array(file)
    return Index(
        root=tree.root,
        classes=tuple(classes),
        file=names,
        label=np.array(label),
        subset=np.array(subset),
        micrograph=names if independent else np.full(len(names), ""),
        group=names if independent else np.full(len(names), ""),
        view=np.full(len(names), "image"),
        cell=np.full((len(names), 2), np.nan),
        path=names,
        passed_over=summarised(tree.passed_over),
    )


def _check_class_folders(tree: Tree, folder: str, others: list[str] | None, *, lenient: bool) -> None:
    """Stop at what would make a set of class folders fail or mislead."""
    inside, stray = tree.folders.get(folder, []), len(tree.images[folder])
    if not inside:
        here = tree.root / folder
        raise InputError(
            str(here),
            expected="one folder of images per class",
            got=f"{counted(stray, 'image')} and no folder in it" if stray else "no folder in it",
            fix=f"set data.root={here.parent} if {here.name}/ is a class itself, or say the classes with {TABLE}"
            if stray
            else "check data.root",
        )
    start = f"{folder}/" if folder else ""
    other = sorted(path for path in tree.others if path.startswith(start) and "/" in path[len(start) :])
    if others is not None:
        others += other
        return
    if other:
        raise _no_image(tree.root / other[0], len(other))
    check_names(tree, inside)
    empty = [one for one in inside if not tree.count(one)]
    if empty and not lenient:
        raise InputError(
            str(tree.root / empty[0]),
            expected="at least one image",
            got="an empty class",
            fix="add images or remove the folder",
        )


def _pass_over_loose(tree: Tree, folders: set[str]) -> None:
    """Note what lies beside class folders and not in them."""
    for folder in sorted(folders):
        if number := len(tree.images.get(folder, [])):
            tree.passed_over.append(
                (f"{folder}/" if folder else "./", f"{counted(number, 'image')} in no class folder")
            )
    tree.passed_over += [(path, "") for path in sorted(tree.others) if path.rpartition("/")[0] in folders]


def check_names(tree: Tree, folders: Sequence[str]) -> None:
    """Stop at a name in some folders that no table, page or terminal can show.

    Raises:
        InputError: Naming the first.
    """
    odd = [
        one for one in sorted(tree.unprintable) if any(one == each or one.startswith(f"{each}/") for each in folders)
    ]
    if odd:
        raise InputError(
            shown(str(tree.root / odd[0])),
            expected="names in UTF-8 without line ends and control characters",
            got=counted(len(odd), "other name"),
            fix="rename (convmv -f latin1 -t utf8 mends names from old archives)",
        )


def _no_image(path: Path, number: int) -> InputError:
    odd = path.suffix.lower() in SUFFIXES
    return InputError(
        str(path),
        expected="a regular file" if odd else f"images only ({' '.join(SUFFIXES)})",
        got="a device, a pipe or a link that leads nowhere" if odd else f"{number} other file(s) in the class folder",
        fix="replace or remove it" if odd else "move them elsewhere",
    )
