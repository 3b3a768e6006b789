"""Runs as tables and as committed evidence; experiments compared with it."""

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from bloodcell import reproduce
from bloodcell.errors import InputError
from bloodcell.runs import read_runs, save, table
from tests.conftest import metrics_of

Train = Callable[..., Path]


def test_a_table_groups_seeds_and_shows_what_differs(train: Train, tmp_path: Path) -> None:
    for seed, lr in ((0, "1e-3"), (1, "1e-3"), (0, "1e-1")):
        train("trainer=smoke", f"optim.lr={lr}", f"seed={seed}")
    runs = read_runs(tmp_path / "runs")
    header, rows = table(runs)
    assert header[:2] == ["optim.lr", "runs done"]
    assert sorted(row[:2] for row in rows) == [["1e-1", "1 of 1"], ["1e-3", "2 of 2"]]
    values = [run.metrics["test/acc"] for run in runs if run.overrides["optim.lr"] == "1e-3"]
    cell = next(row for row in rows if row[0] == "1e-3")[header.index("test/acc")]
    assert cell.startswith(f"{sum(values) / 2:.4g}")
    save(runs, tmp_path / "out")
    assert (tmp_path / "out" / "table.md").read_text().count("\n|") == 4
    kept = json.loads((tmp_path / "out" / "runs.json").read_text())["runs"]
    assert len(kept) == 3
    assert "/cells" not in (tmp_path / "out" / "runs.json").read_text(), "a path of this machine"


def test_no_runs_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="expected a folder with runs"):
        read_runs(tmp_path)


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
    from bloodcell.runs import ROOT, committed_table, write_readme

    text = (ROOT / "README.md").read_text()
    shown = text.split("<!-- results:begin -->")[1].split("<!-- results:end -->")[0].strip()
    assert shown == committed_table(ROOT / "results").strip(), "type: python -m bloodcell.runs --readme"
    copy = tmp_path / "README.md"
    copy.write_text(text)
    write_readme(copy, ROOT / "results")
    assert copy.read_text() == text
