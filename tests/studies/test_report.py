"""The report is made from the committed results, and its page needs no other file."""

import re
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

from bloodcell.common.env import CHECKOUT as ROOT
from bloodcell.evidence.pages import html_page
from bloodcell.prediction.predictor import SHIPPED
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


def test_the_card_of_a_net_is_a_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["report", "--card", str(SHIPPED.with_suffix(".json")), "--html", "x/report.html"])
    main()
    assert [path.name for path in Path("x").iterdir()] == ["card.html"]
    text = Path("x/card.html").read_text()
    for said in ("this is not a medical device", "balanced accuracy", "recall, monocyte", "width=device-width"):
        assert said in text
    for way_out in ("src=", "<script", "http"):
        assert way_out not in text


@pytest.mark.parametrize("content", ["{}", '{"about": 3}', "[]", "no JSON"])
def test_what_is_no_card_is_one_line(
    content: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("net.json").write_text(content)
    monkeypatch.setattr(sys, "argv", ["report", "--card", "net.json"])
    with pytest.raises(SystemExit):
        main()
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "net.json: expected" in said


def test_the_report_is_light(tmp_path: Path) -> None:
    page = html_page((RESULTS / "report.md").read_text(), RESULTS, "results")
    assert len(page.encode()) < 5_000_000
    assert "width=device-width" in page
    assert "<title>a &amp; b</title>" in html_page("# a & b", tmp_path, "results")
