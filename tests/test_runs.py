"""Runs as tables and as committed evidence; experiments compared with it."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from bloodcell.errors import InputError
from bloodcell.runs import read_runs, save, table

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


def test_the_readme_shows_what_is_committed(tmp_path: Path) -> None:
    from bloodcell.runs import ROOT, committed_table, write_readme

    text = (ROOT / "README.md").read_text()
    shown = text.split("<!-- results:begin -->")[1].split("<!-- results:end -->")[0].strip()
    assert shown == committed_table(ROOT / "results").strip(), "type: python -m bloodcell.runs --readme"
    copy = tmp_path / "README.md"
    copy.write_text(text)
    write_readme(copy, ROOT / "results")
    assert copy.read_text() == text
