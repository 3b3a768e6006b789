"""Whether a training can go on from a checkpoint: part by part it has to be like one that this training would write."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback
from torch import Tensor

from bloodcell.common.errors import InputError
from bloodcell.model.classifier import CellClassifier
from bloodcell.model.weights import read_checkpoint


class ChecksCheckpoint(Callback):
    """Stops before a training takes up the state of loops, optimizers and schedules from a checkpoint of another kind.

    Lightning and torch take it as it is. A fused optimizer, for one, writes beyond the end of a tensor that is smaller
    than its weights.
    """

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Look at it, when optimizers and schedules are there and have not been given their state.

        Raises:
            InputError: Naming the part.
        """
        if trainer.ckpt_path is None:
            return
        assert isinstance(pl_module, CellClassifier)
        content = read_checkpoint(Path(trainer.ckpt_path), f"ckpt_path={trainer.ckpt_path}")
        fresh = {
            "epoch": 0,
            "global_step": 0,
            "loops": {"fit_loop": trainer.fit_loop.state_dict()},
            "optimizer_states": [_stepped(pl_module)],
            "lr_schedulers": [one.scheduler.state_dict() for one in trainer.lr_scheduler_configs],
        }
        odd = next(_differences(content, fresh, ""), None)
        if odd is not None:
            raise InputError(
                f"ckpt_path={trainer.ckpt_path}",
                expected="a checkpoint that this training could have written",
                got=odd[:150],
                fix=f"start from its weights alone with init_from={trainer.ckpt_path}",
            )


def _stepped(classifier: CellClassifier) -> dict[str, Any]:
    """The state of the optimizer after a step that changes nothing, for weights of these shapes."""
    weights = [torch.zeros_like(one, requires_grad=True) for one in classifier.parameters()]
    optimizer = classifier.optimizer(weights, lr=classifier.lr)
    for one in weights:
        one.grad = torch.zeros_like(one)
    optimizer.step(lambda: 0.0)
    return optimizer.state_dict()


def _differences(given: Any, fresh: Any, where: str) -> Iterator[str]:
    """Say where a checkpoint is of another kind than a fresh one; values may differ."""
    if isinstance(fresh, dict) and isinstance(given, dict):
        # Of a weight the optimizer has these numbers and no others; of all weights, those that were learnt.
        further = given.keys() - fresh.keys() if ".state" in where else set()
        if further or (".state." in where and given.keys() != fresh.keys()):
            yield f"other parts of {where}"
        for key in fresh.keys() & given.keys():
            yield from _differences(given[key], fresh[key], f"{where}.{key}".lstrip("."))
    elif isinstance(fresh, list | tuple) and isinstance(given, list | tuple) and len(given) == len(fresh):
        for number, (one, other) in enumerate(zip(given, fresh, strict=True)):
            yield from _differences(one, other, f"{where}.{number}")
    elif isinstance(fresh, dict | list | tuple) or not _is_like(given, fresh):
        yield f"{where}={given!r}"


def _is_like(given: Any, fresh: Any) -> bool:
    if isinstance(fresh, Tensor):
        return isinstance(given, Tensor) and (given.shape, given.dtype) == (fresh.shape, fresh.dtype)
    if isinstance(fresh, bool) or fresh is None:
        return given is None or isinstance(given, bool | int | float)
    if isinstance(fresh, int):
        return isinstance(given, int) and not isinstance(given, bool)
    if isinstance(fresh, float):
        return isinstance(given, int | float) and not isinstance(given, bool) and not math.isnan(given)
    return isinstance(given, type(fresh))
