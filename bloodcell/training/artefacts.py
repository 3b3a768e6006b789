"""What a result leaves in the run directory: the numbers first, then the pictures of them."""

from collections.abc import Mapping
from pathlib import Path

import lightning as L
import numpy as np
from lightning.pytorch.loggers import TensorBoardLogger
from matplotlib.figure import Figure
from tensorboard.compat.proto.summary_pb2 import Summary

from bloodcell.common.files import write_json
from bloodcell.data.datamodule import CellImages
from bloodcell.data.decode import open_picture
from bloodcell.data.describe import DataDescription
from bloodcell.data.index import FloatArray, IntArray, StrArray
from bloodcell.evidence import figures
from bloodcell.tracking.predictions import FILE, LEFT_OUT, Answers, Predictions, write_predictions
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
    write_predictions(run_dir / FILE, _table(data, result.views))
    for name, figure in _figures(result, data, about).items():
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
        "weights": result.weights or None,
        "intervals": {name: [one.low, one.high, one.groups] for name, one in result.intervals.items()},
    }


def _table(data: CellImages, views: Mapping[str, Answers]) -> Predictions:
    """The answers as a table that needs no index."""
    index = data.index
    rows, probabilities = (np.concatenate(parts) for parts in zip(*views.values(), strict=True))
    shown = [np.full(len(one.rows), name) if name == LEFT_OUT else index.view[one.rows] for name, one in views.items()]
    return Predictions(
        classes=data.classes,
        file=index.file[rows],
        view=np.concatenate(shown),
        photograph=index.micrograph[rows],
        group=index.group[rows],
        correct=index.label[rows],
        predicted=probabilities.argmax(axis=1),
        probabilities=probabilities,
    )


def _figures(result: Result, data: CellImages, about: DataDescription) -> dict[str, Figure]:
    tested, index, classes = result.views["test"], data.index, data.classes
    labels, groups = index.label[tested.rows], index.group[tested.rows] if index.grouped else None
    title = f"{about.label}test, protocol {about.protocol}, {len(tested.rows):,} images"
    drawn = figures.of_test(labels, tested.probabilities, groups, classes, title)
    return {**drawn, "mistakes": _mistakes(tested, data, about.label)}


def _mistakes(tested: Answers, data: CellImages, label: str) -> Figure:
    """Draw the test images whose true class was given the least probability, one a field group."""
    index, classes = data.index, data.classes
    rows, probabilities = tested
    labels, predicted = index.label[rows], probabilities.argmax(axis=1)
    images, captions = [], []
    for one in worst_mistakes(labels, probabilities, index.group[rows] if index.grouped else None)[:MISTAKES_SHOWN]:
        images.append(np.asarray(open_picture(index.where(int(rows[one])))))
        name = Path(str(index.file[rows[one]])).name
        truth, answer = classes[labels[one]].lower(), classes[predicted[one]].lower()
        captions.append(f"{truth}, said {answer} {probabilities[one, predicted[one]]:.0%}\n{_short(name)}")
    each = ", one a field group" if index.grouped else ""
    wrong = int((predicted != labels).sum())
    return figures.image_grid(
        images, captions, f"{label}worst of {wrong:,} mistakes in {len(rows):,} test images{each}"
    )


def worst_mistakes(labels: IntArray, probabilities: FloatArray, groups: StrArray | None) -> IntArray:
    """Find the images whose true class was given the least probability, among those that were answered wrongly.

    Args:
        labels: True class numbers, shape (N,).
        probabilities: Shape (N, classes).
        groups: Field groups, shape (N,): the worst image of each, as its copies would look alike; ``None`` for all.

    Returns:
        Places in ``labels``, worst first.
    """
    wrong = np.flatnonzero(probabilities.argmax(axis=1) != labels)
    worst = wrong[np.argsort(probabilities[wrong, labels[wrong]], kind="stable")]
    if groups is None:
        return worst
    return worst[np.sort(np.unique(groups[worst], return_index=True)[1])]


def _short(name: str) -> str:
    return name if len(name) <= 30 else f"{name[:14]}…{name[-15:]}"


def keep_figure(run_dir: Path, name: str, figure: Figure, trainer: L.Trainer | None, step: int) -> None:
    """Write a figure to ``figures/NAME.png``, and the same file to TensorBoard.

    Args:
        run_dir: The run directory.
        name: Name of the figure.
        figure: Drawn once.
        trainer: Whose TensorBoard gets it; ``None`` for nobody's.
        step: Epoch to write it at.
    """
    file = run_dir / "figures" / f"{name}.png"
    height, width, _ = figures.save(figure, file).shape
    for logger in tensorboards(trainer) if trainer else []:
        # add_image() would compress the pixels once more
        image = Summary.Image(height=height, width=width, colorspace=3, encoded_image_string=file.read_bytes())
        value = Summary.Value(tag=f"figures/{name}", image=image)
        logger.experiment._get_file_writer().add_summary(Summary(value=[value]), step)


def tensorboards(trainer: L.Trainer) -> list[TensorBoardLogger]:
    """Return the loggers of a trainer that draw."""
    return [logger for logger in trainer.loggers if isinstance(logger, TensorBoardLogger)]
