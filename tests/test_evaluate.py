"""Testing a finished run again, on its own data and on other data."""

import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import CLASSES, metrics_of, write_cells


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
    two = write_cells(tmp_path / "two", ("",), 4, CLASSES[:2])
    with pytest.raises(SystemExit):
        evaluate(run, f"data.root={two}")
    assert "expected data with its 3 classes" in capfd.readouterr().err
    with pytest.raises(SystemExit):
        evaluate(tmp_path)
    assert "expected a run directory" in capfd.readouterr().err
    shutil.rmtree(run / "checkpoints")
    with pytest.raises(SystemExit):
        evaluate(run)
    assert "best.ckpt" in capfd.readouterr().err
