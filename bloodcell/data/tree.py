"""A walk over a folder of images: what is in it, what is passed over, and nothing twice."""

import errno
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path, PurePosixPath

from bloodcell.common.console import counted
from bloodcell.common.errors import UNPRINTABLE, InputError
from bloodcell.data.decode import SUFFIXES

# What systems and tools leave in a folder, beside everything whose name begins with a dot; in lower case.
JUNK_FOLDERS = frozenset(
    {"__macosx", "@eadir", "$recycle.bin", "system volume information", "lost+found", "__pycache__"}
)
JUNK_FILES = frozenset({"thumbs.db", "ehthumbs.db", "ehthumbs_vista.db", "desktop.ini", "icon\r"})
NAMES_SAID = 12


@dataclass
class Tree:
    """What a walk has found; all paths are relative to the root, with forward slashes.

    Attributes:
        root: The folder.
        images: Names of the image files in each folder, by the path of the folder; ``""`` is the root itself.
        others: Files that are no images by their ending, and image names that are no regular files.
        passed_over: Hidden files and folders, what systems leave behind, links to what was read already; each with
            the reason, if it is not plain to see.
        unprintable: Files and folders with a name that cannot be shown.
    """

    root: Path
    images: dict[str, list[str]] = field(default_factory=dict)
    others: list[str] = field(default_factory=list)
    passed_over: list[tuple[str, str]] = field(default_factory=list)
    unprintable: list[str] = field(default_factory=list)

    @cached_property
    def folders(self) -> dict[str, list[str]]:
        """Folders in each folder, sorted."""
        found: dict[str, list[str]] = {}
        for folder in sorted(self.images):
            if folder:
                found.setdefault(folder.rpartition("/")[0], []).append(folder)
        return found

    @cached_property
    def _below(self) -> Counter[str]:
        counts: Counter[str] = Counter()
        for folder, names in self.images.items():
            while folder:
                counts[folder] += len(names)
                folder = folder.rpartition("/")[0]
            counts[""] += len(names)
        return counts

    def count(self, folder: str) -> int:
        """Images at any depth below a folder."""
        return self._below[folder]

    def filled(self, folder: str) -> list[str]:
        """Folders in a folder that have images at any depth, sorted."""
        return [one for one in self.folders.get(folder, []) if self.count(one)]

    def files(self, folder: str) -> list[str]:
        """Images at any depth below a folder, in the order of ImageFolder: by folder, then by name."""
        inside = [folder]
        for one in inside:
            inside += self.folders.get(one, [])
        return [f"{one}/{name}" if one else name for one in sorted(inside) for name in sorted(self.images[one])]


def walk(root: Path, only: Sequence[str] = ("",)) -> Tree:
    """Look for images in a folder, at any depth.

    Links to folders are followed after all real folders, in the order of their names; what was read already, or
    holds the root, is not read again: no image is found twice, and no circle of links is walked.

    Args:
        root: The folder; there.
        only: Folders in it to look into.

    Raises:
        InputError: Naming folders that cannot be read: what is behind them would be missed.
    """
    tree = Tree(root)
    closed: list[str] = []
    whole = root.resolve()
    seen = {_identity(one) for one in (whole.parents if "" in only else [whole, *whole.parents])}
    folders, links = list(only), list[str]()
    while folders or links:
        folder = folders.pop() if folders else links.pop(0)
        try:
            here = _identity(root / folder)
            if here in seen:
                tree.passed_over.append((f"{folder}/", "a link to a folder that is read already"))
                continue
            seen.add(here)
            _read(tree, folder, folders, links, closed)
        except OSError as error:
            closed.append(f"{root / folder} ({error.strerror or type(error).__name__})")
        links.sort()
    if closed:
        more = f" and {len(closed) - NAMES_SAID:,} more" if len(closed) > NAMES_SAID else ""
        raise InputError(
            ", ".join(sorted(closed)[:NAMES_SAID]) + more,
            expected="folders that can be read",
            got="some that cannot: images in them would be missed",
            fix="change their permissions (chmod u+rx), or move them elsewhere",
        )
    return tree


def _read(tree: Tree, folder: str, folders: list[str], links: list[str], closed: list[str]) -> None:
    """Sort the entries of one folder."""
    images = tree.images.setdefault(folder, [])
    with os.scandir(tree.root / folder) as entries:
        for entry in entries:
            name = entry.name
            path = f"{folder}/{name}" if folder else name
            kind = _kind(entry)
            if name.startswith(".") or name.lower() in (JUNK_FOLDERS if kind == "folder" else JUNK_FILES):
                tree.passed_over.append((f"{path}/" if kind == "folder" else path, ""))
                continue
            if UNPRINTABLE.search(name):
                tree.unprintable.append(path)
            if kind == "folder":
                (links if entry.is_symlink() else folders).append(path)
            elif kind == "closed":
                closed.append(f"{tree.root / path} ({os.strerror(errno.EACCES)})")
            elif kind == "file" and name.lower().endswith(SUFFIXES):
                images.append(name)
            else:
                tree.others.append(path)


def _kind(entry: "os.DirEntry[str]") -> str:
    try:
        return "folder" if entry.is_dir() else "file" if entry.is_file() else "neither"
    except OSError as error:  # a link into a folder that cannot be read, or links in a circle
        return "closed" if error.errno == errno.EACCES else "neither"


def _identity(folder: Path) -> tuple[int, int]:
    seen = folder.stat()
    return seen.st_dev, seen.st_ino


def summarised(passed_over: Sequence[tuple[str, str]]) -> tuple[str, ...]:
    """Name what was passed over in few words: what needs no reason once, with how often it occurs."""
    said = [f"{shown(path)} ({why})" for path, why in passed_over if why]
    names = Counter(PurePosixPath(path).name + "/" * path.endswith("/") for path, why in passed_over if not why)
    doubles = sum(number for name, number in names.items() if name.startswith("._"))  # macOS: one beside each file
    said += [
        shown(name) if number == 1 else f"{shown(name)} ({number:,} times)"
        for name, number in sorted(names.items())
        if not name.startswith("._")
    ]
    said += [f"._* ({counted(doubles, 'file')})"] if doubles else []
    more = len(said) - NAMES_SAID
    return (*said[:NAMES_SAID], *([f"{more:,} more"] if more > 0 else []))


def shown(name: str) -> str:
    """Write a name from a disk so that a terminal can show it: controls and broken encodings as escapes."""
    return UNPRINTABLE.sub(lambda one: one[0].encode("unicode_escape").decode(), name)
