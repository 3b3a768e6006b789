"""Stop a bad trial of a search early."""

import math
from pathlib import Path

import lightning as L
import optuna
from lightning.pytorch.callbacks import Checkpoint

from bloodcell.common.errors import Pruned
from bloodcell.tracking.reader import read_epochs


def report_epochs(trial: optuna.Trial, metric: str, run_dir: Path, before: float = math.inf) -> None:
    """Report to a trial the epochs that were trained before it.

    Args:
        trial: The trial.
        metric: What is reported.
        run_dir: Whose ``metrics.csv`` has them.
        before: Epochs from this one on are left out.
    """
    for row in read_epochs(run_dir):
        if int(row["epoch"]) < before and row.get(metric):
            trial.report(float(row[metric]), int(row["epoch"]))


class Pruning(Checkpoint):
    """Reports the metric of each epoch to a trial of Optuna, and ends the training if it lags behind earlier trials.

    It derives from ``Checkpoint`` only because Lightning calls those last, when the epoch has been written.

    Args:
        trial: The trial.
        metric: What is reported, as ``val/balanced_acc``.
        run_dir: Where the epochs before an interruption are read from.
    """

    def __init__(self, trial: optuna.Trial, metric: str, run_dir: Path) -> None:
        self.trial, self.metric, self.run_dir = trial, metric, run_dir

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Report the epochs before a resumed one."""
        report_epochs(self.trial, self.metric, self.run_dir, trainer.current_epoch)

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Report the epoch.

        Raises:
            Pruned: If the trial should not be continued.
        """
        if self.metric not in trainer.callback_metrics:
            return
        value, epoch = float(trainer.callback_metrics[self.metric]), trainer.current_epoch
        self.trial.report(value, epoch)
        if trainer.max_epochs != epoch + 1 and self.trial.should_prune():
            raise Pruned(f"{self.metric} {value:.4f} after epoch {epoch + 1} lags behind earlier trials")
