"""A folder of one's own with groups: trained by group, and told when its folders leak."""

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bloodcell.data.sources.folder import Folder
from tests.helpers import CLASSES, TINY, metrics_of, write_cells, write_groups

Train = Callable[..., Path]


def folder(root: Path) -> tuple[str, ...]:
    return (*TINY, f"data.root={root}", "trainer.max_epochs=1")


def found(root: Path, **words: Any) -> Folder:
    data = Folder(str(root), **words)
    data.look_up()
    return data


def held_out(data: Folder) -> list[str]:
    return [str(name) for name in data.index.file[data.split.test]]


def predicted(run: Path) -> list[dict[str, str]]:
    with (run / "predictions.csv").open() as file:
        return list(csv.DictReader(file))


def test_a_folder_with_groups_is_tested_on_groups_that_were_not_learnt_from(
    train: Train, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    root = write_groups(write_cells(tmp_path / "patients", ("",), 12), lambda number: f"p{number // 2}")
    run = train("data.protocol=grouped", "data.folds=3", "data.fold=2", base=folder(root))
    metrics, rows = metrics_of(run), predicted(run)
    # Six patients, each with two images of every class: two are held out.
    held = {row["group"] for row in rows}
    assert len(held) == 2
    assert len(rows) == 12
    assert {row["view"] for row in rows} == {"image"}
    for name in ("balanced_acc", "macro_f1", "acc", *(f"recall/{one}" for one in CLASSES)):
        low, high, groups = metrics["intervals"][f"test/{name}"]
        assert 0 <= low <= metrics[f"test/{name}"] <= high <= 1
        assert groups == 2
    assert (metrics["shared_groups"], metrics["test_groups"]) == (0, 2)
    assert metrics["warning"] == ""
    assert metrics["protocol"] == "grouped"
    said = json.loads((run / "manifest.json").read_text())
    assert said["data"]["shared_groups"] == 0
    assert said["seeds"]["data.fold_seed"] == 0
    assert "WARNING" not in capfd.readouterr().out
    # Nothing but what the datamodule says of this fold; the other folds test the rest, and no image twice.
    folds = [found(root, protocol="grouped", folds=3, fold=fold) for fold in range(3)]
    assert [row["file"] for row in rows] == held_out(folds[2])
    assert sorted(name for one in folds for name in held_out(one)) == sorted(folds[0].index.file.tolist())


def test_a_pattern_in_the_names_does_the_same_as_a_table(tmp_path: Path) -> None:
    root = write_cells(tmp_path / "patients", ("",), 6)
    by_pattern = found(root, protocol="grouped", folds=3, group_pattern="_([0-9]+)[.]png")
    by_table = found(write_groups(root, str), protocol="grouped", folds=3)
    assert by_pattern.index.group.tolist() == by_table.index.group.tolist()
    assert set(by_table.index.group.tolist()) == set("012345")
    assert held_out(by_pattern) == held_out(by_table)


@pytest.mark.slow
def test_folders_that_share_groups_are_told_that_they_leak(
    train: Train, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    root = write_cells(tmp_path / "leaking", ("train", "test"), 10)
    # 0 to 4 are in both folders, the others have names of their own.
    write_groups(root, lambda number: f"p{number}")
    table = root / "groups.csv"
    lines = table.read_text().splitlines()
    own = [line.replace(",p", ",own") if line.startswith("test/") and line[-1] > "4" else line for line in lines]
    table.write_text("\n".join(own) + "\n")
    run = train(base=folder(root))
    warning = (
        "WARNING: protocol folder leaks: 5 of the 10 field groups in the test images are in the training images too"
    )
    # Before the training, and again beside the numbers.
    assert capfd.readouterr().out.count(warning) == 2
    metrics = metrics_of(run)
    assert metrics["warning"] == warning
    assert (metrics["shared_groups"], metrics["test_groups"]) == (5, 10)
    assert json.loads((run / "manifest.json").read_text())["data"]["shared_groups"] == 5
    assert {row["view"] for row in predicted(run)} == {"image"}
    assert {row["group"] for row in predicted(run)} == {
        *(f"p{n}" for n in range(5)),
        *(f"own{n}" for n in range(5, 10)),
    }


@pytest.mark.slow
def test_without_groups_nothing_is_said_of_them(finished: Path) -> None:
    metrics = metrics_of(finished)
    assert metrics["intervals"] == {}
    assert "shared_groups" not in metrics
    assert {(row["group"], row["view"]) for row in predicted(finished)} == {("", "image")}
