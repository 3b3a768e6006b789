"""PBC: single cells of eight kinds from another laboratory (Acevedo et al. 2020, Data in Brief 30, 105474)."""

import os
from dataclasses import replace
from typing import ClassVar, Unpack

import numpy as np

from bloodcell.common.env import PBC, path_of
from bloodcell.common.errors import InputError
from bloodcell.data.datamodule import CellImages, Shared
from bloodcell.data.index import Index, index_folders
from bloodcell.data.ranges import check_data
from bloodcell.data.splits import Split, grouped_split

CLASSES = ("basophil", "eosinophil", "erythroblast", "ig", "lymphocyte", "monocyte", "neutrophil", "platelet")


class Pbc(CellImages):
    """PBC, all of it (17,092 images) or a part.

    ::

        root/{basophil,eosinophil,erythroblast,ig,lymphocyte,monocyte,neutrophil,platelet}/*.jpg

    The prefix of a file name is a finer label, and stays in the tables of predictions: ``SNE`` and ``BNE`` are
    segmented and band neutrophils; ``MY``, ``MMY`` and ``PMY`` are kinds of immature granulocytes (``ig``).

    Each image is an own group, but the same bytes twice are one: no exact duplicate is on two sides. Images of one
    patient or field cannot be told.

    The size of an image hints at its class (some classes alone have 360x360 or 366x369), so a crop is as many pixels
    wide in all of them. The instrument has put the cell in the middle: that is its annotated place.

    Args:
        root: The folder; ``None`` for ``BLOODCELL_PBC``.
        folds: Folds of a cross-validation by group.
        fold: Fold of them to test on, 0 to folds - 1.
        fold_seed: Seeds the folds and nothing else.
        **shared: See :class:`CellImages`.
    """

    source = "pbc"
    groups_complete = False
    field_side: ClassVar[int | None] = 360

    def __init__(
        self,
        root: str | None = None,
        folds: int = 5,
        fold: int = 0,
        fold_seed: int = 0,
        **shared: Unpack[Shared],
    ) -> None:
        super().__init__(**shared)
        self.root, self.folds, self.fold, self.fold_seed = root, folds, fold, fold_seed
        check_data("Pbc", {"folds": folds, "fold": fold, "fold_seed": fold_seed})

    def find(self, others: list[str] | None = None) -> tuple[Index, Split]:
        """Index the images, group those of the same bytes, and split off one fold.

        Raises:
            InputError: If the set is not there, or its folders have other names.
        """
        root = self.root or os.environ.get(PBC)
        if not root:
            raise InputError(
                "data=pbc",
                expected=f"the PBC images at data.root or {PBC}",
                got="neither",
                fix="see bloodcell/data/README.md on how to get them, then set data.root=/path/to/pbc",
            )
        index = index_folders(path_of(root), [""], others=others)
        if set(index.classes) - set(CLASSES):
            raise InputError(
                f"data.root={root}",
                expected=f"folders out of {', '.join(CLASSES)}",
                got=", ".join(index.classes),
                fix="give the folder that holds those of PBC, or read others with data=folder",
            )
        digests = index.digests
        group = np.array([digests[file][:16] for file in index.file.tolist()])
        index = replace(index, group=group, cell=np.full((len(index), 2), 0.5))
        return index, grouped_split(index, self.folds, self.fold, self.fold_seed)
