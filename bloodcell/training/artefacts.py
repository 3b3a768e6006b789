"""What a result leaves in the run directory: the numbers first, then the pictures of them."""

from collections.abc import Sequence
from pathlib import Path

import lightning as L
import numpy as np
from lightning.pytorch.loggers import TensorBoardLogger
from matplotlib.figure import Figure

from bloodcell.common.files import write_json
from bloodcell.data.datamodule import CellImages
from bloodcell.data.decode import open_picture
from bloodcell.data.describe import DataDescription
from bloodcell.evidence import figures
from bloodcell.evidence.calibration import reliability
from bloodcell.tracking.predictions import FILE, Answers, Predictions, write_predictions
from bloodcell.training.measure import Result

MISTAKES_SHOWN = 12


def write_artefacts(
    run_dir: Path, result: Result, data: CellImages, about: DataDescription, trainer: L.Trainer | None = None
) -> None:
    """Write ``metrics.json`` and, of a test, ``predictions.csv`` and the figures.

    Args:
        run_dir: Where they go.
        result: The numbers and the predictions.
        data: What was tested.
        about: Its description.
        trainer: Whose TensorBoard gets the figures as well; ``None`` for nobody's.
    """
    write_json(run_dir / "metrics.json", {**_said(result, about), **result.metrics})
    if not result.views:
        return
    write_predictions(run_dir / FILE, _table(data, list(result.views.values())))
    for name, figure in _figures(result, data, about):
        keep_figure(run_dir, name, figure, trainer, result.epoch - 1)


def _said(result: Result, about: DataDescription) -> dict[str, object]:
    """What must be said of the numbers, beside them."""
    return {
        "data": about.source,
        "protocol": about.protocol,
        "caveat": about.caveat,
        "warning": about.warning,
        **about.leakage,
        "checkpoint": result.checkpoint,
        "epoch": result.epoch,
        "intervals": {name: [one.low, one.high, one.groups] for name, one in result.intervals.items()},
    }


def _table(data: CellImages, views: Sequence[Answers]) -> Predictions:
    """The answers as a table that needs no index."""
    index = data.index
    rows, probabilities = (np.concatenate(parts) for parts in zip(*views, strict=True))
    return Predictions(
        classes=data.classes,
        file=index.file[rows],
        view=index.view[rows],
        photograph=index.micrograph[rows],
        group=index.group[rows],
        correct=index.label[rows],
        predicted=probabilities.argmax(axis=1),
        probabilities=probabilities,
    )


def _figures(result: Result, data: CellImages, about: DataDescription) -> Sequence[tuple[str, Figure]]:
    tested, index, classes = result.views["test"], data.index, data.classes
    labels, groups = index.label[tested.rows], index.group[tested.rows] if index.grouped else None
    title = f"{about.label}test, protocol {about.protocol}, {len(tested.rows):,} images"
    bins = reliability(labels, tested.probabilities, groups)
    return (
        ("confusion_matrix", figures.confusion_matrix(result.confusion, classes, title)),
        ("precision_recall", figures.precision_recall(labels, tested.probabilities, classes, title)),
        ("reliability", figures.reliability_diagram(bins, title)),
        ("mistakes", _mistakes(tested, data, about.label)),
    )


def _mistakes(tested: Answers, data: CellImages, label: str) -> Figure:
    """Draw the test images whose true class was given the least probability."""
    index, classes = data.index, data.classes
    rows, probabilities = tested
    labels, predicted = index.label[rows], probabilities.argmax(axis=1)
    wrong = np.flatnonzero(predicted != labels)
    given = probabilities[wrong, labels[wrong]]
    worst = wrong[np.argsort(given, kind="stable")][:MISTAKES_SHOWN]
    images, captions = [], []
    for one in worst:
        images.append(np.asarray(open_picture(index.where(int(rows[one])))))
        name = Path(str(index.file[rows[one]])).name
        truth, answer = classes[labels[one]].lower(), classes[predicted[one]].lower()
        captions.append(f"{truth}, said {answer} {probabilities[one, predicted[one]]:.0%}\n{name[:28]}")
    return figures.image_grid(images, captions, f"{label}worst of {len(wrong):,} mistakes in {len(rows):,} test images")


def keep_figure(run_dir: Path, name: str, figure: Figure, trainer: L.Trainer | None, step: int) -> None:
    """Write a figure to ``figures/NAME.png``, and the same pixels to TensorBoard.

    Args:
        run_dir: The run directory.
        name: Name of the figure.
        figure: Drawn once.
        trainer: Whose TensorBoard gets it; ``None`` for nobody's.
        step: Epoch to write it at.
    """
    pixels = figures.save(figure, run_dir / "figures" / f"{name}.png")
    for logger in tensorboards(trainer) if trainer else []:
        logger.experiment.add_image(f"figures/{name}", pixels, step, dataformats="HWC")  # not drawn again


def tensorboards(trainer: L.Trainer) -> list[TensorBoardLogger]:
    """Return the loggers of a trainer that draw."""
    return [logger for logger in trainer.loggers if isinstance(logger, TensorBoardLogger)]
