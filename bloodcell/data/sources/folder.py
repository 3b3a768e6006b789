"""Any ImageFolder tree."""

from dataclasses import replace
from pathlib import Path
from typing import Literal, Unpack

import numpy as np

from bloodcell.common.errors import InputError
from bloodcell.data.datamodule import CellImages, Shared, check_arguments, is_count, is_seed
from bloodcell.data.groups import with_groups
from bloodcell.data.index import Index, index_folders
from bloodcell.data.splits import Split, all_test, folder_split, grouped_split

PROTOCOLS = (None, "grouped", "all_test")
# What folders of a split are called, in any case.
SUBSETS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "dev"), "val"),
    **dict.fromkeys(("test", "testing"), "test"),
}


class Folder(CellImages):
    """A folder of images whose classes are its folders, with or without ``train/``, ``val/``, ``test/``.

    ::

        root/[train|val|test/]CLASS/*.{jpg,png,...}  TRAIN, valid, testing and the like are known too
        root/groups.csv                              file,group: what belongs together; optional

    Args:
        root: The folder.
        protocol: ``None`` (follow the folders), ``grouped`` (one fold of a cross-validation by group) or ``all_test``.
        folds: Folds of ``grouped``.
        fold: Fold of them to test on, 0 to folds - 1.
        fold_seed: Seeds the folds and nothing else.
        group_pattern: Regular expression whose first bracket, searched in the file's path, is the group (patient,
            slide); a file ``groups.csv`` goes before it.
        **shared: See :class:`CellImages`.
    """

    source = "folder"
    groups_complete = False  # groups that a user names say what belongs together, not that nothing else does

    def __init__(
        self,
        root: str,
        protocol: Literal["grouped", "all_test"] | None = None,
        folds: int = 5,
        fold: int = 0,
        fold_seed: int = 0,
        group_pattern: str | None = None,
        **shared: Unpack[Shared],
    ) -> None:
        super().__init__(**shared)
        self.root, self.protocol, self.group_pattern = root, protocol, group_pattern
        self.folds, self.fold, self.fold_seed = folds, fold, fold_seed
        pattern = group_pattern is None or isinstance(group_pattern, str)
        check_arguments(
            ("root", root, bool(root), "the path of a folder of images"),
            ("protocol", protocol, protocol in PROTOCOLS, " or ".join(name or "null" for name in PROTOCOLS)),
            ("folds", folds, is_count(folds) and folds > 1, "a whole number from 2"),
            ("fold_seed", fold_seed, is_seed(fold_seed), "a whole number from 0"),
            ("group_pattern", group_pattern, pattern, "null or a regular expression"),
        )

    def find(self, others: list[str] | None = None) -> tuple[Index, Split]:
        """Index the folder, name its groups, and split it by its protocol."""
        root = Path(self.root)
        subsets, table = _subsets(root), root / "groups.csv"
        index = index_folders(root, list(subsets) or [""], others=others)
        if subsets:
            index = replace(index, subset=np.array([subsets[name] for name in index.subset.tolist()]))
        index = with_groups(index, table if table.is_file() else None, self.group_pattern)
        match self.protocol:
            case "grouped":
                return index, grouped_split(index, self.folds, self.fold, self.fold_seed)
            case "all_test":
                return index, all_test(index)
            case _:
                return index, folder_split(index, self.split_seed)


def _subsets(root: Path) -> dict[str, str]:
    """Find the folders of a published split: the subset of each, training first."""
    names = [entry.name for entry in root.iterdir() if entry.is_dir()] if root.is_dir() else []
    found = {name: SUBSETS[name.lower()] for name in sorted(names) if name.lower() in SUBSETS}
    for subset in set(found.values()):
        same = [name for name in found if found[name] == subset]
        if len(same) > 1:
            raise InputError(
                f"data.root={root}",
                expected=f"one folder of {subset} images",
                got=" and ".join(same),
                fix="put them together, or move one elsewhere",
            )
    order = list(dict.fromkeys(SUBSETS.values()))
    return dict(sorted(found.items(), key=lambda pair: order.index(pair[1])))
