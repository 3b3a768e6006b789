"""The LightningModule: a net, its loss, its optimizer and its metrics."""

import math
from collections.abc import Callable, Sequence
from typing import Any, cast

import lightning as L
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.optim.lr_scheduler import ReduceLROnPlateau
from torchmetrics import MeanMetric, MetricCollection
from torchmetrics.classification import (
    MulticlassAccuracy,
    MulticlassConfusionMatrix,
    MulticlassF1Score,
    MulticlassPrecision,
    MulticlassRecall,
)

from bloodcell.common.errors import InputError
from bloodcell.model.rewrites import faster

# What every step is given: images (N, 3, H, W) float, labels (N,) int64, rows of the index (N,) int64.
Batch = tuple[Tensor, Tensor, Tensor]


class BalancedAccuracy(MulticlassRecall):
    """Average the recalls of the classes that have images, as the reported balanced accuracy does.

    torchmetrics' macro recall takes in classes that were predicted although no image is of them, as 0.
    """

    def compute(self) -> Tensor:
        """Compute the mean over everything counted so far."""
        right, _, _, missed = self._final_state()
        images = right + missed
        return (right[images > 0] / images[images > 0]).mean()


def class_metrics(num_classes: int) -> MetricCollection:
    """Create the metrics of a whole epoch; those computed from the same counts share them.

    Args:
        num_classes: Number of classes.

    Returns:
        Accuracy, macro and per-class precision, recall and F1, and the confusion matrix (rows: truth).
        Macro recall is the balanced accuracy, over the classes that have images.
    """
    # What is counted is the net's own output: torchmetrics' checks of it would make a GPU wait at every step.
    checks: dict[str, Any] = {"validate_args": False}
    kinds = {"precision": MulticlassPrecision, "recall": MulticlassRecall, "f1": MulticlassF1Score}
    over_classes = {**kinds, "recall": BalancedAccuracy}
    macro = {f"macro_{name}": kind(num_classes, average="macro", **checks) for name, kind in over_classes.items()}
    each = {name: kind(num_classes, average="none", **checks) for name, kind in kinds.items()}
    return MetricCollection(
        {
            "acc": MulticlassAccuracy(num_classes, average="micro", **checks),
            "balanced_acc": BalancedAccuracy(num_classes, average="macro", **checks),
            **macro,
            **each,
            "confusion": MulticlassConfusionMatrix(num_classes, **checks),
        }
    )


def stage_key(stage: str) -> str:
    """Name a stage in a ModuleDict, which already has a method called ``train``."""
    return f"{stage}_stage"


