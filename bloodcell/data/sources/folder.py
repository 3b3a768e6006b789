"""Any ImageFolder tree, or any folder with a table."""

from dataclasses import replace
from pathlib import Path
from typing import Literal, Unpack

import numpy as np

from bloodcell.data.datamodule import CellImages, Shared
from bloodcell.data.external import absent
from bloodcell.data.groups import groups_by_pattern, with_groups
from bloodcell.data.index import Index, index_tree
from bloodcell.data.layout import check_levels, pass_over_neighbours, subset_folders
from bloodcell.data.ranges import check_data, require_folder
from bloodcell.data.splits import Split, all_test, check_every_class_is_learnt, folder_split, grouped_split
from bloodcell.data.table import Table, find_table, index_table, of_images, read_table, with_subsets
from bloodcell.data.tree import Tree, walk


class Folder(CellImages):
    """A folder of images whose classes are its folders or a column of a table, with or without subsets.

    ::

        root/[train|val|test/]CLASS/*.{jpg,png,...}  the subsets also as Training, VALID, dev, testing, ...
        root/groups.csv                              file,group: what belongs together; optional

    Args:
        root: The folder.
        table: CSV with the column ``file`` (path below the root, with slashes) and any of ``class``, ``group`` and
            ``split`` (train, val or test); where it is silent the folders speak. ``None`` for none.
        protocol: ``None`` (follow the folders), ``grouped`` (one fold of a cross-validation by group) or ``all_test``.
        folds: Folds of ``grouped``.
        fold: Fold of them to test on, 0 to folds - 1.
        fold_seed: Seeds the folds and nothing else.
        group_pattern: Regular expression whose first bracket, searched in the file's path, is the group (patient,
            slide); a table goes before ``groups.csv``, and that before the pattern.
        **shared: See :class:`CellImages`.
    """

    source = "folder"
    groups_complete = False  # groups that a user names say what belongs together, not that nothing else does

    def __init__(
        self,
        root: str,
        table: str | None = None,
        protocol: Literal["grouped", "all_test"] | None = None,
        folds: int = 5,
        fold: int = 0,
        fold_seed: int = 0,
        group_pattern: str | None = None,
        **shared: Unpack[Shared],
    ) -> None:
        super().__init__(**shared)
        self.root, self.table, self.protocol, self.group_pattern = root, table, protocol, group_pattern
        self.folds, self.fold, self.fold_seed = folds, fold, fold_seed
        split = {"protocol": protocol, "folds": folds, "fold": fold, "fold_seed": fold_seed}
        check_data("Folder", {**split, "root": root, "table": table, "group_pattern": group_pattern})

    def find(self, others: list[str] | None = None) -> tuple[Index, Split]:
        """Index the folder, name its groups, and split it by its protocol."""
        root = Path(self.root)
        require_folder(root)
        tree = walk(root)
        table = of_images(read_table(find_table(self.table, root)), tree) if self.table else None
        index = self._with_groups(self._index(tree, table, others), table)
        match self.protocol:
            case "all_test":
                tested = index.rows("test") if table and "split" in table.columns else np.arange(len(index))
                index = index.take(tested)
                return index, all_test(index)
            case "grouped":
                split = grouped_split(index, self.folds, self.fold, self.fold_seed)
            case _:
                split = folder_split(index, self.split_seed)
        check_every_class_is_learnt(index, split)
        return index, replace(split, caveat="; ".join(filter(None, [split.caveat, absent(index, split.test)])))

    def _index(self, tree: Tree, table: Table | None, others: list[str] | None) -> Index:
        external = self.protocol == "all_test"
        if table and "class" in table.columns:
            index = index_table(tree, table)
        else:
            subsets = subset_folders(tree)
            if not external:
                pass_over_neighbours(tree)
                check_levels(tree, subsets, self.num_classes)
            index = index_tree(tree, subsets, others=others, lenient=external)
        return with_subsets(index, table) if table and "split" in table.columns else index

    def _with_groups(self, index: Index, table: Table | None) -> Index:
        beside = index.root / "groups.csv"
        if table and "group" in table.columns:
            return with_groups(index, table.column("group"), str(table.path), "correct the column group")
        if beside.is_file():
            known = read_table(beside, ["group"]).column("group")
            return with_groups(index, known, str(beside), "add the missing lines")
        if self.group_pattern is not None:
            known = groups_by_pattern(index, self.group_pattern)
            return with_groups(index, known, f"data.group_pattern={self.group_pattern}", "correct the pattern")
        return index
