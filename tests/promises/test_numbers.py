"""Committed numbers are those of the committed predictions."""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from bloodcell.common.env import CHECKOUT
from bloodcell.common.files import read_json
from bloodcell.evidence.calibration import probability_scores
from bloodcell.evidence.scores import score
from bloodcell.studies.crops.arm_tables import arms_table
from bloodcell.studies.crops.arms import arm_row, compared, file_of, write_again
from bloodcell.studies.crops.curve import write_curve_again
from bloodcell.studies.keras.run import write_keras
from bloodcell.studies.ladder.rows import Tested as Said
from bloodcell.studies.ladder.rows import drop, ladder_rows
from bloodcell.studies.ladder.run import write_ladder
from bloodcell.studies.ladder.trainings import PAPER
from bloodcell.studies.transfer.run import write_transfer
from bloodcell.tracking.cross_validations import read_repeats
from bloodcell.tracking.predictions import LEFT_OUT, read_predictions

RESULTS = CHECKOUT / "results"
RUNS = {
    path.parent.name: (read_json(path.parent / "metrics.json"), path) for path in RESULTS.glob("*/predictions.csv.gz")
}
for kept in RESULTS.glob("*/runs.json"):
    for number, one in enumerate(read_json(kept).get("runs", [])):
        if (kept.parent / "predictions" / f"{number:02d}.csv.gz").is_file():
            RUNS[f"{kept.parent.name}-{number}"] = one["metrics"], kept.parent / "predictions" / f"{number:02d}.csv.gz"


def test_every_committed_run_has_its_predictions() -> None:
    assert len(RUNS) >= 10
    assert {path.parent.name for path in RESULTS.glob("*/metrics.json")} <= RUNS.keys()


def test_no_manifest_names_a_folder_of_the_machine_that_it_was_made_on() -> None:
    for path in RESULTS.rglob("manifest.json"):
        assert not [word for word in read_json(path)["command"] if word.startswith("/") or "=/" in word], path


@pytest.mark.parametrize("name", RUNS)
def test_the_numbers_of_a_run_are_those_of_its_predictions(name: str) -> None:
    said, path = RUNS[name]
    table = read_predictions(path)
    beside = [view for view in ("original", "twin", LEFT_OUT) if f"{view}/acc" in said]
    for view in ("test", *beside):
        rows = np.flatnonzero(~np.isin(table.view, beside) if view == "test" else table.view == view)
        part = table.take(rows)
        found = score(part.correct, part.probabilities, part.group, table.classes)
        # Probabilities have six decimals on disk: of a sure mistake's logarithm that leaves much open.
        ends = [probability_scores(part.correct, part.probabilities + end) for end in (5e-7, -5e-7)]
        for key, value in found.values.items():
            if key.startswith("log_loss"):
                assert ends[0][key] - 1e-9 <= said[f"{view}/{key}"] <= ends[1][key] + 1e-9, (view, key)
                continue
            rounded = key in ("brier", "ece", "ece_expected")  # shares of images are what they are
            assert said[f"{view}/{key}"] == pytest.approx(value, abs=1e-4 if rounded else 1e-12), (view, key)
        for key, one in found.intervals.items() if "intervals" in said else ():
            assert said["intervals"][f"{view}/{key}"][:2] == pytest.approx([one.low, one.high], abs=1e-9), (view, key)
    assert said["test/balanced_acc"] > 0.25


def test_the_arms_on_crops_are_those_of_their_predictions() -> None:
    folder = RESULTS / "crops"
    said = read_json(folder / "crops.json")
    arms = {name: read_repeats(folder / f"{file_of(name)}.csv.gz") for name in said["arms"]}
    for name, row in zip(said["arms"], said["rows"], strict=True):
        assert json.loads(json.dumps(arm_row(name, arms[name]))) == row, name
    name, other = said["arms"][-1], said["against"][-1]
    pair = json.loads(json.dumps(compared(name, arms[name], other, arms[other])))  # one of all: each takes a while
    for key in ("balanced_acc", "macro_f1"):
        pair[key]["p_holm"] = said["pairs"][-1][key]["p_holm"]
    assert pair == said["pairs"][-1]
    assert arms_table(said) == (folder / "crops.md").read_text()


def test_a_row_of_the_ladder_is_that_of_its_predictions() -> None:
    folder = RESULTS / "ladder"
    said = read_json(folder / "ladder.json")
    net = [one for one in said["predictions"] if (one["model"], one["rung"]) == (PAPER, "grouped")]
    tables = [(one, read_predictions(folder / one["file"])) for one in net]
    tested = [
        Said(one["model"], one["rung"], one["seed"], view, table.of_view(view))
        for one, table in tables
        for view in dict.fromkeys(table.view.tolist())
    ]
    (row,) = json.loads(json.dumps(ladder_rows(tested)))
    assert row in said["rows"]
    assert len(tested) == 3 * 3
    assert said["drop"] == json.loads(json.dumps(drop(said["rows"])))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("folder", "again"),
    [
        ("ladder", write_ladder),
        ("crops", write_again),
        ("curve", write_curve_again),
        ("keras", write_keras),
        ("transfer", write_transfer),
    ],
)
def test_tables_are_made_again_byte_by_byte(folder: str, again: Callable[[Path], None], tmp_path: Path) -> None:
    shutil.copytree(RESULTS / folder, tmp_path / folder)
    again(tmp_path / folder)
    for name in (f"{folder}.json", f"{folder}.md"):
        assert (tmp_path / folder / name).read_bytes() == (RESULTS / folder / name).read_bytes()


def test_each_training_of_the_ladder_has_weights_and_a_manifest_of_its_own() -> None:
    trainings = read_json(RESULTS / "ladder" / "trainings.json")["trainings"]
    assert len(trainings) == len({one["weights"] for one in trainings})
    assert not any(one["manifest"]["git"]["dirty"] for one in trainings)


@pytest.mark.slow
def test_the_info_sheets_script_prints_its_counts(real: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BLOODCELL_DATA", str(real))
    sheet = (RESULTS / "model_info_sheet.md").read_text(encoding="utf-8")
    script = re.findall(r"```python\n(.*?)```", sheet, re.DOTALL)[-1]
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    random, official, strict, *folds = [line.split(maxsplit=4) for line in done.stdout.splitlines()]
    for name, (_, train, _, _, shared) in (("random", random), ("official", official), ("official_strict", strict)):
        (row,) = [line for line in sheet.splitlines() if line.startswith((f"| `{name}` | ", f"| `{name}`, split seed"))]
        assert f"{int(train):,} /" in row
        assert shared in row
    assert all(shared.startswith("0 of ") for *_, shared in folds)
    assert len(folds) == 10
