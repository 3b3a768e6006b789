"""Folders as people bring them: their names for subsets, levels that are no classes, links, litter."""

import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from bloodcell.common.errors import InputError
from bloodcell.data.index import Index, index_folders
from bloodcell.data.sources.folder import Folder
from tests.helpers import CLASSES, TINY, write_cells

Train = Callable[..., Path]


def empty_files(root: Path, *folders: str, each: int = 4) -> Path:
    """Files that are images by their ending: what looks at folders alone needs no more."""
    for folder in folders:
        (root / folder).mkdir(parents=True, exist_ok=True)
        for number in range(each):
            (root / folder / f"{number}.png").touch()
    return root


def found(root: Path, **words: Any) -> Folder:
    data = Folder(str(root), **words)
    data.look_up()
    return data


def subsets(index: Index) -> dict[str, int]:
    names, counts = np.unique(index.subset, return_counts=True)
    return dict(zip(names.tolist(), counts.tolist(), strict=True))


def refused(root: Path, **words: Any) -> str:
    with pytest.raises(InputError) as stopped:
        found(root, **words)
    return str(stopped.value)


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (("TRAIN", "TEST"), {"train": 8, "test": 8}),
        (("Training", "Testing"), {"train": 8, "test": 8}),
        (("train", "valid", "test"), {"train": 8, "val": 8, "test": 8}),
        (("train", "Validation"), {"train": 8, "val": 8}),
        (("train", "dev", "test"), {"train": 8, "val": 8, "test": 8}),
    ],
)
def test_subsets_are_known_under_their_usual_names(
    tmp_path: Path, names: tuple[str, ...], expected: dict[str, int]
) -> None:
    data = found(empty_files(tmp_path, *(f"{name}/{cell}" for name in names for cell in ("eos", "lym"))))
    assert subsets(data.index) == expected
    assert data.classes == ("eos", "lym")
    assert str(data.index.file[0]) == f"{names[0]}/eos/0.png"


@pytest.mark.parametrize("names", [("TRAIN", "VAL", "TEST"), ("Training", "valid", "Testing")])
def test_other_names_give_the_same_rows(tmp_path: Path, names: tuple[str, str, str]) -> None:
    def rows(root: Path, parts: tuple[str, ...]) -> list[list[int]]:
        split = found(empty_files(root, *(f"{part}/{cell}" for part in parts for cell in CLASSES))).split
        return [one.tolist() for one in (split.train, split.val, split.test)]

    assert rows(tmp_path / "a", names) == rows(tmp_path / "b", ("train", "val", "test"))


def test_a_folder_beside_the_subsets_is_passed_over_and_named(tmp_path: Path) -> None:
    root = empty_files(tmp_path, *(f"{name}/{cell}" for name in ("TRAIN", "TEST", "TEST_SIMPLE") for cell in "ab"))
    (root / "README.txt").touch()
    (root / "TRAIN" / "loose.png").touch()
    data = found(root)
    assert len(data.index) == 16
    assert data.index.passed_over == (
        "TEST_SIMPLE/ (8 images)",
        "TRAIN/ (1 image in no class folder)",
        "README.txt",
    )


def test_two_folders_for_one_subset_are_refused(tmp_path: Path) -> None:
    root = empty_files(tmp_path, "train/a", "train/b", "val/a", "val/b", "valid/a", "valid/b")
    assert "expected one folder for the val images, got val/ and valid/" in refused(root)


def test_classes_may_be_called_like_subsets(tmp_path: Path) -> None:
    assert found(empty_files(tmp_path, "train", "car", "plane")).classes == ("car", "plane", "train")


def test_subsets_without_class_folders_are_told_of_the_table(tmp_path: Path) -> None:
    line = refused(empty_files(tmp_path, "train", "test"))
    assert "test: expected one folder of images per class, got 4 images and no folder in it" in line
    assert "data.table=FILE" in line


