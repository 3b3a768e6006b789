"""Whatever the user can get wrong is one line: expected, got, what to do; exit code 1; nothing is left behind."""

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from tests.conftest import CLASSES, TINY, write_cells

Train = Callable[..., Path]


@pytest.fixture
def refused(train: Train, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Runs the command, which must stop; returns its one line."""

    def run(*words: str, base: tuple[str, ...] | None = None) -> str:
        with pytest.raises(SystemExit) as stopped:
            train(*words, base=base)
        assert stopped.value.code == 1
        lines = capfd.readouterr().err.strip().splitlines()
        errors = [line for line in lines if not line.startswith(("decoding", " "))]
        assert len(errors) == 1, lines
        assert errors[0].startswith("error: ")
        assert "expected" in errors[0]
        assert not list(tmp_path.glob("runs/*/*")), "something was left half-written"
        return errors[0]

    return run


@pytest.fixture
def copy(cells: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(cells, tmp_path / "copy"))


def folder(root: Path) -> tuple[str, ...]:
    return (*TINY, f"data.root={root}")


def test_missing_folder(refused: Callable[..., str], tmp_path: Path) -> None:
    line = refused(base=folder(tmp_path / "nowhere"))
    assert "nowhere: expected a folder" in line
    assert "got no such folder" in line


def test_empty_class(refused: Callable[..., str], copy: Path) -> None:
    for path in (copy / "train" / "MONOCYTE").iterdir():
        path.unlink()
    assert "train/MONOCYTE: expected at least one image, got an empty class" in refused(base=folder(copy))


def test_class_missing_in_one_subset(refused: Callable[..., str], copy: Path) -> None:
    shutil.rmtree(copy / "test" / "MONOCYTE")
    assert "expected the class folders" in refused(base=folder(copy))


def test_unexpected_number_of_classes(refused: Callable[..., str], cells: Path) -> None:
    line = refused("data.num_classes=4", base=folder(cells))
    assert "expected 4 class folders, got 3" in line


def test_truncated_image_is_named(refused: Callable[..., str], copy: Path) -> None:
    path = copy / "val" / "MONOCYTE" / "_2_3.png"
    path.write_bytes(path.read_bytes()[:60])
    assert "val/MONOCYTE/_2_3.png: expected an image that can be decoded" in refused(base=folder(copy))


def test_text_named_as_image_is_named(refused: Callable[..., str], copy: Path) -> None:
    (copy / "val" / "MONOCYTE" / "notes.jpg").write_text("not an image")
    assert "notes.jpg: expected an image that can be decoded" in refused(base=folder(copy))


def test_other_file_is_named(refused: Callable[..., str], copy: Path) -> None:
    (copy / "val" / "MONOCYTE" / "notes.txt").write_text("not an image")
    assert "notes.txt: expected images only" in refused(base=folder(copy))


def test_hidden_files_do_not_matter(train: Train, copy: Path) -> None:
    (copy / "val" / "MONOCYTE" / ".DS_Store").write_bytes(b"x")
    (copy / "val" / ".cache").mkdir()
    assert train("trainer=smoke", base=folder(copy)).is_dir()


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("optim.lrr=1", "did you mean optim.lr"),
        ("modle=small_cnn", "modle"),
        ("model=smal_cnn", "small_cnn"),
        ("experiment=papr", "paper_literal"),
        ("optim.lr=fast", "optim"),
        ("optim.lr=-1", "optim"),
        ("optim.class_weights=some", "null or balanced"),
        ("data.batch_size=0", "a positive whole number"),
        ("data.batch_size=many", "a positive whole number"),
        ("data.image_size=32", "height and width"),
        ("data.image_size=[8,8]", "at least 32 pixels"),
        ("data.source=kaggle", "data.source"),
        ("+data.augment.spin=3", "spin"),
        ("trainer.max_epochs=abc", "trainer"),
        ("trainer.accelerator=abacus", "trainer"),
        ("trainer.precision=7", "trainer"),
        ("model.widths=[0,1]", "model"),
        ("model.widths=abc", "model"),
        ("report=median", "report"),
        ("seed=abc", "seed"),
        ("early_stopping=soon", "early_stopping"),
        ("monitor.metric=val/accuracy", "val/balanced_acc"),
        ("monitor.mode=up", "monitor.mode"),
        ("ckpt_path=nowhere.ckpt", "a checkpoint file"),
        ("init_from=nowhere.ckpt", "a checkpoint file"),
        ("optim.lr=[1", "optim.lr"),
        ("model._target_=os.system", "expected a class or function of"),
    ],
)
def test_typos_in_overrides_and_values(refused: Callable[..., str], word: str, said: str) -> None:
    assert said in refused(word)


def test_a_gpu_that_is_not_there(refused: Callable[..., str]) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is one")
    assert "expected a CUDA device, got none; use trainer=cpu" in refused("trainer=gpu")


def test_real_data_never_falls_back(refused: Callable[..., str]) -> None:
    for experiment in ("paper_literal",):
        assert "make data" in refused(base=(f"experiment={experiment}",))


def test_named_place_without_the_data(
    refused: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BLOODCELL_DATA", str(tmp_path))
    assert str(tmp_path) in refused(base=("experiment=quickstart",))


def test_protocol_random_chooses_nothing(refused: Callable[..., str], tmp_path: Path) -> None:
    names = ("EOSINOPHIL", "LYMPHOCYTE", "MONOCYTE", "NEUTROPHIL")
    images = write_cells(tmp_path / "kaggle" / "images", ("TRAIN", "TEST"), 4, names)
    base = ("data=blood_cells", "data.protocol=random", "data.test_per_class=2", f"data.root={images}")
    for word in ("report=best", "early_stopping=3", "optim/scheduler=plateau"):
        assert (
            "it is the test set" in refused("report=last", word, base=base)
            if word != "report=best"
            else refused(base=base)
        )


def test_checkpoint_with_more_classes_than_the_data(refused: Callable[..., str], train: Train, tmp_path: Path) -> None:
    first = train()
    shutil.move(first, tmp_path / "kept")
    two = write_cells(tmp_path / "two", ("",), 8, CLASSES[:2])
    line = refused(f"ckpt_path={tmp_path / 'kept' / 'checkpoints' / 'last.ckpt'}", base=folder(two))
    assert "expected data with its 3 classes" in line
    assert "got 2" in line


def test_a_directory_that_is_no_run(refused: Callable[..., str], tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert "expected a run directory" in refused(base=(f"ckpt_path={tmp_path / 'empty'}",))


def test_help_and_errors_do_not_wait_for_torch() -> None:
    code = """import sys; sys.argv = ['train', *{words}]
from bloodcell.train import main
try: main()
finally: print('torch' in sys.modules)"""
    for words in (["--help"], ["optim.lrr=1"], ["model=nothing"]):
        done = subprocess.run(
            [sys.executable, "-c", code.replace("{words}", str(words))], capture_output=True, text=True
        )
        assert done.stdout.strip().endswith("False"), done.stderr
