"""Runs that version 0.1.0 wrote stay readable: kept in ``tests/old_runs``, with the images that they were made from."""

import shutil
import sys
from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf

from bloodcell.training.restore import bring_up_to_date
from tests.helpers import metrics_of, weights

KEPT = Path(__file__).parent.parent / "old_runs"


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A copy of the old runs and their images, in the folder that the runs were started in."""
    for entry in KEPT.iterdir():
        shutil.copytree(entry, tmp_path / entry.name)
    return tmp_path


def typed(monkeypatch: pytest.MonkeyPatch, command: str, *words: str) -> None:
    from importlib import import_module

    monkeypatch.setattr(sys, "argv", [command, *words])
    import_module(f"bloodcell.{command}").main()


def test_an_old_run_is_tested_again(old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    typed(monkeypatch, "evaluate", "finished")
    (again,) = (old / "finished" / "evaluations").iterdir()
    for name, value in metrics_of(old / "finished").items():
        if name.startswith("test/"):
            assert metrics_of(again)[name] == pytest.approx(value, abs=1e-6), name


@pytest.mark.slow
def test_an_old_run_is_made_again(
    old: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    typed(monkeypatch, "reproduce", "--run", "finished")
    said = capsys.readouterr().out
    assert "finished: identical" in said or "finished: within tolerance" in said
    assert "note:" not in said, "conf says the same today"


def test_an_old_run_that_was_interrupted_goes_on(old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    typed(monkeypatch, "train", "ckpt_path=interrupted")
    undisturbed, now = weights(old / "finished"), weights(old / "interrupted")
    assert undisturbed.keys() == now.keys()
    for name, values in undisturbed.items():  # on another machine, with another number of threads
        assert torch.allclose(values, now[name], atol=1e-4), name


def test_old_runs_are_in_the_table(
    old: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    typed(monkeypatch, "runs", ".", "--each")
    said = capsys.readouterr().out
    assert "interrupted" in said
    assert "ok" in said


@pytest.mark.parametrize(
    ("before", "target", "gone"),
    [
        ({"source": "folder", "root": "/x", "protocol": "grouped", "fold": 2}, "folder.Folder", ()),
        ({"source": "synthetic", "root": None, "fold": 0}, "synthetic.Smears", ("fold",)),
        (
            {"source": "blood_cells", "root": None, "or_synthetic": False, "mask": None, "synthetic_per_class": {}},
            "blood_cells.BloodCells",
            ("or_synthetic", "synthetic_per_class"),
        ),
        (
            {"source": "blood_cells", "or_synthetic": True, "fold": 1, "synthetic_per_class": {"train": 2}},
            "blood_cells.blood_cells_or_smears",
            ("or_synthetic",),
        ),
    ],
)
def test_the_one_class_of_old_becomes_the_one_for_its_data(
    before: dict[str, object], target: str, gone: tuple[str, ...]
) -> None:
    data = {"_target_": "bloodcell.data.datamodule.BloodCells", **before, "image_size": [8, 8]}
    cfg = OmegaConf.create({"data": data})
    OmegaConf.set_struct(cfg, True)
    bring_up_to_date(cfg)
    assert cfg.data._target_ == f"bloodcell.data.sources.{target}"
    kept = {key: value for key, value in data.items() if key not in ("_target_", "source", *gone)}
    assert {key: cfg.data[key] for key in kept} == kept
    assert not set(gone) & set(cfg.data)
