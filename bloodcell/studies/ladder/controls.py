"""Controls that learn nothing: each test image gets the class of the nearest training image."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from bloodcell.common.console import progress_bar
from bloodcell.evidence.intervals import Ints
from bloodcell.studies.ladder.rows import Tested
from bloodcell.tracking.predictions import Predictions

if TYPE_CHECKING:  # torch takes seconds to import: --help must not wait for it
    from bloodcell.data.datamodule import CellImages
    from bloodcell.data.index import Index

HISTOGRAM, RAW = "nearest colour histogram", "nearest raw pixels"
# Rows compared at once: 512 x 12,000 similarities are 25 MB.
CHUNK = 512
Features = npt.NDArray[np.float32]


def nearest_labels(known: Features, labels: Ints, asked: Features) -> Ints:
    """Give each row the label of the known row with the largest dot product.

    Args:
        known: Features of the training images, float32, shape (M, D).
        labels: Their class numbers, int64, shape (M,).
        asked: Features of the test images, float32, shape (N, D).

    Returns:
        Class numbers, int64, shape (N,).
    """
    found = [labels[(asked[start : start + CHUNK] @ known.T).argmax(axis=1)] for start in range(0, len(asked), CHUNK)]
    return np.concatenate(found)


def neighbour_tests(data: Mapping[str, Sequence["CellImages"]], seed: int) -> list[Tested]:
    """Test both controls, the nearest image in colours and in raw pixels, on the splits of some protocols.

    Args:
        data: The folds of each protocol, one where there are none.
        seed: Seed of the trainings that they stand beside.
    """
    index = next(iter(data.values()))[0].index
    found = []
    for model, features in zip((HISTOGRAM, RAW), _features(index), strict=True):
        for rung, one in ((rung, one) for rung, folds in data.items() for one in folds):
            split = one.split
            known = np.union1d(split.train, split.val) if split.choice else split.train
            for rows in (split.test, split.test_beside):
                predicted = nearest_labels(features[known], index.label[known], features[rows])
                table = _predictions(index, rows, predicted)
                found.append(Tested(model, rung, seed, str(table.view[0]), table))
    return found


def _features(index: "Index") -> tuple[Features, Features]:
    """The colour histogram and the reduced pixels of every image."""
    from concurrent.futures import ThreadPoolExecutor

    from bloodcell.data.colours import colour_histogram, thumbnail
    from bloodcell.data.pixels import open_row

    def reduce(row: int) -> tuple[Any, Any]:
        pixels = np.asarray(open_row(index, row))
        return colour_histogram(pixels), thumbnail(pixels)

    with progress_bar() as progress, ThreadPoolExecutor() as pool:
        done = pool.map(reduce, range(len(index)))
        reduced = list(progress.track(done, total=len(index), description="colours and pixels"))
    histograms, pixels = (np.stack(column) for column in zip(*reduced, strict=True))
    return histograms, pixels


def _predictions(index: "Index", rows: Ints, predicted: Ints) -> Predictions:
    """A table in which the predicted class has all the probability."""
    return Predictions(
        classes=index.classes,
        file=index.file[rows],
        view=index.view[rows],
        photograph=index.micrograph[rows],
        group=index.group[rows],
        correct=index.label[rows],
        predicted=predicted,
        probabilities=np.eye(len(index.classes))[predicted],
    )
