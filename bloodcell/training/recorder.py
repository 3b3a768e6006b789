"""The callback that writes what a reader of a run looks at: curves, figures, predictions, TensorBoard."""

import time
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import torch
import torch.distributed as dist
from lightning.pytorch.callbacks import Checkpoint
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor

from bloodcell.common.files import read_csv, write_csv
from bloodcell.data.datamodule import BloodCells
from bloodcell.evidence import figures
from bloodcell.evidence.calibration import reliability
from bloodcell.model.classifier import CellClassifier, processes
from bloodcell.model.summary import layer_table
from bloodcell.tracking.predictions import Predictions
from bloodcell.tracking.status import write_status
from bloodcell.training.artefacts import MISTAKES_SHOWN, _tensorboards


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
        self, run_dir: Path, data: BloodCells, val_name: str, net_name: str, label: str, *, graph: bool
    ) -> None:
        self.run_dir, self.data, self.graph = run_dir, data, graph
        self.val_name, self.net_name, self.label = val_name, net_name, label
        self.rows: list[dict[str, str]] = []
        self.probabilities: list[Tensor] = []
        self.batch_rows: list[Tensor] = []
        self.epoch_started = 0.0

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Draw the net."""
        if not trainer.is_global_zero:
            return
        assert isinstance(pl_module, CellClassifier)
        layers = layer_table(pl_module.net, self.data.image_size)
        self._figure(trainer, "architecture", figures.architecture(layers, f"{self.label}{self.net_name}"), 0)
        for logger in _tensorboards(trainer) if self.graph else []:
            example = torch.zeros(1, 3, *self.data.image_size, device=pl_module.device)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", FutureWarning)  # TensorBoard's graph still needs torch.jit.trace
                logger.experiment.add_graph(pl_module.net, example)

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Keep the rows of the epochs before a resumed one."""
        before = read_csv(self.run_dir / "metrics.csv")
        self.rows = [row for row in before if int(row["epoch"]) < trainer.current_epoch]

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Start the clock."""
        self.epoch_started = time.perf_counter()

    def on_validation_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Forget the predictions of the last pass."""
        self.probabilities, self.batch_rows = [], []

    def on_test_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Likewise."""
        self.probabilities, self.batch_rows = [], []

    def on_validation_batch_end(self, *args: Any, **kwargs: Any) -> None:
        """Keep the probabilities."""
        self._keep(*args, **kwargs)

    def on_test_batch_end(self, *args: Any, **kwargs: Any) -> None:
        """Likewise."""
        self._keep(*args, **kwargs)

    def _keep(self, trainer: object, pl_module: object, outputs: Tensor, batch: Any, *_: int, **__: int) -> None:
        self.probabilities.append(outputs.float().cpu())
        self.batch_rows.append(batch[2].cpu())

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Confusion matrix and precision-recall curves of the epoch, to TensorBoard."""
        if trainer.state.fn != "fit":
            return
        assert isinstance(pl_module, CellClassifier)
        epoch = trainer.current_epoch
        self._gather()
        if not trainer.is_global_zero:
            return
        rows, probabilities = self.predictions()
        truth = self.data.index.label[rows]
        matrix = figures.confusion_matrix(
            pl_module.confusion["val"].numpy(),
            self.data.classes,
            f"{self.label}{self.val_name}, epoch {epoch + 1}",
        )
        for logger in _tensorboards(trainer):
            logger.experiment.add_figure("val/confusion_matrix", matrix, epoch)
            for k, name in enumerate(self.data.classes):
                logger.experiment.add_pr_curve(f"val/pr/{name}", truth == k, probabilities[:, k], epoch)

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """One line on the terminal, one row in ``metrics.csv``, the state in ``status.json``."""
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

    def on_fit_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """The paper's Figures 3 and 4: loss and accuracy by epoch."""
        if not trainer.is_global_zero:
            return
        for quantity, key in (("loss", "loss"), ("accuracy", "acc")):
            train, val = (
                [float(row[name]) for row in self.rows if row.get(name)] for name in (f"train/{key}", f"val/{key}")
            )
            figure = figures.curves(train, val, quantity, self.val_name, f"{self.label}{quantity} by epoch")
            self._figure(trainer, quantity, figure, trainer.current_epoch)

    def _gather(self) -> None:
        """Put the predictions of all processes together, in the order of the index."""
        if processes() == 1:
            return
        found: list[Any] = [None] * processes()
        dist.all_gather_object(found, self.predictions())
        rows = np.concatenate([one.rows for one in found])
        order = np.argsort(rows)
        self.batch_rows = [torch.from_numpy(rows[order])]
        self.probabilities = [torch.from_numpy(np.concatenate([one.probabilities for one in found])[order])]

    def predictions(self) -> Predictions:
        """Rows of the index and class probabilities of the last pass over validation or test data."""
        return Predictions(torch.cat(self.batch_rows).numpy(), torch.cat(self.probabilities).double().numpy())

    def write_results(
        self, trainer: L.Trainer, classifier: CellClassifier, views: Sequence[Predictions], step: int
    ) -> None:
        """Write predictions and figures of a test.

        Args:
            trainer: Whose TensorBoard gets the figures as well.
            classifier: Holds the confusion matrix.
            views: The reported test first, which the figures are of; then further views of its photographs.
            step: Epoch to write them at in TensorBoard.
        """
        rows, probabilities = views[0]
        index, classes = self.data.index, self.data.classes
        write_csv(
            self.run_dir / "predictions.csv",
            ["file", "view", "micrograph", "group", "class", "predicted", *(f"p_{name}" for name in classes)],
            (
                [
                    index.file[row],
                    index.view[row],
                    index.micrograph[row],
                    index.group[row],
                    classes[index.label[row]],
                    classes[int(shares.argmax())],
                    *(f"{share:.6f}" for share in shares),
                ]
                for view in views
                for row, shares in zip(*view, strict=True)
            ),
        )
        title = f"{self.label}test, protocol {self.data.split.protocol}, {len(rows):,} images"
        matrix = figures.confusion_matrix(classifier.confusion["test"].numpy(), classes, title)
        self._figure(trainer, "confusion_matrix", matrix, step)
        pr = figures.precision_recall(index.label[rows], probabilities, classes, title)
        self._figure(trainer, "precision_recall", pr, step)
        groups = index.group[rows] if index.grouped else None
        bins = reliability(index.label[rows], probabilities, groups)
        self._figure(trainer, "reliability", figures.reliability_diagram(bins, title), step)
        self._figure(trainer, "mistakes", self._mistakes(rows, probabilities), step)

    def _mistakes(self, rows: Any, probabilities: Any) -> Figure:
        """The test images whose true class was given the least probability."""
        index, classes = self.data.index, self.data.classes
        labels, said = index.label[rows], probabilities.argmax(axis=1)
        wrong = np.flatnonzero(said != labels)
        given = probabilities[wrong, labels[wrong]]
        worst = wrong[np.argsort(given, kind="stable")][:MISTAKES_SHOWN]
        images, captions = [], []
        for one in worst:
            with Image.open(index.path(rows[one])) as image:
                images.append(np.asarray(image.convert("RGB")))
            name = Path(str(index.file[rows[one]])).name
            truth, answer = classes[labels[one]].lower(), classes[said[one]].lower()
            captions.append(f"{truth}, said {answer} {probabilities[one, said[one]]:.0%}\n{name[:28]}")
        return figures.image_grid(
            images, captions, f"{self.label}worst of {len(wrong):,} mistakes in {len(rows):,} test images"
        )

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

    def _figure(self, trainer: L.Trainer | None, name: str, figure: Figure, step: int) -> None:
        pixels = figures.save(figure, self.run_dir / "figures" / f"{name}.png")
        for logger in _tensorboards(trainer) if trainer else []:
            logger.experiment.add_image(f"figures/{name}", pixels, step, dataformats="HWC")  # not drawn again


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
