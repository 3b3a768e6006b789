"""Testing a finished run again, on its own data and on other data."""

import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import f1_score

from bloodcell.common.errors import InputError
from tests.helpers import CLASSES, metrics_of, write_cells


@pytest.fixture
def copy(finished: Path, tmp_path: Path) -> Path:
    """A finished run that may be written to."""
    return Path(shutil.copytree(finished, tmp_path / "run"))


@pytest.fixture
def evaluate(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    def run(run_dir: Path, *words: str) -> Path:
        from bloodcell.evaluate import main

        monkeypatch.setattr(sys, "argv", ["evaluate", str(run_dir), *words])
        main()
        return max((run_dir / "evaluations").iterdir())

    return run


@pytest.mark.slow
def test_own_data_give_the_same_numbers(copy: Path, evaluate: Callable[..., Path]) -> None:
    run = copy
    again = evaluate(run)
    before, after = metrics_of(run), metrics_of(again)
    tested = [name for name in before if name.startswith("test/")]
    assert len(tested) > 15
    assert {name: before[name] for name in tested} == {name: after[name] for name in tested}
    assert (run / "predictions.csv").read_bytes() == (again / "predictions.csv").read_bytes()
    assert (again / "figures" / "confusion_matrix.png").is_file()
    assert metrics_of(evaluate(run, "--checkpoint", "last"))["checkpoint"] == "last"


@pytest.mark.slow
def test_another_folder_is_tested_whole_or_by_its_test_part(
    copy: Path, evaluate: Callable[..., Path], tmp_path: Path
) -> None:
    run = copy
    flat = write_cells(tmp_path / "flat", ("",), 5)
    assert len((evaluate(run, f"data.root={flat}") / "predictions.csv").read_text().splitlines()) == 1 + 15
    parts = write_cells(tmp_path / "parts", ("train", "test"), 4)
    assert len((evaluate(run, f"data.root={parts}") / "predictions.csv").read_text().splitlines()) == 1 + 12


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["data.rot=/x"], "expected one of data."),
        (["optim.lr=1"], "expected data.KEY=VALUE"),
        (["data.root=/nowhere"], "got no such folder"),
    ],
)
def test_bad_words_are_one_line(
    copy: Path,
    evaluate: Callable[..., Path],
    words: list[str],
    said: str,
    capfd: pytest.CaptureFixture[str],
) -> None:
    run = copy
    capfd.readouterr()
    with pytest.raises(SystemExit, match="1"):
        evaluate(run, *words)
    assert said in capfd.readouterr().err
    assert not (run / "evaluations").exists()


