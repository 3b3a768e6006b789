"""TODO training/checks.py."""

from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from bloodcell.common.errors import InputError
from bloodcell.common.files import read_json
from bloodcell.data.datamodule import BloodCells
from bloodcell.model.classifier import check_classes
from bloodcell.model.weights import read_checkpoint


def check_values(cfg: DictConfig) -> None:
    """Stop in one line at a value of the root config that could only fail later, or never.

    Raises:
        InputError: Naming the key.
    """

    def whole(value: object, least: int) -> bool:
        return isinstance(value, int) and not isinstance(value, bool) and value >= least

    patience, epochs = cfg.early_stopping, cfg.trainer.max_epochs
    rules: list[tuple[str, object, bool, str]] = [
        ("seed", cfg.seed, whole(cfg.seed, 0), "a whole number, 0 or more"),
        ("report", cfg.report, cfg.report in ("best", "last", None), "best, last or null"),
        ("test", cfg.test, isinstance(cfg.test, bool), "true or false"),
        ("monitor.mode", cfg.monitor.mode, cfg.monitor.mode in ("max", "min"), "max or min"),
        ("early_stopping", patience, patience is None or whole(patience, 1), "null or a number of epochs"),
        ("trainer.max_epochs", epochs, whole(epochs, 1), "a positive whole number"),
        (
            "optim.lr",
            cfg.optim.lr,
            isinstance(cfg.optim.lr, int | float) and cfg.optim.lr > 0,
            "a positive number",
        ),
    ]
    for key, value, good, expected in rules:
        if not good:
            raise InputError(key, expected=expected, got=repr(value), fix=f"set {key}=...")


def check_choice(cfg: DictConfig, data: BloodCells) -> None:
    """Stop if something would be chosen by a validation curve that is the test set."""
    if data.split.choice:
        return
    for key, value, fix in (
        ("report", cfg.report == "best", "report=last"),
        ("test", not cfg.test, "test=true"),
        ("early_stopping", cfg.early_stopping is not None, "early_stopping=null"),
        ("optim/scheduler=plateau", "plateau" in str(cfg.optim.get("scheduler")), "another optim/scheduler"),
    ):
        if value:
            raise InputError(
                key,
                expected=f"no choice by validation: under protocol {data.split.protocol} it is the test set",
                got=str(cfg.get(key, "plateau")),
                fix=f"set {fix}",
            )


def check_trained_on(checkpoint: Path, data: BloodCells) -> None:
    """Stop in one line if a checkpoint cannot be read or was trained on other classes than the data have."""
    content = read_checkpoint(checkpoint, str(checkpoint))
    check_classes(content.get("classes"), data.classes, str(checkpoint))


def check_same_data(run_dir: Path, record: dict[str, Any]) -> None:
    """Stop if a run that is gone on with in its directory was started on other images.

    Args:
        run_dir: The run directory; without a manifest it is a new run.
        record: The manifest of what is about to be done.
    """
    before = run_dir / "manifest.json"
    if not before.is_file():
        return
    data, now = read_json(before)["data"], record["data"]
    if data["fingerprint"] != now["fingerprint"]:
        raise InputError(
            str(run_dir),
            expected=f"the images that the run was started on ({data['source']}, {data['fingerprint'][:12]})",
            got=f"others ({now['source']}, {now['fingerprint'][:12]})",
            fix="give those images again, or start a new run with ckpt_path=.../checkpoints/last.ckpt",
        )
