"""Splits are partitions, stratified, and depend on nothing but their own seed."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bloodcell.common.errors import InputError
from bloodcell.data.index import Index, IntArray, index_folders
from bloodcell.data.sources.blood_cells import index_blood_cells
from bloodcell.data.sources.folder import Folder
from bloodcell.data.splits import (
    Split,
    all_test,
    fewer_training_groups,
    fewer_training_images,
    folder_split,
    grouped_split,
    official_split,
    random_split,
)
from tests.helpers import shared_groups, write_cells, write_groups


def table(train: list[int], test: list[int]) -> Index:
    subsets = {"TRAIN": train, "TEST": test}
    rows = [(subset, k) for subset, counts in subsets.items() for k, n in enumerate(counts) for _ in range(n)]
    names = np.array([f"{subset}/{k}/{i}.jpg" for i, (subset, k) in enumerate(rows)])
    empty = np.full(len(rows), "")
    classes = tuple("ABCDEFGH"[: len(train)])
    return Index(
        Path("/none"),
        classes,
        names,
        np.array([k for _, k in rows]),
        np.array([s for s, _ in rows]),
        empty,
        empty,
        np.full(len(rows), "image"),
        np.full((len(rows), 2), np.nan),
        names,
    )


counts = st.lists(st.integers(8, 30), min_size=2, max_size=5)


@settings(max_examples=40, deadline=None)
@given(counts, st.integers(0, 5))
def test_official_cuts_validation_out_of_train_only(numbers: list[int], seed: int) -> None:
    index = table(numbers, [4] * len(numbers))
    split = official_split(index, seed)
    assert set(split.test) == set(index.rows("TEST"))
    assert sorted([*split.train, *split.val]) == list(index.rows("TRAIN"))
    assert index.counts(split.train).min() > 0
    assert index.counts(split.val).min() > 0
    assert split.choice
    assert "flatters" in split.caveat
    again = official_split(index, seed)
    assert np.array_equal(split.val, again.val)


@settings(max_examples=40, deadline=None)
@given(counts, st.integers(0, 5), st.integers(1, 6))
def test_random_takes_so_many_of_each_class(numbers: list[int], seed: int, each: int) -> None:
    index = table(numbers, [2] * len(numbers))
    split = random_split(index, seed, test_per_class=each)
    assert list(index.counts(split.test)) == [each] * len(numbers)
    assert sorted([*split.train, *split.test]) == list(range(len(index)))
    assert np.array_equal(split.val, split.test)
    assert not split.choice


def test_random_depends_on_its_seed() -> None:
    index = table([50, 50], [10, 10])
    assert not np.array_equal(random_split(index, 0, 20).test, random_split(index, 1, 20).test)


def test_random_needs_enough_images() -> None:
    with pytest.raises(InputError, match="got 12 of B"):
        random_split(table([20, 10], [2, 2]), 0, test_per_class=12)


@pytest.mark.parametrize("subsets", [("train", "val", "test"), ("train", "test"), ("train", "val"), ("train",), ("",)])
def test_folders_are_followed_as_far_as_they_go(tmp_path: Path, subsets: tuple[str, ...]) -> None:
    index = index_folders(write_cells(tmp_path, subsets, 8), list(subsets))
    split = folder_split(index, 0)
    parts = [set(split.train), set(split.val), set(split.test)]
    assert sum(len(part) for part in parts) == len(set.union(*parts)) == len(index)
    for name, part in zip(("val", "test"), parts[1:], strict=True):
        if name in subsets:
            assert part == set(index.rows(name))
    assert ("at random" in split.caveat) == (subsets != ("train", "val", "test"))
    assert list(all_test(index).test) == list(range(len(index)))


def test_index_does_not_depend_on_the_order_of_files(tmp_path: Path) -> None:
    one = index_folders(write_cells(tmp_path / "a", ("",), 4), [""])
    assert list(one.file) == sorted(one.file)
    two = index_folders(write_cells(tmp_path / "b", ("",), 4), [""])
    assert one.digests == two.digests
    (tmp_path / "b" / "MONOCYTE" / "_2_0.png").write_bytes((tmp_path / "b" / "MONOCYTE" / "_2_1.png").read_bytes())
    assert one.digests != two.digests_now()


# Copies, originals, and field groups, some of photographs of two classes.

PARTS = ("train", "val", "test", "test_beside", "calibration")
COLUMNS = ("file", "label", "subset", "micrograph", "group", "view", "cell")


def kaggle_like(seed: int, classes: int, each: int = 12) -> Index:
    """A table like that of the real set: ``each`` photographs a class and more, copies, groups of one to three."""
    rng = np.random.default_rng(seed)
    names = "ABCDE"[:classes]
    labels = np.repeat(np.arange(classes), rng.integers(each, each + 6, classes))
    order = rng.permutation(len(labels))
    group = np.arange(len(labels))
    for one, other in order[: 2 * (len(labels) // 6)].reshape(-1, 2):
        group[group == group[one]] = group[other]
    sides = np.where(rng.random(len(labels)) < 0.25, "TEST", "TRAIN")
    for k in range(classes):  # two of each class on either side
        sides[np.flatnonzero(labels == k)[:4]] = ["TEST", "TEST", "TRAIN", "TRAIN"]
    rows: list[tuple[Any, ...]] = []
    for number, (label, side) in enumerate(zip(labels, sides, strict=True)):
        known = str(number), f"field{group[number]}"
        for _ in range(rng.integers(1, 6)):
            rows.append((f"{side}/{names[label]}/{rng.integers(10**9)}.jpeg", label, side, *known, "twin"))
        if rng.random() < 0.2:
            rows.append((f"TEST_SIMPLE/{names[label]}/{number}.jpeg", label, "TEST_SIMPLE", *known, "simple"))
        rows.append((f"ORIGINAL/{names[label]}/{number}.jpg", label, side, *known, "original"))
    columns = [np.array(column) for column in zip(*rows, strict=True)]
    return Index(Path("/none"), tuple(names), *columns, np.full((len(rows), 2), np.nan), columns[0])


def shuffled(index: Index, seed: int) -> Index:
    order = np.random.default_rng(seed).permutation(len(index))
    return replace(index, **{name: getattr(index, name)[order] for name in COLUMNS})


def files(index: Index, rows: IntArray) -> set[str]:
    return set(index.file[rows].tolist())


def groups(index: Index, rows: IntArray) -> set[str]:
    return set(index.group[rows].tolist())


def views(index: Index, rows: IntArray) -> set[str]:
    return set(index.view[rows].tolist())


def all_files(index: Index, split: Split) -> dict[str, set[str]]:
    return {part: files(index, getattr(split, part)) for part in PARTS}


def check_sides(index: Index, split: Split) -> None:
    """No group is on two sides, every class on all of them, and what stands beside belongs there."""
    sides = [groups(index, rows) for rows in (split.train, split.val, split.test)]
    assert sum(map(len, sides)) == len(set.union(*sides))
    for rows in (split.train, split.val, split.test):
        assert index.counts(rows).min() > 0
        assert len(set(rows.tolist())) == len(rows)
    assert groups(index, split.test_beside) == sides[2]
    assert groups(index, split.calibration) == sides[1]
    assert views(index, split.calibration) == {"original"}
    assert split.choice


def accepted(cut: Callable[[], Split]) -> Split | None:
    """The split; nothing where groups of two classes leave a class without a place in some fold, which is said."""
    try:
        return cut()
    except InputError as error:
        if "every class in every fold" in str(error) or "as many field groups as folds" in str(error):
            return None
        raise


tables = st.builds(kaggle_like, st.integers(0, 10**6), st.integers(2, 4))


@settings(max_examples=25, deadline=None)
@given(tables, st.integers(2, 5), st.integers(0, 3), st.sampled_from(["twin", "original"]))
def test_grouped_folds_share_no_group_and_partition_the_originals(
    index: Index, folds: int, fold_seed: int, view: Literal["twin", "original"]
) -> None:
    cut = [accepted(lambda fold=fold: grouped_split(index, folds, fold, fold_seed, view)) for fold in range(folds)]
    splits = [split for split in cut if split is not None]
    if len(splits) < folds:
        return
    for split in splits:
        check_sides(index, split)
        assert views(index, split.test) == {"original"}
        assert views(index, split.test_beside) == {"twin"}
        assert views(index, split.train) == views(index, split.val) == {view}
        learnt = files(index, split.train) | files(index, split.val)
        held = files(index, split.test_beside if view == "twin" else split.test)
        assert learnt | held == files(index, np.flatnonzero(index.view == view)), "no image is lost"
    tested = np.concatenate([split.test for split in splits])
    assert sorted(tested) == np.flatnonzero(index.view == "original").tolist()


def test_most_tables_can_be_cut() -> None:
    """Else the properties here would be about nothing."""
    many = [kaggle_like(seed, 3) for seed in range(20)]
    for name, cut in {
        "grouped": lambda index: grouped_split(index, 4, 0, 0),
        "official": lambda index: official_split(index, 0),
        "strict": lambda index: official_split(index, 0, strict=True),
    }.items():
        assert sum(accepted(lambda cut=cut, index=index: cut(index)) is not None for index in many) >= 15, name


def test_validation_is_cut_although_another_fold_would_lack_a_class() -> None:
    index = kaggle_like(552271, 3)
    split = official_split(index, 0)
    assert index.counts(split.val).min() > 0
    assert index.counts(split.train).min() > 0


@settings(max_examples=15, deadline=None)
@given(tables, st.integers(0, 3), st.integers(0, 3))
def test_cuts_do_not_depend_on_the_order_of_the_files(index: Index, seed: int, order: int) -> None:
    other = shuffled(index, order)
    for cut in (
        lambda table: grouped_split(table, 3, 1, seed),
        lambda table: official_split(table, seed),
        lambda table: official_split(table, seed, strict=True),
    ):
        one, two, again = (accepted(lambda cut=cut, table=table: cut(table)) for table in (index, other, index))
        assert (one is None) == (two is None) == (again is None)
        if one is not None and two is not None and again is not None:
            assert all_files(index, one) == all_files(other, two) == all_files(index, again)


def test_folds_depend_on_the_seed_of_the_folds() -> None:
    index = kaggle_like(1, 3)
    one, two = grouped_split(index, 4, 0, 0), grouped_split(index, 4, 0, 1)
    assert files(index, one.test) != files(index, two.test)
    assert files(index, one.test) != files(index, grouped_split(index, 4, 1, 0).test)


@settings(max_examples=25, deadline=None)
@given(tables, st.integers(0, 5))
def test_official_strict_leaves_out_what_touches_test_and_nothing_else(index: Index, seed: int) -> None:
    plain = accepted(lambda: official_split(index, seed))
    strict = accepted(lambda: official_split(index, seed, strict=True))
    if plain is None or strict is None:
        return
    check_sides(index, strict)
    assert shared_groups(strict, index, strict.test)[0] == 0
    touching = groups(index, index.rows("TEST"))
    apart = [row for row in index.rows("TRAIN") if index.group[row] not in touching]
    assert sorted([*strict.train, *strict.val]) == apart
    # The published split learns from them all the same, and chooses on none of them, unless it had no others.
    left_out = np.setdiff1d(index.rows("TRAIN"), [*plain.train, *plain.val])
    assert groups(index, left_out) <= touching
    assert not groups(index, plain.val) & touching or not len(left_out)
    assert ("left out" in plain.caveat) == (len(left_out) > 0)
    assert not groups(index, plain.train) & groups(index, plain.val)
    for split in (plain, strict):
        assert list(split.test) == list(index.rows("TEST"))
        assert views(index, split.test_beside) == {"original"}
        tested = set(index.micrograph[split.test].tolist())
        assert set(index.micrograph[split.test_beside].tolist()) == tested
        assert len(split.test_beside) == len(tested)
        assert "flatters" not in split.caveat


def test_validation_is_about_a_seventh_of_the_groups() -> None:
    index = kaggle_like(3, 3, each=60)
    for split in (official_split(index, 0), grouped_split(index, 5, 0, 0)):
        share = len(groups(index, split.val)) / len(groups(index, split.val) | groups(index, split.train))
        assert 0.09 < share < 0.2


@settings(max_examples=60, deadline=None)
@given(tables, st.data())
def test_shared_groups_are_counted_right(index: Index, data: st.DataObject) -> None:
    rng = np.random.default_rng(data.draw(st.integers(0, 10**6)))
    part = rng.integers(0, 4, len(index))
    unknown = replace(index, group=np.where(rng.random(len(index)) < 0.1, "", index.group))
    train, val, test = (np.flatnonzero(part == number) for number in range(3))
    for choice in (True, False):
        split = Split("any", train, val, test, choice=choice)
        learnt = [*train, *(val if choice else [])]
        shared, asked = set(), set()
        for row in test:
            name = str(unknown.group[row])
            if name:
                asked.add(name)
                if any(unknown.group[other] == name for other in learnt):
                    shared.add(name)
        assert shared_groups(split, unknown, test) == (len(shared), len(asked))


@settings(max_examples=30, deadline=None)
@given(tables, st.integers(0, 3), st.data())
def test_fewer_training_images_keep_the_shares_of_the_classes(index: Index, seed: int, data: st.DataObject) -> None:
    split = accepted(lambda: official_split(index, 0))
    if split is None:
        return
    whole = index.counts(split.train)
    number = data.draw(st.integers(len(whole), len(split.train) - len(whole)))
    few = fewer_training_images(index, split, number, seed)
    kept = index.counts(few.train)
    assert kept.sum() == number
    assert files(index, few.train) <= files(index, split.train)
    assert np.abs(kept - number * whole / whole.sum()).max() <= 1
    assert np.array_equal(few.train, fewer_training_images(index, split, number, seed).train)
    assert replace(few, train=split.train, left_out=split.left_out) == split
    assert files(index, few.left_out) <= files(index, split.train) - files(index, few.train)
    assert set(index.micrograph[few.left_out].tolist()) <= set(index.micrograph[few.train].tolist())
    assert fewer_training_images(index, split, len(split.train), seed) is split


@settings(max_examples=30, deadline=None)
@given(tables, st.integers(0, 3), st.floats(0.05, 0.5))
def test_a_larger_share_of_the_groups_holds_a_smaller_one(index: Index, seed: int, share: float) -> None:
    split = accepted(lambda: official_split(index, 0))
    if split is None:
        return
    few, more = (fewer_training_groups(index, split, one, seed) for one in (share, 2 * share))
    assert files(index, few.train) <= files(index, more.train) <= files(index, split.train)
    assert replace(few, train=split.train) == split
    left = np.setdiff1d(split.train, few.train)
    known = np.setdiff1d(index.group[split.train], [""])
    assert not set(index.group[left].tolist()) & set(index.group[few.train].tolist()) - {""}, "whole groups"
    assert len(np.setdiff1d(index.group[few.train], [""])) <= share * len(known) + len(index.classes)
    assert np.array_equal(fewer_training_groups(index, split, 1.0, seed).train, split.train)


@pytest.mark.parametrize("surplus", [1, 1000])
def test_more_training_images_than_there_are_is_an_error(surplus: int) -> None:
    index = kaggle_like(0, 4)
    split = official_split(index, 0)
    for number in (len(split.train) + surplus, len(index.classes) - 1, 0, -1):
        with pytest.raises(InputError, match=f"expected 4 to {len(split.train)}"):
            fewer_training_images(index, split, number, 0)


@pytest.mark.parametrize("less", [1, 2, 3])
def test_one_training_image_less_than_there_are_is_no_error(less: int) -> None:
    index = kaggle_like(0, 4)
    split = official_split(index, 0)
    number = len(split.train) - less
    assert len(fewer_training_images(index, split, number, 0).train) == number


@pytest.mark.parametrize("fold", [-1, 5])
def test_a_fold_must_be_one_of_them(fold: int) -> None:
    with pytest.raises(InputError, match="expected 0 to 4"):
        grouped_split(kaggle_like(0, 3), 5, fold, 0)


def test_groups_must_be_known_and_as_many_as_folds() -> None:
    index = kaggle_like(0, 3)
    with pytest.raises(InputError, match="in each class as many field groups as folds, got"):
        grouped_split(index, 40, 0, 0)
    unknown = replace(index, group=np.where(np.arange(len(index)) == index.rows("TRAIN")[5], "", index.group))
    name = str(index.file[index.rows("TRAIN")[5]])
    with pytest.raises(InputError, match=f"got none for {name};"):
        grouped_split(unknown, 5, 0, 0)
    with pytest.raises(InputError, match=f"got none for {name};"):
        official_split(unknown, 0, strict=True)
    kept = index.view != "original"
    without = replace(index, **{column: getattr(index, column)[kept] for column in COLUMNS})
    with pytest.raises(InputError, match="expected the original micrographs"):
        grouped_split(without, 5, 0, 0)


def test_the_seed_of_the_run_does_not_move_the_folds(tmp_path: Path) -> None:
    root = write_groups(write_cells(tmp_path, ("",), 12), lambda number: f"patient{number // 2}")
    found = []
    for seed in (0, 1):
        data = Folder(str(root), protocol="grouped", folds=3, fold=1, seed=seed)
        data.look_up()
        found.append(all_files(data.index, data.split))
    assert found[0] == found[1]
    moved = Folder(str(root), protocol="grouped", folds=3, fold=1, fold_seed=1)
    moved.look_up()
    assert all_files(moved.index, moved.split) != found[0]


# The real set, with the shipped tables.


@pytest.fixture(scope="module")
def real_index(real: Path) -> Index:
    from bloodcell.data.kaggle import find_images
    from bloodcell.data.lineage_table import read_lineage

    return index_blood_cells(find_images(real), read_lineage())


@pytest.mark.real
def test_every_photograph_is_tested_once_in_the_five_folds(real_index: Index) -> None:
    splits = [grouped_split(real_index, 5, fold, 0) for fold in range(5)]
    tested = np.concatenate([split.test for split in splits])
    assert len(tested) == len(set(tested.tolist())) == 348
    assert real_index.counts(tested).tolist() == [88, 33, 20, 207]
    assert views(real_index, tested) == {"original"}
    for split in splits:
        check_sides(real_index, split)
        assert shared_groups(split, real_index, split.test)[0] == 0
        assert shared_groups(split, real_index, split.test_beside)[0] == 0
        assert len(split.train) + len(split.val) + len(split.test_beside) == 12444
    beside = np.concatenate([split.test_beside for split in splits])
    assert len(set(beside.tolist())) == 12444


@pytest.mark.real
def test_blocks_are_of_consecutive_photographs_and_partition_them(real_index: Index) -> None:
    splits = [grouped_split(real_index, 5, fold, 0, blocked=True) for fold in range(5)]
    tested = [sorted(real_index.micrograph[split.test].tolist()) for split in splits]
    assert [len(block) for block in tested] == [70, 70, 70, 69, 69]
    assert [name for block in tested for name in block] == sorted(name for block in tested for name in block)
    for split in splits:
        sides = [groups(real_index, rows) for rows in (split.train, split.val, split.test)]
        assert sum(map(len, sides)) == len(set.union(*sides)), "a group that reaches into the block is not learnt from"
        assert set(real_index.micrograph[split.test_beside].tolist()) == set(real_index.micrograph[split.test].tolist())
        assert real_index.counts(split.train).min() > 0
    beside = np.concatenate([split.test_beside for split in splits])
    assert len(beside) == len(set(beside.tolist())) == 12444


@pytest.mark.real
def test_published_and_random_splits_leak_and_strict_ones_do_not(real_index: Index) -> None:
    official = official_split(real_index, 0)
    assert len(official.test_beside) == 71
    assert real_index.counts(official.test_beside).tolist() == [13, 6, 4, 48]
    shared, tested = shared_groups(official, real_index, official.test)
    assert 4 <= shared < tested <= 71
    assert not groups(real_index, official.val) & groups(real_index, official.test)
    assert not groups(real_index, official.calibration) & groups(real_index, official.test)
    strict = official_split(real_index, 0, strict=True)
    check_sides(real_index, strict)
    assert shared_groups(strict, real_index, strict.test) == (0, tested)
    assert files(real_index, strict.test) == files(real_index, official.test)
    left_out = len(official.train) + len(official.val) - len(strict.train) - len(strict.val)
    assert 0 < left_out < 1000
    paper = random_split(real_index, 0)
    shared, tested = shared_groups(paper, real_index, paper.test)
    assert shared >= tested - 3
    assert shared > 0.8 * len(groups(real_index, np.flatnonzero(real_index.view == "original")))


@pytest.mark.real
def test_learning_from_originals_leaves_the_folds_as_they_are(real_index: Index) -> None:
    split = grouped_split(real_index, 5, 2, 0)
    original = grouped_split(real_index, 5, 2, 0, "original")
    assert files(real_index, split.test) == files(real_index, original.test)
    assert files(real_index, split.test_beside) == files(real_index, original.test_beside)
    assert files(real_index, original.val) == files(real_index, split.calibration)
    assert len(original.train) + len(original.val) + len(original.test) == 348


def test_everything_learns_every_copy_or_every_photograph_and_chooses_nothing() -> None:
    from bloodcell.data.sources.blood_cells import everything

    index = table([8, 8], [4, 4])
    views = np.array(["twin"] * 16 + ["original"] * 8)
    index = replace(index, view=views)
    for train_view, expected in (("twin", np.arange(16)), ("original", np.arange(16, 24))):
        split = everything(index, train_view)  # type: ignore[arg-type]  # a text of the table
        assert np.array_equal(split.train, expected)
        assert np.array_equal(split.test, np.arange(16, 24))
        assert not split.choice
        assert "every photograph was learnt" in split.caveat
