"""The report is made from the committed results, and its page needs no other file."""

import re
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

from bloodcell.common.env import CHECKOUT as ROOT
from bloodcell.evidence.pages import html_page
from bloodcell.report import main
from bloodcell.studies.paper import stated as paper

RESULTS = ROOT / "results"


def test_the_papers_matrix_gives_less_than_it_claims() -> None:
    assert paper.CONFUSION.sum(axis=1).tolist() == [250] * 4
    assert np.trace(paper.CONFUSION) / 1000 == 0.991
    assert paper.CLAIM == 0.997


def test_the_committed_report_is_the_generated_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copy, html = tmp_path / "results", tmp_path / "report.html"
    shutil.copytree(RESULTS, copy)
    monkeypatch.setattr(sys, "argv", ["report", "--results", str(copy), "--html", str(html)])
    main()
    assert (copy / "report.md").read_text() == (RESULTS / "report.md").read_text(), "type: make report"
    text = html.read_text()
    assert "99.1 %" in text
    assert "WARNING: protocol random leaks" in text
    sources = re.findall(r'src="([^"]{0,30})', text)
    assert len(sources) >= 6
    assert all(source.startswith("data:image/") for source in sources)
    assert "<script" not in text
    for link in re.findall(r'href="(?!https?:)([^"]+)"', text):
        assert (html.parent / link).exists(), link


def test_a_missing_result_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["report", "--results", str(tmp_path)])
    with pytest.raises(SystemExit):
        main()
    assert "paper/metrics.json: expected a committed result" in capsys.readouterr().err


def test_markup_in_the_text_is_shown_and_not_obeyed(tmp_path: Path) -> None:
    assert "<script>" not in html_page("# a\n\n<script>alert(1)</script>\n", tmp_path, "results")
