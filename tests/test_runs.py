"""Runs as committed evidence; experiments compared with it."""

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from bloodcell import reproduce
from bloodcell.errors import InputError
from bloodcell.runs import ROOT, Run, committed_table, read_runs, save, write_readme
from tests.conftest import metrics_of

Train = Callable[..., Path]


def test_no_runs_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="expected a folder with runs"):
        read_runs(tmp_path)


@pytest.mark.parametrize("name", ["precision", "readings"])
def test_committed_evidence_is_what_its_runs_make(name: str, tmp_path: Path) -> None:
    kept = ROOT / "results" / name
    runs = [
        Run(Path(str(number)), one["overrides"], one["state"], one["metrics"], {}, one["manifest"])
        for number, one in enumerate(json.loads((kept / "runs.json").read_text())["runs"])
    ]
    save(runs, tmp_path)
    for file in ("table.md", "runs.json"):
        assert (tmp_path / file).read_bytes() == (kept / file).read_bytes()


def test_evidence_has_no_path_of_this_machine(finished: Path, tmp_path: Path) -> None:
    runs = [copy for number in (0, 1) for copy in read_runs(_copy(finished, tmp_path / "runs" / str(number)))]
    assert any(str(word).startswith("/") for word in runs[0].overrides.values())
    save(runs, tmp_path / "out")
    kept = (tmp_path / "out" / "runs.json").read_text()
    assert len(json.loads(kept)["runs"]) == 2
    assert runs[0].manifest["data"]["root"] not in kept


def _copy(run: Path, to: Path) -> Path:
    return Path(shutil.copytree(run, to, ignore=shutil.ignore_patterns("checkpoints", "tensorboard", "figures")))


def test_reproducing_tells_identical_from_different(
    train: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = train("trainer=smoke")
    monkeypatch.setattr(reproduce, "RESULTS", tmp_path / "results")
    save([read_runs(run)[0]], tmp_path / "results" / "tiny")
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


def test_the_readme_shows_what_is_committed(tmp_path: Path) -> None:
    text = (ROOT / "README.md").read_text()
    shown = text.split("<!-- results:begin -->")[1].split("<!-- results:end -->")[0].strip()
    assert shown == committed_table(ROOT / "results").strip(), "type: python -m bloodcell.runs --readme"
    copy = tmp_path / "README.md"
    copy.write_text(text)
    write_readme(copy, ROOT / "results")
    assert copy.read_text() == text
