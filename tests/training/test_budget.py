"""A training as long as the user has time."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from bloodcell.tracking.status import read_status
from bloodcell.training.budget import limited
from tests.helpers import same

Train = Callable[..., Path]
# More batches than the probe takes.
LONG = ("data.batch_size=1", "trainer.max_epochs=3")


def kept(run: Path) -> tuple[int, float | None]:
    cfg = yaml.safe_load((run / ".hydra" / "config.yaml").read_text())
    return cfg["trainer"]["max_epochs"], cfg["minutes"]


@pytest.mark.slow
def test_time_for_all_epochs_changes_no_bit(train: Train, capsys: pytest.CaptureFixture[str]) -> None:
    typed = train(*LONG)
    timed = train(*LONG, "minutes=60")
    assert "time: 3 epochs fit into 60 minutes" in capsys.readouterr().out
    assert same(typed, timed)
    assert kept(timed) == (3, None)


def test_a_moment_is_one_epoch_and_is_kept(train: Train, capsys: pytest.CaptureFixture[str]) -> None:
    run = train(*LONG, "minutes=1e-4")
    assert "time: 1 epoch fits into 0.0001 minutes" in capsys.readouterr().out
    assert read_status(run)["epoch"] == 1
    record = json.loads((run / "manifest.json").read_text())
    assert (record["minutes"], record["epochs"]) == (1e-4, 1)
    assert kept(run) == (1, None)


@pytest.mark.slow
def test_jobs_of_a_sweep_have_the_same_epochs(train: Train) -> None:
    run = train("minutes=1e-4", "seed=0,1", "-m")
    assert read_status(run)["epoch"] == 2


@pytest.mark.parametrize(("limit", "left"), [(None, 100), (8, 8), (1, 1), (200, 100), (1.0, 100), (0.25, 25), (0, 0)])
def test_a_limited_epoch_is_shorter(limit: float | None, left: float) -> None:
    assert limited(100, limit) == left


@pytest.mark.parametrize("word", ["minutes=0", "minutes=-1", "minutes=x", "minutes=nan", "~minutes"])
def test_what_is_no_time_is_said(train: Train, capsys: pytest.CaptureFixture[str], word: str) -> None:
    with pytest.raises(SystemExit):
        train(word)
    assert "minutes: expected " in capsys.readouterr().err
