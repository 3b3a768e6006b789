"""Whatever the user can get wrong is one line: expected, got, what to do; exit code 1; nothing is left behind."""

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from tests.helpers import CLASSES, TINY, copy_some, write_cells, write_groups

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


@pytest.mark.slow
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
        ("data.mask=background", "data.mask"),  # of data=blood_cells alone
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


@pytest.mark.slow
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


# Splits by group.

GROUPED = "data.protocol=grouped"


@pytest.fixture
def patients(tmp_path: Path) -> Path:
    """Twelve images a class in six groups of two, which are the same for all classes."""
    return write_groups(write_cells(tmp_path / "patients", ("",), 12), lambda number: f"p{number // 2}")


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("data.fold=5", "data.fold=5: expected 0 to 4"),
        ("data.fold=-1", "data.fold=-1: expected 0 to 4"),
        ("data.fold=first", "data.fold=first: expected 0 to 4"),
        ("data.folds=1", "data.folds: expected a whole number from 2"),
        ("data.folds=7", "as many field groups as folds, got 6 groups of EOSINOPHIL; lower data.folds"),
        ("data.train_images=1000", "data.train_images=1000: expected 3 to 18, what protocol grouped has"),
        ("data.train_images=2", "data.train_images=2: expected 3 to 18"),
        ("data.protocol=official", "expected null or grouped or all_test"),
    ],
)
def test_folds_and_training_images_out_of_range(
    refused: Callable[..., str], patients: Path, word: str, said: str
) -> None:
    assert said in refused(GROUPED, word, base=folder(patients))


@pytest.mark.parametrize(
    "word",
    [
        "data.fold_seed=abc",
        "data.fold_seed=-1",
        "data.split_seed=abc",
        "data.split_seed=-5",
        "data.train_images=abc",
        "data.group_pattern=5",
    ],
)
def test_seeds_and_numbers_of_the_splits(refused: Callable[..., str], patients: Path, word: str) -> None:
    key = word.partition("=")[0]
    if key in ("data.split_seed", "data.group_pattern"):
        (patients / "groups.csv").unlink()
    words = [word, GROUPED] if key == "data.fold_seed" else [word]
    assert refused(*words, base=folder(patients)).startswith(f"error: {key}")


@pytest.mark.parametrize("fault", ["masked without places", "no train folder"])
def test_a_split_without_training_images(refused: Callable[..., str], tmp_path: Path, fault: str) -> None:
    if fault == "no train folder":
        line = refused(base=folder(write_cells(tmp_path / "two", ("val", "test"), 4)))
        assert "train" in line
    else:
        line = refused("+data.mask=background", base=folder(write_cells(tmp_path / "one", ("",), 8)))
        assert "data.mask" in line


def test_grouped_needs_groups(refused: Callable[..., str], patients: Path) -> None:
    (patients / "groups.csv").unlink()
    line = refused(GROUPED, base=folder(patients))
    assert "got none for EOSINOPHIL/_0_0.png and 35 more" in line
    assert "groups.csv or data.group_pattern" in line


@pytest.mark.parametrize("protocol", ["grouped", "null"])
def test_a_file_that_groups_csv_lacks_is_named(refused: Callable[..., str], patients: Path, protocol: str) -> None:
    table = patients / "groups.csv"
    table.write_text("".join(line for line in table.open() if "MONOCYTE/_2_7.png" not in line))
    line = refused(f"data.protocol={protocol}", base=folder(patients))
    assert f"{table}: expected a group for every image, got none for MONOCYTE/_2_7.png; add" in line


@pytest.mark.parametrize("content", [b"file,patient\nEOSINOPHIL/_0_0.png,a\n", b"\xff\xfe\x00", b""])
def test_a_groups_csv_that_is_none(refused: Callable[..., str], patients: Path, content: bytes) -> None:
    (patients / "groups.csv").write_bytes(content)
    assert f"{patients / 'groups.csv'}: expected a" in refused(GROUPED, base=folder(patients))


@pytest.mark.parametrize(
    ("pattern", "said"),
    [
        ("patient([0-9]+)", "expected a group for every image, got none for EOSINOPHIL/_0_0.png and 35 more"),
        ("_([0-9]+_", "expected a regular expression with brackets around the group"),
        ("_[0-9]+", "expected a regular expression with brackets around the group"),
    ],
)
def test_a_group_pattern_that_does_not_fit(
    refused: Callable[..., str], patients: Path, pattern: str, said: str
) -> None:
    (patients / "groups.csv").unlink()
    line = refused(GROUPED, f"data.group_pattern='{pattern}'", base=folder(patients))
    assert line.startswith(f"error: data.group_pattern={pattern}: {said}")


@pytest.fixture
def small_set(real: Path, tmp_path: Path) -> Path:
    """Three photographs of each class in TRAIN and one in TEST, with two copies of each, as in the real set."""
    return copy_some(real, tmp_path / "small", train=3, test=1, copies=2)


def small(root: Path, *words: str) -> tuple[str, ...]:
    return ("data=blood_cells", f"data.root={root}", "data.image_size=[32,32]", "trainer=smoke", *words)


@pytest.mark.real
@pytest.mark.parametrize("protocol", ["grouped", "official", "random"])
def test_a_missing_original_is_named(refused: Callable[..., str], small_set: Path, protocol: str) -> None:
    path = sorted(small_set.rglob("BloodImage_*.jpg"))[4]
    path.unlink()
    line = refused(f"data.protocol={protocol}", base=small(small_set))
    assert f"{path}: expected the original micrograph that published copies were made from, got no such file" in line


@pytest.mark.real
def test_grouped_needs_the_originals(refused: Callable[..., str], small_set: Path) -> None:
    shutil.rmtree(small_set / "dataset-master")
    line = refused(GROUPED, "data.folds=2", base=small(small_set))
    assert "expected the original micrographs in dataset-master" in line


@pytest.mark.real
@pytest.mark.parametrize("protocol", ["grouped", "official_strict"])
def test_a_split_by_the_table_wants_the_images_of_the_table(
    refused: Callable[..., str], small_set: Path, protocol: str
) -> None:
    path = sorted(small_set.rglob("TRAIN/MONOCYTE/*.jpeg"))[1]
    path.write_bytes(path.read_bytes() + b"\0")
    line = refused(f"data.protocol={protocol}", "data.folds=2", base=small(small_set))
    assert f"TRAIN/MONOCYTE/{path.name}: expected the image of the lineage table, SHA-256 " in line
    assert "make data" in line


@pytest.mark.real
def test_a_split_by_the_table_wants_the_micrographs_of_the_table(refused: Callable[..., str], small_set: Path) -> None:
    # One that is whole in every other way: the run ends well where it should not begin.
    path = sorted(small_set.rglob("BloodImage_*.jpg"))[1]
    path.write_bytes(path.read_bytes() + b"\0")
    assert path.name in refused(GROUPED, "data.folds=2", base=small(small_set))


@pytest.mark.real
def test_a_file_that_the_table_does_not_know_has_no_group(refused: Callable[..., str], small_set: Path) -> None:
    path = sorted(small_set.rglob("TRAIN/MONOCYTE/*.jpeg"))[1]
    path.rename(path.with_name("mine.jpeg"))
    line = refused(GROUPED, "data.folds=2", base=small(small_set))
    assert "expected the field group of every image, got none for TRAIN/MONOCYTE/mine.jpeg" in line
