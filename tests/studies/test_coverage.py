"""What the pages say of the coverage of intervals is what the simulation found."""

import json
import sys
from pathlib import Path

import pytest

from bloodcell.studies.coverage.run import NAMES, coverage_table
from bloodcell.studies.coverage.simulation import LIKENESSES, SimulatedSet, coverage, simulated_sets

COMMITTED = Path(__file__).parents[2] / "results" / "coverage"


def test_the_committed_table_is_that_of_the_committed_cells() -> None:
    found = json.loads((COMMITTED / "coverage.json").read_text())
    assert (COMMITTED / "coverage.md").read_text() == coverage_table(found["cells"])
    assert len(found["cells"]) == len(simulated_sets())
    assert found["draws"] >= 1000


def test_intervals_hold_the_truth_near_one() -> None:
    found = coverage(SimulatedSet("4 x 20", 0.98, LIKENESSES[0]), draws=150, seed=1)
    assert min(found[name] for name in NAMES) > 0.88
    assert found == coverage(SimulatedSet("4 x 20", 0.98, LIKENESSES[0]), draws=150, seed=1)


def test_groups_that_agree_are_not_taken_for_many_images() -> None:
    found = coverage(SimulatedSet("4 x 20", 0.75, LIKENESSES[1]), draws=60, seed=1)
    assert min(found[name] for name in NAMES) > 0.85


def test_the_command_writes_its_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from bloodcell import simulate
    from bloodcell.studies.coverage import run

    monkeypatch.setattr(run, "simulated_sets", lambda: simulated_sets()[:2])
    monkeypatch.setattr(run, "CLASSES", {"4, 6, 13 and 48": ()})
    monkeypatch.setattr(sys, "argv", ["simulate", "--draws", "3", "--out", str(tmp_path / "out")])
    simulate.main()
    assert "in 3 simulated test sets" in (tmp_path / "out" / "coverage.md").read_text()
    assert json.loads((tmp_path / "out" / "manifest.json").read_text())["seeds"] == {"seed": 0}
