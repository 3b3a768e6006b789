"""The rules of every value of the root config; torch is not imported, so that a wrong one is said at once."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, ListConfig, OmegaConf

from bloodcell.common.errors import InputError, Rule, check_rules, is_number, is_whole
from bloodcell.config.compose import direction
from bloodcell.data.ranges import check_data, check_places, check_scaling, check_view

# torch keeps 32 bits of a seed on the CPU, and NumPy takes no more.
SEEDS = 2**32 - 1
ACCELERATORS = ("cpu", "cuda", "gpu", "mps", "auto")
# What trains here. In bf16-true, 16-true and 64-true the weights themselves are of another kind than the images.
PRECISIONS = ("auto", "32-true", "bf16-mixed", "16-mixed")
# Lightning's short names for them.
SHORT = {"32": "32-true", "bf16": "bf16-mixed", "16": "16-mixed"}
# What validation measures; `val/recall/CLASS` and its kind besides.
MONITORED = ("val/loss", "val/acc", "val/balanced_acc", "val/macro_precision", "val/macro_recall", "val/macro_f1")


def check_values(cfg: DictConfig) -> None:
    """Stop in one line at a value that could only fail later, or never.

    Args:
        cfg: The composed config, interpolations resolved.

    Raises:
        InputError: Naming the key.
    """
    check_rules(_parts(cfg))
    check_rules([*_of_run(cfg), *_of_optim(cfg.optim), *_of_model(cfg.model), *_of_trainer(cfg.trainer)])
    if cfg.data.get("augment"):
        try:
            check_view(**cfg.data.augment)
        except TypeError as error:
            raise InputError("data.augment", expected="its own keys", got=str(error), fix="correct the key") from error
    reader, values = str(cfg.data.get("_target_")).rpartition(".")[2], _of_data(cfg.data)
    check_data(reader, values)
    check_places(reader, values)
    check_scaling(cfg.data.get("mean"), cfg.data.get("std"))
    weights = cfg.model.get("weights")
    for key, value in (
        ("ckpt_path", cfg.ckpt_path),
        ("init_from", cfg.init_from),
        ("model.weights", None if weights in ("download", "imagenet") else weights),
    ):
        if value is not None and not Path(str(value)).is_file():
            got = "a folder" if Path(str(value)).is_dir() else "no such file"
            raise InputError(f"{key}={value}", expected="a checkpoint file", got=got, fix="check the path")
    _check_validation(cfg)


def _of_data(data: DictConfig) -> dict[str, Any]:
    """The values of ``data``, all of them given."""
    plain: Any = OmegaConf.to_container(data)
    for key, value in plain.items():
        if value == "???":
            raise InputError(f"data.{key}", expected="a value", got="none", fix=f"give one with data.{key}=...")
    return dict(plain)


def _parts(cfg: DictConfig) -> Iterator[Rule]:
    """Every part is there, and is one: ``~optim.lr`` and ``monitor=val/loss`` leave something else."""
    for key in ("data", "model", "optim", "optim.optimizer", "trainer", "monitor"):
        part = OmegaConf.select(cfg, key)
        yield key, part, isinstance(part, DictConfig), f"a group of keys, as {key}.KEY=VALUE"
    for key in ("data.augment", "optim.scheduler"):
        part = OmegaConf.select(cfg, key)
        yield key, part, part is None or isinstance(part, DictConfig), f"null or a group of keys, as {key}.KEY=VALUE"
    needed = (
        "seed",
        "report",
        "early_stopping",
        "minutes",
        "test",
        "lr_find",
        "ckpt_path",
        "init_from",
        "monitor.metric",
    )
    for key in (*needed, "monitor.mode", "optim.lr", "optim.class_weights", "trainer.max_epochs", "trainer.precision"):
        section, _, name = key.rpartition(".")
        yield f"~{key}", None, name in (OmegaConf.select(cfg, section) if section else cfg), "a value"


def _of_run(cfg: DictConfig) -> Iterator[Rule]:
    metric, mode, patience = cfg.monitor.metric, cfg.monitor.mode, cfg.early_stopping
    yield "seed", cfg.seed, is_whole(cfg.seed, 0, SEEDS), f"a whole number, 0 to {SEEDS}"
    yield "report", cfg.report, cfg.report in ("best", "last", None), "best, last or null"
    yield "test", cfg.test, isinstance(cfg.test, bool), "true or false"
    yield "lr_find", cfg.lr_find, isinstance(cfg.lr_find, bool), "true or false"
    known = metric in MONITORED or re.match(r"val/(precision|recall|f1)/.", str(metric)) is not None
    yield "monitor.metric", metric, known, f"one of {', '.join(MONITORED)} or val/recall/CLASS"
    better = direction(str(metric))
    yield "monitor.mode", mode, mode == better, f"{better}, which is the better {metric} (leave it out: it is known)"
    minutes, alone = cfg.minutes, cfg.trainer.get("devices") == 1
    yield "minutes", minutes, minutes is None or (is_number(minutes, 0) and minutes > 0), "null or a positive number"
    yield "minutes", minutes, minutes is None or alone, "null where several devices train"
    yield "early_stopping", patience, patience is None or is_whole(patience, 1), "null or a number of epochs"


def _of_optim(optim: DictConfig) -> Iterator[Rule]:
    yield "optim.lr", optim.lr, is_number(optim.lr, 0) and optim.lr > 0, "a positive number"
    weights = optim.class_weights
    yield "optim.class_weights", weights, weights in (None, "balanced"), "null or balanced"
    ranges = {
        "optimizer.weight_decay": (0, float("inf")),
        "optimizer.momentum": (0, 1),
        "optimizer.eps": (0, float("inf")),
        "scheduler.warmup": (0, 1),
        "scheduler.rise": (0, 1),
        "scheduler.factor": (0, 1),
        "scheduler.patience": (0, float("inf")),
    }
    for key, (least, most) in ranges.items():
        value = OmegaConf.select(optim, key)
        expected = f"a number from {least} to {most}" if most == 1 else f"a number, {least} or more"
        yield f"optim.{key}", value, value is None or is_number(value, least, most), expected


def _of_model(model: DictConfig) -> Iterator[Rule]:
    widths, dropout = model.get("widths"), model.get("dropout")
    whole = isinstance(widths, ListConfig) and len(widths) > 0 and all(is_whole(width, 1) for width in widths)
    yield "model.widths", widths, widths is None or whole, "a list of numbers of channels, as [16,32]"
    yield "model.dropout", dropout, dropout is None or is_number(dropout, 0, 1), "a share from 0 to 1"


def _of_trainer(trainer: DictConfig) -> Iterator[Rule]:
    def rule(name: str, good: bool, expected: str) -> Rule:
        return f"trainer.{name}", trainer.get(name), good or trainer.get(name) is None, expected

    epochs, clip, steps = trainer.max_epochs, trainer.get("gradient_clip_val"), trainer.get("max_steps")
    yield "trainer.max_epochs", epochs, is_whole(epochs, 1), "a positive whole number"
    yield rule("max_steps", steps == -1 or is_whole(steps, 1), "-1 or a positive whole number")
    yield rule("gradient_clip_val", is_number(clip, 0), "null or a number, 0 or more")
    accelerator, precision = trainer.get("accelerator"), precision_of(trainer.precision)
    yield rule("accelerator", accelerator in ACCELERATORS, f"one of {', '.join(ACCELERATORS)}")
    trains = [name for name in PRECISIONS if not (name == "16-mixed" and accelerator == "cpu")]
    yield "trainer.precision", trainer.precision, precision in trains, f"one of {', '.join(trains)}"
    for name, least in (("log_every_n_steps", 0), ("num_sanity_val_steps", -1), ("overfit_batches", 0)):
        yield rule(name, is_number(trainer.get(name), least), f"a number, {least} or more")
    for name in ("detect_anomaly", "barebones", "benchmark", "inference_mode"):
        yield rule(name, trainer.get(name) in (None, True, False), "true or false")
    every = trainer.get("val_check_interval")
    share = isinstance(every, float) and 0 < every <= 1
    yield rule("val_check_interval", share or is_whole(every, 1), "a number of batches, or a share as 0.5")
    for name in ("accumulate_grad_batches", "check_val_every_n_epoch"):
        yield rule(name, is_whole(trainer.get(name), 1), "a positive whole number")
    for stage in ("train", "val", "test"):
        name = f"limit_{stage}_batches"
        least = 1 if stage == "train" else 0
        share = isinstance(trainer.get(name), float) and is_number(trainer.get(name), 0, 1)
        yield rule(name, share or is_whole(trainer.get(name), least), "a number of batches, or a share as 0.5")
    profiler, deterministic = trainer.get("profiler"), trainer.get("deterministic")
    yield rule("profiler", profiler in ("simple", "advanced") or _is_object(profiler), "null, simple or advanced")
    yield rule("deterministic", isinstance(deterministic, bool) or deterministic == "warn", "true, false or warn")
    callbacks = trainer.get("callbacks")
    listed = isinstance(callbacks, ListConfig) and all(map(_is_object, callbacks))
    yield rule("callbacks", listed, "a list of {_target_: lightning.pytorch.callbacks...}")
    fast = trainer.get("fast_dev_run")
    yield (
        "trainer.fast_dev_run",
        fast,
        not fast,
        "false, as it leaves nothing to report (trainer=smoke is the short run)",
    )


def _is_object(value: Any) -> bool:
    return isinstance(value, DictConfig) and "_target_" in value


def precision_of(name: Any) -> str:
    """The full name of a precision: ``32`` is ``32-true``."""
    return SHORT.get(str(name), str(name))


def unvalidated(trainer: DictConfig) -> str | None:
    """Say why a training never validates; ``None`` if it does."""
    every = trainer.get("check_val_every_n_epoch") or 1
    reasons = {
        f"trainer.limit_val_batches={trainer.get('limit_val_batches')}": trainer.get("limit_val_batches") in (0, 0.0),
        f"trainer.check_val_every_n_epoch={every}": every > trainer.max_epochs,
    }
    return next((reason for reason, holds in reasons.items() if holds), None)


def _check_validation(cfg: DictConfig) -> None:
    """Stop if something is to be chosen by validation, or tested, and there are no batches for it."""
    trainer, why = cfg.trainer, unvalidated(cfg.trainer)
    needs = {
        "report=best": (cfg.report == "best", "set report=last"),
        "early_stopping": (cfg.early_stopping is not None, "set early_stopping=null"),
        "optim/scheduler=plateau": ("plateau" in str(cfg.optim.get("scheduler")), "choose another optim/scheduler"),
        "test=false": (not cfg.test and cfg.report is not None, "set test=true or report=null"),
    }
    for key, (asked, fix) in needs.items():
        if why and asked:
            raise InputError(key, expected="a validation to go by", got=f"none, with {why}", fix=f"{fix}, or validate")
    if trainer.get("limit_test_batches") in (0, 0.0) and cfg.test and cfg.report is not None:
        got = f"none, with trainer.limit_test_batches={trainer.limit_test_batches}"
        raise InputError("test=true", expected="test images", got=got, fix="set test=false to leave them alone")
