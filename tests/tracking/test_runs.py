"""Runs as committed evidence, and the tables of it in the READMEs."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from bloodcell.common.env import CHECKOUT as ROOT
from bloodcell.common.errors import InputError
from bloodcell.studies.paper.readme import summary_table, write_readme
from bloodcell.tracking.reader import Run, read_runs
from bloodcell.tracking.save import save_evidence

Train = Callable[..., Path]


def test_no_runs_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="expected a folder with runs"):
        read_runs(tmp_path)


@pytest.mark.parametrize("name", ["precision", "readings", "pbc_seeds", "official_crops"])
def test_committed_evidence_is_what_its_runs_make(name: str, tmp_path: Path) -> None:
    kept = ROOT / "results" / name
    runs = [
        Run(Path(str(number)), one["overrides"], one["state"], one["metrics"], _record(one), one["manifest"])
        for number, one in enumerate(json.loads((kept / "runs.json").read_text())["runs"])
    ]
    save_evidence(runs, tmp_path)
    for file in ("table.md", "runs.json"):
        assert (tmp_path / file).read_bytes() == (kept / file).read_bytes()


def _record(kept: dict[str, str]) -> dict[str, str]:
    return {key: kept[key] for key in ("weights",) if key in kept}


def test_evidence_has_no_path_of_this_machine(finished: Path, tmp_path: Path) -> None:
    runs = [copy for number in (0, 1) for copy in read_runs(_copy(finished, tmp_path / "runs" / str(number)))]
    assert any(str(word).startswith("/") for word in runs[0].overrides.values())
    save_evidence(runs, tmp_path / "out")
    kept = (tmp_path / "out" / "runs.json").read_text()
    assert len(json.loads(kept)["runs"]) == 2
    assert runs[0].manifest["data"]["root"] not in kept


def _copy(run: Path, to: Path) -> Path:
    return Path(shutil.copytree(run, to, ignore=shutil.ignore_patterns("checkpoints", "tensorboard", "figures")))


def test_the_readmes_show_what_is_committed(tmp_path: Path) -> None:
    results = Path(shutil.copytree(ROOT / "results", tmp_path / "results"))
    readme = Path(shutil.copyfile(ROOT / "README.md", tmp_path / "README.md"))
    for page in (readme, results / "README.md"):  # whatever stood between the marks is replaced
        page.write_text(re.sub(r"(:begin -->\n).*?(<!-- \w+:end)", r"\1old\n\2", page.read_text(), flags=re.DOTALL))
        assert "old" in page.read_text()
    write_readme(readme, results)
    for name in ("README.md", "results/README.md"):
        assert (tmp_path / name).read_text() == (ROOT / name).read_text(), "type: python -m bloodcell.runs --readme"
    claimed, *ours = re.findall(r"\d\d\.\d %", summary_table(results))
    assert claimed == "99.7 %"
    assert len(ours) == 11
