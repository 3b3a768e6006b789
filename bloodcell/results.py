"""From a trained checkpoint to numbers: the test pass, the table on the terminal, what is said beside them."""

from pathlib import Path
from typing import Any

import lightning as L
from rich.console import Console
from rich.table import Table

from bloodcell.data.datamodule import BloodCells
from bloodcell.evidence.calibration import probability_scores
from bloodcell.evidence.tables import class_results
from bloodcell.model.classifier import CellClassifier
from bloodcell.model.weights import read_checkpoint
from bloodcell.recorder import RunRecorder
from bloodcell.rundir import write_json

SYNTHETIC = "SYNTHETIC smears, not real cells"


def name_of(data: BloodCells) -> str:
    """What the images are, in every place where a result is read."""
    return SYNTHETIC if data.synthetic else data.source


def describe_data(data: BloodCells) -> dict[str, Any]:
    """What the manifest says of the data: source, fingerprint, protocol, caveat, counts."""
    split, index = data.split, data.index
    return {
        "source": name_of(data),
        "root": str(index.root),
        "fingerprint": index.fingerprint(),
        "protocol": split.protocol,
        "caveat": split.caveat,
        "images": {"train": len(split.train), "val": len(split.val), "test": len(split.test)},
        "training_images": {name: int(n) for name, n in zip(index.classes, index.counts(split.train), strict=True)},
    }


def measure(
    trainer: L.Trainer,
    classifier: CellClassifier,
    data: BloodCells,
    recorder: RunRecorder,
    checkpoint: Path,
    *,
    validate: bool,
) -> dict[str, float]:
    """Test a checkpoint once: metrics, ``predictions.csv``, figures and the table on the terminal.

    Args:
        trainer: Runs the passes.
        classifier: Is given the checkpoint's weights.
        data: The data, set up.
        recorder: The trainer's recorder; its directory is written to.
        checkpoint: What to test.
        validate: Whether to measure the validation rows with it as well.

    Returns:
        ``test/...`` and, if asked for, ``val/...``.
    """
    metrics: dict[str, float] = {}
    for run in [trainer.validate, trainer.test] if validate else [trainer.test]:
        run(classifier, data, ckpt_path=checkpoint, verbose=False, weights_only=True)
        metrics |= {name: float(value) for name, value in trainer.callback_metrics.items() if "/" in name}
    rows, probabilities = recorder.predictions()
    scores = probability_scores(data.index.label[rows], probabilities)
    metrics |= {f"test/{name}": value for name, value in scores.items()}
    recorder.write_results(trainer, classifier, step=epoch_of(checkpoint) - 1)
    print_results(data, classifier, metrics, f"{checkpoint.stem} checkpoint, epoch {epoch_of(checkpoint)}")
    where = recorder.run_dir
    print(f"figures:     {where / 'figures'}\nnumbers:     {where / 'metrics.json'}", flush=True)
    return metrics


def write_metrics(path: Path, data: BloodCells, checkpoint: Path, metrics: dict[str, float]) -> None:
    """Write ``metrics.json``: the numbers, and beside them what must be said of them."""
    said = {
        "data": name_of(data),
        "protocol": data.split.protocol,
        "caveat": data.split.caveat,
        "checkpoint": checkpoint.stem,
        "epoch": epoch_of(checkpoint),
    }
    write_json(path, {**said, **metrics})


def epoch_of(checkpoint: Path) -> int:
    """Epochs of training in a checkpoint, counted from 1."""
    return int(read_checkpoint(checkpoint, str(checkpoint))["epoch"]) + 1


def print_results(data: BloodCells, classifier: CellClassifier, metrics: dict[str, float], which: str) -> None:
    """Print the table of test metrics by class and the lines below it."""
    confusion = classifier.confusion["test"].numpy()
    independent = data.index.grouped
    title = f"test, protocol {data.split.protocol}, {which}"
    table = Table(title=f"{SYNTHETIC}\n{title}" if data.synthetic else title, title_justify="left")
    columns = ["class", "precision", "recall", *(["95 % interval"] if independent else []), "F1", "images"]
    for column in columns:
        table.add_column(column, justify="left" if column == "class" else "right")
    for row in class_results(confusion, data.classes, independent=independent):
        interval = [f"{row.interval[0]:.3f}-{row.interval[1]:.3f}"] if row.interval else [""] * independent
        table.add_row(
            row.name,
            f"{row.precision:.3f}",
            f"{row.recall:.3f}",
            *interval,
            f"{row.f1:.3f}",
            f"{row.images:,}",
        )
    Console().print(table)
    majority = confusion.sum(axis=1).max() / confusion.sum()
    print(f"balanced accuracy {metrics['test/balanced_acc']:.3f} (chance {1 / len(data.classes):.3f})")
    print(f"macro-F1          {metrics['test/macro_f1']:.3f}")
    print(f"accuracy          {metrics['test/acc']:.3f} (always the commonest class: {majority:.3f})")
    if not independent:
        print("no intervals: images that are copies of one photograph are not independent of one another")
    if data.split.caveat:
        print(f"note: {data.split.caveat}")
