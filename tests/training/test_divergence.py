"""A training whose loss is no finite number any more ends as diverged, with its last good weights."""

import json
import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from bloodcell.common.files import write_json
from tests.helpers import weights

Train = Callable[..., Path]


def strict(path: Path) -> dict[str, Any]:
    """A JSON file, read as the standard has it."""
    content: dict[str, Any] = json.loads(path.read_text(), parse_constant=lambda word: pytest.fail(f"{word} in {path}"))
    return content


def diverged(train: Train, capfd: pytest.CaptureFixture[str], *words: str) -> tuple[str, dict[str, Any]]:
    """Types a training that must diverge; its one line and its status come back."""
    with pytest.raises(SystemExit, match="1"):
        train("hydra.run.dir=runs/it", *words)
    line = capfd.readouterr().err.strip().splitlines()[-1]
    assert "Traceback" not in line
    status = strict(Path("runs/it/status.json"))
    assert status["state"] == "diverged"
    assert status["error"] in line
    return line, status


def test_too_high_a_rate(train: Train, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    from bloodcell.runs import main

    line, status = diverged(train, capfd, "optim=sgd", "~optim/scheduler", "optim.lr=1e30", "trainer.max_epochs=3")
    assert line.startswith("error: epoch 1: expected a finite loss, got ")
    assert "lower optim.lr" in line
    assert (status["epoch"], status["checkpoint"]) == (0, None)
    assert not Path("runs/it/metrics.json").exists()
    monkeypatch.setattr(sys, "argv", ["runs"])
    main()
    assert "diverged" in capfd.readouterr().out


def test_broken_weights_at_the_start_name_the_files_of_the_batch(
    train: Train, finished: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    state = weights(finished)
    state = {name.removeprefix("net."): value.clone() for name, value in state.items() if name.startswith("net.")}
    next(iter(state.values())).fill_(math.nan)
    torch.save(state, "broken.pt")
    line, _ = diverged(train, capfd, "init_from=broken.pt")
    assert "a loss of nan for train/" in line
    assert "and 5 more" in line


@pytest.mark.slow
def test_later_epochs_without_validation_keep_the_last_good_weights(
    train: Train, capfd: pytest.CaptureFixture[str]
) -> None:
    """One cycle begins low: the first epoch is well, and the second leaves weights that no validation looks at."""
    rate = ("optim=sgd", "optim/scheduler=one_cycle", "optim.lr=1e9", "optim.optimizer.momentum=0")
    words = ("+trainer.limit_val_batches=0", "report=last", "trainer.max_epochs=400", "data.batch_size=24")
    line, status = diverged(train, capfd, *rate, *words, "optim.optimizer.nesterov=false")
    assert status["epoch"] > 0
    assert status["checkpoint"] == "runs/it/checkpoints/last.ckpt" or status["checkpoint"] in line
    kept = weights(Path("runs/it"))
    assert all(value.isfinite().all() for value in kept.values())


def test_what_is_no_number_is_null_in_json(tmp_path: Path) -> None:
    write_json(tmp_path / "x.json", {"a": math.nan, "b": [1.5, -math.inf, {"c": math.inf}], "d": (1, None), "e": "NaN"})
    assert strict(tmp_path / "x.json") == {"a": None, "b": [1.5, None, {"c": None}], "d": [1, None], "e": "NaN"}
