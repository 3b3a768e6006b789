"""Committed numbers are those of the committed predictions."""

import json

import numpy as np
import pytest

from bloodcell.common.env import CHECKOUT
from bloodcell.common.files import read_json
from bloodcell.evidence.scores import score
from bloodcell.studies.crops.arms import arms_table, file_of, scored_arms
from bloodcell.tracking.predictions import LEFT_OUT, read_predictions

RESULTS = CHECKOUT / "results"
RUNS = {
    path.parent.name: (read_json(path.parent / "metrics.json"), path) for path in RESULTS.glob("*/predictions.csv.gz")
}
for kept in RESULTS.glob("*/runs.json"):
    for number, one in enumerate(read_json(kept)["runs"]):
        if (kept.parent / "predictions" / f"{number:02d}.csv.gz").is_file():
            RUNS[f"{kept.parent.name}-{number}"] = one["metrics"], kept.parent / "predictions" / f"{number:02d}.csv.gz"


def test_there_are_some() -> None:
    assert len(RUNS) >= 10


@pytest.mark.parametrize("name", RUNS)
def test_the_numbers_of_a_run_are_those_of_its_predictions(name: str) -> None:
    said, path = RUNS[name]
    table = read_predictions(path)
    beside = [view for view in ("original", "twin", LEFT_OUT) if f"{view}/acc" in said]
    for view in ("test", *beside):
        rows = np.flatnonzero(~np.isin(table.view, beside) if view == "test" else table.view == view)
        part = table.take(rows)
        found = score(part.correct, part.probabilities, part.group, table.classes)
        for key, value in found.values.items():
            # Probabilities have six decimals on disk; shares of images are what they are.
            rounded = key in ("log_loss", "log_loss_uniform", "brier", "ece", "ece_expected")
            assert said[f"{view}/{key}"] == pytest.approx(value, abs=1e-4 if rounded else 1e-12), (view, key)
        for key, one in found.intervals.items() if "intervals" in said else ():
            assert said["intervals"][f"{view}/{key}"][:2] == pytest.approx([one.low, one.high], abs=1e-9), (view, key)
    assert said["test/balanced_acc"] > 0.25


def test_the_arms_on_crops_are_those_of_their_predictions() -> None:
    said = json.loads((RESULTS / "crops" / "crops.json").read_text())
    names = [row["arm"] for row in said["rows"]]
    arms = {name: read_predictions(RESULTS / "crops" / f"{file_of(name)}.csv.gz") for name in names}
    assert json.loads(json.dumps(scored_arms(arms))) == said
    table = arms_table(said["rows"], said["against_the_first"], said["classes"])
    assert table == (RESULTS / "crops" / "crops.md").read_text()
