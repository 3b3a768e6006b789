"""The ladder from end to end on a small set of real files: every rung and control, and nothing trained twice."""

import json
import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bloodcell.data.kaggle import CLASSES
from bloodcell.data.lineage_table import read_lineage
from bloodcell.data.sources.folder import Folder
from bloodcell.ladder import main
from bloodcell.studies.ladder import trainings
from bloodcell.studies.ladder.controls import HISTOGRAM, RAW, neighbour_tests
from bloodcell.studies.ladder.order import LARGE_FROM, PARTS, box_edges, order_effect, order_text, rows_by_number
from bloodcell.studies.ladder.rows import DROPS, RUNG_NAMES, drop, drop_table, ladder_rows
from bloodcell.studies.ladder.rows import Tested as Told
from bloodcell.studies.ladder.trainings import BACKGROUND, CNN, GEOMETRY, PAPER, RUNGS, sweeps
from bloodcell.tracking.predictions import Predictions
from tests.helpers import copy_some

Climb = Callable[..., int]


@pytest.fixture
def climb(monkeypatch: pytest.MonkeyPatch) -> Climb:
    """Types ``python -m bloodcell.ladder``; the exit code comes back."""

    def run(*words: str) -> int:
        monkeypatch.setattr(sys, "argv", ["ladder", *words])
        try:
            main()
        except SystemExit as stopped:
            return int(stopped.code or 0)
        return 0

    return run


def test_all_rungs_are_climbed_with_every_seed_and_the_controls_once() -> None:
    todo = sweeps([3, 4], [CNN, PAPER, BACKGROUND, GEOMETRY])
    assert len(todo) == len(set(todo)) == len({one.name for one in todo})
    assert {one.rung: one.jobs for one in todo if one.model == CNN} == dict.fromkeys(RUNGS, 2) | {
        "grouped": 10,
        "blocked": 10,
    }
    assert {one.rung: one.jobs for one in todo if one.model == PAPER} == {"random": 2, "grouped": 10}
    for model in (BACKGROUND, GEOMETRY):
        assert {(one.rung, one.seeds) for one in todo if one.model == model} == {("random", (3,)), ("grouped", (3,))}
    # One rung differs from another by its protocol alone.
    of_random, of_official = (next(one for one in todo if one.rung == rung) for rung in ("random", "official"))
    assert set(of_random.fixed) ^ set(of_official.fixed) == {"data.protocol=random", "data.protocol=official"}
    assert of_random.grid == ["seed=3,4"]


def test_the_drop_is_taken_apart() -> None:
    def score(mean: float, low: float, high: float) -> dict[str, object]:
        return {"balanced_acc": {"mean": mean, "interval": [low, high]}}

    rows = [
        {"model": CNN, "rung": "random", "twin": score(0.97, 0.96, 0.98)},
        {
            "model": CNN,
            "rung": "grouped",
            "twin": score(0.80, 0.75, 0.85),
            "original": score(0.79, 0.7, 0.85),
            "left_out": score(0.95, 0.92, 0.97),
        },
        {"model": BACKGROUND, "rung": "random", "twin": score(0.47, 0.4, 0.5)},
    ]
    found = drop(rows)
    assert set(found) == {CNN}
    assert found[CNN]["leak"]["value"] == pytest.approx(0.15)
    assert found[CNN]["fewer photographs"]["value"] == pytest.approx(0.02)
    # Squared and added: down to 0.15 - sqrt(0.03^2 + 0.05^2), up to 0.15 + sqrt(0.02^2 + 0.05^2).
    assert found[CNN]["leak"]["low"] == pytest.approx(0.15 - 0.0583095)
    assert found[CNN]["leak"]["high"] == pytest.approx(0.15 + 0.0538516)
    assert found[CNN]["all"]["value"] == pytest.approx(0.18)
    assert sum(found[CNN][step]["value"] for step in DROPS) == pytest.approx(0.18)
    assert "| +15.0 (+9.2 to +20.4) |" in drop_table(found)


