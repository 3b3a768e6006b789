"""Everything about a run that can be checked before anything is written."""

from pathlib import Path

import lightning as L
from omegaconf import DictConfig

from bloodcell.common.errors import InputError
from bloodcell.common.files import read_json
from bloodcell.data.datamodule import CellImages
from bloodcell.data.describe import DataDescription
from bloodcell.data.seen import seen_in
from bloodcell.model.classifier import check_classes
from bloodcell.model.weights import read_checkpoint
from bloodcell.tracking.status import is_inside
from bloodcell.training.devices import check_processes


def check_before_fit(
    cfg: DictConfig, trainer: L.Trainer, data: CellImages, about: DataDescription, run_dir: Path
) -> None:
    """Stop if the config, the devices, the data and the checkpoint do not fit together.

    Raises:
        InputError: Naming what does not.
    """
    check_choice(cfg, data)
    check_processes(trainer, data)
    if cfg.ckpt_path is not None:
        check_trained_on(Path(cfg.ckpt_path), data)
    check_same_data(run_dir, about)
    if cfg.ckpt_path is not None and is_inside(run_dir, Path(cfg.ckpt_path)):
        check_same_split(Path(cfg.ckpt_path), about, run_dir)
    if about.inherited and not cfg.get("allow_leak", False):
        check_clean(about, "init_from" if cfg.init_from else "ckpt_path", "set allow_leak=true")


def check_choice(cfg: DictConfig, data: CellImages) -> None:
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


def check_trained_on(checkpoint: Path, data: CellImages) -> None:
    """Stop in one line if a checkpoint cannot be read or was trained on other classes than the data have."""
    check_classes(trained_classes(checkpoint), data.classes, str(checkpoint))


def trained_classes(checkpoint: Path) -> list[str] | None:
    """Return the class names in a checkpoint, or ``None`` if it names none."""
    classes: list[str] | None = read_checkpoint(checkpoint, str(checkpoint)).get("classes")
    return classes


def check_same_split(checkpoint: Path, about: DataDescription, run_dir: Path) -> None:
    """Stop if a resumed run would learn from, or choose by, other images than before."""
    before = seen_in(read_checkpoint(checkpoint, str(checkpoint)))
    if before is not None and before != about.seen:
        raise InputError(
            str(run_dir),
            expected="the split that the run was started with",
            got=f"another one (protocol {about.protocol})",
            fix="leave the data as they were, or start a new run with ckpt_path=.../checkpoints/last.ckpt",
        )


def check_clean(about: DataDescription, where: str, waive: str) -> None:
    """Stop if the weights have seen something of every test image.

    Args:
        about: What is to be tested.
        where: What the user typed that the weights come from.
        waive: How to go on all the same.
    """
    if about.nothing_clean:
        raise InputError(
            where,
            expected="weights that have not seen all of the test images",
            got=about.warning.removeprefix("WARNING: "),
            fix=f"test on other images, or {waive}",
        )


def check_same_data(run_dir: Path, about: DataDescription) -> None:
    """Stop if a run that is resumed in its directory was started on other images.

    Args:
        run_dir: The run directory; without a manifest it is a new run.
        about: The data of what is about to be done.
    """
    before = run_dir / "manifest.json"
    if not before.is_file():
        return
    data = read_json(before)["data"]
    if data["fingerprint"] != about.fingerprint:
        raise InputError(
            str(run_dir),
            expected=f"the images that the run was started on ({data['source']}, {data['fingerprint'][:12]})",
            got=f"others ({about.source}, {about.fingerprint[:12]})",
            fix="give those images again, or start a new run with ckpt_path=.../checkpoints/last.ckpt",
        )
