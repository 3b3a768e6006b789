"""What an epoch is chosen by: its direction, epochs without validation, searches that find nothing, odd batches."""

import csv
import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from tests.helpers import TINY, metrics_of, write_cells

Train = Callable[..., Path]


@pytest.mark.slow
@pytest.mark.parametrize("metric", ["val/loss", "val/macro_f1", "val/recall/MONOCYTE"])
def test_the_best_epoch_is_the_best_by_its_metric(train: Train, metric: str) -> None:
    run = train(f"monitor.metric={metric}", "trainer.max_epochs=4", "optim.lr=0.03", "test=false")
    rows = list(csv.DictReader((run / "metrics.csv").open()))
    values = [float(row[metric]) for row in rows]
    best = min(values) if metric == "val/loss" else max(values)
    assert values[metrics_of(run)["epoch"] - 1] == best


@pytest.mark.slow
def test_a_plateau_waits_for_epochs_with_a_validation(train: Train) -> None:
    """With a patience of 0, each validation that is no better halves the rate, and no other epoch does."""
    words = ("optim/scheduler=plateau", "optim.scheduler.patience=0", "optim.lr=1e-12", "optim=sgd", "test=false")
    run = train(*words, "+trainer.check_val_every_n_epoch=2", "trainer.max_epochs=5")
    last = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)
    assert last["lr_schedulers"][0]["last_epoch"] == 2
    assert last["optimizer_states"][0]["param_groups"][0]["lr"] == pytest.approx(0.5e-12)


@pytest.mark.slow
def test_a_search_of_a_rate_that_finds_none_says_so(train: Train, capsys: pytest.CaptureFixture[str]) -> None:
    """One batch an epoch makes too few points of the loss for a slope."""
    run = train("lr_find=true", "optim.lr=1e-4", "trainer.max_epochs=1", "data.batch_size=24", "test=false")
    said = capsys.readouterr().out
    assert "lr_find: none found" in said
    assert "optim.lr=0.0001 is used" in said
    assert json.loads((run / "manifest.json").read_text())["lr_found"] is None


@pytest.mark.slow
def test_a_last_batch_of_one_image(
    train: Train, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nine images in batches of eight: a net that ends in one pixel cannot normalise the last, another can."""
    images = write_cells(tmp_path / "nine", ("train", "val", "test"), 3)
    base = (*TINY, f"data.root={images}", "trainer.max_epochs=1", "test=false")
    assert train(base=base).is_dir()
    with pytest.raises(SystemExit, match="1"):
        train("model=torchvision", "hydra.run.dir=other", base=[word for word in base if "widths" not in word])
    line = capfd.readouterr().err.strip().splitlines()[-1]
    assert line.startswith("error: data.batch_size: expected no batch of a single image")
    assert "got 9 training images in batches of 8; set data.batch_size=9" in line
    assert not Path("other").exists()


@pytest.mark.slow
@pytest.mark.parametrize("group", ["disabled", "none", "stdout", "default"])
def test_any_log_of_hydras_will_do(train: Train, group: str) -> None:
    run = train(f"hydra/job_logging={group}", "trainer=smoke", "test=false")
    assert json.loads((run / "status.json").read_text())["state"] == "ok"


@pytest.mark.slow
def test_a_terminal_without_accents(
    train: Train, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    images = write_cells(tmp_path / "é", ("train", "val", "test"), 3, ("Éosinophile", "Größe", "細胞"))
    stream = (tmp_path / "out.txt").open("w", encoding="ascii")
    with stream, monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", stream)
        run = train("trainer=smoke", base=(*TINY, f"data.root={images}"))
    assert "test/balanced_acc" in metrics_of(run)
    assert "\\xc9osinophile" in (tmp_path / "out.txt").read_text()
