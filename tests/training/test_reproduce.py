"""An experiment, or a run, made again and compared."""

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from bloodcell import reproduce
from bloodcell.config.compose import composed
from bloodcell.tracking.reader import read_runs
from bloodcell.tracking.save import save_evidence
from bloodcell.training import machine
from tests.helpers import metrics_of

Train = Callable[..., Path]


def test_reproducing_tells_identical_from_different(
    train: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = train("trainer=smoke")
    monkeypatch.setattr(reproduce, "RESULTS", tmp_path / "results")
    save_evidence([read_runs(run)[0]], tmp_path / "results" / "tiny")
    again = train("trainer=smoke")

    def rerun(words: list[str], **_: object) -> object:
        target = next(word for word in words if word.startswith("hydra.run.dir=")).partition("=")[2]
        shutil.copytree(again, target)
        return type("Done", (), {"returncode": 0})

    monkeypatch.setattr(reproduce.subprocess, "run", rerun)
    monkeypatch.setattr(sys, "argv", ["reproduce", "tiny"])
    reproduce.main()
    assert "tiny: identical" in capsys.readouterr().out
    changed = metrics_of(again) | {"test/acc": 0.0, "test/balanced_acc": 0.9}
    (again / "metrics.json").write_text(json.dumps(changed))
    manifest = json.loads((again / "manifest.json").read_text())
    manifest["versions"]["numpy"] = "0.1"
    (again / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(SystemExit, match="1"):
        reproduce.main()
    shown = capsys.readouterr()
    assert "tiny: different" in shown.out
    assert "numpy 0.1, before" in shown.out


def test_reproducing_names_what_it_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["reproduce", "nothing"])
    with pytest.raises(SystemExit, match="1"):
        reproduce.main()
    assert "expected an experiment with a committed result" in capsys.readouterr().err


def again(monkeypatch: pytest.MonkeyPatch, run: Path) -> None:
    monkeypatch.setattr(sys, "argv", ["reproduce", "--run", str(run)])
    reproduce.main()


@pytest.mark.slow
def test_a_run_is_made_again_from_its_directory(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {path: path.read_bytes() for path in finished.rglob("*.json")}
    again(monkeypatch, finished)
    (run,) = tmp_path.glob("runs/reproduce/*/*")
    assert f"{finished.name}" in (said := capsys.readouterr().out)
    assert "identical" in said
    assert metrics_of(run) == metrics_of(finished)
    for name in ("config", "overrides"):
        kept = (run / ".hydra" / f"{name}.yaml", finished / ".hydra" / f"{name}.yaml")
        assert kept[0].read_bytes() == kept[1].read_bytes()
    assert {path: path.read_bytes() for path in finished.rglob("*.json")} == before, "it was only to be read"


def test_what_differs_is_named(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A run of an older version, on other data, with other numbers; its config lacks a key and has another value."""
    old = tmp_path / "old"
    shutil.copytree(finished, old)
    config = (old / ".hydra" / "config.yaml").read_text()
    config = config.replace("test: true\n", "").replace("lr: 0.001", "lr: 0.002")
    (old / ".hydra" / "config.yaml").write_text(config)
    manifest = json.loads((old / "manifest.json").read_text())
    manifest["data"]["fingerprint"], manifest["versions"]["torch"] = "0" * 64, "1.0"
    manifest["git"] = {"commit": "abc", "dirty": True}
    (old / "manifest.json").write_text(json.dumps(manifest))
    (old / "metrics.json").write_text(json.dumps(metrics_of(old) | {"test/acc": 5.0}))
    with pytest.raises(SystemExit, match="1"):
        again(monkeypatch, old)
    shown = capsys.readouterr()
    assert "conf says otherwise today; used as it was then: lr: 0.002\n" in shown.out
    assert "old: different" in shown.out
    (why,) = [line for line in shown.out.splitlines() if line.startswith("what differs: ")]
    assert "other data (fingerprint)" in why
    assert "before 1.0" in why
    assert "before abc with changes that were not committed" in why
    assert f"error: RUN={old}: expected every share within 0.05" in shown.err


@pytest.mark.slow
def test_a_run_is_made_again_with_its_own_threads(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = Path(shutil.copytree(finished, tmp_path / "run"))
    manifest = json.loads((run / "manifest.json").read_text())
    mine = torch.get_num_threads()
    manifest["hardware"]["threads"] = mine + 1
    (run / "manifest.json").write_text(json.dumps(manifest))
    again(monkeypatch, run)
    assert f"as it was made then: {mine + 1} threads" in capsys.readouterr().out
    (new,) = tmp_path.glob("runs/reproduce/*/*/manifest.json")
    assert json.loads(new.read_text())["hardware"]["threads"] == mine + 1
    assert torch.get_num_threads() == mine


@pytest.mark.parametrize(
    ("threads", "precision", "expected"),
    [
        (None, None, (None, None)),
        (10**9, "7", (None, None)),
        ("two", "16-mixed", (None, None)),  # not on a CPU
        (-1, ["bf16-mixed"], (None, None)),
        (99, "32-true", (99, "32-true")),
    ],
)
def test_conditions_are_taken_where_they_can_be_had(
    monkeypatch: pytest.MonkeyPatch, threads: object, precision: object, expected: tuple[object, object]
) -> None:
    monkeypatch.setattr(machine, "choose_precision", lambda _: ("bf16-mixed", "as on another machine"))
    before = {"hardware": {"threads": threads}, "precision": precision}
    assert reproduce.conditions(before, composed(["trainer.precision=auto"])) == expected
    assert reproduce.conditions(before, composed(["trainer.precision=bf16-mixed"])) == (expected[0], None)


@pytest.mark.parametrize("words", [[], ["quickstart", "--run", "runs/x"]])
def test_it_is_one_or_the_other(
    words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["reproduce", *words])
    with pytest.raises(SystemExit):
        reproduce.main()
    assert "expected either an experiment (EXP=quickstart) or --run DIR" in capsys.readouterr().err


def test_no_run_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="1"):
        again(monkeypatch, tmp_path / "nowhere")
    assert "expected the directory of a finished run, got no such directory" in capsys.readouterr().err
