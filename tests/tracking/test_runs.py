"""Runs as committed evidence, and the README's tables of it."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from bloodcell.common.env import CHECKOUT as ROOT
from bloodcell.common.errors import InputError
from bloodcell.studies.paper.readme import committed_table, write_readme
from bloodcell.tracking.reader import Run, read_runs
from bloodcell.tracking.save import save

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


def test_the_readme_shows_what_is_committed(tmp_path: Path) -> None:
    text = (ROOT / "README.md").read_text()
    shown = text.split("<!-- results:begin -->")[1].split("<!-- results:end -->")[0].strip()
    assert shown == committed_table(ROOT / "results").strip(), "type: python -m bloodcell.runs --readme"
    copy = tmp_path / "README.md"
    copy.write_text(text)
    write_readme(copy, ROOT / "results")
    assert copy.read_text() == text
