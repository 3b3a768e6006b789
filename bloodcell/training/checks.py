"""Everything about a run that can be checked before anything is written."""

from pathlib import Path

import lightning as L
import numpy as np
from omegaconf import DictConfig, OmegaConf

from bloodcell.common.errors import InputError
from bloodcell.common.files import is_inside, read_yaml
from bloodcell.data.datamodule import CellImages
from bloodcell.data.describe import DataDescription
from bloodcell.data.seen import seen_in
from bloodcell.model.classifier import CellClassifier, check_classes
from bloodcell.model.weights import read_checkpoint
from bloodcell.tracking.reader import flat
from bloodcell.training.devices import check_processes
from bloodcell.training.reuse import check_made_on


def check_before_fit(
    cfg: DictConfig,
    trainer: L.Trainer,
    classifier: CellClassifier,
    data: CellImages,
    about: DataDescription,
    run_dir: Path,
) -> None:
    """Stop if the config, the devices, the data and the checkpoint do not fit together.

    Raises:
        InputError: Naming what does not.
    """
    check_choice(cfg, data)
    check_steps(cfg, data)
    check_processes(trainer, data)
    if cfg.ckpt_path is not None:
        check_trained_on(Path(cfg.ckpt_path), data)
        check_continues(Path(cfg.ckpt_path), cfg, classifier)
    anew = "give those images again, or start a new run with ckpt_path=.../checkpoints/last.ckpt"
    check_made_on(run_dir, about.source, about.fingerprint, anew)
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


def check_steps(cfg: DictConfig, data: CellImages) -> None:
    """Stop if a checkpoint is to be chosen by validation and the training ends before the first one."""
    steps, batches = cfg.trainer.get("max_steps") or -1, -(-len(data.split.train) // data.batch_size)
    limit = cfg.trainer.get("limit_train_batches")
    if limit is not None:
        batches = min(batches, limit) if isinstance(limit, int) else int(batches * limit)
    epoch = -(-batches // (cfg.trainer.get("accumulate_grad_batches") or 1))
    if cfg.report == "best" and 0 < steps < epoch and not cfg.trainer.get("overfit_batches"):
        raise InputError(
            "trainer.max_steps",
            expected=f"{epoch:,} or more, an epoch, as report=best chooses by validation",
            got=str(steps),
            fix="raise it, or set report=last",
        )


def check_trained_on(checkpoint: Path, data: CellImages) -> None:
    """Stop in one line if a checkpoint cannot be read or was trained on other classes than the data have."""
    check_classes(trained_classes(checkpoint), data.classes, str(checkpoint))


def trained_classes(checkpoint: Path) -> list[str] | None:
    """Return the class names in a checkpoint, or ``None`` if it names none."""
    classes: list[str] | None = read_checkpoint(checkpoint, str(checkpoint)).get("classes")
    return classes


def check_continues(checkpoint: Path, cfg: DictConfig, classifier: CellClassifier) -> None:
    """Stop if a training cannot go on from a checkpoint: by its weights, its epochs or its optimizer.

    Raises:
        InputError: Naming the key.
    """
    content = read_checkpoint(checkpoint, str(checkpoint))
    if not {"state_dict", "optimizer_states", "epoch"} <= content.keys():
        raise InputError(
            f"ckpt_path={checkpoint}",
            expected="a checkpoint of a training, with the state of its optimizer",
            got="weights alone",
            fix=f"start from them with init_from={checkpoint}",
        )
    before, own = (
        {name: tuple(one.shape) for name, one in state.items()}
        for state in (content["state_dict"], classifier.state_dict())
    )
    odd = next((name for name in {**own, **before} if own.get(name) != before.get(name)), None)
    if odd is not None:
        raise InputError(
            "model",
            expected=f"the net whose weights are in {checkpoint}, with {odd} of {before.get(odd, 'no')} values",
            got=f"another, with {own.get(odd, 'none')}",
            fix="leave the model as it was",
        )
    done, epochs = int(content["epoch"]) + 1, cfg.trainer.max_epochs
    if done > epochs:
        fix = f"set trainer.max_epochs to {done} or more"
        raise InputError("trainer.max_epochs", expected=f"{done} or more: so many are done", got=str(epochs), fix=fix)
    _check_same_optimizer(checkpoint, cfg)


def _check_same_optimizer(checkpoint: Path, cfg: DictConfig) -> None:
    """Stop at new values for the optimizer, over which its state would win, and at a new end of a schedule.

    They are compared with those of the run that the checkpoint lies in.
    """
    path = checkpoint.parent.parent / ".hydra" / "config.yaml"
    kept = read_yaml(path) if path.is_file() else None
    if not isinstance(kept, dict) or not isinstance(kept.get("optim"), dict):
        return
    fix = f"leave it as it was, or start a new run from the weights alone with init_from={checkpoint}"
    before, new = (dict(flat({"optim": one})) for one in (kept["optim"], OmegaConf.to_container(cfg.optim)))
    for key in {**before, **new}:
        # Settled by the machine, by the metric, by a search; or of a key that an earlier version had not.
        settled = key.endswith((".fused", ".mode")) or (key == "optim.lr" and cfg.lr_find)
        settled = settled or (key not in before and key.startswith("optim.optimizer."))
        was, now = before.get(key), new.get(key)
        if not settled and "${" not in str(was) and was != now:
            where = key.removesuffix("._target_")
            raise InputError(where, expected=f"{was}, as the optimizer goes on", got=str(now), fix=fix)
    epochs, now = (kept.get("trainer") or {}).get("max_epochs"), cfg.trainer.max_epochs
    schedule = str((cfg.optim.get("scheduler") or {}).get("_target_")).rpartition(".")[2]
    if epochs != now and schedule == "one_cycle":
        expected = f"{epochs}, where the one cycle of the learning rate ends"
        raise InputError("trainer.max_epochs", expected=expected, got=str(now), fix=fix)
    if epochs != now and schedule == "warmup_cosine":
        print(f"note: the learning rate was to fall to 0 by epoch {epochs}; it goes on as if that had been epoch {now}")


def check_same_split(checkpoint: Path, about: DataDescription, run_dir: Path) -> None:
    """Stop if a resumed run would learn from, or choose by, other images than before."""
    before = seen_in(read_checkpoint(checkpoint, str(checkpoint)))
    if before is not None and not np.array_equal(before.images, about.seen.images):
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
