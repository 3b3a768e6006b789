"""What the folders of a set mean: subsets, classes, or a level that is neither."""

import os
import unicodedata
from collections import Counter
from contextlib import suppress
from pathlib import Path

from bloodcell.common.console import counted
from bloodcell.common.errors import InputError
from bloodcell.data.tree import Tree, shown

# Under which names subsets are published, whatever the case.
SUBSETS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "dev"), "val"),
    **dict.fromkeys(("test", "testing"), "test"),
}
TABLE = "data.table=FILE (a CSV with the columns file and class)"
# Folders with this share of common names in them, and at least two, hold the same things.
ALIKE = 0.5


def subset_folders(tree: Tree) -> dict[str, str]:
    """Tell which folders in the root are subsets.

    Returns:
        ``train``, ``val`` or ``test`` by folder, in this order; only ``{"": ""}`` if the root holds the classes.

    Raises:
        InputError: If two folders are one subset, or subsets hold images without class folders.
    """
    named = {one: SUBSETS[one.casefold()] for one in tree.folders.get("", []) if one.casefold() in SUBSETS}
    classes = [one for one in tree.folders.get("", []) if one not in named and tree.count(one)]
    if not any(tree.folders.get(one) for one in named):
        if named and not classes:
            first = next(iter(named))
            raise InputError(
                str(tree.root / first),
                expected="one folder of images per class",
                got=f"{counted(tree.count(first), 'image')} and no folder in it",
                fix=f"sort them into class folders, or say their classes with {TABLE}",
            )
        return {"": ""}
    for name, number in Counter(named.values()).items():
        if number > 1:
            same = [one for one in named if named[one] == name]
            raise InputError(
                f"data.root={tree.root}",
                expected=f"one folder for the {name} images",
                got=" and ".join(f"{one}/" for one in same),
                fix="join them, or move all but one elsewhere",
            )
    tree.passed_over += [(f"{one}/", counted(tree.count(one), "image")) for one in classes]
    return dict(sorted(named.items(), key=lambda one: ("train", "val", "test").index(one[1])))


def pass_over_neighbours(tree: Tree) -> None:
    """Note the subsets that stand beside a root which is itself one of them, as ``test/`` beside ``train/``."""
    if tree.root.name.casefold() not in SUBSETS:
        return
    with suppress(OSError):
        beside = sorted(entry.name for entry in os.scandir(tree.root.parent) if entry.is_dir())
        tree.passed_over += [
            (f"../{one}/", f"data.root={tree.root.parent} takes it in")
            for one in beside
            if one.casefold() in SUBSETS and one != tree.root.name
        ]


def test_folder(root: Path) -> Path:
    """Return the folder of test images in a root, whatever the case of its name; the root itself without one."""
    with suppress(OSError):
        found = [entry.name for entry in os.scandir(root) if SUBSETS.get(entry.name.casefold()) == "test"]
        if len(found) == 1 and (root / found[0]).is_dir():
            return root / found[0]
    return root


def class_names(tree: Tree, folder: str) -> dict[str, str]:
    """Name the classes in a folder: the names of its folders, in the one way that Unicode can write them.

    Returns:
        The class by the path of its folder, sorted by class.

    Raises:
        InputError: If two names differ in case alone, or cannot be shown.
    """
    names = {one: unicodedata.normalize("NFC", one.rpartition("/")[2]) for one in tree.folders.get(folder, [])}
    for name, number in Counter(name.casefold() for name in names.values()).items():
        if number > 1:
            raise InputError(
                str(tree.root / folder),
                expected="class folders that differ in more than case",
                got=", ".join(shown(one) for one, its in names.items() if its.casefold() == name),
                fix="join them",
            )
    return dict(sorted(names.items(), key=lambda one: one[1]))