def processes() -> int:
    """Return the number of processes that train together."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


class CellClassifier(L.LightningModule):
    """Trains a net to tell cell classes apart.

    Args:
        net: Maps (N, 3, H, W) float images to (N, classes) logits.
        classes: Class names in the order of the labels.
        optimizer: Called with the parameters and ``lr``.
        lr: Learning rate.
        schedule: Called with the optimizer and ``total_steps`` (see ``schedules``), or ``None``.
        class_weights: Weight of each class in the loss, or ``None`` for equal ones.
        monitor: Metric that a plateau schedule watches.
        seed: With the epoch it settles what dropout draws.

    Attributes:
        seen: What the weights have seen when training is over, by name; travels with them in every checkpoint.
    """

    def __init__(
        self,
        net: nn.Module,
        classes: Sequence[str],
        optimizer: Callable[..., torch.optim.Optimizer],
        lr: float = 1e-3,
        schedule: Callable[..., Any] | None = None,
        class_weights: Sequence[float] | None = None,
        monitor: str = "val/balanced_acc",
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.net = net.to(memory_format=torch.channels_last)
        self._faster = [faster(self.net)]  # in a list: the same layers again, which no checkpoint should hold twice
        self.classes = tuple(classes)
        self.optimizer, self.lr, self.schedule, self.monitor, self.seed = (
            optimizer,
            lr,
            schedule,
            monitor,
            seed,
        )
        weight = None if class_weights is None else torch.tensor(class_weights, dtype=torch.float32)
        self.loss = nn.CrossEntropyLoss(weight)
        stages = ("train", "val", "test")
        self._metrics = nn.ModuleDict({stage_key(stage): class_metrics(len(classes)) for stage in stages})
        # A batch with a loss of NaN makes the mean NaN: by default torchmetrics would leave it out.
        self._losses = nn.ModuleDict({stage_key(stage): MeanMetric(nan_strategy=math.nan) for stage in stages})
        self.confusion: dict[str, Tensor] = {}
        self.seen: dict[str, Tensor] = {}
        self._seen: dict[str, list[tuple[Tensor, Tensor, Tensor]]] = {}
        self._validated: int | None = None  # the last epoch that was: not every one has to be

    def metrics(self, stage: str) -> MetricCollection:
        """Return the metrics of a stage (``train``, ``val`` or ``test``)."""
        return cast(MetricCollection, self._metrics[stage_key(stage)])

    def mean_loss(self, stage: str) -> MeanMetric:
        """Return the mean loss of a stage."""
        return cast(MeanMetric, self._losses[stage_key(stage)])

    def forward(self, images: Tensor) -> Tensor:
        """Compute logits, float32 whatever the precision, shape (N, classes)."""
        logits: Tensor = self._faster[0](images)
        return logits.float()

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Compute the loss of a batch and count its metrics, on augmented images, as Keras does."""
        loss, _ = self._step("train", batch)
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Count a batch; return its probabilities, which the figures are drawn from."""
        return self._step("val", batch)[1].detach().softmax(dim=1)

    def test_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Count a batch; return its probabilities, which are written to the predictions."""
        return self._step("test", batch)[1].detach().softmax(dim=1)

    def predict_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Compute class probabilities (softmax), float, shape (N, classes)."""
        probabilities: Tensor = self(batch[0]).softmax(dim=1)
        return probabilities

    def on_train_epoch_start(self) -> None:
        """Reset the metrics, and seed what the net draws, so that a resumed run draws as an uninterrupted one."""
        self._reset("train")
        # Every process that trains draws for its own images. torch keeps only the lower 32 bits of a seed on the CPU:
        # this factor, 2**32 / golden ratio, sends the processes far from each other within them.
        torch.manual_seed(self.seed * 1_000_003 + self.current_epoch + self.global_rank * 2_654_435_761)

    def on_validation_epoch_start(self) -> None:
        """Reset the validation metrics."""
        self._reset("val")

    def on_test_epoch_start(self) -> None:
        """Reset the test metrics."""
        self._reset("test")

    def on_train_epoch_end(self) -> None:
        """Log the epoch's metrics under ``train/``; step a plateau schedule."""
        self._log_epoch("train")
        scheduler = self.lr_schedulers()
        if isinstance(scheduler, ReduceLROnPlateau) and self._validated == self.current_epoch:
            scheduler.step(float(self.trainer.callback_metrics[self.monitor]))

    def on_validation_epoch_end(self) -> None:
        """Log the epoch's metrics under ``val/``."""
        self._log_epoch("val")
        self._validated = self.current_epoch

    def on_test_epoch_end(self) -> None:
        """Log the metrics under ``test/``."""
        self._log_epoch("test")

    def metric_names(self, stage: str) -> list[str]:
        """List the names under which a stage (``train``, ``val``, ``test``) logs its metrics."""
        names = [f"{stage}/loss"]
        for name in self.metrics(stage).keys(keep_base=True):
            each = name in ("precision", "recall", "f1")
            if name != "confusion":
                names += [f"{stage}/{name}/{cell}" for cell in self.classes] if each else [f"{stage}/{name}"]
        return names

    def configure_optimizers(self) -> Any:
        """Create optimizer and schedule; a plateau is stepped by epoch, every other schedule by batch."""
        optimizer = self.optimizer(self.parameters(), lr=self.lr)
        if self.schedule is None:
            return optimizer
        scheduler = self.schedule(optimizer, total_steps=int(self.trainer.estimated_stepping_batches))
        config = {"scheduler": scheduler, "interval": "step", "monitor": self.monitor}
        if isinstance(scheduler, ReduceLROnPlateau):
            # Lightning would step a plateau after the epoch's checkpoint is written, and leave that step out
            # when it resumes: on_train_epoch_end does it instead, and this frequency is never reached.
            config |= {"interval": "epoch", "frequency": 2**62}
        return {"optimizer": optimizer, "lr_scheduler": config}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Store the class names and what the weights have seen in the checkpoint."""
        checkpoint["classes"] = list(self.classes)
        checkpoint["seen"] = self.seen

    def _step(self, stage: str, batch: Batch) -> tuple[Tensor, Tensor]:
        images, labels, _ = batch
        logits = self(images)
        loss: Tensor = self.loss(logits, labels)
        counted = loss.detach()
        if processes() > 1:
            of_weights, of_images = self._shares(labels)
            loss, counted = loss * of_weights * processes(), counted * of_weights / of_images
        self._seen[stage].append((logits.detach(), labels, counted))
        return loss, logits

    def _shares(self, labels: Tensor) -> Tensor:
        """Compute what share of a batch this process holds: of the class weights, and of the number of images.

        DDP takes the mean of the gradients over processes, whatever each had of the batch. A process's mean loss
        times its part of the weights and the number of processes makes that mean the gradient of the whole batch.
        """
        weights = self.loss.weight
        images = labels.new_full((), len(labels), dtype=torch.float32)
        own = torch.stack([images if weights is None else weights[labels].sum(), images])
        whole = own.clone()
        dist.all_reduce(whole)
        return own / whole

    def _reset(self, stage: str) -> None:
        self.metrics(stage).reset()
        self.mean_loss(stage).reset()
        self._seen[stage] = []

    def _log_epoch(self, stage: str) -> None:
        # Counted once: a few numbers an image are kept for it, and no step waits for the counts.
        logits, labels, losses = zip(*self._seen.pop(stage), strict=True)
        self.metrics(stage).update(torch.cat(logits), torch.cat(labels))
        sizes = torch.tensor([len(one) for one in labels], device=losses[0].device)
        self.mean_loss(stage).update(torch.stack(losses), weight=sizes)
        values = self.metrics(stage).compute()
        self.confusion[stage] = values.pop("confusion").cpu()
        named: dict[str, float | Tensor] = {f"{stage}/loss": self.mean_loss(stage).compute()}
        for name, value in values.items():
            if value.ndim == 0:
                named[f"{stage}/{name}"] = value
            else:
                named |= {f"{stage}/{name}/{cell}": one for cell, one in zip(self.classes, value, strict=True)}
        # TensorBoard's axis is then the epoch instead of the optimizer step. Passes over a finished
        # checkpoint are no points of the curves.
        self.log_dict({**named, "step": float(self.current_epoch)}, logger=self.trainer.state.fn == "fit")


def check_classes(trained: Sequence[str] | None, given: Sequence[str], checkpoint: str) -> None:
    """Refuse weights that were trained on other classes than the data have.

    Args:
        trained: Class names in the checkpoint, or ``None`` if it names none.
        given: Class names of the data.
        checkpoint: Its name, for the message.

    Raises:
        InputError: If they differ.
    """
    if trained is None or list(trained) == list(given):
        return
    raise InputError(
        checkpoint,
        expected=f"data with its {len(trained)} classes ({', '.join(trained)})",
        got=f"{len(given)} ({', '.join(given)})",
        fix="give data with the same class folders, or fine-tune with init_from=CKPT, which makes a new last layer",
    )
