"""A CSV beside a folder: classes, groups and splits, any of the three."""

import csv
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bloodcell.common.errors import InputError
from bloodcell.data import table
from bloodcell.data.sources.folder import Folder
from tests.helpers import TINY, metrics_of, write_cells

Train = Callable[..., Path]


@pytest.fixture
def flat(tmp_path: Path) -> Path:
    """Twelve files of no class folder."""
    root = tmp_path / "flat"
    (root / "images").mkdir(parents=True)
    for number in range(12):
        (root / "images" / f"{number}.png").touch()
    return root


def write(path: Path, header: str, *lines: str) -> str:
    path.write_text("\n".join([header, *lines]) + "\n", encoding="utf-8")
    return str(path)


def lines_for(*values: Callable[[int], str]) -> list[str]:
    return [",".join([f"images/{number}.png", *(value(number) for value in values)]) for number in range(12)]


def cell(number: int) -> str:
    return ("eos", "lym")[number % 2]


def part(number: int) -> str:
    return ("Training", "dev", "TEST")[number // 4]


def patient(number: int) -> str:
    return f"p{number // 2}"


def found(root: Path, **words: Any) -> Folder:
    data = Folder(str(root), **words)
    data.look_up()
    return data


def by_file(data: Folder, column: str) -> dict[str, Any]:
    return dict(zip(data.index.file.tolist(), getattr(data.index, column).tolist(), strict=True))


def test_an_external_table_with_splits_gives_its_test_images(flat: Path) -> None:
    write(flat / "x.csv", "file,class,split", *lines_for(cell, part))
    data = found(flat, table="x.csv", protocol="all_test")
    assert sorted(data.index.file.tolist()) == sorted(f"images/{number}.png" for number in range(8, 12))


def test_classes_groups_and_splits_come_from_a_table(flat: Path, tmp_path: Path) -> None:
    path = write(tmp_path / "x.csv", "file,class,group,split", *lines_for(cell, patient, part))
    data = found(flat, table=path)
    assert data.classes == ("eos", "lym")
    assert by_file(data, "label") == {f"images/{number}.png": number % 2 for number in range(12)}
    assert by_file(data, "group")["images/7.png"] == "p3"
    assert [len(rows) for rows in (data.split.train, data.split.val, data.split.test)] == [4, 4, 4]
    assert data.split.caveat == ""


@pytest.mark.parametrize("delimiter", [";", "\t"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_what_office_programs_write_is_read(flat: Path, delimiter: str, mark: str) -> None:
    lines = [line.replace(",", delimiter).replace("/", "\\") for line in lines_for(cell)]
    write(flat / "labels.csv", f"{mark}File{delimiter} CLASS", *lines, "")
    assert len(found(flat, table="labels.csv").index) == 12  # found in the root as well


@pytest.mark.parametrize(
    ("header", "name"),
    [
        ("filename,label", "{}.png"),
        ("Image_ID,Diagnosis,patient_id,subset", "{}"),
        ("path,class,case,set", "./images/{}.png"),
        ("diagnosis,file,label", "{}.png"),
    ],
)
def test_columns_and_files_are_known_as_others_call_them(flat: Path, header: str, name: str) -> None:
    columns = header.lower().split(",")
    given = {
        **dict.fromkeys(("filename", "image_id", "path", "file"), lambda number: name.format(number)),
        **dict.fromkeys(("label", "class"), cell),
        **dict.fromkeys(("patient_id", "case"), patient),
        **dict.fromkeys(("subset", "set"), part),
        "diagnosis": cell,
    }
    header = header.replace("diagnosis,file", "remark,file")
    lines = [",".join(given[column](number) for column in columns) for number in range(12)]
    write(flat / "x.csv", header, *lines)
    data = found(flat, table="x.csv")
    assert by_file(data, "label") == {f"images/{number}.png": number % 2 for number in range(12)}
    if len(columns) == 4:
        assert by_file(data, "group")["images/7.png"] == "p3"
        assert [len(rows) for rows in (data.split.train, data.split.val, data.split.test)] == [4, 4, 4]


def test_a_name_that_two_images_have_is_no_image(tmp_path: Path) -> None:
    for name in ("train/a.png", "test/a.png", "train/b.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    write(tmp_path / "x.csv", "file,class", "a.png,eos", "b.png,lym")
    with pytest.raises(InputError, match=r"'a.png': no such image"):
        found(tmp_path, table="x.csv")
    write(tmp_path / "x.csv", "file,class", "test/b.png,eos")
    with pytest.raises(InputError, match=r"'test/b.png': no such image"):
        found(tmp_path, table="x.csv")


def test_a_table_of_groups_or_splits_leaves_the_classes_to_the_folders(tmp_path: Path) -> None:
    root = tmp_path / "set"
    names = [f"{name}/{number}.png" for name in ("eos", "lym") for number in range(6)]
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    groups = write(tmp_path / "g.csv", "file,group", *(f"{name},{name[4:5]}" for name in names))
    data = found(root, table=groups, protocol="grouped", folds=3)
    assert set(data.index.group.tolist()) == set("012345")
    splits = write(tmp_path / "s.csv", "file,split", *(f"{name},{('train', 'test')[name[4] > '3']}" for name in names))
    data = found(root, table=splits)
    assert set(by_file(data, "subset").values()) == {"train", "test"}
    assert sorted(data.index.file[data.split.test].tolist()) == [name for name in names if name[4] > "3"]


def test_folders_are_subsets_where_a_table_names_classes_alone(tmp_path: Path) -> None:
    names = [f"{folder}/{number}.png" for folder in ("TRAIN", "valid", "test") for number in range(4)]
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    path = write(tmp_path / "x.csv", "file,class", *(f"{name},{cell(int(name[-5]))}" for name in names))
    data = found(tmp_path, table=path)
    assert [len(rows) for rows in (data.split.train, data.split.val, data.split.test)] == [4, 4, 4]


def test_images_that_a_table_does_not_list_are_passed_over_and_counted(flat: Path) -> None:
    write(flat / "x.csv", "file,class", *lines_for(cell)[:10])
    data = found(flat, table="x.csv")
    assert len(data.index) == 10
    assert "x.csv (does not list 2 images)" in data.index.passed_over


def test_a_class_without_test_images_is_said(flat: Path) -> None:
    lines = [line for line in lines_for(cell, part) if not line.endswith("eos,TEST")]
    write(flat / "x.csv", "file,class,split", *lines)
    assert found(flat, table="x.csv").split.caveat.startswith("no test image of eos: precision, recall and F1")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("picture,kind\nimages/0.png,eos\n", "got the columns picture, kind"),
        ("file,label,diagnosis\nimages/0.png,eos,eos\n", "got the columns file, label, diagnosis"),
        ("file\nimages/0.png\n", "expected a CSV in UTF-8 with the columns file and class or group or split"),
        ("", "got no columns"),
        ("file,class\nimages/0.png,eos\nimages/0.png,lym\n", "got images/0.png twice: eos; lym"),
        ("file,class\nimages/0.png,eos\n./images/0.png,lym\n", "got two lines on images/0.png"),
        ("file,class\nimages/99.png,eos\nx,lym\n", "got 'images/99.png' and 1 more: no such image"),
        ("file,class\n../../etc/passwd,eos\n", "got '../../etc/passwd': no such image"),
        ("file,class\nimages/0.png,\n", "expected a class for every file, got '' for images/0.png"),
        ("file,class\nimages/0.png\n", "expected a class for every file, got '' for images/0.png"),
        ("file,class\nimages/0.png,\x1b[31m\n", "expected a class for every file"),
        ("file,class\n", "expected at least one file"),
        ("file,class,split\nimages/0.png,eos,fold3\n", "expected train, val or test for every image, got 'fold3'"),
        ("file,class,group\nimages/0.png,eos,\n", "expected a group for every image, got none for images/0.png"),
        ("file,class\nimages/0.png,eos\nimages/1.png,eos\n", "at least 2"),
        (b"file,class\nimages/0.png,\xe9os\n", "UnicodeDecodeError"),
        ("file,class\nimages/0.png," + "x" * 200_000 + "\n", "field larger than field limit"),
    ],
)
def test_a_table_that_does_not_fit_is_one_line(flat: Path, content: str | bytes, said: str) -> None:
    (flat / "x.csv").write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(InputError) as stopped:
        found(flat, table="x.csv")
    assert said in str(stopped.value)
    assert str(stopped.value).isprintable()


@pytest.mark.parametrize("protocol", [None, "grouped"])
def test_a_table_of_one_class_is_one_line(flat: Path, protocol: Literal["grouped"] | None) -> None:
    write(flat / "x.csv", "file,class,group", *lines_for(lambda number: "eos", patient))
    with pytest.raises(InputError, match="expected two or more class folders, got one"):
        found(flat, table="x.csv", protocol=protocol)


@pytest.mark.parametrize("kind", ["none", "folder", "pipe", "large"])
def test_what_is_no_table_is_not_waited_for(flat: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    path = flat / "x.csv"
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "large":
        monkeypatch.setattr(table, "MAX_BYTES", 1_000_000)
        path.write_bytes(b"file,class\n" + b"x" * 1_000_000)
    said = {"none": "no such file", "large": "more than 1 MB"}.get(kind, "no regular file")
    with pytest.raises(InputError, match=said):
        found(flat, table=str(path))


@pytest.mark.slow
def test_a_run_on_a_table(train: Train, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    cells = write_cells(tmp_path / "cells", ("",), 8)
    flat = tmp_path / "flat"
    flat.mkdir()
    lines = []
    for number, path in enumerate(sorted(cells.rglob("*.png"))):
        path.rename(flat / f"{number}.png")
        lines.append(f"{number}.png,{path.parent.name},{('train', 'train', 'val', 'test')[number % 4]}")
    write(tmp_path / "labels.csv", "file,class,split", *lines)
    run = train("trainer=smoke", f"data.table={tmp_path / 'labels.csv'}", base=(*TINY, f"data.root={flat}"))
    assert "12 train, 6 validation, 6 test images" in capfd.readouterr().out
    with (run / "predictions.csv").open() as file:
        truth = {row["file"]: row["class"] for row in csv.DictReader(file)}
    assert truth == {line.split(",")[0]: line.split(",")[1] for line in lines if line.endswith("test")}
    assert metrics_of(run)["protocol"] == "folder"


WORDS = st.sampled_from(["eos", "Lym", "b c", 'quo"ted', "a,b", "Zähler", "#1", "=1+1"])
FILES = st.sampled_from(
    ["a.png", "b c.png", "x#1.jpg", "ü.png", "d/e.png", "d/f,g.PNG", "h's.tif", '"i".bmp', "100%.png"]
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.dictionaries(FILES, st.tuples(WORDS, WORDS), min_size=1), absent=st.booleans())
def test_any_table_gives_the_right_labels_or_one_line(
    tmp_path_factory: pytest.TempPathFactory, rows: dict[str, tuple[str, str]], absent: bool
) -> None:
    root = tmp_path_factory.mktemp("any")
    for name in list(rows)[absent:]:
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).touch()
    with (root / "x.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("file", "class", "group"), *((name, *values) for name, values in rows.items())])
    try:
        index = Folder(str(root), table="x.csv", protocol="all_test").find()[0]
    except InputError as error:
        said = str(error)
    else:
        assert not absent
        classes = np.array(index.classes)[index.label].tolist()
        both = zip(classes, index.group.tolist(), strict=True)
        assert dict(zip(index.file.tolist(), both, strict=True)) == rows
        return
    assert absent
    assert "no such image" in said
    assert len(said.splitlines()) == 1