def check_levels(tree: Tree, subsets: dict[str, str], classes: int | None) -> None:
    """Stop where folders are no classes, and say what to type.

    Args:
        tree: The folders.
        subsets: From :func:`subset_folders`.
        classes: Number of classes that the user expects; if it is that of the folders, they are taken for classes.

    Raises:
        InputError: If the classes are further down, there is one only, or folders are slides or folds.
    """
    for folder in subsets:
        filled = tree.filled(folder)
        if filled and len(filled) != classes:
            _check_subsets_below(tree, folder, filled)
            _check_slides(tree, folder, filled)
        if len(filled) == 1:
            raise _one_class(tree, folder, filled[0])


def _check_subsets_below(tree: Tree, folder: str, filled: list[str]) -> None:
    """Stop at ``train/`` or ``test/`` further down."""
    below = list(filled)
    for one in below:
        inside = tree.filled(one)
        named = [each for each in inside if each.rpartition("/")[2].casefold() in SUBSETS]
        if named:
            sorted_in = any(tree.filled(each) for each in named)
            several = [each for each in filled if each != one and tree.filled(each)]
            here = f"set data.root={tree.root / one}" + (" for it alone" if several else "")
            raise InputError(
                f"data.root={tree.root}",
                expected="class folders, or train/, val/ and test/ with class folders in them",
                got=f"{' and '.join(f'{shown(each)}/' for each in named)} further down",
                fix=f"{here}, or {_confirm(len(filled))}"
                if sorted_in and not folder
                else f"move them to the top (train/CLASS/), or say the classes with {TABLE} and split, "
                f"or {_confirm(len(filled))}",
            )
        below += inside


def _check_slides(tree: Tree, folder: str, filled: list[str]) -> None:
    """Stop at folders of slides, patients or folds that hold the class folders."""
    inside = [{each.rpartition("/")[2] for each in tree.filled(one)} for one in filled]
    if len(filled) < 2 or any(tree.images[one] for one in filled):
        return
    common, every = set.intersection(*inside), set.union(*inside)
    numbered, numbered_inside = (
        all(any(letter.isdigit() for letter in name) for name in names)
        for names in ([one.rpartition("/")[2] for one in filled], every)
    )
    shared = len(every) < sum(map(len, inside))
    alike = len(common) > 1 and len(common) >= ALIKE * len(every)
    slides = numbered and not numbered_inside and shared and len(every) > 1
    if slides or (alike and numbered == numbered_inside):
        one = f"data.root={tree.root / filled[0]} for one of them, " if not folder and len(inside[0]) > 1 else ""
        raise InputError(
            f"data.root={tree.root}" + (f" ({folder}/)" if folder else ""),
            expected="class folders",
            got=f"{len(filled)} folders ({_some(filled)}) that hold folders of the same names ({_some(every)})",
            fix=f"set {one}{TABLE} for all, or {_confirm(len(filled))}",
        )


def _one_class(tree: Tree, folder: str, only: str) -> InputError:
    """What to type where there is one class folder: often the root is one folder too high or too low."""
    down = only
    while not tree.images[down] and len(tree.filled(down)) == 1:
        (down,) = tree.filled(down)
    if len(tree.filled(down)) > 1 and not tree.images[down]:
        fix = f"move what is in {shown(down)}/ up to {folder}/" if folder else f"set data.root={tree.root / down}"
    elif folder:
        fix = "give the other classes their folders"
    else:
        fix = f"set data.root={tree.root.parent} if {tree.root.name}/ is a class itself, or add the other classes"
    return InputError(
        f"data.root={tree.root}" + (f" ({folder}/)" if folder else ""),
        expected="at least two class folders",
        got=f"one ({shown(only)}/)",
        fix=fix,
    )


def _confirm(folders: int) -> str:
    return f"data.num_classes={folders} if these {folders} folders are the classes"


def _some(folders: "list[str] | set[str]") -> str:
    names = [shown(one.rpartition("/")[2]) for one in sorted(folders)]
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
