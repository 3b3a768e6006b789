"""Texts and sizes in a stranger's files: shown as letters, no formulas, worth no more memory than they hold."""

import csv
import io
import json
import shutil
import sqlite3
import sys
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from omegaconf import OmegaConf

from bloodcell.common.errors import InputError
from bloodcell.common.files import read_csv, write_csv
from bloodcell.config.kept import check_config
from bloodcell.data import groups
from bloodcell.data.sources.synthetic import Smears
from bloodcell.evaluate import evaluate
from bloodcell.evidence.pages import html_page
from bloodcell.prediction.answers_file import AnswersFile, table_rows
from bloodcell.prediction.count_page import count_page, pick_cells
from bloodcell.prediction.counting import differential, differential_table
from bloodcell.prediction.inputs import find_pictures
from bloodcell.prediction.predictor import SHIPPED, CellAnswer
from bloodcell.studies.net.card import write_card
from bloodcell.sweeps.space import Space
from bloodcell.sweeps.study import open_study, told_in_one_line
from bloodcell.tracking.sheet_files import sheets_as_latex, sheets_as_markdown, write_sheet
from bloodcell.tracking.sheets import Sheet
from bloodcell.tracking.terminal import print_sheet
from bloodcell.training.machine import find_device
from bloodcell.training.restore import open_net

OBEYED = "\x1b]0;title\x07\x1b[31m[/x]\r\u202e\x9b2J"


def test_sheets_show_nothing_that_a_terminal_obeys(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    cells = [[OBEYED, "0.5\n0.4 to 0.6"], ["=1+1", "-0.5"]]
    sheet = Sheet(OBEYED, ["#", OBEYED], cells, notes=[OBEYED], numbers=[["a", "b"], ["@x", "-0.5"]])
    print_sheet(sheet)
    write_sheet(tmp_path / "sheet.csv", sheet)
    said = capsys.readouterr().out
    assert "[/x]" in said  # no markup of ours either
    for text in (said, sheets_as_markdown([sheet]), sheets_as_latex([sheet]), (tmp_path / "sheet.csv").read_text()):
        assert not set(text) & set("\x1b\x07\r\u202e\x9b")
    assert (tmp_path / "sheet.csv").read_text() == "a,b\n'@x,-0.5\n"


def test_no_cell_of_any_table_is_a_formula_and_each_is_read_as_it_was(tmp_path: Path) -> None:
    texts = ["=1+1", "+ve", "-a", "@x", "\t=1", "'=1", "'quoted'", "-0.5", "+1", "-inf", "a", ""]
    write_csv(tmp_path / "a.csv", ["file", "=head"], [[text, -1.5] for text in texts])
    with (tmp_path / "a.csv").open(newline="") as file:
        cells = [row[0] for row in csv.reader(file)]
    assert not [cell for cell in cells if cell.startswith(("=", "@", "\t", "+v", "-a"))]
    assert [row["file"] for row in read_csv(tmp_path / "a.csv")] == texts
    assert read_csv(tmp_path / "a.csv")[0]["=head"] == "-1.5"


def test_names_of_classes_are_no_markup(capsys: pytest.CaptureFixture[str]) -> None:
    from rich.console import Console

    Console(markup=False).print(differential_table(differential([{"class": "[/x]", "reason": ""}], ["[/x]", "[red]"])))
    said = capsys.readouterr().out
    assert "[/x]" in said
    assert "[red]" in said


def test_classes_called_like_formulas_are_counted(tmp_path: Path) -> None:
    classes = ["=1+1", "b"]
    cell = CellAnswer("=a.png", (0, 0, 1, 1), "=1+1", {"=1+1": 1.0, "b": 0.0}, None, "", (), "", "")
    with AnswersFile(tmp_path / "a.csv", classes, "me") as answers:
        assert list(answers.left(iter([]))) == []
        answers.add([cell])
        answers.finish()
    assert not [line for line in (tmp_path / "a.csv").read_text().splitlines() if line.startswith("=")]
    (row,) = table_rows(tmp_path / "a.csv")
    assert (row["file"], row["class"], row["p_=1+1"]) == ("=a.png", "=1+1", "1.000000")
    assert "=a.png" in count_page(differential([row], classes), pick_cells([row], classes), [])


@pytest.mark.parametrize("pattern", ["(a*)*$", "(.*.*.*.*.*.*.*.*.*=)", "(a|aa)+$"])
def test_a_pattern_that_tries_without_end_is_stopped(pattern: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(groups, "PATIENCE_S", 0.1)
    index = SimpleNamespace(file=np.array(["a" * 200 + ".png"]))
    with pytest.raises(InputError, match="tries more and more ways"):
        groups.groups_by_pattern(index, pattern)  # type: ignore[arg-type]
    assert groups.groups_by_pattern(index, "(a)") == {index.file[0]: "a"}  # type: ignore[arg-type]


def test_a_page_of_a_strangers_card_holds_no_other_file(tmp_path: Path) -> None:
    content = json.loads(SHIPPED.with_suffix(".json").read_text())
    (tmp_path / "secret.png").write_text("a secret")
    named = [f"![x]({path})" for path in ("secret.png", tmp_path / "secret.png", "/etc/passwd", "../x", "/dev/zero")]
    content["about"]["not_for"] = [*named, OBEYED, "<script>alert(1)</script>", "[a](javascript:alert(1))"]
    (tmp_path / "card.json").write_text(json.dumps(content))
    write_card(tmp_path / "card.json", tmp_path / "card.html")
    page = (tmp_path / "card.html").read_text()
    assert "base64" not in page
    assert "<script" not in page
    assert 'href="javascript' not in page
    assert not set(page) & set("\x1b\x07\r\u202e\x9b")
    assert 'src=""' in html_page("![x](../y.png)", tmp_path, ".")
    assert "base64,YSBzZWNyZXQ=" in html_page("![x](secret.png)", tmp_path, ".")


def test_a_name_that_is_too_long_is_one_picture_that_cannot_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("a.png").write_bytes(b"a")
    monkeypatch.setattr(sys, "stdin", io.StringIO("a" * 10_000 + "\n\0\na.png\n"))
    long, null, good = find_pictures(["-"])
    assert good.read() == b"a"
    for bad in (long, null):
        with pytest.raises((ValueError, OSError)):
            bad.read()


def changed(finished: Path, tmp_path: Path, change: Any) -> Path:
    run = Path(shutil.copytree(finished, tmp_path / "given"))
    path = run / ".hydra" / "config.yaml"
    content = yaml.safe_load(path.read_text())
    change(content)
    path.write_text(yaml.safe_dump(content))
    return run


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda cfg: cfg["model"].update(widths=[4, 12_000, 12_000, 8]), "net.block2.0.weight of shape"),
        (lambda cfg: cfg["data"].update(image_size=[60_000, 60_000]), "at most 4096 each"),
        (lambda cfg: cfg["data"].update(crop_side=10**6), "pixels of a field"),
    ],
)
def test_a_config_asks_for_no_more_memory_than_its_weights(
    finished: Path, tmp_path: Path, change: Any, said: str
) -> None:
    run = changed(finished, tmp_path, change)
    for ask in (lambda: open_net(run), lambda: evaluate(run, [], None)):
        with pytest.raises(InputError, match=said):
            ask()


