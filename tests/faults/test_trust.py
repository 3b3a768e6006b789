"""A run directory from a stranger runs no code and writes nowhere else, whichever command reads it."""

import os
import pickle
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from omegaconf import OmegaConf

from bloodcell import evaluate, reproduce, train
from bloodcell.config.kept import read_kept_config, read_kept_words
from bloodcell.training.restore import bring_up_to_date, keep_config
from tests.helpers import TINY, weights


class Evil:
    """Leaves a mark when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.mark),)


@pytest.fixture
def mark(tmp_path: Path) -> Path:
    return tmp_path / "mark-of-code-that-ran"


@pytest.fixture
def hostile(finished: Path, tmp_path: Path, mark: Path) -> Path:
    """A run that was finished, with a pickle beside it."""
    run = Path(shutil.copytree(finished, tmp_path / "given"))
    torch.save({"state_dict": {}, "hyper_parameters": Evil(mark), "evil": Evil(mark)}, run / "evil.ckpt")
    with pytest.raises(pickle.UnpicklingError):
        torch.load(run / "evil.ckpt", weights_only=True)
    return run


def change(run: Path, **parts: Any) -> None:
    """Put values into the kept config, by dotted key with ``__`` for the dot."""
    path = run / ".hydra" / "config.yaml"
    content = yaml.safe_load(path.read_text())
    for key, value in parts.items():
        *way, last = key.split("__")
        node = content
        for part in way:
            node = node[part]
        node[last] = value
    path.write_text(yaml.safe_dump(content))


def type_(monkeypatch: pytest.MonkeyPatch, command: Any, *words: object) -> None:
    monkeypatch.setattr(sys, "argv", [command.__name__, *map(str, words)])
    command.main()


def files(root: Path) -> set[Path]:
    return {path for path in root.rglob("*") if path.is_file() and "cache" not in path.parts}


Refused = Callable[..., str]


@pytest.fixture
def refused(
    monkeypatch: pytest.MonkeyPatch, hostile: Path, mark: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> Refused:
    """Types a command that must stop with one line, run nothing, and write nothing."""

    def run(command: Any, *words: object) -> str:
        before = files(tmp_path)
        with pytest.raises(SystemExit) as stopped:
            type_(monkeypatch, command, *words)
        assert stopped.value.code == 1
        said = capfd.readouterr().err.strip().splitlines()
        assert len(said) == 1, said
        assert said[0].startswith("error: ")
        assert not mark.exists(), "code ran"
        assert files(tmp_path) == before
        return said[0]

    return run


def loaders(run: Path) -> dict[str, dict[str, Any]]:
    """Targets below packages that a config may name, each of which reads a pickle, writes, or starts something."""
    pickled = {"checkpoint_path": str(run / "evil.ckpt"), "weights_only": False}
    return {
        "method": {"_target_": "lightning.pytorch.LightningModule.load_from_checkpoint", **pickled},
        "helper": {
            "_target_": "lightning.pytorch.core.saving._load_from_checkpoint",
            "cls": {"_target_": "torch.nn.Identity"},
            **pickled,
        },
        "our own": {"_target_": "bloodcell.model.classifier.CellClassifier.load_from_checkpoint", **pickled},
        "data": {"_target_": "lightning.pytorch.LightningDataModule.load_from_checkpoint", **pickled},
        "command line": {"_target_": "lightning.pytorch.cli.LightningCLI", "args": ["fit"]},
        "any net": {"_target_": "torchvision.models.get_model", "name": "resnet18"},
        "state": {"_target_": "torch.nn.Module.load_state_dict", "state_dict": {}},
        "checkpoints": {"_target_": "lightning.pytorch.callbacks.ModelCheckpoint", "dirpath": str(run.parent / "x")},
        "calls": {"_target_": "lightning.pytorch.callbacks.LambdaCallback"},
        "logger": {"_target_": "lightning.pytorch.loggers.CSVLogger", "save_dir": str(run.parent / "x")},
        "download": {"_target_": "bloodcell.data.kaggle.find_images", "root": "/"},
        "system": {"_target_": "os.system", "command": "true"},
    }


ATTACKS = list(loaders(Path("x")))


@pytest.mark.parametrize(
    ("place", "attack"),
    [
        *(("model", attack) for attack in ATTACKS),
        *((place, "method") for place in ("data", "optim__optimizer", "model__norm", "data__root", "data__augment")),
    ],
)
def test_evaluate_builds_what_a_run_may_have_and_no_more(
    refused: Refused, hostile: Path, place: str, attack: str
) -> None:
    change(hostile, **{place: loaders(hostile)[attack]})
    assert "expected" in refused(evaluate, hostile)


@pytest.mark.parametrize(
    ("place", "attack"),
    [
        *(("trainer__callbacks", attack) for attack in ATTACKS),
        *((place, "method") for place in ("trainer__logger", "optim__scheduler", "early_stopping")),
    ],
)
def test_reproduce_builds_what_a_run_may_have_and_no_more(
    refused: Refused, hostile: Path, place: str, attack: str
) -> None:
    value = loaders(hostile)[attack]
    change(hostile, **{place: [value] if place == "trainer__callbacks" else value})
    assert "expected" in refused(reproduce, "--run", hostile)


@pytest.mark.parametrize(
    "changes",
    [
        {"model___target_": "${name}", "name": "lightning.pytorch.LightningModule.load_from_checkpoint"},
        {"model___target_": "${oc.env:HOME}"},
        {"optim__optimizer": "nothing"},
        {"model": "nothing"},
        {"model___args_": [[4, 8]]},
        {"model___recursive_": False},
        {"model___partial_": True},
        {"model___convert_": "object"},
        {"data___target_": "bloodcell.model.nets.small_cnn"},
        {"data__root": "${oc.create:{_target_: os.system}}"},
        {"data__root": "\\${name}"},
        {"name": "${report}${report}"},
        {"name": "${data}"},
        {"data__root": "${data}"},
    ],
)
def test_ways_around(refused: Refused, hostile: Path, changes: dict[str, Any]) -> None:
    change(hostile, **changes)
    assert "expected" in refused(evaluate, hostile)
    assert "expected" in refused(reproduce, "--run", hostile)


LOGGERS = [
    {"logger": {"_target_": "lightning.pytorch.LightningModule.load_from_checkpoint", "weights_only": False}},
    {"logger": {"_target_": "lightning.pytorch.loggers.CometLogger"}},
    {"logger": {"_target_": "lightning.pytorch.loggers.WandbLogger", "offline": False}},
    {"logger": {"_target_": "lightning.pytorch.loggers.MLFlowLogger", "tracking_uri": "http://127.0.0.1:9"}},
    {"logger": {"_target_": "lightning.pytorch.loggers.CSVLogger", "prefix": "../x"}},
    {"logger__sub_dir": "../../x"},
    {"logger__log_graph": True},
]


@pytest.mark.parametrize("changes", LOGGERS)
def test_what_is_logged_stays_in_the_run(refused: Refused, hostile: Path, changes: dict[str, Any]) -> None:
    change(hostile, **changes)
    assert "expected" in refused(reproduce, "--run", hostile)


WORDS = [
    "+hydra.callbacks.x={_target_: lightning.pytorch.LightningModule.load_from_checkpoint, checkpoint_path: PICKLE}",
    "++hydra.callbacks.x._target_=os.system",
    "hydra/launcher=joblib",
    "hydra/sweeper=basic",
    "hydra/job_logging=default",
    "hydra.job_logging.root.level=DEBUG",
    "hydra.searchpath=[file://PICKLE]",
    "+hydra.job.env_set.LD_PRELOAD=PICKLE",
    "hydra.sweep.dir=/tmp",
    "hydra.run.dir=/tmp",
    "hydra.output_subdir=x",
    "~hydra.callbacks",
    "'hydra'.mode=MULTIRUN",
    " hydra.mode=MULTIRUN",
    "+model@hydra.callbacks.x=small_cnn",
    "+experiment@hydra:x=quickstart",
    "experiment=../../../given/evil",
    "experiment='/given/evil'",
    "model=[small_cnn,../../x]",
    "--experimental-rerun=PICKLE",
    "--config-dir=.",
    "-cd=.",
    "--multirun",
    "trainer.callbacks=[{_target_: lightning.pytorch.LightningModule.load_from_checkpoint, checkpoint_path: PICKLE}]",
    "+trainer.logger={_target_: lightning.pytorch.loggers.CSVLogger, save_dir: /tmp}",
    "model._target_=torch.nn.Module.load_state_dict",
    "+model._args_=[1]",
    "name=${oc.decode:x}",
    "name=" + "[" * 900,
    "+logger.sub_dir=../../x",
    "logger._target_=lightning.pytorch.loggers.CometLogger",
]


@pytest.mark.parametrize("word", WORDS)
def test_kept_words_reach_nothing_but_the_run_itself(refused: Refused, hostile: Path, word: str) -> None:
    path = hostile / ".hydra" / "overrides.yaml"
    words = [*yaml.safe_load(path.read_text()), word.replace("PICKLE", str(hostile / "evil.ckpt"))]
    path.write_text(yaml.safe_dump(words))
    assert "expected" in refused(train, f"ckpt_path={hostile}")
    if not word.startswith(("trainer", "+trainer", "model._", "+model._", "name=$", "logger", "+logger")):
        assert "expected" in refused(reproduce, "--run", hostile)


def test_a_pickle_in_place_of_a_checkpoint(refused: Refused, hostile: Path, cells: Path) -> None:
    for name in ("best", "last"):
        shutil.copy(hostile / "evil.ckpt", hostile / "checkpoints" / f"{name}.ckpt")
    assert "holds tensors and plain data only" in refused(evaluate, hostile)
    assert "holds tensors and plain data only" in refused(train, f"ckpt_path={hostile}", "trainer.max_epochs=9")
    mine = [*TINY, f"data.root={cells}", f"init_from={hostile / 'evil.ckpt'}"]
    assert "holds tensors and plain data only" in refused(train, *mine)


@pytest.mark.slow
def test_what_is_typed_stays_free(
    train: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A callback that nobody else may choose, typed by the user; it has to be typed again to go on with the run."""
    word = "trainer.callbacks=[{_target_: lightning.pytorch.callbacks.ModelCheckpoint, filename: mine, mode: max}]"
    run = train(word, "hydra.verbose=false", "trainer.max_epochs=1")
    with pytest.raises(SystemExit, match="1"):
        train(f"ckpt_path={run}", "trainer.max_epochs=3", base=())
    assert "ModelCheckpoint" in capsys.readouterr().err
    assert train(f"ckpt_path={run}", "trainer.max_epochs=2", word, base=()) == run
    assert torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)["epoch"] == 1


