"""Cross-validations and folders of results that are damaged, or made to harm, through the studies that read them."""

import json
import random
import shutil
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bloodcell.common.env import RESULTS
from bloodcell.common.files import read_json, write_json
from bloodcell.studies.ladder.trainings import CNN, PAPER
from bloodcell.studies.transfer.directions import Crossing
from bloodcell.tracking.cross_validations import CrossValidation, write_repeats
from bloodcell.tracking.predictions import Predictions, joined_predictions, write_packed
from tests.faults.test_fuzz_runs import other_table, spoil
from tests.fuzz import copied_run, damaged, sample, strange, tried, typed
from tests.helpers import TINY, write_cells, write_groups

FOLDS, AGAIN, REPORTS = 100, 400, 30
CLASSES = ("EOSINOPHIL", "LYMPHOCYTE", "MONOCYTE", "NEUTROPHIL")
STUDIES = ("arms", "curve", "labels", "doubts", "maps", "net", "graphs")
WEIGHTS = (6, 6, 6, 1, 2, 2, 1)


@pytest.fixture(scope="module")
def folds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both folds of a cross-validation, once from all images and once from half of them."""
    from bloodcell import train

    root = write_groups(write_cells(tmp_path_factory.mktemp("grouped"), ("",), 12), lambda number: f"g{number // 2}")
    runs = tmp_path_factory.mktemp("folds")
    base = (*TINY, f"data.root={root}", "data.protocol=grouped", "data.folds=2", "trainer.max_epochs=1")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(runs)
        for share, fold in ((1, 0), (1, 1), (0.5, 0), (0.5, 1)):
            place = runs / f"{share}" / f"{fold}"
            assert not typed(train, *base, f"data.train_share={share}", f"data.fold={fold}", f"hydra.run.dir={place}")
    return runs


@pytest.mark.parametrize("numbers", sample(8, FOLDS, 46))
def test_cross_validations(folds: Path, tmp_path: Path, numbers: range, monkeypatch: pytest.MonkeyPatch) -> None:
    """A study of runs of which one is damaged is refused in one line, or works."""
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "torch"))  # torch.export makes this folder

    def trial(rng: random.Random) -> str:
        root = tmp_path / f"all{rng.random()}"
        for run in folds.glob("*/*"):
            copied_run(run, root / run.relative_to(folds))
        whole, half = root / "1", root / "0.5"
        spoil(rng, rng.choice(sorted(whole.iterdir())))
        name = rng.choices(STUDIES, WEIGHTS)[0]
        words: dict[str, tuple[str, list[object]]] = {
            "arms": ("crops", ["arms", f"a={whole}", f"features={half}", "--select=a,features", "--ensemble=a"]),
            "curve": ("crops", ["curve", root]),
            "labels": ("crops", ["labels", f"a={whole}", f"b={half}"]),
            "doubts": ("doubts", [whole]),
            "maps": ("explain", ["--folds", whole]),
            "net": ("export", [whole / "0", "--folds", whole]),
            "graphs": ("export", [whole, "--to=torch_export"]),
        }
        command, typed_words = words[name]
        out = root / ("net.safetensors" if name == "net" else "parity.json" if name == "graphs" else "out")
        said = typed(import_module(f"bloodcell.{command}"), *typed_words, "--out", out)
        shutil.rmtree(root)
        return f"{name} {bool(said)}"

    assert tried(trial, numbers, tmp_path)


def answers(seed: int, view: str = "original") -> Predictions:
    """Photographs 130 to 189, each a field group of its own; a fifth of them taken for another class."""
    names = np.arange(130, 190).astype(str)
    correct = np.arange(len(names)) % 4
    wrong = np.random.default_rng(seed).random(len(names)) < 0.2
    predicted = np.where(wrong, (correct + 1) % 4, correct)
    files = np.array([f"{view}{number:04d}.jpg" for number in range(len(names))])
    sure = np.eye(4)[predicted] * 0.8 + 0.05
    return Predictions(CLASSES, files, np.full(len(names), view), names, names, correct, predicted, sure)


def both_views(seed: int) -> Predictions:
    return joined_predictions([answers(seed), answers(seed, "twin")])


def write_ladder_results(out: Path) -> None:
    listed = []
    for model in (CNN, PAPER):
        for rung in ("random", "grouped"):
            for seed in (0, 1):
                file = f"predictions/{model.replace(' ', '-')}-{rung}-{seed}.csv.gz".replace("'", "")
                write_packed(out / file, both_views(seed))
                listed.append({"file": file, "model": model, "rung": rung, "seed": seed})
    write_json(out / "ladder.json", {"train_images": 100, "seeds": [0, 1], "predictions": listed})


def write_keras_results(out: Path) -> None:
    trainings = []
    for protocol in ("random", "grouped"):
        write_packed(out / "predictions" / f"{protocol}-fold0-seed0.csv.gz", both_views(0))
        about = {"protocol": protocol, "fold": 0, "seed": 0, "epochs": 2, "trains": 1.0, "steps": 300.0}
        trainings.append({**about, "history": {"loss": [1.4, 1.3], "accuracy": [0.2, 0.5]}, "manifest": {}})
    write_json(out / "keras.json", {"trainings": trainings})


def write_arms_results(out: Path) -> None:
    for name in ("field", "found"):
        repeats = [(CrossValidation(fold_seed, "0"), answers(fold_seed)) for fold_seed in (0, 1)]
        write_repeats(out / f"{name}.csv.gz", dict(repeats))
    write_json(out / "crops.json", {"arms": ["field", "found"], "selection": None})


def write_curve_results(out: Path) -> None:
    points = []
    for share in (0.5, 1):
        write_repeats(out / f"share_{share}.csv.gz", {CrossValidation(0, "0"): answers(0)})
        points.append({"share": share, "photographs": 200.0 * share, "file": f"share_{share}.csv.gz"})
    write_json(out / "curve.json", {"points": points})


def write_transfer_results(out: Path) -> None:
    listed = []
    for source, target in (("here", "there"), ("there", "here")):
        file = f"predictions/{source}.csv.gz"
        write_packed(out / file, answers(0, "fold 0"))
        said = (source, target, "off", "nothing", 0, [1.1], dict.fromkeys(CLASSES, 5))
        listed.append({"file": file, **dict(zip(Crossing._fields[:-1], said, strict=True))})
    about = {"cells": 60, "groups": 60, "classes": dict.fromkeys(CLASSES, 15), "red_cell": 80.0, "said": ""}
    sets = {name: about for name in ("here", "there")}
    write_json(out / "transfer.json", {"classes": CLASSES, "sets": sets, "seeds": [0], "predictions": listed})


WRITERS: dict[str, tuple[list[str], Callable[[Path], None]]] = {
    "ladder": (["ladder"], write_ladder_results),
    "keras": (["keras"], write_keras_results),
    "arms": (["crops", "arms"], write_arms_results),
    "curve": (["crops", "curve"], write_curve_results),
    "transfer": (["transfer"], write_transfer_results),
}


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Small results of each study, its numbers computed by its own command."""
    root = tmp_path_factory.mktemp("results")
    for name, ((command, *words), write) in WRITERS.items():
        write(root / name)
        assert not typed(import_module(f"bloodcell.{command}"), *words, "--again", root / name)
    return root


