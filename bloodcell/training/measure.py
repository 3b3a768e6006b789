"""From a trained checkpoint to numbers and predictions: nothing is written, nothing is shown."""

from pathlib import Path
from typing import NamedTuple

import lightning as L
import numpy as np
import numpy.typing as npt
import torch
from lightning.pytorch.plugins.precision import Precision

from bloodcell.data.datamodule import CellImages
from bloodcell.data.index import IntArray
from bloodcell.evidence.calibration import apply_temperature, fit_temperature, probability_scores
from bloodcell.evidence.intervals import Estimate
from bloodcell.evidence.scores import score
from bloodcell.model.classifier import CellClassifier
from bloodcell.model.weights import digest_of_weights, read_checkpoint, take_weights
from bloodcell.tracking.predictions import LEFT_OUT, Answers
from bloodcell.training.collect import Collector


class Result(NamedTuple):
    """What a checkpoint reaches.

    Attributes:
        checkpoint: ``best`` or ``last``.
        epoch: Epochs that it was trained for.
        metrics: Numbers by name (``test/acc``).
        intervals: Their 95 % intervals over field groups, where groups are known.
        views: Predictions of the tested photographs: ``test``, and ``original`` or ``twin`` for another view of
            them; and ``left_out``, of copies of photographs that were learnt; empty if nothing was tested.
        confusion: Counts of the test images, int64, shape (classes, classes), correct class by predicted class;
            empty if nothing was tested.
        weights: Hash of the net's weights and buffers; empty if nothing was measured with them.
    """

    checkpoint: str
    epoch: int
    metrics: dict[str, float]
    intervals: dict[str, Estimate]
    views: dict[str, Answers]
    confusion: npt.NDArray[np.int64]
    weights: str = ""


def measure(
    trainer: L.Trainer,
    classifier: CellClassifier,
    data: CellImages,
    collector: Collector,
    checkpoint: Path,
    *,
    validate: bool,
    test: bool = True,
) -> Result:
    """Test a checkpoint once.

    Args:
        trainer: Runs the passes.
        classifier: Is given the checkpoint's weights.
        data: The data, set up.
        collector: The trainer's.
        checkpoint: What to test.
        validate: Whether to measure the validation rows with it as well.
        test: Whether to look at the test rows at all.

    Returns:
        Metrics ``test/...``, for a second view of the test photographs ``original/...`` or ``twin/...``, of what
        ``data.train_images`` left out of the training ``left_out/...``, and, if asked for, ``val/...``.
    """
    metrics: dict[str, float] = {}
    take_weights(classifier, checkpoint)
    trainer.strategy.precision_plugin = Precision()  # what is reported is computed in float32, however it was trained
    for run in [*([trainer.validate] if validate else []), *([trainer.test] if test else [])]:
        run(classifier, data, verbose=False)
        metrics |= {name: float(value) for name, value in trainer.callback_metrics.items() if "/" in name}
    views: dict[str, Answers] = {}
    intervals: dict[str, Estimate] = {}
    if test:
        views["test"] = collector.predictions()
        if len(data.split.test_beside):
            beside = predict(trainer, classifier, data, data.split.test_beside)
            views[str(data.index.view[beside.rows[0]])] = beside
        if len(data.split.left_out):
            views[LEFT_OUT] = predict(trainer, classifier, data, data.split.left_out)
    for name, (rows, probabilities) in views.items():
        found = score(data.index.label[rows], probabilities, data.index.group[rows], data.classes)
        for cell in np.setdiff1d(data.classes, np.array(data.classes)[data.index.label[rows]]):
            for kind in ("precision", "recall", "f1"):  # the pass counted a 0 where nothing is defined
                metrics.pop(f"{name}/{kind}/{cell}", None)
        metrics |= {f"{name}/{key}": value for key, value in found.values.items()}
        intervals |= {f"{name}/{key}": value for key, value in found.intervals.items()}
    if test:
        metrics |= tempered(trainer, classifier, data, views)
    confusion = classifier.confusion["test"].numpy() if test else np.zeros((0, 0), dtype=np.int64)
    weights = digest_of_weights(classifier.net.state_dict())
    epoch, ordered = epoch_of(checkpoint), dict(sorted(metrics.items()))
    return Result(checkpoint.stem, epoch, ordered, intervals, views, confusion, weights)


def not_measured(checkpoint: Path, metrics: dict[str, float]) -> Result:
    """Give what a training itself has found as its result, where no checkpoint is to be reported."""
    return Result(checkpoint.stem, epoch_of(checkpoint), metrics, {}, {}, np.zeros((0, 0), dtype=np.int64))


def predict(trainer: L.Trainer, classifier: CellClassifier, data: CellImages, rows: IntArray) -> Answers:
    """Compute probabilities of some rows by the classifier as it is, on the trainer's device, in float32."""
    classifier.to(trainer.strategy.root_device).eval()
    with torch.inference_mode():
        found = [
            classifier(batch.images).softmax(dim=1).cpu() for batch in data.batches(rows, trainer.strategy.root_device)
        ]
    return Answers(rows, torch.cat(found).double().numpy())


def tempered(
    trainer: L.Trainer, classifier: CellClassifier, data: CellImages, views: dict[str, Answers]
) -> dict[str, float]:
    """Fit a temperature on the originals of the validation groups, and measure what it does to the test."""
    if not len(data.split.calibration):
        return {}
    rows, probabilities = predict(trainer, classifier, data, data.split.calibration)
    temperature = fit_temperature(data.index.label[rows], probabilities)
    found = {"calibration/temperature": temperature, "calibration/images": float(len(rows))}
    for name, (tested, shares) in views.items():
        after = probability_scores(data.index.label[tested], apply_temperature(shares, temperature))
        found |= {f"{name}/{key}_tempered": after[key] for key in ("log_loss", "log_loss_uniform", "brier", "ece")}
    return found


def epoch_of(checkpoint: Path) -> int:
    """Return the epochs of training in a checkpoint, counted from 1."""
    return int(read_checkpoint(checkpoint, str(checkpoint)).get("epoch", -1)) + 1
