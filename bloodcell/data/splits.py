"""Splits: which rows of the index train, validate and test, under a named protocol."""

from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
from sklearn.model_selection import train_test_split
from sklearn.utils import resample

from bloodcell.common.errors import InputError
from bloodcell.data.cuts import (
    VALIDATION_FOLDS,
    clear_of_test,
    cut_blocks,
    cut_folds,
    cut_share,
    groups_known,
    require_groups,
)
from bloodcell.data.index import Index, IntArray
from bloodcell.data.ranges import check_fold

# The paper's test set: "250 images a class".
PAPER_TEST_PER_CLASS = 250
NONE: IntArray = np.zeros(0, dtype=np.int64)


@dataclass(frozen=True)
class Split:
    """Rows of an index for each use.

    Attributes:
        protocol: Name of the protocol.
        train: Rows to learn from, int64.
        val: Rows of the validation curve, int64.
        test: Rows of the reported result, int64.
        choice: Whether ``val`` is apart from ``test``, so that a checkpoint may be chosen by it.
        caveat: One sentence on what the numbers under this split are not; empty if there is none.
        test_beside: Rows of a second result on the same photographs in another view (originals beside copies).
        calibration: Originals of the validation groups, one a photograph: what a temperature is fitted on.
        left_out: Images that were left out of ``train``, but not their photographs (``fewer_training_images``).
    """

    protocol: str
    train: IntArray
    val: IntArray
    test: IntArray
    choice: bool
    caveat: str = ""
    test_beside: IntArray = field(default_factory=lambda: NONE)
    calibration: IntArray = field(default_factory=lambda: NONE)
    left_out: IntArray = field(default_factory=lambda: NONE)

    @property
    def learnt(self) -> IntArray:
        """Rows that the weights depend on: those to learn from, and those that a checkpoint is chosen by."""
        return np.concatenate([self.train, self.val if self.choice else NONE])


def random_split(index: Index, seed: int, test_per_class: int = PAPER_TEST_PER_CLASS) -> Split:
    """Split as the paper did, in our reading: N test images of each class at random, the rest for training.

    The test images are the validation curve as well, as in the paper; nothing may be chosen by it.

    Args:
        index: The table of images; subsets are ignored.
        seed: Seeds the draw and nothing else.
        test_per_class: Test images of each class.

    Returns:
        The split, with ``choice`` false; beside the test images, the originals of their photographs.

    Raises:
        InputError: If a class has too few images.
    """
    images = np.flatnonzero(index.published)
    counts = index.counts(images)
    if counts.min() <= test_per_class:
        smallest = int(counts.argmin())
        raise InputError(
            f"data.protocol=random ({index.root})",
            expected=f"more than {test_per_class} images of each class",
            got=f"{counts[smallest]} of {index.classes[smallest]}",
            fix="lower data.test_per_class",
        )
    rng = np.random.default_rng(seed)
    test = np.concatenate(
        [
            rng.choice(images[index.label[images] == label], test_per_class, replace=False)
            for label in range(len(index.classes))
        ]
    )
    test.sort()
    train = np.setdiff1d(images, test)
    caveat = "copies of one photograph stand on both sides of this split: the result measures memory of photographs"
    beside = _originals_of(index, test)
    return Split("random", train, test, test, choice=False, caveat=caveat, test_beside=beside)


def official_split(index: Index, seed: int, *, strict: bool = False) -> Split:
    """Split TRAIN -> TEST as published; validation is cut out of TRAIN by field group.

    Validation leaves out what overlaps TEST, so that no checkpoint and no temperature is chosen on a test photograph.

    Args:
        index: A table with the subsets ``TRAIN`` and ``TEST``.
        seed: Seeds the cut.
        strict: Whether to leave every group out of TRAIN that has a photograph in TEST too.

    Returns:
        The split; beside the test images, the originals of their photographs.

    Raises:
        InputError: If ``strict`` and a group is not known, or a class is too small to cut.
    """
    rows, test = index.rows("TRAIN"), index.rows("TEST")
    name, caveat = ("official_strict", "") if strict else ("official", "some TEST photographs overlap TRAIN ones; ")
    if strict:
        require_groups(index, np.concatenate([rows, test]), "data.protocol=official_strict")
        rows = rows[~np.isin(index.group[rows], index.group[test])]
    train, val = cut_share(index, rows, seed)
    val, left_out = clear_of_test(index, val, test)
    if left_out:
        caveat += left_out
    if not groups_known(index, rows):
        caveat += "the validation share holds copies of training photographs and flatters; "
    caveat += "the 2,487 TEST images come from 71 photographs, 4 of them of monocytes"
    return Split(
        name,
        train,
        val,
        test,
        choice=True,
        caveat=caveat,
        test_beside=_originals_of(index, test),
        calibration=_originals_of(index, val),
    )


