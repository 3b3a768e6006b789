"""What a user can fix is one line that names it: refusals that no other test brings about."""

import re
import shutil
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import bloodcell
from bloodcell.common.env import CHECKOUT
from bloodcell.common.errors import InputError
from bloodcell.data.synthetic.field import render_smear
from bloodcell.model.attribution import attribute
from bloodcell.model.features import last_layer
from bloodcell.prediction.graph import Parity, check_parity
from bloodcell.sweeps.space import read_space
from bloodcell.tracking.reader import read_epochs
from tests.fuzz import copied_run, typed
from tests.helpers import TINY, write_cells

OLD = Path(__file__).parent.parent / "old_runs"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("optim.lr=0.1", "data.root=???"), "data.root: expected a value, got none"),
        (("+data.augment.x=1",), "data.augment: expected its own keys"),
        (("+model.x=1",), "model.x: expected one of model."),
        (("+optim.optimizer.betas=[2,2]",), "optim: expected values that the optimizer accepts"),
        (("trainer.precision=16-mixed",), "trainer.precision: expected one of auto, "),
        (("trainer.accelerator=mps",), "trainer.accelerator=mps: expected Apple's MPS device, got none"),
        (("monitor.metric=val/recall/X",), "monitor.metric: expected one of "),
        (("trainer.max_steps=1",), "expected 3 or more, an epoch, as report=best chooses by validation, got 1"),
        (("allow=[1x]",), "allow: expected names of packages, as [my_package.], got 1x"),
        (("data.view=crop", "data.crop=annotated"), "expected the places of cells, got none for these images"),
        (("data.protocol=grouped", "data.fold=9"), "data.fold=9: expected 0 to 4"),
        (("init_from=list.ckpt",), "list.ckpt: expected a dictionary, got list"),
        (("data.root=one",), "/one: expected at least two class folders, got one (A/)"),
        (("data.root=low",), "expected class folders, or train/, val/ and test/ with class folders in them, got"),
        (
            ("model=torchvision", "model.name=resnet18", "model.weights=download"),
            "a connection to torchvision",
        ),
    ],
)
def test_trainings(
    cells: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], said: str
) -> None:
    torch.save([1], "list.ckpt")
    write_cells(tmp_path, ("one",), 2, ("A",))
    write_cells(tmp_path / "low" / "more", ("train", "test"), 2)
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setenv("BLOODCELL_ALLOW", "")  # which allow= sets
    model = () if any(word.startswith("model=") for word in words) else (TINY[4],)
    base = (*TINY[:4], *model, f"data.root={cells}")
    assert said in typed(import_module("bloodcell.train"), *base, *words)
    assert not list(tmp_path.glob("runs/*/*"))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("predict nowhere --model NET", "nowhere: expected a picture, folder, zip or glob, got nothing there"),
        ("predict white.png --model none.safetensors", "none.safetensors: expected a file of at most"),
        ("explain white.png", "white.png: expected pictures with cells, got none"),
        ("explain --folds empty", "empty: expected runs of protocol grouped, a fold each, got none"),
        ("export NET --to onnx --out x.onnx", "--check: expected pictures to compare the file on, got none"),
        ("export RUN --folds empty", "empty: expected runs of protocol grouped, a fold each, got none"),
        ("doubts empty", "empty: expected runs of protocol grouped, a fold each, got none"),
        ("evaluate RUN data.no=1", "data.no=1: expected one of data."),
        ("runs OLD --pdf x", "--pdf: expected one run, got "),
        ("runs RUN --compare", "--compare: expected at least two settings, got 1"),
        ("lineage", "ROOT: expected the Kaggle set, given or in BLOODCELL_DATA, got none"),
        ("search optim.lr=range(5,1)", "optim.lr=range(5,1): expected a space"),
    ],
)
def test_other_commands(net: Path, finished: Path, tmp_path: Path, words: str, said: str) -> None:
    from PIL import Image

    Image.new("RGB", (320, 240), "white").save("white.png")
    (tmp_path / "empty").mkdir()
    places = {"NET": net, "RUN": finished, "OLD": OLD}
    command, *rest = words.split()
    assert said in typed(import_module(f"bloodcell.{command}"), *(places.get(word, word) for word in rest))


