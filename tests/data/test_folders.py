"""Folders as people bring them: the names of a split, hidden copies, a root one level off."""

import shutil
from pathlib import Path

import pytest

from bloodcell.common.errors import InputError
from bloodcell.data.sources.folder import Folder
from tests.helpers import CLASSES, write_cells


def looked_up(root: Path) -> Folder:
    data = Folder(str(root))
    data.look_up()
    return data


@pytest.mark.parametrize(
    ("train", "val", "test"),
    [
        ("TRAIN", "VAL", "TEST"),
        ("Training", "valid", "Testing"),
        ("train", "Validation", "test"),
        ("train", "dev", "TEST"),
    ],
)
def test_a_split_is_known_by_its_usual_names(tmp_path: Path, train: str, val: str, test: str) -> None:
    root = write_cells(tmp_path / "cells", (train, val, test), 4)
    split, plain = looked_up(root).split, looked_up(write_cells(tmp_path / "plain", ("train", "val", "test"), 4)).split
    assert looked_up(root).classes == CLASSES
    for one, other in ((split.train, plain.train), (split.val, plain.val), (split.test, plain.test)):
        assert one.tolist() == other.tolist(), "the same rows as under the plain names"


def test_two_folders_of_one_subset_are_refused(tmp_path: Path) -> None:
    root = write_cells(tmp_path / "cells", ("train", "val", "valid", "test"), 2)
    with pytest.raises(InputError, match="one folder of val images, got val and valid"):
        looked_up(root)


@pytest.mark.parametrize("hidden", [".ipynb_checkpoints", ".cache/old", "kept/.thumbs"])
def test_copies_in_hidden_folders_are_no_images(tmp_path: Path, hidden: str) -> None:
    root = write_cells(tmp_path / "cells", ("",), 6)
    before = looked_up(root).index.file.tolist()
    for image in list(root.glob("*/*.png")):
        to = image.parent / hidden / f"{image.stem}-checkpoint.png"
        to.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(image, to)
    assert looked_up(root).index.file.tolist() == before


def test_one_class_alone_is_a_root_one_level_off(tmp_path: Path) -> None:
    write_cells(tmp_path / "PBC" / "PBC", ("",), 4)
    with pytest.raises(InputError, match="two or more class folders, got one"):
        looked_up(tmp_path / "PBC")
    assert looked_up(tmp_path / "PBC" / "PBC").classes == CLASSES