def test_no_more_smears_than_can_be_kept_are_rendered(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="1 to 20,000"):
        Smears(None, {"train": 10**9, "val": 1, "test": 1})


def test_a_device_that_no_machine_has_is_one_line() -> None:
    with pytest.raises(InputError, match="cpu, cuda, gpu, mps or auto"):
        find_device("tpu")


def test_a_typed_word_trusts_its_own_key_alone() -> None:
    cfg = OmegaConf.create({"trainer": {"callbacks": [{"_target_": "a.B"}]}, "name": "x"})
    check_config(cfg, Path("x"), ("trainer",), ["trainer.callbacks=[{_target_: a.B}]"])
    for word in ("name=a.B", "trainer.callbacks_=a.B", "model=a.B"):
        with pytest.raises(InputError, match="only computes"):
            check_config(cfg, Path("x"), ("trainer",), [word])


def test_names_in_a_checkpoint_can_be_shown(finished: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(finished, tmp_path / "given"))
    path = run / "checkpoints" / "best.ckpt"
    content = torch.load(path, weights_only=True)
    content["classes"][0] = OBEYED
    torch.save(content, path)
    with pytest.raises(InputError, match="names of classes that cannot be shown"):
        open_net(run)


@pytest.mark.parametrize(
    "hostile",
    [
        "CREATE TRIGGER t AFTER INSERT ON a BEGIN DELETE FROM a; END",
        "CREATE VIEW v AS WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x+1 FROM c) SELECT x FROM c",
        "ALTER TABLE a ADD COLUMN g TEXT GENERATED ALWAYS AS (hex(zeroblob(400000000)))",
        "CREATE VIRTUAL TABLE f USING fts5(x)",
    ],
)
def test_a_study_that_computes_is_refused(tmp_path: Path, hostile: str) -> None:
    space = Space([], {}, "val/loss", "min", tmp_path)
    with closing(sqlite3.connect(tmp_path / "study.db")) as database:
        database.execute("CREATE TABLE a (x INTEGER)")
        database.execute(hostile)
    with pytest.raises(InputError, match="which computes"), told_in_one_line(space):
        open_study(space, prune=False)
