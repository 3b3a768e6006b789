"""Settings at random: what makes no sense is one line and leaves nothing behind, every choice with valid ones runs."""

import random
import shutil
from pathlib import Path

import pytest

from bloodcell import train
from tests.fuzz import sample, tried, typed
from tests.helpers import TINY, metrics_of

INVALID, VALID = 500, 500
WHOLE = ("-1", "1.5", "abc", "[1]", "nan", "{a: 1}", "true", "''", "1e400")
SHARE = ("-0.1", "1.5", "abc", "nan", "[0.5]", "inf", "{}")
POSITIVE = ("0", "-1", "abc", "nan", "inf", "null", "[1]", "true")
GROUP = ("nothing", "../x", "/etc/passwd", "1", "[a]")
BAD: dict[str, tuple[str, ...]] = {
    "seed": (*WHOLE, "null", str(2**33)),
    "early_stopping": (*WHOLE, "0"),
    "report": ("median", "1", "true", "[best]"),
    "test": ("abc", "1", "null"),
    "lr_find": ("abc", "1", "null"),
    "monitor.metric": ("val/x", "1", "null", "test/acc", "[val/acc]"),
    "monitor.mode": ("up", "min", "1"),
    "ckpt_path": ("nowhere", "/dev/zero", "/etc/passwd"),
    "init_from": ("nowhere", "/dev/zero", "/etc/passwd", "."),
    "optim.lr": POSITIVE,
    "optim.class_weights": ("some", "1", "[1,2]", "true"),
    "optim.optimizer.weight_decay": ("-1", "abc", "nan", "[1]", "true"),
    "optim.optimizer.eps": ("-1", "abc", "nan", "[1]"),
    "optim.optimizer": ("1", "abc", "[1]", "null"),
    "model.dropout": SHARE,
    "model.widths": ("[]", "abc", "[0]", "[1.5]", "[-3]", "5", "[[1]]", "[a]"),
    "model._target_": ("os.system", "torch.nn.Module.load_state_dict", "x", "1", "torch.load", "builtins.eval"),
    "data._target_": ("os.system", "bloodcell.model.nets.small_cnn", "x", "shutil.rmtree"),
    "data.batch_size": POSITIVE,
    "data.image_size": ("32", "[8,8]", "[32]", "abc", "[32,32,32]", "[-1,32]", "[32.5,32]", "null", "[nan,32]"),
    "data.cache": ("tape", "1", "null", "[disk]"),
    "data.view": ("photo", "1", "null"),
    "data.crop": ("guessed", "1", "null"),
    "data.crop_side": ("0", "-1", "abc", "nan", "[1]", "1.5"),
    "data.mean": ("[1]", "abc", "[a,b,c]", "[nan,0,0]", "1", "[1,2,3,4]"),
    "data.std": ("[1]", "abc", "[0,1,1]", "[-1,1,1]", "[nan,1,1]", "1"),
    "data.num_classes": ("4", "0", "abc", "1.5", "[3]"),
    "data.train_images": ("0", "2", "-1", "1000", "abc", "1.5"),
    "data.split_seed": (*WHOLE, "null"),
    "data.protocol": ("official", "x", "1", "[grouped]"),
    "data.table": ("nowhere.csv", "/dev/zero", "/etc/passwd", "."),
    "data.group_pattern": ("5", "'('", "x", "'[a'"),
    "data.root": ("nowhere", "/etc/passwd", "/dev/zero", "''"),
    "data.augment.zoom": ("-5", "nan", "abc", "inf", "[1]"),
    "data.augment.shift": ("-1", "nan", "abc", "inf"),
    "data.augment.rotation": ("nan", "abc", "inf", "[1,2,3]"),
    "data.augment.flip": ("7", "abc", "[1]"),
    "data.augment.colour": ("-1", "nan", "abc"),
    "data.augment.strength": ("-1", "nan", "abc"),
    "data.augment": ("1", "abc", "[1]", "true"),
    "trainer.max_epochs": POSITIVE,
    "trainer.max_steps": ("0", "-2", "abc", "1.5", "[1]", "1"),
    "trainer.precision": ("7", "abc", "64-true", "16-mixed", "null"),
    "trainer.accelerator": ("abacus", "1", "[cpu]", "cuda"),
    "trainer.devices": ("0", "-5", "abc", "1.5", "[]"),
    "trainer.gradient_clip_val": ("-1", "abc", "nan", "[1]"),
    "trainer.profiler": ("abc", "1", "[simple]"),
    "trainer.deterministic": ("abc", "7"),
    "trainer.callbacks": ("1", "abc", "[1]", "[{_target_: os.system}]", "[{a: 1}]", "{a: 1}"),
    "trainer.num_sanity_val_steps": ("-5", "abc", "nan"),
    "trainer.log_every_n_steps": ("-5", "abc", "nan"),
    "+trainer.limit_val_batches": ("-1", "abc", "1.5", "nan", "0"),
    "+trainer.limit_train_batches": ("-1", "abc", "1.5", "nan", "0"),
    "+trainer.accumulate_grad_batches": ("0", "-1", "abc", "1.5"),
    "+trainer.check_val_every_n_epoch": ("0", "-1", "abc", "99"),
    "+trainer.fast_dev_run": ("true", "3"),
    "+trainer.x": ("1", "null"),
    "+model.x": ("1", "null"),
    "+data.x": ("1", "null"),
    "+data.augment.x": ("1", "null"),
    "+optim.optimizer.x": ("1", "null"),
    **dict.fromkeys(("model", "data", "optim", "optim/scheduler", "trainer", "experiment", "sweep"), GROUP),
    **dict.fromkeys(("lr", "optim.lrr", "trainer.epochs", "data.path", "x.y.z", "hydra.x"), ("1", "null", "abc")),
}
GONE = ("optim.lr", "model", "data.image_size", "trainer.max_epochs", "monitor", "seed", "data", "trainer", "optim")
WORDS = (
    "optim.lr",
    "=1",
    "optim.lr=[1",
    "a b=1",
    "optim.lr='x",
    "++=1",
    "model=small_cnn,paper_cnn",
    "--no-such",
    "~x",
)