def test_other_classes_and_no_runs_are_refused(
    copy: Path, evaluate: Callable[..., Path], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    run = copy
    other = write_cells(tmp_path / "other", ("",), 4, ("cat", "dog"))
    with pytest.raises(SystemExit):
        evaluate(run, f"data.root={other}")
    said = capfd.readouterr().err
    assert f"expected images of at least one of the net's classes ({', '.join(CLASSES)}), got only cat, dog" in said
    with pytest.raises(SystemExit):
        evaluate(tmp_path)
    assert "expected a run directory" in capfd.readouterr().err
    shutil.rmtree(run / "checkpoints")
    with pytest.raises(SystemExit):
        evaluate(run)
    assert "best.ckpt" in capfd.readouterr().err


@pytest.mark.slow
def test_a_run_on_smears_is_tested_on_smears_even_when_real_images_are_there(
    evaluate: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from bloodcell import train
    from bloodcell.data.sources import blood_cells

    monkeypatch.setattr(blood_cells, "locate", lambda root: None)
    monkeypatch.setattr(blood_cells, "fetch", _offline)
    words = ["experiment=quickstart", "trainer=smoke", "data.synthetic_per_class={train: 8, val: 4, test: 4}"]
    monkeypatch.setattr(sys, "argv", ["train", *words, "data.image_size=[48,64]"])
    train.main()
    (run,) = tmp_path.glob("runs/quickstart/*")
    monkeypatch.setattr(blood_cells, "locate", lambda root: pytest.fail("real images were looked for"))
    again = evaluate(run)
    assert "SYNTHETIC" in metrics_of(again)["data"]
    assert len((again / "predictions.csv").read_text().splitlines()) == 1 + 16


def _offline(source: object, timeout_s: float) -> Path:
    raise InputError("download", expected="a server", got="none", fix="go on")


@pytest.mark.parametrize("empty_folder", [False, True])
def test_an_external_set_may_lack_a_class(
    copy: Path, evaluate: Callable[..., Path], tmp_path: Path, capfd: pytest.CaptureFixture[str], empty_folder: bool
) -> None:
    two = write_cells(tmp_path / "two", ("",), 5, CLASSES[:2])
    if empty_folder:
        (two / CLASSES[2]).mkdir()
    capfd.readouterr()
    out = evaluate(copy, f"data.root={two}", "--allow-leak")
    said, metrics = capfd.readouterr().out, metrics_of(out)
    note = (
        "no test image of MONOCYTE: precision, recall and F1 of it are not defined, and balanced accuracy and macro-F1"
    )
    assert note in said
    assert note in metrics["caveat"]
    assert "classes: EOSINOPHIL 5, LYMPHOCYTE 5, MONOCYTE 0" in said
    (row,) = [line for line in said.splitlines() if "MONOCYTE  " in line]
    assert row.split("│")[2:5] == ["         - ", "      - ", "     - "]
    assert not [name for name in metrics if name.startswith("test/") and name.endswith("/MONOCYTE")]
    rows = [line.split(",") for line in (out / "predictions.csv").read_text().splitlines()[1:]]
    truth, answer = np.array([row[4] for row in rows]), np.array([row[5] for row in rows])
    assert len(rows) == 10
    recalls = [(answer[truth == name] == name).mean() for name in CLASSES[:2]]
    assert metrics["test/balanced_acc"] == pytest.approx(np.mean(recalls))
    expected = f1_score(truth, answer, labels=CLASSES[:2], average="macro", zero_division=0)
    assert metrics["test/macro_f1"] == pytest.approx(expected)


def test_images_of_classes_that_the_net_does_not_know_are_left_out_and_listed(
    copy: Path, evaluate: Callable[..., Path], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    names = (*(name.title() for name in CLASSES), "Basophil", "Blast")
    out = evaluate(copy, f"data.root={write_cells(tmp_path / 'five', ('',), 3, names)}", "--allow-leak")
    assert "left out, as the net does not know them: Basophil (3 images), Blast (3 images)" in capfd.readouterr().out
    rows = [line.split(",") for line in (out / "predictions.csv").read_text().splitlines()[1:]]
    assert {row[4] for row in rows} == set(CLASSES)  # the net's words for Eosinophil, Lymphocyte, Monocyte
    assert len(rows) == 9


def test_classes_are_known_by_plural_and_abbreviation(
    copy: Path, evaluate: Callable[..., Path], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    names = ("Eosinophils", "LYM", "mono", "Monos", "NRBC")
    out = evaluate(copy, f"data.root={write_cells(tmp_path / 'five', ('',), 3, names)}", "--allow-leak")
    said = capfd.readouterr().out
    assert "left out, as the net does not know them: NRBC (3 images)" in said
    taken = "taken: Eosinophils as EOSINOPHIL, LYM as LYMPHOCYTE, Monos as MONOCYTE, mono as MONOCYTE"
    assert taken in metrics_of(out)["caveat"]
    rows = [line.split(",") for line in (out / "predictions.csv").read_text().splitlines()[1:]]
    assert [sum(row[4] == name for row in rows) for name in CLASSES] == [3, 3, 6]


def test_one_class_alone_is_tested(copy: Path, evaluate: Callable[..., Path], tmp_path: Path) -> None:
    out = evaluate(copy, f"data.root={write_cells(tmp_path / 'one', ('',), 3, CLASSES[1:2])}", "--allow-leak")
    metrics = metrics_of(out)
    assert metrics["test/balanced_acc"] == metrics["test/acc"] == metrics["test/recall/LYMPHOCYTE"]


def test_an_external_set_may_come_with_a_table(copy: Path, evaluate: Callable[..., Path], tmp_path: Path) -> None:
    cells, flat = write_cells(tmp_path / "cells", ("",), 4), tmp_path / "flat"
    flat.mkdir()
    lines = ["file,class"]
    for number, path in enumerate(sorted(cells.rglob("*.png"))):
        path.rename(flat / f"{number}.png")
        lines.append(f"{number}.png,{path.parent.name}")
    (flat / "labels.csv").write_text("\n".join(lines[:-2]))
    out = evaluate(copy, f"data.root={flat}", f"data.table={flat / 'labels.csv'}", "--allow-leak")
    rows = [line.split(",") for line in (out / "predictions.csv").read_text().splitlines()[1:]]
    assert sorted(f"{row[0]},{row[4]}" for row in rows) == sorted(lines[1:-2])


@pytest.mark.parametrize("name", ["TEST", "testing"])
def test_the_test_part_is_found_under_its_usual_names(
    copy: Path, evaluate: Callable[..., Path], tmp_path: Path, name: str
) -> None:
    parts = write_cells(tmp_path / "parts", ("TRAIN", name), 4)
    out = evaluate(copy, f"data.root={parts}", "--allow-leak")
    assert len((out / "predictions.csv").read_text().splitlines()) == 1 + 12
