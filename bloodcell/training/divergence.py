"""The callback that ends a training whose loss is no finite number any more."""

from pathlib import Path
from typing import Any

import lightning as L
import torch
from torch import Tensor

from bloodcell.common.errors import Diverged
from bloodcell.data.index import Index

EVERY = 50  # steps between two looks at the losses: at each step, a GPU would be waited for


class StopsWhenDiverged(L.Callback):
    """Ends a training at a loss or weights that are NaN or infinite, before they are written to a checkpoint.

    Args:
        checkpoints: Where the checkpoints of the run are.
        index: Names the files of a batch.
    """

    def __init__(self, checkpoints: Path, index: Index) -> None:
        self.checkpoints, self.index = checkpoints, index
        self.steps: list[tuple[Tensor, Tensor]] = []

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Forget the epoch before."""
        self.steps = []

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Keep the loss and the rows of a batch; look at them now and then."""
        self.steps.append((outputs["loss"].detach(), batch[2]))
        if len(self.steps) == EVERY:
            self._check_losses(trainer)

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Look at the epoch before the best checkpoint is chosen by it."""
        if trainer.state.fn == "fit" and not trainer.sanity_checking:
            self._check_epoch(trainer, pl_module)

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Look at the epoch before it is kept."""
        self._check_epoch(trainer, pl_module)

    def _check_epoch(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        self._check_losses(trainer)
        weights = module.state_dict().items()
        broken = [name for name, value in weights if value.is_floating_point() and not value.isfinite().all()]
        loss = trainer.callback_metrics.get("val/loss")
        if broken:
            raise self._diverged(trainer, f"weights that are not, {broken[0]} among them")
        if loss is not None and not loss.isfinite():
            raise self._diverged(trainer, f"val/loss {float(loss)}")

    def _check_losses(self, trainer: L.Trainer) -> None:
        if not self.steps:
            return
        losses = torch.stack([loss for loss, _ in self.steps])
        wrong = (~losses.isfinite()).nonzero().flatten().tolist()
        if wrong:
            loss, rows = self.steps[wrong[0]]
            files = [str(self.index.file[row]) for row in rows.tolist()]
            more = f" and {len(files) - 3} more" if len(files) > 3 else ""
            raise self._diverged(trainer, f"a loss of {float(loss)} for {', '.join(files[:3])}{more}")
        self.steps = []

    def _diverged(self, trainer: L.Trainer, what: str) -> Diverged:
        last = self.checkpoints / "last.ckpt"
        return Diverged(trainer.current_epoch, what, str(last) if last.is_file() else None)
