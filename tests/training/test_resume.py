"""A run goes on with the config that it was started with, and the user's new words over it."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf

from bloodcell.config.compose import composed, resolve
from bloodcell.config.overlay import lay_over, let_follow
from bloodcell.training.resume import resumed
from tests.helpers import TINY

Train = Callable[..., Path]


def config_of(run: Path) -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load((run / ".hydra" / "config.yaml").read_text())
    return content


def change(run: Path, **values: Any) -> None:
    """Put values into the kept config, by dotted key with ``__`` for the dot."""
    cfg = OmegaConf.create(config_of(run))
    for key, value in values.items():
        OmegaConf.update(cfg, key.replace("__", "."), value)
    (run / ".hydra" / "config.yaml").write_text(OmegaConf.to_yaml(cfg))


def content(run: Path) -> dict[Path, bytes]:
    left = (".lock", "train.log")
    return {path: path.read_bytes() for path in run.rglob("*") if path.is_file() and path.name not in left}


@pytest.fixture
def interrupted(finished: Path, tmp_path: Path) -> Path:
    """A run of two epochs that was killed while it was tested."""
    run = Path(shutil.copytree(finished, tmp_path / "runs" / "run"))
    (run / "status.json").write_text('{"state": "running", "epoch": 2, "epochs": 2}')
    (run / "metrics.json").unlink()
    return run


WORDS = st.sampled_from(
    [
        "seed=4",
        "data.seed=5",
        "name='a b'",
        "optim.lr=0.5",
        "optim=sgd",
        "optim=adamw",
        "optim/scheduler=plateau",
        "~optim/scheduler",
        "optim.optimizer.weight_decay=0.1",
        "+optim.optimizer.weight_decay=0.2",
        "++optim.optimizer.amsgrad=true",
        "~optim.optimizer.fused",
        "model=paper_cnn",
        "model=torchvision",
        "data=folder",
        "data=blood_cells",
        "data.root=/x",
        "data.image_size=[64,48]",
        "data.augment=null",
        "data.augment.zoom=0.3",
        "trainer=gpu",
        "trainer.max_epochs=7",
        "+trainer.limit_train_batches=3",
        "~trainer.limit_train_batches",
        "monitor.metric=val/loss",
        "logger=csv",
        "~logger",
        "early_stopping=3",
        "experiment=quickstart",
    ]
)


@settings(max_examples=5, deadline=None)
@given(before=st.lists(WORDS, max_size=4, unique=True), words=st.lists(WORDS, max_size=3, unique=True))
def test_words_over_a_kept_config_are_what_they_are_on_a_command_line(before: list[str], words: list[str]) -> None:
    words = [word for word in words if not word.startswith("experiment")]
    try:
        kept, today, expected = composed(before), composed(before), composed([*before, *words])
    except Exception:
        return  # Hydra refuses one of them
    for cfg in (kept, expected):
        resolve(cfg)
    if any(word in before for word in words if "/" in word or "." not in word):
        return  # a part that is chosen once more stays as it is
    let_follow(kept, today)
    lay_over(kept, words, before)
    resolve(kept)
    assert OmegaConf.to_container(kept) == OmegaConf.to_container(expected)


@pytest.mark.slow
@pytest.mark.parametrize("by", ["name", "searchpath"])
def test_a_run_of_a_config_of_the_users_own_goes_on_with_it(train: Train, cells: Path, tmp_path: Path, by: str) -> None:
    mine = tmp_path / "conf"
    (mine / "data").mkdir(parents=True)
    if by == "name":
        (mine / "mine.yaml").write_text("defaults: [train, _self_]\ndata: {batch_size: 12, augment: null}\n")
        start = ["--config-dir", str(mine), "--config-name", "mine", *TINY]
    else:
        (mine / "data" / "mine.yaml").write_text("defaults: [folder, _self_]\nbatch_size: 12\naugment: null\n")
        start = [f"hydra.searchpath=[file://{mine}]", *TINY[1:], "data=mine"]
        start.remove("data.batch_size=8")
    run = train("trainer.max_epochs=1", base=(*start, f"data.root={cells}"))
    before = config_of(run)
    shutil.rmtree(mine)
    assert train(f"ckpt_path={run}", "trainer.max_epochs=2", base=()) == run
    after = config_of(run)
    assert before["data"]["augment"] is None
    before["trainer"]["max_epochs"] = 2
    assert after == before
    assert json.loads((run / "status.json").read_text())["epoch"] == 2


def test_what_conf_says_today_is_said_and_not_used(
    train: Train, interrupted: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    change(interrupted, data__augment__zoom=0.25)
    train(f"ckpt_path={interrupted}", "trainer.max_epochs=3", base=())
    assert "note: conf says otherwise today; used as it was then: zoom: 0.25" in capsys.readouterr().out
    assert config_of(interrupted)["data"]["augment"]["zoom"] == 0.25


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["model.widths=[4,8,8,16]"], "error: model: expected the net whose weights are in"),
        (["model=paper_cnn"], "error: model.widths: expected three positive numbers of channels, got [4, 8, 8, 8]"),
        (["trainer.max_epochs=1"], "expected 2 or more: so many are done, got 1"),
        (
            ["optim.lr=0.5"],
            "error: optim.lr: expected 0.001, as the optimizer goes on, got 0.5; leave it as it was",
        ),
        (["optim.optimizer.weight_decay=0.5"], "error: optim.optimizer.weight_decay: expected 0.0"),
        (["optim=sgd"], "error: optim."),
        (["optim/scheduler=cosine"], "error: optim.scheduler: expected None"),
        (["experiment=quickstart"], "expected the experiment that the run was started with, got another"),
        (["data.foldd=1"], "error: data.foldd: expected a key of the config, got an unknown one; did you mean"),
        (["seed=1,2"], "error: seed=1,2: expected one value"),
        (["trainer.max_epochs"], "expected KEY=VALUE, got a word without ="),
        (["data.split_seed=4", "data.protocol=grouped"], "data.protocol=grouped"),
        (["optim.lr=-1"], "error: optim.lr: expected a positive number, got -1"),
        (["data.root=/nowhere"], "error: /nowhere: expected a folder"),
    ],
)
@pytest.mark.parametrize("state", ["interrupted", pytest.param("finished", marks=pytest.mark.slow)])
def test_what_does_not_fit_is_one_line_and_the_run_stays_as_it_was(
    train: Train,
    interrupted: Path,
    finished: Path,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    said: str,
    state: str,
) -> None:
    if state == "finished":
        for name in ("status.json", "metrics.json"):
            shutil.copy(finished / name, interrupted / name)
        words = [*words, *([] if "max_epochs" in words[0] else ["trainer.max_epochs=3"])]
        said = said.replace("2 or more: so many are done", "trainer.max_epochs above 2").partition(", got 1")[0]
        if words == ["trainer.max_epochs=1"]:
            said = "expected trainer.max_epochs above 2"
    before = content(interrupted)
    with pytest.raises(SystemExit, match="1"):
        train(f"ckpt_path={interrupted}", *words, base=())
    line = capsys.readouterr().err.strip()
    assert said in line
    assert len(line.splitlines()) == 1
    assert content(interrupted) == before


def test_a_run_without_a_checkpoint_stays_as_it_was_too(
    train: Train, interrupted: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.rmtree(interrupted / "checkpoints")
    before = content(interrupted)
    with pytest.raises(SystemExit, match="1"):
        train(f"ckpt_path={interrupted}", "data.fold=7", "data.protocol=grouped", base=())
    assert content(interrupted) == before


@pytest.mark.parametrize("word", ["optim.lr=0.5", "optim=sgd", "model.widths=[8,8,8,8]"])
def test_a_new_run_from_a_checkpoint_takes_its_optimizer_as_well(
    train: Train, finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], word: str
) -> None:
    with pytest.raises(SystemExit, match="1"):
        train(f"ckpt_path={finished / 'checkpoints' / 'last.ckpt'}", "trainer.max_epochs=3", "seed=3", word)
    assert word.partition(".widths")[0].partition("=")[0] in capsys.readouterr().err
    assert not list(tmp_path.glob("runs/*/*"))


def test_weights_alone_are_no_training_to_go_on_with(
    train: Train, finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import torch

    whole = torch.load(finished / "checkpoints" / "last.ckpt", weights_only=True)
    torch.save({"state_dict": whole["state_dict"]}, tmp_path / "weights.ckpt")
    with pytest.raises(SystemExit, match="1"):
        train(f"ckpt_path={tmp_path / 'weights.ckpt'}")
    assert "; start from them with init_from=" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("schedule", "goes_on"),
    [
        ("one_cycle", False),
        pytest.param("cosine", True, marks=pytest.mark.slow),
        pytest.param("plateau", True, marks=pytest.mark.slow),
    ],
)
def test_a_schedule_that_had_its_end_says_so(
    train: Train, capsys: pytest.CaptureFixture[str], schedule: str, goes_on: bool
) -> None:
    run = train(f"optim/scheduler={schedule}", "trainer.max_epochs=1")
    capsys.readouterr()
    if goes_on:
        assert train(f"ckpt_path={run}", "trainer.max_epochs=2", base=()) == run
        said = "note: the learning rate was to fall to 0 by epoch 1" in capsys.readouterr().out
        assert said == (schedule == "cosine")
        return
    before = content(run)
    with pytest.raises(SystemExit, match="1"):
        train(f"ckpt_path={run}", "trainer.max_epochs=2", base=())
    assert "expected 1, where the one cycle of the learning rate ends, got 2" in capsys.readouterr().err
    assert content(run) == before


@pytest.mark.slow
def test_where_a_run_came_from_stays_in_its_config(
    train: Train, finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    origin = str(finished / "checkpoints" / "last.ckpt")
    run = train(f"ckpt_path={origin}", "trainer.max_epochs=3", "seed=3")
    train(f"ckpt_path={run}", base=())
    assert "finished before" in capsys.readouterr().out
    train(f"ckpt_path={run}", "trainer.max_epochs=4", base=())
    assert config_of(run)["ckpt_path"] == origin
    assert f"ckpt_path={origin}" in yaml.safe_load((run / ".hydra" / "overrides.yaml").read_text())


@pytest.mark.slow
def test_what_was_typed_may_be_typed_again(
    train: Train, interrupted: Path, cells: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = config_of(interrupted)
    train(f"ckpt_path={interrupted}", "seed=3", base=(*TINY, f"data.root={cells}"))
    assert config_of(interrupted) == before


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_another_machine_goes_on_with_the_precision_that_the_first_one_chose(
    interrupted: Path, train: Train, capsys: pytest.CaptureFixture[str], precision: str
) -> None:
    path = interrupted / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"precision": precision}))
    train(f"ckpt_path={interrupted}", base=())
    assert f"math: {precision} (as it was begun)" in capsys.readouterr().out
    assert config_of(interrupted)["trainer"]["precision"] == "auto"
    train(f"ckpt_path={interrupted}", base=())
    assert "finished before" in capsys.readouterr().out


def test_a_path_that_was_typed_from_here_is_no_news(interrupted: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (interrupted / ".hydra" / "overrides.yaml").write_text(yaml.safe_dump([*TINY, "data.root=cells0"]))
    assert Path(config_of(interrupted)["data"]["root"]).is_absolute()
    resumed(interrupted, [])
    assert "root" not in capsys.readouterr().out
