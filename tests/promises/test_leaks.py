"""What weights have seen travels with them: no way to test them on it without a word."""

import hashlib
import shutil
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
import torch

from bloodcell.data.lineage_table import read_lineage
from bloodcell.data.seen import Recogniser, seen_in
from tests.helpers import TINY, metrics_of, write_cells, write_groups

FOLDS = ("data.protocol=grouped", "data.folds=3", "trainer.max_epochs=1")
Command = Callable[..., str]


@pytest.fixture(scope="module")
def grouped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of 36 images in 12 groups of three, one of each class; nobody writes to it."""
    cells = write_cells(tmp_path_factory.mktemp("leaks") / "grouped", ("",), 12)
    return write_groups(cells, lambda number: f"patient{number}")


@pytest.fixture(scope="module")
def trained(grouped: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that learnt from, or was chosen by, all groups but those of fold 0."""
    from bloodcell.train import main

    where = tmp_path_factory.mktemp("trained") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["train", *TINY, f"data.root={grouped}", *FOLDS, f"hydra.run.dir={where}"])
        main()
    return where


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return Path(shutil.copytree(trained, tmp_path / "runs" / "tiny"))


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Command:
    """Types a command; what it prints comes back, and with an error its line."""

    def run(command: str, *words: str) -> str:
        from importlib import import_module

        monkeypatch.setattr(sys, "argv", [command, *map(str, words)])
        capfd.readouterr()
        with suppress(SystemExit):
            import_module(f"bloodcell.{command}").main()
        return "".join(capfd.readouterr())

    return run


def evaluated(run: Path) -> dict[str, object]:
    return metrics_of(sorted((run / "evaluations").iterdir())[-1])


@pytest.mark.slow
def test_its_own_test_images_are_clean(run: Path, typed: Command) -> None:
    assert metrics_of(run)["shared_groups"] == 0
    assert "WARNING" not in typed("evaluate", str(run))
    assert (evaluated(run)["shared_groups"], evaluated(run)["test_groups"]) == (0, 4)


def test_another_fold_was_seen(run: Path, typed: Command) -> None:
    said = typed("evaluate", str(run), "data.fold=1")
    assert "data.fold=1: expected weights that have not seen all of the test images, got the weights have seen" in said
    assert not (run / "evaluations").exists()
    assert "WARNING: the weights have seen" in typed("evaluate", str(run), "data.fold=1", "--allow-leak")
    found = evaluated(run)
    assert (found["shared_groups"], found["test_groups"], found["learnt_images"]) == (4, 4, 12)
    assert "seen" in str(found["warning"])


@pytest.mark.slow
def test_folds_of_another_seed_were_seen_in_part(run: Path, typed: Command) -> None:
    assert "WARNING: the weights have seen" in typed("evaluate", str(run), "data.fold_seed=1", "--allow-leak")
    before, found = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)["seen"], evaluated(run)
    assert len(before["groups"]) == 8
    assert len(before["images"]) == 24
    assert found["learnt_images"] == 3 * int(str(found["shared_groups"])), "a group is three images"


def test_training_images_under_other_names(run: Path, grouped: Path, tmp_path: Path, typed: Command) -> None:
    images = sorted(grouped.rglob("*.png"))
    for number, image in enumerate(images):
        to = tmp_path / "elsewhere" / image.parent.name / f"cell{number}.png"
        to.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(image, to)
    said = typed("evaluate", str(run), f"data.root={tmp_path / 'elsewhere'}")
    assert "WARNING: the weights have seen 24 of the 36 test images before" in said
    assert evaluated(run)["learnt_images"] == 24
    fresh = write_cells(tmp_path / "more", ("",), 2)
    assert "WARNING" in typed("evaluate", str(run), f"data.root={fresh}"), "the same first images of the same draw"


@pytest.mark.slow
def test_pictures_that_are_new_are_clean(run: Path, tmp_path: Path, typed: Command) -> None:
    fresh = write_cells(tmp_path / "new", ("",), 2, seed=4)
    assert "WARNING" not in typed("evaluate", str(run), f"data.root={fresh}")
    assert "learnt_images" not in evaluated(run)


