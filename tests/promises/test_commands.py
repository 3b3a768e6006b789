"""Every command of the READMEs, run as it is typed there, with small settings and on few images."""

import importlib
import shutil
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.helpers import copy_some
from tests.pages import TODAY, commands_of, words_of

# What is not run here, and where it is.
ELSEWHERE = {
    "make setup": "by whoever runs this",
    "make lint": "by CI",
    "make test": "this is it",
    "make lock": "needs uv and the network",
    "make bench": "tests/studies/test_bench.py",
    "make data": "tests/data/test_download.py, on a server of its own",
    "make ladder": "tests/studies/test_ladder.py",
    "make transfer": "tests/studies/test_transfer.py",
    "make report": "tests/studies/test_report.py: it writes into the checkout",
    "python -m bloodcell.report --card": "tests/studies/test_report.py",
    "make tensorboard": "tests/training/test_tensorboard.py",
    "make demo": "tests/prediction/test_page.py: it fetches a package",
    "make reproduce EXP=quickstart": "tests/training/test_reproduce.py",
    'make train ARGS="data=blood_cells trainer=ddp': "tests/training/test_ddp.py",
}
# One epoch, whatever an experiment asks for.
SMALL = ["trainer=smoke", "trainer.max_epochs=1", "data.image_size=[32,32]", "data.batch_size=8"]
SMEARS = "data.synthetic_per_class={train: 8, val: 4, test: 4}"


def newest(pattern: str) -> str:
    return str(max(Path().glob(pattern), key=lambda path: path.stat().st_mtime).parent)


def here(word: str) -> str:
    """What stands for a place in a README, as a place that is here."""
    places = {
        "/path/to/images": "cells",
        "/other/images": "others",
        "/path/to/pictures": "slides",
        "/path/to/fields": "slides",
        "data.root=/path": "data.root=mine",
        "runs/train/A": "runs/one",
        "runs/train/B": "runs/other",
        "results/NAME": "saved",
    }
    if "runs/train/2026-..." in word or "runs/train/..." in word:
        run = newest("runs/train/*/status.json")
        return word.replace("runs/train/2026-...", run).replace("runs/train/...", run)
    if "runs/.../checkpoints" in word:
        return word.replace("runs/...", newest("runs/train/*/status.json"))
    for place, mine in places.items():
        if word.endswith(place):
            return word[: -len(place)] + mine
    few = {"30": "2", "seed=0,1,2": "seed=0,1", "val/balanced_acc>0.8": "val/balanced_acc>0"}
    return {"RUN": "runs/one", "FOLDS": "runs/folds", "net.json": "runs/one/net.json", **few}.get(word, word)


def type_in(monkeypatch: pytest.MonkeyPatch, name: str, *words: str) -> None:
    monkeypatch.setattr(sys, "argv", [name, *words])
    code: object = 0
    try:
        importlib.import_module(f"bloodcell.{name}").main()
    except SystemExit as ended:
        code = ended.code
    assert not code or name == "audit", (name, *words)  # an audit of what overlaps ends with 1


@pytest.fixture
def desk(real: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The folders that the READMEs speak of, with few images; and runs to compare."""
    small = copy_some(real, tmp_path / "small", train=6, test=2, copies=2)
    monkeypatch.setenv("BLOODCELL_DATA", str(small))
    rng = np.random.default_rng(0)
    kinds = sorted(path for path in (small / "dataset2-master").rglob("TRAIN/*") if path.is_dir())
    for kind in kinds:
        for subset, files in (("train", slice(0, 6)), ("val", slice(6, 9)), ("test", slice(9, 12))):
            folder = tmp_path / "cells" / subset / kind.name
            folder.mkdir(parents=True)
            for file in sorted(kind.iterdir())[files]:
                shutil.copyfile(file, folder / file.name)
        for part in ("others", "mine/train", "mine/val", "mine/test"):  # pictures that no other run has learnt
            (tmp_path / part / kind.name).mkdir(parents=True)
            for number in range(3):
                pixels = rng.integers(0, 255, (60, 80, 3), np.uint8)
                Image.fromarray(pixels).save(tmp_path / part / kind.name / f"{number}.png")
    (tmp_path / "slides").mkdir()
    pictures = sorted((small / "dataset-master").rglob("*.jpg"))
    shutil.copyfile(pictures[0], tmp_path / "slides" / "one.jpg")
    shutil.copyfile(pictures[1], tmp_path / "a.png")
    with zipfile.ZipFile("b.zip", "w") as archive:
        archive.write(pictures[2], "two.jpg")
    (tmp_path / "c" / "d").mkdir(parents=True)
    shutil.copyfile(pictures[3], tmp_path / "c" / "d" / "three.tif")
    pbc = tmp_path / "pbc"
    for number, name in enumerate(("basophil", "eosinophil", "ig", "monocyte")):
        (pbc / name).mkdir(parents=True)
        for file in pictures[number::4]:
            shutil.copyfile(file, pbc / name / file.name)
    monkeypatch.setenv("BLOODCELL_PBC", str(pbc))
    grouped = ("data=blood_cells", "data.protocol=grouped", "data.folds=2", "data.view=crop", *SMALL)
    type_in(monkeypatch, "train", *grouped, "seed=1", "hydra.run.dir=runs/one")
    type_in(monkeypatch, "train", *grouped, "seed=2", "hydra.run.dir=runs/other")
    type_in(monkeypatch, "train", "-m", *grouped, "data.fold=0,1", "hydra.sweep.dir=runs/folds")


@pytest.mark.slow
@pytest.mark.real
def test_every_command_runs(desk: None, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = list(dict.fromkeys(line for page in TODAY for line in commands_of(page)))
    left = [line for line in lines if not line.startswith(tuple(ELSEWHERE))]
    assert len(left) > 35
    for line in left:
        name, *words = map(here, words_of(line))
        if name in ("train", "search") and not {"--help", "--cfg"} & set(words):
            words += ["trainer.max_epochs=12"] if any("ckpt_path=" in word for word in words) else SMALL
            words += ["data.test_per_class=2"] if "experiment=paper" in words else []
            words += ["optim.lr=2.0e-3,6.0e-3", "optim.optimizer.weight_decay=0.05"] if "sweep=lr" in words else []
            words += ["--trials", "2"] if name == "search" and "--trials" not in words else []
            if not any(word.startswith(("data=", "experiment=", "ckpt_path=")) for word in words):
                words.append(SMEARS)
        print(f"{line}\n  {name} {words}", flush=True)
        type_in(monkeypatch, name, *words)
