"""Testing a finished run again, on its own data and on other data."""

import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

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
