"""Precision, recall and F1 of each class, with intervals."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bloodcell.evidence.intervals import Estimate


@dataclass(frozen=True)
class ClassResult:
    """One class's result on the test rows.

    Attributes:
        name: The class.
        precision: Share of its predictions that are correct, 0 to 1.
        recall: Share of its images that are found, 0 to 1.
        f1: Their harmonic mean.
        images: Number of images.
        interval: 95 % interval of the recall and the number of groups it rests on, or ``None``.
    """

    name: str
    precision: float
    recall: float
    f1: float
    images: int
    interval: Estimate | None


def class_results(
    confusion: npt.NDArray[np.int64], classes: Sequence[str], intervals: Sequence[Estimate | None] | None = None
) -> list[ClassResult]:
    """Compute the results of each class from a confusion matrix.

    Args:
        confusion: Counts, rows truth, columns prediction, shape (classes, classes).
        classes: Class names.
        intervals: Of the recalls, from :func:`bloodcell.evidence.intervals.recall_intervals`; ``None`` where the
            groups of the images are not known. A confusion matrix alone does not tell which images are copies of
            one photograph, so that no interval can be had from it.

    Returns:
        A result for each class; undefined shares are 0.
    """
    correct = np.diag(confusion)
    held, predicted = confusion.sum(axis=1), confusion.sum(axis=0)
    results = []
    for k, name in enumerate(classes):
        precision = float(correct[k] / predicted[k]) if predicted[k] else 0.0
        recall = float(correct[k] / held[k]) if held[k] else 0.0
        f1 = 2 * precision * recall / (precision + recall) if correct[k] else 0.0
        interval = intervals[k] if intervals else None
        results.append(ClassResult(name, precision, recall, f1, int(held[k]), interval))
    return results