@pytest.mark.parametrize(
    ("folders", "said"),
    [
        (("PBC/eos", "PBC/lym"), "got one (PBC/); set data.root={root}/PBC"),
        (("a/b/c/eos", "a/b/c/lym"), "got one (a/); set data.root={root}/a/b/c"),
        (("eos",), "got one (eos/); set data.root={parent} if {name}/ is a class itself"),
        (("eos/slide_1",), "got one (eos/)"),
        (("train/set/eos", "train/set/lym"), "move what is in train/set/ up to train/"),
        (("zip/train/eos", "zip/train/lym", "zip/test/eos", "zip/test/lym"), "set data.root={root}/zip"),
        (("fold_0/train/a", "fold_0/test/a", "fold_1/train/a"), "set data.root={root}/fold_0 for it alone"),
        (("fold_0/a", "fold_0/b", "fold_1/a", "fold_1/b"), "set data.root={root}/fold_0 for one of them"),
        (("slide1/a", "slide1/b", "slide2/a", "slide3/b"), "3 folders (slide1, slide2, slide3) that hold folders"),
        (("Berlin/eos", "Berlin/lym", "Paris/eos", "Paris/lym"), "2 folders (Berlin, Paris) that hold folders"),
        (("train/P1/eos", "train/P1/lym", "train/P2/eos", "train/P2/lym"), "(train/): expected class folders"),
        (("eos/train", "eos/test", "lym/train", "lym/test"), "move them to the top (train/CLASS/)"),
    ],
)
def test_a_level_that_is_no_class_is_said_with_what_to_type(
    tmp_path: Path, folders: tuple[str, ...], said: str
) -> None:
    root = empty_files(tmp_path / "set", *folders)
    (root / "__MACOSX").mkdir()
    assert said.format(root=root, parent=tmp_path, name="set") in refused(root)


@pytest.mark.parametrize(
    "folders",
    [
        ("eos/slide_1", "eos/slide_2", "lym/slide_1", "lym/slide_2"),  # the same slides in every class
        ("eos/P01", "lym/P02"),
        ("CD4/images", "CD8/images"),
        ("grade1", "grade2", "grade3"),
        ("eos", "lym/odd"),
    ],
)
def test_classes_may_have_folders_inside(tmp_path: Path, folders: tuple[str, ...]) -> None:
    root = empty_files(tmp_path, *folders)
    assert found(root).classes == tuple(sorted({folder.partition("/")[0] for folder in folders}))


def test_who_says_how_many_classes_there_are_is_believed(tmp_path: Path) -> None:
    root = empty_files(tmp_path, "class1/day", "class1/night", "class2/day", "class2/night")
    assert "data.num_classes=2 if these 2 folders are the classes" in refused(root)
    assert found(root, num_classes=2).classes == ("class1", "class2")


def test_a_root_that_is_a_class_or_a_subset_itself(tmp_path: Path) -> None:
    root = empty_files(tmp_path / "set", "train/eos", "train/lym", "test/eos", "test/lym")
    line = refused(root / "train" / "eos")
    assert "got 4 images and no folder in it" in line
    assert f"set data.root={root / 'train'} if eos/ is a class itself" in line
    assert found(root / "train").index.passed_over == (f"../test/ (data.root={root} takes it in)",)


LITTER = (".ipynb_checkpoints/0-checkpoint.png", "__MACOSX/._0.png", ".cache/x/0.png", "@eaDir/0.png", "._0.png")


def test_litter_is_passed_over_at_any_depth_and_named(tmp_path: Path) -> None:
    root = empty_files(tmp_path, "eos", "lym/deep", each=6)
    for folder in ("", "eos", "lym", "lym/deep"):
        for name in (*LITTER, "Thumbs.db", ".DS_Store", "desktop.ini"):
            path = root / folder / name
            path.parent.mkdir(exist_ok=True, parents=True)
            path.touch()
    data = found(root)
    assert len(data.index) == 12
    for name in (".ipynb_checkpoints/", "__MACOSX/", ".cache/", "@eaDir/", "Thumbs.db", ".DS_Store", "desktop.ini"):
        assert f"{name} (4 times)" in data.index.passed_over
    assert "._* (4 files)" in data.index.passed_over


