"""Cuts of an index by field group: folds, a validation share, and what overlaps the test."""

import numpy as np
from sklearn.model_selection import StratifiedGroupKFold, train_test_split

from bloodcell.common.errors import InputError
from bloodcell.data.index import Index, IntArray

VALIDATION_SHARE = 0.15
# Every seventh part of the training groups, 14 %.
VALIDATION_FOLDS = 7


def clear_of_test(index: Index, val: IntArray, test: IntArray) -> tuple[IntArray, str]:
    """Leave out the validation rows of groups that are in the test, and say so.

    Where nothing would be left all stay, and count as learnt from: the test's warning names the shared groups.
    """
    shared = np.isin(index.group[val], np.setdiff1d(index.group[test], [""]))
    if not shared.any() or shared.all():
        return val, ""
    return val[~shared], f"{shared.sum():,} validation images left out, whose field groups are in the test; "


def groups_known(index: Index, rows: IntArray) -> bool:
    """Tell whether the field group of every row is known."""
    return bool((index.group[rows] != "").all())


def require_groups(index: Index, rows: IntArray, where: str) -> None:
    """Refuse rows without a field group.

    Args:
        index: The table of images.
        rows: Rows that need one.
        where: What the error names.

    Raises:
        InputError: If the group of a row is not known.
    """
    unknown = rows[index.group[rows] == ""]
    if len(unknown):
        more = f" and {len(unknown) - 1:,} more" if len(unknown) > 1 else ""
        raise InputError(
            where,
            expected="the field group of every image",
            got=f"none for {index.file[unknown[0]]}{more}",
            fix="see `make lineage` for the Kaggle set; for a folder give groups.csv or data.group_pattern",
        )


def cut_folds(index: Index, units: IntArray, folds: int, seed: int, *, validation: bool = False) -> list[IntArray]:
    """Cut rows into folds by group, stratified by class; the same whatever the order of the files.

    Args:
        index: The table of images.
        units: One row per photograph.
        folds: Number of folds.
        seed: Seeds the folds.
        validation: Only the first fold will be used; take fewer folds, at least two, where a class has fewer groups.

    Raises:
        InputError: If a class has too few groups, or is missing from a fold.
    """
    units = units[np.argsort(index.file[units])]
    labels, groups = index.label[units], index.group[units]
    numbers = [len(np.unique(groups[labels == k])) for k in range(len(index.classes))]
    folds = max(2, min(folds, *numbers)) if validation else folds
    fewest = int(np.argmin(numbers))
    where = f"the validation cut of {index.root}" if validation else f"data.folds={folds}"
    if folds < 2 or numbers[fewest] < folds:
        raise InputError(
            where,
            expected="at least 2 folds, and in each class as many field groups as folds",
            got=f"{numbers[fewest]} groups of {index.classes[fewest]}",
            fix="add images of other groups" if validation or folds == 2 else "lower data.folds",
        )
    cut = StratifiedGroupKFold(folds, shuffle=True, random_state=seed).split(units, labels, groups)
    parts = [units[test] for _, test in cut]
    for number, part in enumerate(parts[:1] if validation else parts):
        absent = np.setdiff1d(labels, index.label[part])
        if len(absent):
            raise InputError(
                where,
                expected="every class in every fold",
                got=f"no {index.classes[absent[0]]} in fold {number}",
                fix="set another seed of the cut (data.fold_seed, data.split_seed)"
                if validation
                else "lower data.folds, or set another data.fold_seed",
            )
    return parts


def cut_blocks(index: Index, units: IntArray, folds: int) -> list[IntArray]:
    """Cut photographs into blocks of consecutive numbers, as we take it the order in which they were made.

    Args:
        index: The table of images.
        units: One row per photograph.
        folds: Number of blocks.
    """
    return np.array_split(units[np.argsort(index.micrograph[units], kind="stable")], folds)


def cut_share(index: Index, rows: IntArray, seed: int) -> tuple[IntArray, IntArray]:
    """Cut a stratified share off some rows, by group where groups are known; both parts come back sorted.

    Raises:
        InputError: If a class has fewer than two images or groups.
    """
    if groups_known(index, rows) and len(np.unique(index.group[rows])) < len(rows):
        part = cut_folds(index, _one_each(index, rows), VALIDATION_FOLDS, seed, validation=True)[0]
        cut_off = np.isin(index.group[rows], index.group[part])
        return np.sort(rows[~cut_off]), np.sort(rows[cut_off])
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


def _one_each(index: Index, rows: IntArray) -> IntArray:
    """Keep one row per photograph, or all where photographs are not known."""
    if not (index.micrograph[rows] != "").all():
        return rows
    ordered = rows[np.argsort(index.file[rows])]
    _, first = np.unique(index.micrograph[ordered], return_index=True)
    return ordered[first]
