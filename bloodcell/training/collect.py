"""The predictions of the last pass over validation or test images, of all processes together."""

from typing import Any

import lightning as L
import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor

from bloodcell.model.classifier import processes
from bloodcell.tracking.predictions import Answers


class Collector(L.Callback):
    """Keeps the probabilities of every validation and test pass until the next one."""

    def __init__(self) -> None:
        self.probabilities: list[Tensor] = []
        self.rows: list[Tensor] = []

    def predictions(self) -> Answers:
        """Return the predictions of the last pass; with several processes, of all of them after it has ended."""
        return Answers(torch.cat(self.rows).numpy(), torch.cat(self.probabilities).double().numpy())

    def on_validation_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Forget the last pass."""
        self.probabilities, self.rows = [], []

    def on_test_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Forget the last pass."""
        self.probabilities, self.rows = [], []

    def on_validation_batch_end(self, *args: Any, **kwargs: Any) -> None:
        """Keep a batch."""
        self._keep(*args, **kwargs)

    def on_test_batch_end(self, *args: Any, **kwargs: Any) -> None:
        """Keep a batch."""
        self._keep(*args, **kwargs)

    def _keep(self, trainer: object, pl_module: object, outputs: Tensor, batch: Any, *_: int, **__: int) -> None:
        self.probabilities.append(outputs.float().cpu())
        self.rows.append(batch[2].cpu())

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Put the predictions of all processes together, in the order of the index."""
        if processes() == 1 or trainer.state.fn != "fit":
            return
        found: list[Any] = [None] * processes()
        dist.all_gather_object(found, self.predictions())
        rows = np.concatenate([one.rows for one in found])
        order = np.argsort(rows)
        self.rows = [torch.from_numpy(rows[order])]
        self.probabilities = [torch.from_numpy(np.concatenate([one.probabilities for one in found])[order])]