@pytest.mark.parametrize("key", ["init_from", "ckpt_path"])
def test_no_clean_run_starts_from_weights_of_another_fold(run: Path, grouped: Path, typed: Command, key: str) -> None:
    words = (*TINY, f"data.root={grouped}", *FOLDS, "data.fold=1", f"{key}={run}/checkpoints/last.ckpt")
    said = typed("train", *words, "hydra.run.dir=tuned", "trainer.max_epochs=2")
    assert f"{key}: expected weights that have not seen all of the test images, got the weights have seen" in said
    assert "12 of the 12 test images" in said
    assert not Path("tuned").exists()


@pytest.mark.slow
def test_weights_that_are_tuned_bring_what_they_saw(run: Path, grouped: Path, typed: Command) -> None:
    words = (*TINY, f"data.root={grouped}", *FOLDS, "data.fold=1", f"init_from={run}/checkpoints/last.ckpt")
    assert "WARNING: the weights have seen" in typed("train", *words, "allow_leak=true", "hydra.run.dir=tuned")
    assert metrics_of(Path("tuned"))["shared_groups"] == 4
    tuned = torch.load("tuned/checkpoints/last.ckpt", weights_only=True)["seen"]
    assert len(tuned["groups"]) == 12, "of both, and they travel on"
    again = (*TINY, f"data.root={grouped}", *FOLDS, "init_from=tuned/checkpoints/last.ckpt", "hydra.run.dir=third")
    assert "have not seen all of the test images" in typed("train", *again)


def test_groups_that_were_joined_since_are_known_by_either_name() -> None:
    """147 and 148 were two groups before their overlap was found."""
    photographs = read_lineage().micrographs
    copies = {row.micrograph: row.sha256 for row in read_lineage().images.values()}
    for learnt, asked in (("148", "147"), ("147", "148"), ("148", "148")):
        old = int.from_bytes(hashlib.sha256(f"lineage/{learnt}".encode()).digest()[:8], "big", signed=True)
        kept = {"images": torch.zeros(0, dtype=torch.int64), "groups": torch.tensor([old])}
        known = Recogniser(seen_in({"seen": kept}))
        assert known.learnt(copies[asked]) == known.learnt(photographs[asked].sha256) == "same field"
        assert known.learnt(copies["149"]) == ""


def test_a_run_does_not_go_on_with_another_split(run: Path, typed: Command) -> None:
    said = typed("train", f"ckpt_path={run}", "data.fold=1", "trainer.max_epochs=2")
    assert "expected the split that the run was started with" in said


@pytest.mark.slow
def test_a_run_goes_on_with_its_own_split(run: Path, typed: Command) -> None:
    assert "epoch 2/2" in typed("train", f"ckpt_path={run}", "trainer.max_epochs=2")


@pytest.mark.slow
@pytest.mark.real
def test_photographs_are_known_wherever_their_copies_lie(real: Path, tmp_path: Path, typed: Command) -> None:
    """Other copies of photographs that were learnt, in a plain folder without names that tell."""
    from bloodcell.data.kaggle import find_images
    from tests.helpers import copy_some

    small = copy_some(real, tmp_path / "small", train=5, test=2, copies=3)
    tiny = ("data=blood_cells", f"data.root={small}", "data.image_size=[32,32]", "model.widths=[4,8,8,8]")
    typed("train", *tiny, "trainer.max_epochs=1", "data.protocol=grouped", "data.folds=2", "hydra.run.dir=known")
    assert metrics_of(Path("known"))["shared_groups"] == 0
    images = find_images(small)
    for number, image in enumerate(sorted((images / "TRAIN").rglob("*.jpeg"))):
        to = tmp_path / "plain" / image.parent.name / f"{number}.jpeg"
        to.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(image, to)
    typed("evaluate", "known", f"data.root={tmp_path / 'plain'}", "--allow-leak")
    found = evaluated(Path("known"))
    seen = torch.load("known/checkpoints/last.ckpt", weights_only=True)["seen"]
    assert 0 < int(str(found["shared_groups"])) <= len(seen["groups"])
