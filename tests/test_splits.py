"""Splits are partitions, stratified, and depend on nothing but their own seed."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bloodcell.data.index import Index, index_folders
from bloodcell.data.splits import all_test, folder_split, official_split, random_split
from bloodcell.errors import InputError


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
    from tests.conftest import write_cells

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
    from tests.conftest import write_cells

    one = index_folders(write_cells(tmp_path / "a", ("",), 4), [""])
    assert list(one.file) == sorted(one.file)
    two = index_folders(write_cells(tmp_path / "b", ("",), 4), [""])
    assert one.digests() == two.digests()
    (tmp_path / "b" / "MONOCYTE" / "_2_0.png").write_bytes((tmp_path / "b" / "MONOCYTE" / "_2_1.png").read_bytes())
    assert one.digests() != two.digests()
