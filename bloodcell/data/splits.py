"""Splits: which rows of the index train, validate and test, under a named protocol."""

from dataclasses import dataclass

import numpy as np
from sklearn.model_selection import train_test_split

from bloodcell.data.index import Index, IntArray
from bloodcell.errors import InputError

# The paper's test set: "250 images a class".
PAPER_TEST_PER_CLASS = 250
VALIDATION_SHARE = 0.15


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
    """

    protocol: str
    train: IntArray
    val: IntArray
    test: IntArray
    choice: bool
    caveat: str = ""


def random_split(index: Index, seed: int, test_per_class: int = PAPER_TEST_PER_CLASS) -> Split:
    """The paper's protocol: so many test images of each class at random, the rest for training.

    The test images are the validation curve as well, as in the paper; nothing may be chosen by it.

    Args:
        index: The table of images; subsets are ignored.
        seed: Seeds the draw and nothing else.
        test_per_class: Test images of each class.

    Returns:
        The split, with ``choice`` false.

    Raises:
        InputError: If a class has too few images.
    """
    counts = index.counts(np.arange(len(index)))
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
            rng.choice(np.flatnonzero(index.label == label), test_per_class, replace=False)
            for label in range(len(index.classes))
        ]
    )
    test.sort()
    train = np.setdiff1d(np.arange(len(index)), test)
    caveat = "copies of one photograph stand on both sides of this split: the result measures memory of photographs"
    return Split("random", train, test, test, choice=False, caveat=caveat)


def official_split(index: Index, seed: int) -> Split:
    """TRAIN -> TEST as published, with a validation share cut out of TRAIN at random.

    Args:
        index: A table with the subsets ``TRAIN`` and ``TEST``.
        seed: Seeds the cut.

    Returns:
        The split; its validation share holds copies of training photographs and is labelled so.
    """
    train, val = _cut(index, index.rows("TRAIN"), seed)
    caveat = (
        "the validation share holds copies of training photographs and flatters; some TEST photographs overlap "
        "TRAIN photographs; the 2,487 TEST images come from 71 photographs"
    )
    return Split("official", train, val, index.rows("TEST"), choice=True, caveat=caveat)


def folder_split(index: Index, seed: int) -> Split:
    """Follow the folders ``train``, ``val``, ``test`` as far as they exist; cut the missing ones at random.

    Args:
        index: A table with any of the subsets, or with the single subset ``""``.
        seed: Seeds the cuts.

    Returns:
        The split.
    """
    present = set(index.subset.tolist())
    train = index.rows("" if present == {""} else "train")
    cut = sorted({"val", "test"} - present)
    if "test" in present:
        test = index.rows("test")
    else:
        train, test = _cut(index, train, seed + 1)
    if "val" in present:
        val = index.rows("val")
    else:
        train, val = _cut(index, train, seed)
    unknown = cut and not index.grouped
    caveat = f"{' and '.join(cut)} cut at random by image: copies of one photograph may be on both sides"
    return Split("folder", train, val, test, choice=True, caveat=caveat if unknown else "")


def all_test(index: Index) -> Split:
    """Every image is a test image: for a model that was trained elsewhere."""
    none = np.zeros(0, dtype=np.int64)
    return Split("all_test", none, none, np.arange(len(index)), choice=False)


def _cut(index: Index, rows: IntArray, seed: int) -> tuple[IntArray, IntArray]:
    """Cut a stratified share off some rows; both parts come back sorted."""
    counts = index.counts(rows)
    if counts.min() < 2:
        short = int(counts.argmin())
        raise InputError(
            str(index.root),
            expected="at least 2 images of each class to cut a share from",
            got=f"{counts[short]} of {index.classes[short]}",
            fix="add images, or give train/, val/ and test/ folders",
        )
    share = max(VALIDATION_SHARE, len(index.classes) / len(rows))
    keep, cut = train_test_split(rows, test_size=share, random_state=seed, stratify=index.label[rows])
    return np.sort(keep), np.sort(cut)