def test_a_run_whose_checkpoint_no_training_wrote(finished: Path, tmp_path: Path) -> None:
    run = copied_run(finished, tmp_path / "run")
    content = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)
    content["optimizer_states"] = [{"state": {}, "param_groups": [1]}]
    torch.save(content, run / "checkpoints" / "last.ckpt")
    said = typed(import_module("bloodcell.train"), f"ckpt_path={run}", "trainer.max_epochs=3")
    assert "expected a checkpoint that this training could have written" in said


def test_a_run_whose_images_have_other_classes(cells: Path, finished: Path, tmp_path: Path) -> None:
    run, images = copied_run(finished, tmp_path / "run"), Path(shutil.copytree(cells, tmp_path / "images"))
    config = (run / ".hydra" / "config.yaml").read_text()
    (run / ".hydra" / "config.yaml").write_text(config.replace(str(cells), str(images)))
    for folder in images.glob("*/MONOCYTE"):
        folder.rename(folder.with_name("BASOPHIL"))
    assert "expected its classes ('EOSINOPHIL'" in typed(import_module("bloodcell.export"), run)


def test_a_comparison_with_no_setting(finished: Path, tmp_path: Path) -> None:
    for name, rate in (("a", "lr: 0.001"), ("b", "lr: 0.5")):
        path = copied_run(finished, tmp_path / "two" / name) / ".hydra" / "config.yaml"
        path.write_text(re.sub(r"\blr: \S+", rate, path.read_text()))
    said = typed(import_module("bloodcell.runs"), tmp_path / "two", "--compare", "x")
    assert "--compare x: expected KEY=VALUE[,KEY=VALUE], got no =" in said


def test_a_study_that_is_none(cells: Path, tmp_path: Path) -> None:
    words = (*TINY, f"data.root={cells}", "optim.lr=interval(0.001,0.1)", "--trials", "1")
    folder = read_space([word for word in words if "=" in word]).folder
    folder.mkdir(parents=True)
    (folder / "study.db").write_text("no database")
    assert "expected a study that bloodcell.search has written, got" in typed(import_module("bloodcell.search"), *words)


def a_table() -> None:
    Path("metrics.csv").write_text("epoch,val/loss\n1,0.5\ntwo,0.4\n")
    read_epochs(Path())


@pytest.mark.parametrize(
    ("what", "said"),
    [
        (lambda: render_smear("X", np.random.default_rng(0)), "kind: expected one of "),
        (lambda: last_layer(nn.ReLU()), "model: expected a net whose last layer is linear, got none"),
        (
            lambda: attribute(nn.Flatten(), torch.rand(1, 3, 4, 4), torch.tensor([0]), "gradcam"),
            "--method gradcam: expected a net with convolutions, got none",
        ),
        (lambda: bloodcell.load().predict([np.zeros((4, 4))]), "predict: expected an array of RGB bytes"),
        (lambda: check_parity(Parity(5, 1, 0.5), Path("x.onnx")), "expected the net's classes, and its probabilities"),
        (a_table, "metrics.csv, row 2: expected numbers of an epoch"),
    ],
)
def test_parts(what: Callable[[], object], said: str) -> None:
    with pytest.raises(InputError) as refused:
        what()
    assert said in str(refused.value)


@pytest.mark.parametrize(
    ("package", "words", "said"),
    [
        ("captum.attr", "explain white.png --model NET", "explain: expected the package captum, got none"),
        ("cleanlab.filter", "crops labels one=one.csv.gz", "labels: expected the package cleanlab, got none"),
        ("optuna", "search optim.lr=0.1,0.2", "bloodcell.search: expected Optuna, got none installed"),
        ("onnxscript", "export NET --to onnx --check white.png --out x.onnx", "expected the packages onnx, onnxscript"),
    ],
)
def test_packages_that_are_not_installed(
    net: Path, monkeypatch: pytest.MonkeyPatch, package: str, words: str, said: str
) -> None:
    from PIL import Image

    Image.new("RGB", (64, 48), "white").save("white.png")
    shutil.copyfile(CHECKOUT / "results" / "crops" / "found.csv.gz", "one.csv.gz")
    monkeypatch.setitem(sys.modules, package, None)
    command, *rest = words.replace("NET", str(net)).split()
    assert said in typed(import_module(f"bloodcell.{command}"), *rest)