def test_links_to_folders_are_followed_once_and_never_in_a_circle(tmp_path: Path) -> None:
    elsewhere = empty_files(tmp_path / "elsewhere", "mono", "mono/more")
    root = empty_files(tmp_path / "set", "eos", "lym")
    (root / "mono").symlink_to(elsewhere / "mono")
    (root / "eos" / "loop").symlink_to(root / "eos")
    (root / "lym" / "up").symlink_to(tmp_path)
    (root / "lym" / "other").symlink_to(root / "eos")
    (elsewhere / "mono" / "back").symlink_to(root)
    (elsewhere / "mono" / "again").symlink_to(elsewhere / "mono" / "more")
    data = found(root)
    assert data.classes == ("eos", "lym", "mono")
    assert sorted(data.index.file.tolist()) == sorted(
        f"{folder}/{number}.png" for folder in ("eos", "lym", "mono", "mono/more") for number in range(4)
    )
    for link in ("eos/loop/", "lym/up/", "lym/other/", "mono/back/", "mono/again/"):
        assert f"{link} (a link to a folder that is read already)" in data.index.passed_over


def test_a_link_out_of_one_subset_cannot_bring_in_the_other(tmp_path: Path) -> None:
    root = empty_files(tmp_path, "TRAIN/a", "TRAIN/b", "TEST/a", "TEST/b")
    (root / "TRAIN" / "a" / "all").symlink_to(root)
    assert len(index_folders(root, ["TRAIN", "TEST"])) == 16


@pytest.mark.parametrize("kind", ["pipe", "device", "broken link", "link in a circle", "link to a folder"])
def test_what_is_no_file_is_refused_by_name(tmp_path: Path, kind: str) -> None:
    root = empty_files(tmp_path / "set", "eos", "lym")
    path = root / "eos" / "x.png"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "link to a folder":
        path.symlink_to(empty_files(tmp_path / "other", ""))
        assert len(found(root).index) == 12  # a folder with an odd name
        return
    else:
        path.symlink_to({"device": "/dev/zero", "broken link": "nowhere", "link in a circle": "x.png"}[kind])
    assert f"{path}: expected a regular file, got a device, a pipe or a link that leads nowhere" in refused(root)


@pytest.mark.parametrize("name", ["scan.hdr", "scan.exr", "slide.svs", "x.dcm", "figure.eps", "x.heic", "movie.gif"])
def test_other_formats_are_refused_by_name(tmp_path: Path, name: str) -> None:
    root = empty_files(tmp_path, "eos", "lym")
    (root / "lym" / name).touch()
    assert f"{root / 'lym' / name}: expected images only (.jpg .jpeg .png" in refused(root)


