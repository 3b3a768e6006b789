"""From a trained checkpoint to numbers: the test pass, the table on the terminal, what is said beside them."""

from pathlib import Path

import lightning as L
import torch
from lightning.pytorch.plugins.precision import Precision

from bloodcell.common.files import write_json
from bloodcell.data.datamodule import BloodCells
from bloodcell.data.describe import leakage, name_of, warning_of
from bloodcell.data.index import IntArray
from bloodcell.evidence.calibration import apply_temperature, fit_temperature, probability_scores
from bloodcell.evidence.intervals import Estimate
from bloodcell.evidence.scores import score
from bloodcell.model.classifier import CellClassifier
from bloodcell.model.weights import read_checkpoint
from bloodcell.tracking.predictions import Predictions
from bloodcell.training.printout import Result, print_results
from bloodcell.training.recorder import RunRecorder


def measure(
    trainer: L.Trainer,
    classifier: CellClassifier,
    data: BloodCells,
    recorder: RunRecorder,
    checkpoint: Path,
    *,
    validate: bool,
    test: bool = True,
) -> Result:
    """Test a checkpoint once: metrics, ``predictions.csv``, figures and the table on the terminal.

    Args:
        trainer: Runs the passes.
        classifier: Is given the checkpoint's weights.
        data: The data, set up.
        recorder: The trainer's recorder; its directory is written to.
        checkpoint: What to test.
        validate: Whether to measure the validation rows with it as well.
        test: Whether to look at the test rows at all.

    Returns:
        ``test/...``, for a second view of the test photographs ``original/...`` or ``twin/...``, and, if asked for,
        ``val/...``; with intervals.
    """
    metrics: dict[str, float] = {}
    trainer.strategy.precision_plugin = Precision()  # what is reported is computed in float32, however it was trained
    for run in [*([trainer.validate] if validate else []), *([trainer.test] if test else [])]:
        run(classifier, data, ckpt_path=checkpoint, verbose=False, weights_only=True)
        metrics |= {name: float(value) for name, value in trainer.callback_metrics.items() if "/" in name}
    if not test:
        print(f"validation balanced accuracy {metrics['val/balanced_acc']:.3f}; the test images were not looked at")
        return Result(dict(sorted(metrics.items())), {})
    tested = recorder.predictions()
    views = {"test": tested}
    if len(data.split.test_beside):
        beside = predict(trainer, classifier, data, data.split.test_beside)
        views[str(data.index.view[beside.rows[0]])] = beside
    intervals: dict[str, Estimate] = {}
    for name, (rows, probabilities) in views.items():
        found = score(data.index.label[rows], probabilities, data.index.group[rows], data.classes)
        metrics |= {f"{name}/{key}": value for key, value in found.values.items()}
        intervals |= {f"{name}/{key}": value for key, value in found.intervals.items()}
    metrics |= tempered(trainer, classifier, data, views)
    recorder.write_results(trainer, classifier, list(views.values()), step=epoch_of(checkpoint) - 1)
    result = Result(dict(sorted(metrics.items())), intervals)
    print_results(data, classifier, result, f"{checkpoint.stem} checkpoint, epoch {epoch_of(checkpoint)}")
    where = recorder.run_dir
    print(f"figures:     {where / 'figures'}\nnumbers:     {where / 'metrics.json'}", flush=True)
    return result


def predict(trainer: L.Trainer, classifier: CellClassifier, data: BloodCells, rows: IntArray) -> Predictions:
    """Probabilities of some rows by the classifier as it is, on the trainer's device, in float32."""
    classifier.to(trainer.strategy.root_device).eval()
    with torch.inference_mode():
        found = [
            classifier(batch.images).softmax(dim=1).cpu() for batch in data.batches(rows, trainer.strategy.root_device)
        ]
    return Predictions(rows, torch.cat(found).double().numpy())


def tempered(
    trainer: L.Trainer, classifier: CellClassifier, data: BloodCells, views: dict[str, Predictions]
) -> dict[str, float]:
    """The temperature fitted on the originals of the validation groups, and what it does to the test."""
    if not len(data.split.calibration):
        return {}
    rows, probabilities = predict(trainer, classifier, data, data.split.calibration)
    temperature = fit_temperature(data.index.label[rows], probabilities)
    found = {"calibration/temperature": temperature, "calibration/images": float(len(rows))}
    for name, (tested, shares) in views.items():
        after = probability_scores(data.index.label[tested], apply_temperature(shares, temperature))
        found |= {f"{name}/{key}_tempered": after[key] for key in ("log_loss", "log_loss_uniform", "brier", "ece")}
    return found


def write_metrics(path: Path, data: BloodCells, checkpoint: Path, result: Result) -> None:
    """Write ``metrics.json``: the numbers, and beside them what must be said of them."""
    said = {
        "data": name_of(data),
        "protocol": data.split.protocol,
        "caveat": data.split.caveat,
        "warning": warning_of(data),
        **leakage(data),
        "checkpoint": checkpoint.stem,
        "epoch": epoch_of(checkpoint),
        "intervals": {name: [one.low, one.high, one.groups] for name, one in result.intervals.items()},
    }
    write_json(path, {**said, **result.metrics})


def epoch_of(checkpoint: Path) -> int:
    """Epochs of training in a checkpoint, counted from 1."""
    return int(read_checkpoint(checkpoint, str(checkpoint))["epoch"]) + 1
