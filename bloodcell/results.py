"""From a trained checkpoint to numbers: the test pass, the table on the terminal, what is said beside them."""

from pathlib import Path
from typing import Any, NamedTuple

import lightning as L
import torch
from lightning.pytorch.plugins.precision import Precision
from rich.console import Console
from rich.table import Table

from bloodcell.data.datamodule import BloodCells
from bloodcell.data.fingerprint import fingerprint_of
from bloodcell.data.index import IntArray
from bloodcell.data.lineage import check_hashes, read_lineage
from bloodcell.evidence.calibration import apply_temperature, fit_temperature, probability_scores
from bloodcell.evidence.intervals import Estimate
from bloodcell.evidence.scores import score
from bloodcell.evidence.tables import class_results
from bloodcell.files import write_json
from bloodcell.model.classifier import CellClassifier
from bloodcell.model.weights import read_checkpoint
from bloodcell.recorder import Predictions, RunRecorder


class Result(NamedTuple):
    """What a test gave.

    Attributes:
        metrics: Numbers by name (``test/acc``).
        intervals: Their 95 % intervals over field groups, where groups are known.
    """

    metrics: dict[str, float]
    intervals: dict[str, Estimate]


SYNTHETIC = "SYNTHETIC smears, not real cells"


def name_of(data: BloodCells) -> str:
    """What the images are, in every place where a result is read."""
    return SYNTHETIC if data.synthetic else data.source


def describe_data(data: BloodCells) -> dict[str, Any]:
    """What the manifest says of the data: source, fingerprint, protocol, caveat, counts, leakage.

    Raises:
        InputError: If the split rests on the lineage table and an image is another one than in the table.
    """
    split, index = data.split, data.index
    found = index.digests()
    beside = {name: found[name] for name in index.file[~index.published].tolist()}
    if split.protocol in ("grouped", "official_strict") and data.source == "blood_cells":
        check_hashes(found, read_lineage(data.tables))
    return {
        "source": name_of(data),
        "root": str(index.root),
        # Of the images as they are published; the originals and reductions beside them have one of their own.
        "fingerprint": fingerprint_of({name: found[name] for name in index.file[index.published].tolist()}),
        **({"fingerprint_beside": fingerprint_of(beside)} if beside else {}),
        "protocol": split.protocol,
        "caveat": split.caveat,
        "images": {"train": len(split.train), "val": len(split.val), "test": len(split.test)},
        "training_images": {name: int(n) for name, n in zip(index.classes, index.counts(split.train), strict=True)},
        **leakage(data),
    }


def leakage(data: BloodCells) -> dict[str, int]:
    """Field groups of the test images, and how many of them are learnt from as well; nothing if not known."""
    shared, groups = data.split.shared_groups(data.index, data.split.test)
    return {"shared_groups": shared, "test_groups": groups} if groups else {}


def warning_of(data: BloodCells) -> str:
    """What a split that leaks is said to do, in one line; empty for one that does not."""
    found = leakage(data)
    if not found.get("shared_groups"):
        return ""
    return (
        f"WARNING: protocol {data.split.protocol} leaks: {found['shared_groups']} of the {found['test_groups']} field "
        "groups in the test images are in the training images too"
    )


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


def print_results(data: BloodCells, classifier: CellClassifier, result: Result, which: str) -> None:
    """Print the table of test metrics by class and the lines below it."""
    confusion = classifier.confusion["test"].numpy()
    intervals = result.intervals
    title = f"test, protocol {data.split.protocol}, {which}"
    table = Table(title=f"{SYNTHETIC}\n{title}" if data.synthetic else title, title_justify="left")
    columns = ["class", "precision", "recall", *(["95 % interval", "groups"] if intervals else []), "F1", "images"]
    for column in columns:
        table.add_column(column, justify="left" if column == "class" else "right")
    recalls = [intervals.get(f"test/recall/{name}") for name in data.classes] if intervals else None
    for row in class_results(confusion, data.classes, recalls):
        cells = [f"{row.interval.low:.3f}-{row.interval.high:.3f}", f"{row.interval.groups}"] if row.interval else []
        table.add_row(
            row.name,
            f"{row.precision:.3f}",
            f"{row.recall:.3f}",
            *(cells or [""] * (2 if intervals else 0)),
            f"{row.f1:.3f}",
            f"{row.images:,}",
        )
    Console().print(table)
    _print_lines("test", result, confusion.sum(axis=1), len(data.classes))
    beside = data.split.test_beside
    if len(beside):
        view = str(data.index.view[beside[0]])
        names = {"original": "originals", "twin": "copies"}
        print(f"the same photographs as {len(beside):,} {names[view]}:")
        _print_lines(view, result, data.index.counts(beside), len(data.classes))
    if intervals:
        print("intervals: 95 %, over field groups; they leave out what another seed of the training would change")
    else:
        print(
            "no intervals: the field groups of the images are not known, and copies of a photograph are not independent"
        )
    if data.split.caveat:
        print(f"note: {data.split.caveat}")
    if warning_of(data):
        print(warning_of(data))


def _print_lines(view: str, result: Result, counts: IntArray, classes: int) -> None:
    """The three summaries with intervals, beside what guessing would give."""
    beside = {
        "balanced_acc": f"chance {1 / classes:.3f}",
        "macro_f1": "",
        "acc": f"always the commonest class: {counts.max() / counts.sum():.3f}",
    }
    for key, guess in beside.items():
        name = {"balanced_acc": "balanced accuracy", "macro_f1": "macro-F1", "acc": "accuracy"}[key]
        one = result.intervals.get(f"{view}/{key}")
        words = [f"{one.low:.3f}-{one.high:.3f}"] if one else []
        said = ", ".join([*words, *([guess] if guess else [])])
        print(f"{name:17} {result.metrics[f'{view}/{key}']:.3f}" + (f" ({said})" if said else ""))
