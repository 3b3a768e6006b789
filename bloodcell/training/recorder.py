"""The callback that writes what a reader of a run looks at: curves, figures, predictions, TensorBoard."""

import statistics
import time
import warnings
from collections.abc import Mapping
from pathlib import Path

import lightning as L
import torch
from lightning.pytorch.callbacks import Checkpoint

from bloodcell.common.files import write_csv
from bloodcell.data.datamodule import CellImages
from bloodcell.evidence import figures
from bloodcell.model.classifier import CellClassifier
from bloodcell.model.orientations import upright
from bloodcell.model.summary import layer_table
from bloodcell.tracking.reader import read_epochs
from bloodcell.tracking.status import write_status
from bloodcell.training.artefacts import keep_figure, tensorboards
from bloodcell.training.collect import Collector

# An epoch that takes this many times as long as those before it, and longer than a moment, is worth a line.
SLOW, MOMENT = 3, 1.0


class RunRecorder(Checkpoint):
    """Writes the readable artefacts of a run into its directory.

    It is a ``Checkpoint`` to Lightning only so that it is called after the module has logged an epoch.

    Args:
        run_dir: The run directory.
        data: The data, set up.
        val_name: What the validation curve was measured on.
        net_name: What the net is called in the config.
        label: Prefix of every title ("SYNTHETIC smears, not real cells: "), or empty.
        graph: Whether TensorBoard gets the graph of the net: tracing it costs 3 MB that torch never gives back.
    """

    def __init__(
        self, run_dir: Path, data: CellImages, val_name: str, net_name: str, label: str, *, graph: bool
    ) -> None:
        self.run_dir, self.data, self.graph = run_dir, data, graph
        self.val_name, self.net_name, self.label = val_name, net_name, label
        self.rows: list[dict[str, str]] = []
        self.epoch_started = 0.0
        self.epochs_took: list[float] = []
        self.said_slow = False

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Draw the net."""
        if not trainer.is_global_zero:
            return
        assert isinstance(pl_module, CellClassifier)
        layers = layer_table(pl_module.net, self.data.image_size)
        architecture = figures.architecture(layers, f"{self.label}{self.net_name}")
        keep_figure(self.run_dir, "architecture", architecture, trainer, 0)
        for logger in tensorboards(trainer) if self.graph else []:
            example = torch.zeros(1, 3, *self.data.image_size, device=pl_module.device)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", FutureWarning)  # TensorBoard's graph still needs torch.jit.trace
                logger.experiment.add_graph(upright(pl_module.net), example)

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Keep the rows of earlier epochs when a run is resumed."""
        self.rows = [row for row in read_epochs(self.run_dir) if int(row["epoch"]) < trainer.current_epoch]

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Start the clock."""
        self.epoch_started = time.perf_counter()

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Send the confusion matrix and precision-recall curves of the epoch to TensorBoard."""
        if trainer.state.fn != "fit":
            return
        assert isinstance(pl_module, CellClassifier)
        epoch, boards = trainer.current_epoch, tensorboards(trainer)
        if not (trainer.is_global_zero and boards):
            return
        (collector,) = (one for one in trainer.callbacks if isinstance(one, Collector))  # type: ignore[attr-defined]
        rows, probabilities = collector.predictions()
        truth = self.data.index.label[rows]
        matrix = figures.confusion_matrix(
            pl_module.confusion["val"].numpy(),
            self.data.classes,
            f"{self.label}{self.val_name}, epoch {epoch + 1}",
        )
        for logger in boards:
            logger.experiment.add_figure("val/confusion_matrix", matrix, epoch)
            for k, name in enumerate(self.data.classes):
                logger.experiment.add_pr_curve(f"val/pr/{name}", truth == k, probabilities[:, k], epoch)

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Print a line, and write a row of ``metrics.csv`` and the state to ``status.json``."""
        if not trainer.is_global_zero:
            return
        seconds = time.perf_counter() - self.epoch_started
        values = {name: float(value) for name, value in trainer.callback_metrics.items() if "/" in name}
        row = {"epoch": str(trainer.current_epoch), "seconds": f"{seconds:.2f}"}
        self.rows.append(row | {name: f"{value:.6g}" for name, value in sorted(values.items())})
        header = list(dict.fromkeys(name for one in self.rows for name in one))
        write_csv(
            self.run_dir / "metrics.csv",
            header,
            ([one.get(name, "") for name in header] for one in self.rows),
        )
        write_status(self.run_dir, "running", epoch=trainer.current_epoch + 1, epochs=trainer.max_epochs)
        _say(trainer, self._epoch_line(trainer, values, seconds))
        self._say_if_slow(trainer, seconds)

    def on_fit_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Draw loss and accuracy by epoch, the paper's Figures 3 and 4."""
        if not trainer.is_global_zero:
            return
        rows = self.rows or read_epochs(self.run_dir)  # none of this process: it came after the last epoch
        for quantity, key in (("loss", "loss"), ("accuracy", "acc")):
            train, val = ([float(row.get(name) or "nan") for row in rows] for name in (f"train/{key}", f"val/{key}"))
            figure = figures.curves(train, val, quantity, self.val_name, f"{self.label}{quantity} by epoch")
            keep_figure(self.run_dir, quantity, figure, trainer, trainer.current_epoch)

    def _epoch_line(self, trainer: L.Trainer, values: Mapping[str, float], seconds: float) -> str:
        done = trainer.current_epoch + 1
        last = trainer.max_epochs or done
        left = "" if last < done else f", about {_duration((last - done) * seconds)} left"
        images = len(self.data.split.train) / max(seconds, 1e-9)
        return (
            f"epoch {done}/{last}  loss {values.get('train/loss', float('nan')):.3f}"
            f"  val loss {values.get('val/loss', float('nan')):.3f}"
            f"  val balanced accuracy {values.get('val/balanced_acc', float('nan')):.3f}"
            f"  {seconds:.1f} s ({images:.0f} images/s{left})"
        )

    def _say_if_slow(self, trainer: L.Trainer, seconds: float) -> None:
        """Say once that training has become slow, and what can be done."""
        usual = statistics.median(self.epochs_took or [seconds])
        self.epochs_took.append(seconds)
        if not self.said_slow and seconds > max(MOMENT, SLOW * usual):
            self.said_slow = True
            _say(
                trainer,
                f"note: this epoch took {seconds / usual:.1f} times as long as those before it; if other processes use "
                f"the processor (see top), end them, or press Ctrl-C and resume later with ckpt_path={self.run_dir}; "
                "beside them OMP_NUM_THREADS=1 is faster than many threads, but gives other bits",
            )


def _say(trainer: L.Trainer, line: str) -> None:
    bar = trainer.progress_bar_callback
    if bar is None:
        print(line, flush=True)
    else:
        bar.print(line)


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