@pytest.mark.parametrize("numbers", sample(24, INVALID, 159))
def test_invalid_settings(cells: Path, tmp_path: Path, numbers: range) -> None:
    """One line that names the key, exit code 1, no directory; whatever other settings there are."""
    base = [*TINY, "trainer.max_epochs=1", f"data.root={cells}"]

    def trial(rng: random.Random) -> str:
        shutil.rmtree(tmp_path / "runs", ignore_errors=True)
        key = rng.choice([*BAD, "~", "words"])
        word = f"{key}={rng.choice(BAD[key])}" if key in BAD else ""
        word = word or (f"~{rng.choice(GONE)}" if key == "~" else rng.choice(WORDS))
        try:
            said = typed(train, *base, *rng.sample(("seed=3", "optim=sgd", "test=false", "optim.lr=0.1"), 2), word)
        except AssertionError as error:
            raise AssertionError(f"{word}: {error}") from error
        assert said, f"{word} was accepted"
        assert not list(tmp_path.glob("runs/*/*")), f"{word} left something"
        return key

    assert tried(trial, numbers, tmp_path)


GOOD: dict[str, tuple[str, ...]] = {
    "seed": ("0", "1", str(2**32 - 1)),
    "report": ("best", "last"),
    "test": ("true", "false"),
    "early_stopping": ("null", "1", "3"),
    "monitor.metric": ("val/loss", "val/acc", "val/macro_f1", "val/recall/MONOCYTE"),
    "optim.lr": ("1e-6", "0.001", "0.1"),
    "optim.class_weights": ("null", "balanced"),
    "optim.optimizer.weight_decay": ("0", "0.1"),
    "optim.optimizer.fused": ("true", "false"),
    "data.batch_size": ("2", "7", "24", "1000"),
    "data.cache": ("disk", "ram", "none"),
    "data.view": ("field", "crop"),
    "data.crop_side": ("100", "480"),
    "data.augment": ("null", "{rotation: 0, zoom: 0, shift: 0, flip: false, colour: 0, strength: 0}"),
    "data.mean": ("null", "[0,0,0]"),
    "data.image_size": ("[32,32]", "[40,56]"),
    "trainer.precision": ("auto", "32-true", "bf16-mixed", "32"),
    "trainer.gradient_clip_val": ("null", "1", "0.5"),
    "trainer.max_steps": ("-1", "100"),
    "trainer.num_sanity_val_steps": ("0", "1"),
    "trainer.profiler": ("null", "simple"),
    "+trainer.accumulate_grad_batches": ("1", "2"),
    "+trainer.check_val_every_n_epoch": ("1",),
    "+trainer.val_check_interval": ("1.0", "0.5"),
    "+trainer.gradient_clip_algorithm": ("norm", "value"),
    "+trainer.overfit_batches": ("1",),
    "+trainer.benchmark": ("false",),
    "+trainer.barebones": ("false",),
}
SMALL, PAPER = ("model.widths=[4,8]",), ("model=paper_cnn", "model.widths=[4,4,8]", "model.dense=8")
MODELS = (SMALL, SMALL, PAPER, PAPER, ("model=torchvision", "model.name=squeezenet1_1"))  # the last takes long
OPTIMS = tuple((f"optim={name}",) for name in ("adam", "adamw", "sgd"))
SCHEDULES = ((), *((f"optim/scheduler={name}",) for name in ("cosine", "one_cycle", "plateau")))
TRAINERS = (("trainer=smoke",), ("trainer=cpu",), ("trainer=debug", "trainer.overfit_batches=1"))
LOGGERS = (("logger=tensorboard",), ("logger=csv",))


@pytest.mark.parametrize("numbers", sample(1, VALID, 125))
def test_valid_settings(cells: Path, tmp_path: Path, numbers: range) -> None:
    """Every choice of model, optimizer, schedule, trainer and logger, each with a few other values; a twelfth tests."""
    base = [*TINY[:3], "name=tiny", f"data.root={cells}", "trainer.max_epochs=1"]

    def trial(rng: random.Random) -> str:
        shutil.rmtree(tmp_path / "runs", ignore_errors=True)
        chosen = [word for part in (MODELS, OPTIMS, SCHEDULES, TRAINERS, LOGGERS) for word in rng.choice(part)]
        typed_too = {word.partition("=")[0].lstrip("+") for word in chosen}
        keys = [key for key in rng.sample(list(GOOD), 3) if key.lstrip("+") not in typed_too]
        words = [*base, *chosen, *(f"{key}={rng.choice(GOOD[key])}" for key in keys)]
        if rng.random() < 11 / 12 and "test" not in keys:  # a test and its figures are half the time
            words.append("test=false")
        try:
            said = typed(train, *words)
        except Exception as error:  # whatever it is, the trial says which words it was
            raise AssertionError(f"{' '.join(words[5:])}: {type(error).__name__} {error}") from error
        runs = list(tmp_path.glob("runs/tiny/*"))
        if said:
            assert not runs, f"{' '.join(words[5:])} left something: {said}"
            raise AssertionError(f"{' '.join(words[5:])}: {said}")
        assert metrics_of(runs[0])["epoch"] == 1
        shutil.rmtree(runs[0])
        return "ran"

    assert tried(trial, numbers, tmp_path)
