"""A result is known by its config and by the images that it saw."""

import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from omegaconf import OmegaConf
from PIL import Image

from bloodcell.config.compose import composed, resolve
from tests.helpers import TINY, metrics_of

Train = Callable[..., Path]


def added(images: Path) -> None:
    Image.new("RGB", (48, 36), "red").save(images / "test" / "MONOCYTE" / "new.png")


def removed(images: Path) -> None:
    next((images / "train" / "MONOCYTE").iterdir()).unlink()


def drawn_anew(images: Path) -> None:
    Image.new("RGB", (48, 36), "red").save(images / "test" / "MONOCYTE" / "_2_0.png")


def renamed(images: Path) -> None:
    (images / "test" / "MONOCYTE" / "_2_0.png").rename(images / "test" / "MONOCYTE" / "x.png")


def learnt(images: Path) -> None:
    shutil.rmtree(images / "test")
    shutil.copytree(images / "train", images / "test")


CHANGES = [added, removed, drawn_anew, renamed]
Change = Callable[[Path], None]


@pytest.fixture
def images(cells: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(cells, tmp_path / "images"))


@pytest.fixture
def run(finished: Path, images: Path, tmp_path: Path) -> Path:
    """A finished run whose images may be changed."""
    run = Path(shutil.copytree(finished, tmp_path / "run"))
    kept = run / ".hydra" / "config.yaml"
    cfg = yaml.safe_load(kept.read_text())
    cfg["data"]["root"] = str(images)
    kept.write_text(yaml.safe_dump(cfg))
    return run


def evaluate(patch: pytest.MonkeyPatch, run: Path, *words: str) -> Path:
    from bloodcell.evaluate import main

    patch.setattr(sys, "argv", ["evaluate", str(run), *words])
    main()
    return max((run / "evaluations").iterdir())


@pytest.mark.parametrize("change", CHANGES)
def test_an_evaluation_says_that_the_images_are_others(
    run: Path, images: Path, change: Change, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    change(images)
    out = evaluate(monkeypatch, run)
    said = "these are not the images that the run was made on (fingerprint "
    assert said in capsys.readouterr().out
    assert said in metrics_of(out)["caveat"]


def test_training_images_in_the_place_of_test_images_are_no_test(
    run: Path, images: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    learnt(images)
    with pytest.raises(SystemExit, match="1"):
        evaluate(monkeypatch, run)
    assert "expected weights that have not seen all of the test images" in capsys.readouterr().err
    assert not (run / "evaluations").exists()


def test_the_same_images_elsewhere_are_the_same(
    run: Path, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (images / "train" / ".DS_Store").touch()
    evaluate(monkeypatch, run)
    assert "these are not the images" not in capsys.readouterr().out


@pytest.mark.parametrize("change", CHANGES[:2])
def test_a_run_is_not_resumed_on_other_images(
    train: Train, run: Path, images: Path, change: Change, capsys: pytest.CaptureFixture[str]
) -> None:
    change(images)
    before = {path: path.read_bytes() for path in run.rglob("*.*") if path.is_file() and path.name != "train.log"}
    with pytest.raises(SystemExit, match="1"):
        train(f"ckpt_path={run}", "trainer.max_epochs=3", base=())
    assert "expected the images that the run was started on (folder, " in capsys.readouterr().err
    assert {path: path.read_bytes() for path in before} == before


@pytest.mark.slow
def test_a_job_that_was_done_on_other_images_is_not_taken_for_this_one(
    train: Train, images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sweep = (*TINY, f"data.root={images}", "trainer.max_epochs=1", "-m", "seed=0")
    job = train(base=sweep)
    train(base=sweep)
    assert "finished before" in capsys.readouterr().out
    before = (job / "predictions.csv").read_bytes()
    for change in CHANGES:
        shutil.copytree(images, tmp_path / "kept")
        change(images)
        with pytest.raises(SystemExit, match="1"):
            train(base=sweep)
        line = capsys.readouterr().err.strip().splitlines()[-1]
        assert f"{job.name}: expected the images that the run was started on" in line
        shutil.rmtree(images)
        (tmp_path / "kept").rename(images)
    assert (job / "predictions.csv").read_bytes() == before
    images.rename(tmp_path / "gone")
    train(base=sweep)
    said = capsys.readouterr().out
    assert "is taken as it is, its images cannot be compared" in said
    assert "finished before" in said


def test_relative_paths_are_kept_absolute(tmp_path: Path) -> None:
    for name in ("set", "out of", "x.ckpt", "here.csv", "set/below.csv"):
        path = tmp_path / name
        path.touch() if path.suffix else path.mkdir()
    words = ["data=folder", "data.root=set", "data.table=here.csv", "ckpt_path=x.ckpt", "init_from='out of/../x.ckpt'"]
    cfg = composed([*words, "model=torchvision", "model.weights=download"])
    resolve(cfg)
    assert [OmegaConf.select(cfg, key) for key in ("data.root", "data.table", "ckpt_path", "init_from")] == [
        str(tmp_path / name) for name in ("set", "here.csv", "x.ckpt", "x.ckpt")
    ]
    assert cfg.model.weights == "download"
    cfg.data.table = "below.csv"
    resolve(cfg)
    assert cfg.data.table == "below.csv"  # found below the root
