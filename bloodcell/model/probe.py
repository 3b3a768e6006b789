"""Does a net train at all? A callback that measures when the loss leaves the value of guessing."""

from collections import deque
from typing import Any

import lightning as L


class LeavesChance(L.Callback):
    """Stops training once the mean loss of a window of steps is below a threshold.

    Guessing among four classes costs ln 4 = 1.386. The outcome is logged as ``probe/trains`` (1 or 0),
    ``probe/steps`` (steps done when it stopped) and ``probe/loss`` (the lowest mean over a window).

    Args:
        threshold: Mean loss in nats to get below.
        window: Steps to average over.
    """

    def __init__(self, threshold: float = 1.30, window: int = 100) -> None:
        self.threshold = threshold
        self.losses: deque[float] = deque(maxlen=window)
        self.lowest = float("inf")

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Average, compare, stop."""
        # The mean over processes is the loss of the whole batch, and all of them stop at the same step.
        self.losses.append(float(trainer.strategy.reduce(outputs["loss"], reduce_op="mean")))
        if len(self.losses) == self.losses.maxlen:
            self.lowest = min(self.lowest, sum(self.losses) / len(self.losses))
        trainer.should_stop = self.lowest < self.threshold

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Log what is known so far."""
        outcome = {
            "trains": float(self.lowest < self.threshold),
            "steps": float(trainer.global_step),
            "loss": self.lowest,
        }
        pl_module.log_dict({f"probe/{name}": value for name, value in outcome.items()})