def said_of(rung: str, seed: int, wrong: set[str]) -> list[Told]:
    """Predictions of photographs 100 to 219, each a group, and two copies of each; EOSINOPHIL for the wrong ones."""
    names, labels = np.arange(100, 220).astype(str), np.arange(120) % len(CLASSES)
    found = []
    for view, copies in (("original", 1), ("twin", 2)):
        name, label = np.tile(names, copies), np.tile(labels, copies)
        predicted = np.where(np.isin(name, list(wrong)), 0, label)
        files = np.array([f"{view}{number}" for number in range(len(name))])
        sure = np.eye(len(CLASSES))[predicted]
        table = Predictions(tuple(CLASSES), files, np.full(len(name), view), name, name, label, predicted, sure)
        # As two folds: the first half of the photographs, the second.
        halves = (np.flatnonzero(name.astype(int) < 160), np.flatnonzero(name.astype(int) >= 160))
        found += [Told(CNN, rung, seed, view, table.take(rows)) for rows in halves]
    return found


def test_the_parts_by_number_and_the_order_are_told_apart() -> None:
    small = {str(number) for number in range(100, 160)}
    tested = [
        *said_of("random", 0, small),
        *said_of("grouped", 0, set()),
        *said_of("grouped", 1, small),
        *said_of("blocked", 0, small),
        *said_of("blocked", 1, small),
    ]
    rows = {(row["rung"], row["photographs"]): row for row in rows_by_number(tested)}
    assert set(rows) == {(rung, part) for rung in ("grouped", "blocked") for part in PARTS}
    for view, images in (("original", 60), ("twin", 120)):
        scores = {key: row[view]["balanced_acc"] for key, row in rows.items()}
        assert {row[view]["images"] for row in rows.values()} == {images}
        assert {row[view]["groups"] for row in rows.values()} == {60}
        assert scores["grouped", PARTS[0]]["seeds"] == [1, 0.25]
        assert scores["grouped", PARTS[1]]["seeds"] == scores["blocked", PARTS[1]]["seeds"] == [1, 1]
        assert scores["blocked", PARTS[0]]["mean"] == 0.25
        low, high = scores["blocked", PARTS[1]]["interval"]
        assert 0.85 < low < high == 1
    effect = order_effect(ladder_rows(tested))
    # Half of the photographs, one of two seeds, three of four classes.
    assert effect[CNN]["twin"]["value"] == pytest.approx(0.5 * 0.5 * 0.75)
    text = order_text(list(rows.values()), effect)
    assert text.count("| small CNN |") == 4
    assert "+18.8 (" in text


def test_the_parts_are_those_that_the_sizes_of_the_boxes_say() -> None:
    boxes = [row for row in read_lineage().micrographs.values() if row.cell_width > 0]
    edges = np.log([row.cell_width * row.cell_height for row in boxes]) / 2
    within = {
        boxes[cut].micrograph: edges[:cut].var() * cut + edges[cut:].var() * (len(edges) - cut)
        for cut in range(10, len(edges) - 10)
    }
    assert min(within, key=lambda number: within[number]) == str(LARGE_FROM)
    groups = {row.group: set() for row in boxes}
    for row in boxes:
        groups[row.group].add(int(row.micrograph) >= LARGE_FROM)
    assert [round(edge) for edge in box_edges()] == [74, 103], "as the data statement says"
    assert all(len(parts) == 1 for parts in groups.values()), "no field group is in both"


@pytest.mark.parametrize("seeds", ["", "0,a", "1.5"])
def test_seeds_are_whole_numbers(climb: Climb, capfd: pytest.CaptureFixture[str], seeds: str) -> None:
    assert climb(f"--seeds={seeds}") == 1
    assert capfd.readouterr().err == f"error: --seeds: expected whole numbers, as 0,1,2, got {seeds}; correct it\n"


def test_the_ladder_needs_the_real_set(climb: Climb, capfd: pytest.CaptureFixture[str]) -> None:
    assert climb("--seeds=0") == 1
    (line,) = capfd.readouterr().err.strip().splitlines()
    assert "expected the Kaggle set" in line
    assert not Path("runs").exists()


def test_the_controls_find_the_image_itself(cells: Path) -> None:
    """Tested on what they know, both are always right; on noise that has no twin they are not."""
    data = Folder(str(cells))
    data.look_up()
    known = replace(data.split, test=data.split.train, test_beside=data.split.val, choice=False)
    data.split = known
    found = neighbour_tests({"random": [data]}, seed=0)
    assert [(one.model, one.view) for one in found] == [(HISTOGRAM, "image")] * 2 + [(RAW, "image")] * 2
    for itself, other in (found[:2], found[2:]):
        assert (itself.predictions.predicted == itself.predictions.correct).all()
        assert other.predictions.probabilities.sum(axis=1).tolist() == [1.0] * len(data.split.val)
    (one, two) = ladder_rows(found)
    assert one["image"]["balanced_acc"]["mean"] <= 1
    assert (two["model"], two["rung"]) == (RAW, "random")


