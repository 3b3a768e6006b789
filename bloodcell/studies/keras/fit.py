"""One training of Table 1 in Keras with Keras's defaults, on the same images as ``experiment=paper_literal``."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import torch
from keras import layers

from bloodcell.common.files import write_json
from bloodcell.config.compose import composed
from bloodcell.data.datamodule import CellImages
from bloodcell.data.describe import describe
from bloodcell.evidence.intervals import Ints
from bloodcell.tracking.manifest import manifest
from bloodcell.tracking.predictions import FILE, Predictions, write_predictions
from bloodcell.tracking.save import portable
from bloodcell.training.assemble import make_data

EXPERIMENT = "paper_literal"
# As bloodcell.model.probe: a net that trains has a mean loss below this over so many steps, within 1,000 steps.
THRESHOLD, WINDOW, STEPS = 1.30, 100, 1000
GATHERED = 512  # images decoded at once


class Losses(keras.callbacks.Callback):  # type: ignore[misc]  # Keras has no types
    """Keeps the loss of every step: Keras shows the mean over the epoch so far."""

    def __init__(self) -> None:
        super().__init__()
        self.steps: list[float] = []
        self._sum = 0.0

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        """Take the step's own loss out of the running mean."""
        total = float((logs or {})["loss"]) * (batch + 1)
        self.steps.append(total - (self._sum if batch else 0.0))
        self._sum = total


def train_in_keras(protocol: str, fold: int, seed: int, epochs: int, out: Path) -> None:
    """Train, test the last epoch, and write ``metrics.json``, ``manifest.json`` and ``predictions.csv``.

    Args:
        protocol: ``random`` or ``grouped``.
        fold: The fold that is tested, of ``grouped``.
        seed: Of weights, order, augmentation and dropout.
        epochs: Epochs to train.
        out: Folder to write into.
    """
    started = time.perf_counter()
    cfg = composed([f"experiment={EXPERIMENT}", f"data.protocol={protocol}", f"data.fold={fold}", f"seed={seed}"])
    data = make_data(cfg)
    about = describe(data)
    keras.utils.set_random_seed(seed)
    model = table_1(len(data.classes), list(cfg.data.image_size))
    losses, rows = Losses(), data.split.train
    said = model.fit(
        pixels_of(data, rows),
        data.index.label[rows],
        batch_size=int(cfg.data.batch_size),
        epochs=epochs,
        verbose=2,
        callbacks=[losses],
    )
    tested = np.concatenate([data.split.test, data.split.test_beside])
    probabilities = model.predict(pixels_of(data, tested), batch_size=256, verbose=0).astype(np.float64)
    write_predictions(out / FILE, _table(data, tested, probabilities))
    record = manifest({"seed": seed}, about.entries())
    record["versions"] |= {"keras": keras.__version__, "backend": keras.config.backend()}
    write_json(out / "manifest.json", portable({**record, "wall_seconds": round(time.perf_counter() - started, 1)}))
    epochs_said = {name: [float(value) for value in values] for name, values in said.history.items()}
    told = {"protocol": protocol, "fold": fold, "seed": seed, "epochs": epochs, **leaves_chance(losses.steps)}
    write_json(out / "metrics.json", {**told, "history": epochs_said})


def table_1(classes: int, image_size: Sequence[int]) -> Any:
    """Build the net of the paper's Table 1; what it leaves open is as Keras's own examples have it.

    Args:
        classes: Number of classes.
        image_size: Height and width in pixels.
    """
    model = keras.Sequential(
        [
            keras.Input((*image_size, 3)),
            layers.RandomFlip(),
            layers.RandomRotation(20 / 360),
            layers.RandomZoom(0.2),
            layers.Rescaling(1 / 255),
            layers.Conv2D(32, 3, activation="relu"),
            layers.MaxPooling2D(),
            layers.Conv2D(64, 3, activation="relu"),
            layers.MaxPooling2D(),
            layers.Conv2D(128, 3, activation="relu"),
            layers.Flatten(),
            layers.Dense(128, activation="relu"),
            layers.Dropout(0.5),
            layers.Dense(classes, activation="softmax"),
        ]
    )
    model.compile(keras.optimizers.Adam(1e-3), "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def leaves_chance(losses: Sequence[float]) -> dict[str, float]:
    """Say whether a training leaves the loss of guessing (ln 4 = 1.386), by the rule of ``bloodcell.model.probe``.

    Args:
        losses: Of each step.

    Returns:
        ``trains`` (1 or 0), ``steps`` until then and ``loss``, the lowest mean over a window within those steps.
    """
    sums = np.cumsum([0.0, *losses[:STEPS]])
    means = (sums[WINDOW:] - sums[:-WINDOW]) / WINDOW  # none of fewer steps than a window
    below = np.flatnonzero(means < THRESHOLD)
    steps = int(below[0]) + WINDOW if len(below) else min(STEPS, len(losses))
    lowest = float(means[: max(steps - WINDOW + 1, 0)].min(initial=float("inf")))
    return {"trains": float(bool(len(below))), "steps": float(steps), "loss": lowest}


def pixels_of(data: CellImages, rows: Ints) -> npt.NDArray[np.uint8]:
    """Gather images as Keras wants them: uint8, shape (N, H, W, 3)."""
    parts = [
        data.gather(torch.from_numpy(rows[start : start + GATHERED])).permute(0, 2, 3, 1).contiguous().numpy()
        for start in range(0, len(rows), GATHERED)
    ]
    return np.concatenate(parts)


def _table(data: CellImages, rows: Ints, probabilities: npt.NDArray[np.float64]) -> Predictions:
    index = data.index
    texts = (index.file[rows], index.view[rows], index.micrograph[rows], index.group[rows])
    return Predictions(index.classes, *texts, index.label[rows], probabilities.argmax(axis=1), probabilities)
