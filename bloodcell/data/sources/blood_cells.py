"""The Kaggle set paultimothymooney/blood-cells as it comes."""

from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, Unpack

import numpy as np

from bloodcell.common.errors import InputError
from bloodcell.data.datamodule import CellImages, Shared
from bloodcell.data.fetch import fetch
from bloodcell.data.index import COLUMNS, Index, index_folders
from bloodcell.data.kaggle import find_images, locate, originals_of
from bloodcell.data.lineage_table import SHIPPED, Lineage, read_lineage
from bloodcell.data.masks import Mask, located
from bloodcell.data.micrographs import COPY_SIZE
from bloodcell.data.ranges import check_data
from bloodcell.data.sources.synthetic import Smears
from bloodcell.data.splits import (
    PAPER_TEST_PER_CLASS,
    Split,
    grouped_split,
    official_split,
    random_split,
)


class BloodCells(CellImages):
    """The Kaggle set as it comes.

    ``root`` may be any of its folders down to ``images``::

        blood-cells/
          dataset-master/dataset-master/            the 640x480 photographs, boxes, labels.csv
          dataset2-master/dataset2-master/images/   320x240 copies of them, rotated, shifted, sheared, flipped
            TRAIN/{EOSINOPHIL,LYMPHOCYTE,MONOCYTE,NEUTROPHIL}/*.jpeg     9,957
            TEST/{...}/*.jpeg                                            2,487
            TEST_SIMPLE/{...}/*.jpeg                                     71, not used for training

    Args:
        root: Where the images are; ``None`` means ``BLOODCELL_DATA``, then the cache.
        protocol: ``random`` (the paper's, as we read it), ``official`` (TRAIN to TEST), ``official_strict`` (TRAIN
            without the groups that touch TEST), ``grouped`` (one fold of a cross-validation by field group),
            ``blocked`` (the same by blocks of photographs that were taken one after the other) or ``everything`` (for
            a net that is handed on: all is learnt, nothing is measured).
        folds: Folds of ``grouped`` and ``blocked``.
        fold: Fold of them to test on, 0 to folds - 1.
        fold_seed: Seeds the folds and nothing else.
        train_view: Whether both learn from the copies (``twin``) or from the ``original`` photographs.
        test_per_class: Test images of each class under ``random``.
        mask: Hide the white cells (``background``), or everything but where they are (``geometry``): controls. Of a
            crop the middle is hidden, around whatever cell it was cut.
        lineage: Folder with lineage tables of another copy of the set; ``None`` for the shipped ones.
        **shared: See :class:`CellImages`.
    """

    source = "blood_cells"

    def __init__(
        self,
        root: str | None = None,
        protocol: Literal["random", "official", "official_strict", "grouped", "blocked", "everything"] = "official",
        folds: int = 5,
        fold: int = 0,
        fold_seed: int = 0,
        train_view: Literal["twin", "original"] = "twin",
        test_per_class: int = PAPER_TEST_PER_CLASS,
        mask: Mask | None = None,
        lineage: str | None = None,
        **shared: Unpack[Shared],
    ) -> None:
        super().__init__(**shared)
        self.root, self.protocol, self.train_view = root, protocol, train_view
        self.folds, self.fold, self.fold_seed = folds, fold, fold_seed
        self.test_per_class, self.mask = test_per_class, mask
        self.tables = Path(lineage) if lineage else SHIPPED
        split = {"protocol": protocol, "folds": folds, "fold": fold, "fold_seed": fold_seed, "train_view": train_view}
        view = {"mask": mask, "view": shared.get("view", "field"), "crop_side": shared.get("crop_side", 280)}
        check_data("BloodCells", {**split, **view, "test_per_class": test_per_class})

    @cached_property
    def lineage(self) -> Lineage:
        """Photograph and field group of each image."""
        return read_lineage(self.tables)

    def find(self, others: list[str] | None = None) -> tuple[Index, Split]:
        """Index the copies and the photographs, and split them by protocol.

        Raises:
            InputError: If the set is not found or not whole, or ``mask`` leaves nothing to train on.
        """
        root = locate(self.root)
        if root is None:
            raise InputError(
                "data=blood_cells",
                expected="the Kaggle set paultimothymooney/blood-cells at data.root, BLOODCELL_DATA or in the cache",
                got="none of them",
                fix="type `make data` to download it, or set BLOODCELL_DATA=/path/to/blood-cells",
            )
        index = index_blood_cells(find_images(root), self.lineage)
        split = self._split(index)
        if self.mask is not None and self.crop is None:
            split = replace(
                split,
                train=located(index, split.train),
                val=located(index, split.val),
                test=located(index, split.test),
                test_beside=located(index, split.test_beside),
                calibration=located(index, split.calibration),
            )
            if not len(split.train):
                raise InputError(
                    f"data.root={index.root}",
                    expected="training images",
                    got=f"none with data.mask={self.mask}: no place of a cell is known",
                    fix="see `make lineage`",
                )
        return index, split

    def _split(self, index: Index) -> Split:
        match self.protocol:
            case "random":
                return random_split(index, self.split_seed, self.test_per_class)
            case "grouped" | "blocked":
                blocked = self.protocol == "blocked"
                return grouped_split(index, self.folds, self.fold, self.fold_seed, self.train_view, blocked=blocked)
            case "everything":
                return everything(index, self.train_view)
            case _:
                return official_split(index, self.split_seed, strict=self.protocol == "official_strict")


def blood_cells_or_smears(
    download_timeout: float, synthetic_per_class: dict[str, int], **arguments: Any
) -> BloodCells | Smears:
    """Choose the real images where they can be had, else synthetic smears: for the quick start alone.

    Args:
        download_timeout: Seconds to wait for the server.
        synthetic_per_class: As of :class:`Smears`.
        **arguments: Of :class:`BloodCells`.
    """
    real = BloodCells(**arguments)
    if locate(real.root) is not None:
        return real
    try:
        fetch(None, download_timeout)
        return real
    except InputError as error:
        print(f"no real images: {error}")
    shared = {key: value for key, value in arguments.items() if key in Shared.__annotations__}
    return Smears(synthetic_per_class=synthetic_per_class, **shared)


def everything(index: Index, train_view: Literal["twin", "original"]) -> Split:
    """Learn from every photograph, for a net that is handed on; its honest numbers come from the folds.

    Args:
        index: The table of images.
        train_view: Whether to learn from the copies or from the photographs.

    Returns:
        The split, with ``choice`` false: what is tested, one view of each photograph, was learnt.
    """
    originals = np.flatnonzero(index.view == "original")
    copies = np.flatnonzero(index.published)
    tested = originals if len(originals) else copies
    learnt = tested if train_view == "original" else copies
    caveat = "every photograph was learnt: how well the net fits them, and no more (protocol grouped tests it)"
    return Split("everything", learnt, tested, tested, choice=False, caveat=caveat)


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
    columns: dict[str, Any] = {name: np.concatenate([getattr(one, name) for one in parts]) for name in COLUMNS}
    return replace(twins, **columns)


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
    folder = originals_of(twins.root).absolute()
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
        np.array([str(folder / f"BloodImage_{int(row.micrograph):05d}.jpg") for row in rows], dtype=str),
    )
    for row in range(len(originals)):
        if not originals.where(row).is_file():
            raise InputError(
                str(originals.where(row)),
                expected="the original micrograph that published copies were made from",
                got="no such file",
                fix="get the complete set again (`make data`)",
            )
    return originals