@contextmanager
def somebody_else() -> Iterator[None]:
    """Root reads every folder: be somebody whom permissions hold for."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.mark.parametrize("closed", ["set/eos/b", "set/lym", "set/eos/b/c"])
def test_folders_that_cannot_be_read_are_an_error_that_names_them(tmp_path: Path, closed: str) -> None:
    empty_files(tmp_path / "set", "eos/b/c", "lym")
    for folder in [tmp_path, *tmp_path.parents]:  # pytest's own folders are private
        if folder.stat().st_mode & 0o005 != 0o005 and folder.is_relative_to("/tmp/pytest-of-root"):
            folder.chmod(0o755)
    (tmp_path / closed).chmod(0)
    try:
        with somebody_else():
            line = refused(tmp_path / "set")
    finally:
        (tmp_path / closed).chmod(0o755)
    assert f"{tmp_path / closed} (Permission denied): expected folders that can be read" in line


@pytest.mark.parametrize("name", [b"zelle_\xe9.png", b"two\nlines.png", b"\x1b[31mred.png"])
def test_names_that_cannot_be_shown_are_one_line(tmp_path: Path, name: bytes) -> None:
    root = empty_files(tmp_path, "eos", "lym")
    with open(bytes(root / "eos") + b"/" + name, "wb"):  # noqa: PTH123  # a path of bytes
        pass
    line = refused(root)
    assert "expected names in UTF-8 without line ends and control characters, got 1 other name" in line
    assert line.isprintable()
    line.encode("utf-8")


def test_class_folders_that_differ_in_case_alone_are_refused(tmp_path: Path) -> None:
    assert "differ in more than case, got EOS, eos" in refused(empty_files(tmp_path, "EOS", "eos", "lym"))


def test_accents_are_the_same_however_they_are_written(tmp_path: Path) -> None:
    root = empty_files(tmp_path, "train/Bl\u00e4schen", "train/b", "test/Bla\u0308schen", "test/b")
    assert subsets(found(root).index) == {"train": 8, "test": 8}


@pytest.mark.slow
def test_the_data_line_names_classes_and_what_was_passed_over(
    train: Train, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    root = write_cells(tmp_path / "set", ("TRAIN", "Valid", "TEST", "TEST_SIMPLE"), 3)
    (root / "TRAIN" / CLASSES[0] / ".ipynb_checkpoints").mkdir()
    run = train("trainer=smoke", base=(*TINY, f"data.root={root}"))
    out = capfd.readouterr().out
    assert f"data: {root}, protocol folder; classes: EOSINOPHIL 9, LYMPHOCYTE 9, MONOCYTE 9\n" in out
    assert "passed over: TEST_SIMPLE/ (9 images), .ipynb_checkpoints/\n" in out
    assert "9 train, 9 validation, 9 test images" in out
    said = json.loads((run / "manifest.json").read_text())["data"]
    assert said["classes"] == dict.fromkeys(CLASSES, 9)
    assert said["passed_over"] == ["TEST_SIMPLE/ (9 images)", ".ipynb_checkpoints/"]


NAMES = st.sampled_from(["eos", "Lym", "b c", "mono#1", "Zähler", "[x]", "100%", "$HOME", "a=b", "細胞", "x.", "x.png"])
EXTRA = st.sampled_from([".hidden", "__MACOSX", ".ipynb_checkpoints", "@eaDir"])


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_tree_gives_the_right_labels_and_counts_or_one_line(tmp_path: Path, data: st.DataObject) -> None:
    root = tmp_path / "tree"
    shutil.rmtree(root, ignore_errors=True)
    classes = data.draw(st.lists(NAMES, min_size=1, max_size=4, unique_by=str.casefold), "classes")
    first = data.draw(st.sampled_from(["", "train", "TRAIN", "Training"]), "first subset")
    parts = [first] + ([data.draw(st.sampled_from(["test", "TEST", "Testing"]), "second")] if first else [])
    expected = {}
    for part in parts:
        for name in classes:
            for depth in data.draw(st.lists(st.sampled_from(["", "odd", "odd/deep"]), min_size=1, unique=True)):
                number = data.draw(st.integers(0, 5), "images")
                empty_files(root, f"{part}/{name}/{depth}".strip("/"), each=number)
                for one in range(number):
                    expected["/".join(filter(None, [part, name, depth, f"{one}.png"]))] = name
            if data.draw(st.booleans(), "litter"):
                empty_files(root, f"{part}/{name}/{data.draw(EXTRA)}".strip("/"), each=2)
            if data.draw(st.booleans(), "link"):
                (root / part / name / "loop").symlink_to(root, target_is_directory=True)
    counts = {(part, name): 0 for part in parts for name in classes}
    for file, name in expected.items():
        counts[file.partition("/")[0] if first else "", name] += 1
    try:
        index = Folder(str(root)).find()[0]
    except InputError as error:
        said = str(error)
    else:
        labels = [index.classes[label] for label in index.label]
        assert dict(zip(index.file.tolist(), labels, strict=True)) == expected
        assert set(index.subset.tolist()) == ({"train", "test"} if first else {""})
        return
    assert len(said.splitlines()) == 1
    # Refused for a reason only: one class, an empty one, or too few images to cut validation and test from.
    assert len(classes) == 1 or min(counts.values()) < 3, said


def test_the_picture_in_a_linked_file_is_read(tmp_path: Path) -> None:
    root = write_cells(tmp_path / "set", ("",), 4)
    kept = tmp_path / "kept.png"
    Image.new("RGB", (40, 30), "red").save(kept)
    (root / "MONOCYTE" / "linked.png").symlink_to(kept)
    data = Folder(str(root), image_size=(32, 32), cache="ram")
    data.setup()
    assert len(data.index) == 13