@pytest.mark.slow
@pytest.mark.real
def test_the_ladder_is_climbed_once(
    real: Path, tmp_path: Path, climb: Climb, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(trainings, "FOLDS", 2)  # five would take twice as long
    root = copy_some(real, tmp_path / "small", train=6, test=2, copies=4)
    out = tmp_path / "ladder"
    words = (
        f"data.root={root}",
        "data.test_per_class=8",
        "data.image_size=[32,32]",
        "model.widths=[4,8,8,8]",
        "trainer.max_epochs=1",
        "--seeds=0",
        f"--out={out}",
    )
    assert climb(*words) == 0, capfd.readouterr().err
    said = json.loads((out / "ladder.json").read_text())
    rows = {(row["model"], row["rung"]): row for row in said["rows"]}
    assert len(rows) == len(said["rows"])
    assert set(rows) == {(model, rung) for model in (CNN, HISTOGRAM, RAW) for rung in RUNGS} | {
        (model, rung) for model in (BACKGROUND, GEOMETRY) for rung in ("random", "grouped")
    }
    # Every photograph is tested once by the folds, in both views; only the masked ones may lack a place.
    for (model, rung), row in rows.items():
        wanted = {"random": 32, "official": 32, "official_strict": 32, "grouped": 128, "blocked": 128}[rung]
        assert row["twin"]["images"] == wanted, (model, rung)
        if rung != "random":
            assert row["original"]["images"] == wanted // 4, (model, rung)
        for view in ("twin", "original", *(["left_out"] if "left_out" in row else [])):
            score = row[view]["balanced_acc"]
            assert 0 <= score["interval"][0] <= score["mean"] <= score["interval"][1] <= 1
            assert len(score["seeds"]) == 1
            assert row[view]["majority"] == pytest.approx(0.25) or rung == "random" or view == "left_out"
        assert ("left_out" in row) == (model in (CNN, BACKGROUND, GEOMETRY))
    # Colours find the twin where there is one.
    leaking, honest = (rows[HISTOGRAM, rung]["twin"]["balanced_acc"]["mean"] for rung in ("random", "grouped"))
    assert leaking > 0.9
    assert leaking > honest
    # The same number of images in every training.
    todo = sweeps([0], [CNN, BACKGROUND, GEOMETRY])
    runs = {str(path): path.parent for one in todo for path in sorted((out / one.name).glob("*/status.json"))}
    kept = json.loads((out / "trainings.json").read_text())["trainings"]
    assert len(runs) == sum(one.jobs for one in todo) == len(kept)
    images = {json.loads((run / "manifest.json").read_text())["data"]["images"]["train"] for run in runs.values()}
    assert images == {said["train_images"]}
    table = (out / "ladder.md").read_text()
    assert all(name in table for name in (*RUNG_NAMES.values(), CNN, BACKGROUND, GEOMETRY, HISTOGRAM, RAW))
    assert (out / "ladder.png").stat().st_size > 10_000
    assert table in capfd.readouterr().out

    # All of it again, from the committed predictions alone.
    copy = tmp_path / "copy"
    shutil.copytree(out / "predictions", copy / "predictions")
    (copy / "ladder.json").write_text(json.dumps({**said, "rows": [], "drop": {}, "by_number": [], "order": {}}))
    assert climb(f"--again={copy}") == 0
    for name in ("ladder.json", "ladder.md", "ladder.png"):
        assert (copy / name).read_bytes() == (out / name).read_bytes(), name
    assert {row["rung"] for row in said["by_number"]} == {"grouped", "blocked"}
    assert set(said["order"]) == {CNN}
    assert set(said["drop"]) == {CNN}  # the controls see no cell

    # Launched again it trains nothing; one that was taken away is trained again, and no other.
    trained = {name: (run / "checkpoints" / "last.ckpt").stat().st_mtime_ns for name, run in runs.items()}
    before = (out / "ladder.md").read_bytes(), (out / "ladder.json").read_bytes()
    assert climb(*words) == 0
    again = {name: (run / "checkpoints" / "last.ckpt").stat().st_mtime_ns for name, run in runs.items()}
    assert again == trained
    assert ((out / "ladder.md").read_bytes(), (out / "ladder.json").read_bytes()) == before

    # Another recipe does not mix with it.
    capfd.readouterr()
    assert climb("optim.lr=0.5", *words) == 1
    assert f"{out}: expected a folder of trainings with the same overrides" in capfd.readouterr().err