def grouped_split(
    index: Index,
    folds: int,
    fold: int,
    fold_seed: int,
    train_view: Literal["twin", "original"] = "twin",
    *,
    blocked: bool = False,
) -> Split:
    """Split off one fold of a cross-validation in which no field group is on two sides.

    The table that is cut has one row per photograph (or per image, where photographs are not known), so that
    it balances photographs and not their copies.

    Args:
        index: A table with groups; with originals of all photographs if it has copies.
        folds: Number of folds.
        fold: Which one to test on, 0 to folds - 1.
        fold_seed: Seeds the folds and the validation cut, and nothing else.
        train_view: Whether to learn from the copies or from the originals of the training groups.
        blocked: Whether a fold is a block of photographs that were taken one after the other (protocol ``blocked``):
            the nearest thing to a fold of patients where patients are not known. A class may then be missing from a
            fold. Groups that reach into the block are not learnt from. The validation cut is as ever.

    Returns:
        The split: trained on copies (or originals), validated on the same of a further cut of groups, tested on
        the originals of the held-out groups (or of the block); beside them, their copies.

    Raises:
        InputError: If the fold is out of range, a group is not known, or a class has too few groups.
    """
    originals = np.flatnonzero(index.view == "original")
    if (index.view == "twin").any() and not len(originals):
        raise InputError(
            "data.protocol=grouped",
            expected="the original micrographs in dataset-master/dataset-master/JPEGImages, to test on",
            got="none",
            fix="get the complete set (`make data`)",
        )
    units = originals if len(originals) else np.arange(len(index))
    check_fold(fold, folds)
    require_groups(index, np.arange(len(index)), "data.protocol=grouped")
    held = (cut_blocks(index, units, folds) if blocked else cut_folds(index, units, folds, fold_seed))[fold]
    rest = units[~np.isin(index.group[units], index.group[held])]
    val = cut_folds(index, rest, VALIDATION_FOLDS, fold_seed, validation=True)[0]

    def seen(rows: IntArray, view: str) -> IntArray:
        if not len(originals):
            return np.sort(rows)
        return np.flatnonzero((index.view == view) & np.isin(index.micrograph, index.micrograph[rows]))

    learnt = rest[~np.isin(index.group[rest], index.group[val])]
    return Split(
        "blocked" if blocked else "grouped",
        seen(learnt, train_view),
        seen(val, train_view),
        np.sort(held),
        choice=True,
        test_beside=seen(held, "twin") if len(originals) else NONE,
        calibration=np.sort(val),
    )


def folder_split(index: Index, seed: int) -> Split:
    """Follow the folders ``train``, ``val``, ``test`` as far as they exist; cut the missing ones.

    Args:
        index: A table with any of the subsets, or with the single subset ``""``.
        seed: Seeds the cuts.

    Returns:
        The split; cut by group where groups are known.
    """
    present = set(index.subset.tolist())
    train = index.rows("" if present == {""} else "train")
    cut = sorted({"val", "test"} - present)
    if "test" in present:
        test = index.rows("test")
    else:
        train, test = cut_share(index, train, seed + 1)
    if "val" in present:
        val = index.rows("val")
    else:
        train, val = cut_share(index, train, seed)
    val, caveat = clear_of_test(index, val, test)
    if cut and not index.grouped:
        caveat += f"{' and '.join(cut)} cut at random by image: copies of one photograph may be on both sides"
    return Split("folder", train, val, test, choice=True, caveat=caveat.removesuffix("; "))


def check_every_class_is_learnt(index: Index, split: Split) -> None:
    """Stop if a class has no training image.

    Raises:
        InputError: Naming the class.
    """
    missing = [name for name, n in zip(index.classes, index.counts(split.train), strict=True) if not n]
    if len(split.train) and missing:
        raise InputError(
            f"data.root={index.root}",
            expected="training images of each class",
            got=f"none of {', '.join(missing)}",
            fix="correct the table, or add images",
        )


def all_test(index: Index) -> Split:
    """Make every image a test image, for a model that was trained elsewhere."""
    return Split("all_test", NONE, NONE, np.arange(len(index)), choice=False)


def fewer_training_images(index: Index, split: Split, number: int, seed: int) -> Split:
    """Keep a stratified sample of the training rows, so that protocols can be compared at equal cost.

    Args:
        index: The table of images.
        split: The split.
        number: Training images to keep.
        seed: Seeds the draw.

    Raises:
        InputError: If there are fewer, or fewer are wanted than there are classes.
    """
    if number == len(split.train):
        return split
    if not len(index.classes) <= number < len(split.train):
        raise InputError(
            f"data.train_images={number}",
            expected=f"{len(index.classes)} to {len(split.train):,}, what protocol {split.protocol} has",
            got=str(number),
            fix="choose a number between, or null for all",
        )
    labels = index.label[split.train]
    if len(split.train) - number < len(index.classes):  # train_test_split wants to leave out one of each class
        kept = resample(split.train, replace=False, n_samples=number, random_state=seed, stratify=labels)
    else:
        kept, _ = train_test_split(split.train, train_size=number, random_state=seed, stratify=labels)
    left_out = np.setdiff1d(split.train, kept)
    known = np.isin(index.micrograph[left_out], np.setdiff1d(index.micrograph[kept], [""]))
    return replace(split, train=np.sort(kept), left_out=left_out[known])


def fewer_training_groups(index: Index, split: Split, share: float, seed: int) -> Split:
    """Keep a share of the field groups of each class in training: what is learnt from so many photographs.

    With one seed a larger share holds every smaller one. A group counts for the class of its first image.

    Args:
        index: The table of images; an image whose group is not known is one of its own.
        split: The split.
        share: Share of the groups of each class to keep, at least one.
        seed: Seeds the order in which they come.
    """
    rows = split.train[np.argsort(index.file[split.train])]
    known = index.group[rows] != ""
    names, first, group = np.unique(
        np.where(known, index.group[rows], index.file[rows]), return_index=True, return_inverse=True
    )
    labels, order = index.label[rows[first]], np.random.default_rng(seed).permutation(len(names))
    kept = np.zeros(len(names), bool)
    for label in np.unique(labels):
        of_class = order[labels[order] == label]
        kept[of_class[: max(1, round(share * len(of_class)))]] = True
    return replace(split, train=np.sort(rows[kept[group.reshape(-1)]]))


def _originals_of(index: Index, rows: IntArray) -> IntArray:
    """Find the originals of the photographs that some rows were made from."""
    known = np.setdiff1d(index.micrograph[rows], [""])
    return np.flatnonzero((index.view == "original") & np.isin(index.micrograph, known))