@pytest.mark.slow
def test_what_harms_nobody_goes_on_as_it_is(train: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    words = (
        "trainer.callbacks=[{_target_: lightning.pytorch.callbacks.LearningRateMonitor}]",
        "optim.optimizer={_target_: torch.optim.RMSprop, _partial_: true}",
        "~optim.optimizer.eps",
        "~optim.optimizer.fused",
        "optim/scheduler=cosine",
    )
    run = train(*words)
    assert train(f"ckpt_path={run}", "trainer.max_epochs=3", base=()) == run
    type_(monkeypatch, evaluate, run)
    type_(monkeypatch, reproduce, "--run", run)


@pytest.mark.slow
def test_a_job_of_a_named_grid_goes_on_alone(train: Callable[..., Path], tmp_path: Path) -> None:
    job = train("sweep=seeds", "seed=0")
    assert train(f"ckpt_path={job}", "trainer.max_epochs=3", base=()) == job
    assert len(list(tmp_path.glob("runs/**/status.json"))) == 1
    assert weights(job)


ODD = [
    "1e-3",
    "2026-01-01",
    "on",
    "0x10",
    "1_000",
    "12:30:00",
    "null",
    "~",
    "a: b",
    "- a",
    "&a",
    "*a",
    "!x",
    "é\u2028x",
    "",
]


def test_a_config_is_read_as_it_was_written(tmp_path: Path) -> None:
    """Whatever a value looks like in YAML; and what is written has no aliases."""
    shared = ["a", "b"]
    cfg = OmegaConf.create(
        {"ckpt_path": None, "odd": ODD, "keys": dict.fromkeys(ODD, 1), "lr": 1e-8, "s": [shared] * 2}
    )
    keep_config(tmp_path, cfg, [f"name={word}" for word in ("x", "'1e-3'", "null", "'a: b'")])
    assert read_kept_config(tmp_path / ".hydra" / "config.yaml", (), bring_up_to_date) == cfg
    assert read_kept_words(tmp_path / ".hydra" / "overrides.yaml") == [
        "name=x",
        "name='1e-3'",
        "name=null",
        "name='a: b'",
    ]
