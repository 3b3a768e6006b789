"""The paper's recipe in Keras: what counts as training, and its table from predictions."""

import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from bloodcell.common.files import read_json, write_json
from bloodcell.keras import main
from bloodcell.studies.keras.run import TRAININGS
from bloodcell.tracking.predictions import FILE, Predictions, write_packed, write_predictions

CLASSES = ("EOSINOPHIL", "LYMPHOCYTE", "MONOCYTE", "NEUTROPHIL")


def type_keras(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    monkeypatch.setattr(sys, "argv", ["keras", *words])
    try:
        main()
    except SystemExit as stopped:
        return int(stopped.code or 0)
    return 0


def answers(fold: int, seed: int) -> Predictions:
    """Eight of a training; seed 1 takes one monocyte for a neutrophil."""
    correct = np.tile(np.arange(4), 2)
    predicted = correct.copy()
    predicted[2] = 3 if seed == 1 else 2
    names = np.array([f"{fold}-{number}" for number in range(8)])
    views = np.array(["twin"] * 4 + ["original"] * 4)
    return Predictions(CLASSES, names, views, names, names, correct, predicted, np.eye(4)[predicted])


def write_training(out: Path, protocol: str, fold: int, seed: int) -> dict[str, object]:
    name = f"{protocol}-fold{fold}-seed{seed}"
    write_packed(out / "predictions" / f"{name}.csv.gz", answers(fold, seed))
    history = {"loss": [1.4, 1.386], "accuracy": [0.2, 0.25]}
    told = {"protocol": protocol, "fold": fold, "seed": seed, "epochs": 2, "trains": 0.0, "steps": 1000.0}
    return {**told, "loss": 1.385, "history": history}


def test_the_table_comes_from_the_predictions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_json(tmp_path / "keras.json", {"trainings": [write_training(tmp_path, *one) for one in TRAININGS]})
    assert type_keras(monkeypatch, "--again", str(tmp_path)) == 0
    random, grouped = read_json(tmp_path / "keras.json")["rows"]
    assert random["twin"]["balanced_acc"]["seeds"] == [1.0, 0.75, 1.0]
    assert (grouped["twin"]["images"], grouped["original"]["images"]) == (20, 20)
    text = (tmp_path / "keras.md").read_text(encoding="utf-8")
    assert "| random |  | 1 | no | 1000 | 1.386 | 0.250 |" in text
    written = (tmp_path / "keras.json").read_bytes()
    assert type_keras(monkeypatch, "--again", str(tmp_path)) == 0
    assert (tmp_path / "keras.json").read_bytes() == written


@pytest.mark.skipif(find_spec("keras") is None, reason="Keras is not installed")
def test_whoever_stops_has_a_table_of_what_is_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for protocol, fold, seed in [*(("random", 0, seed) for seed in (0, 1, 2)), ("grouped", 0, 0)]:
        place = tmp_path / "runs" / "2-epochs" / f"{protocol}-fold{fold}-seed{seed}"
        write_predictions(place / FILE, answers(fold, seed))
        write_json(place / "metrics.json", write_training(tmp_path, protocol, fold, seed))
        write_json(place / "manifest.json", {"seed": seed})
    words = ["--epochs", "2", "--protocol", "random", "--runs", str(tmp_path / "runs"), "--out", str(tmp_path / "out")]
    assert type_keras(monkeypatch, *words) == 0
    trainings = read_json(tmp_path / "out" / "keras.json")["trainings"]
    assert [(one["protocol"], one["seed"]) for one in trainings] == [
        ("random", 0),
        ("grouped", 0),
        ("random", 1),
        ("random", 2),
    ]
    assert "| grouped | 0 | 0 | no |" in (tmp_path / "out" / "keras.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("words", "said"), [(["--epochs=0"], "a whole number from 1"), (["--again=nowhere"], "nowhere")]
)
def test_one_line_says_what_is_wrong(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], words: list[str], said: str
) -> None:
    assert type_keras(monkeypatch, *words) == 1
    (line,) = capfd.readouterr().err.strip().splitlines()
    assert line.startswith("error: ")
    assert said in line


def test_leaving_chance_is_the_rule_of_the_probe() -> None:
    fit = pytest.importorskip("bloodcell.studies.keras.fit", reason="Keras is not installed", exc_type=ImportError)
    falling = [1.386] * 200 + [1.0] * 300
    found = fit.leaves_chance(falling)
    # The mean of 100 losses falls below 1.30 with the 23rd low one: (77 x 1.386 + 23 x 1.0) / 100 = 1.297.
    assert (found["trains"], found["steps"]) == (1.0, 223.0)
    assert fit.leaves_chance([1.386] * 2000)["steps"] == 1000.0
    assert fit.leaves_chance([0.1] * 20)["trains"] == 0.0