def spoil_results(rng: random.Random, folder: Path) -> None:
    """Change its list, or a table that it names."""
    path = rng.choice([*folder.glob("*.json"), *sorted(folder.rglob("*.csv.gz"))[:1]])
    content = path.read_bytes()
    if rng.random() < 0.2 or path.suffix == ".gz":
        path.write_bytes(damaged(rng, content))
    else:
        path.write_text(json.dumps(strange(rng, json.loads(content))))


@pytest.mark.parametrize("numbers", sample(15, AGAIN, 193))
def test_results_computed_again(results: Path, tmp_path: Path, numbers: range) -> None:
    def trial(rng: random.Random) -> str:
        name = rng.choice(list(WRITERS))
        folder = tmp_path / f"{name}{rng.random()}"
        shutil.copytree(results / name, folder)
        spoil_results(rng, folder)
        (command, *words), _ = WRITERS[name]
        said = typed(import_module(f"bloodcell.{command}"), *words, "--again", folder)
        shutil.rmtree(folder)
        return f"{name} {bool(said)}"

    outcomes = tried(trial, numbers, tmp_path)
    assert {str(name).partition(" ")[0] for name in outcomes} == set(WRITERS)


@pytest.mark.parametrize("numbers", sample(1, REPORTS, 29))
def test_reports_of_them(tmp_path: Path, numbers: range) -> None:
    """The whole folder of results, of which the report reads some."""
    read = ("paper/metrics.json", "ladder/ladder.json", "ladder/trainings.json", "lineage/lineage.json")
    read += ("readings/runs.json", "crops/crops.json", "doubt/doubt.json", "explain/explain.json", "paper/metrics.csv")

    def trial(rng: random.Random) -> str:
        folder, name = tmp_path / f"results{rng.random()}", rng.choice(read)
        shutil.copytree(RESULTS, folder, ignore=shutil.ignore_patterns("*.csv.gz", "coverage"))
        path = folder / name
        text = path.read_text()
        if rng.random() < 0.2:
            path.write_bytes(damaged(rng, text.encode()))
        else:
            path.write_text(changed(rng, path, text))
        said = typed(import_module("bloodcell.report"), "--results", folder, "--html", folder / "report.html")
        shutil.rmtree(folder)
        return f"{name} {bool(said)}"

    assert tried(trial, numbers, tmp_path)


def changed(rng: random.Random, path: Path, text: str) -> str:
    content: Any = read_json(path) if path.suffix == ".json" else None
    return other_table(rng, text) if content is None else json.dumps(strange(rng, content))
