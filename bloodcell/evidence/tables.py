"""Tables of a run: per-class results with intervals."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.stats import binomtest


@dataclass(frozen=True)
class ClassResult:
    """One class's result on the test rows.

    Attributes:
        name: The class.
        precision: Share of its predictions that are right, 0 to 1.
        recall: Share of its images that are found, 0 to 1.
        f1: Their harmonic mean.
        images: Number of images.
        interval: 95 % Wilson interval of the recall where every image is independent, else ``None``.
    """

    name: str
    precision: float
    recall: float
    f1: float
    images: int
    interval: tuple[float, float] | None


def class_results(confusion: npt.NDArray[np.int64], classes: Sequence[str], *, independent: bool) -> list[ClassResult]:
    """Per-class results from a confusion matrix.

    Args:
        confusion: Counts, rows truth, columns prediction, shape (classes, classes).
        classes: Class names.
        independent: Whether images are independent of one another (one image per field group). Copies
            of one photograph are not: an interval by image would then be far too narrow, and none is given.

    Returns:
        One result per class; undefined shares are 0.
    """
    right = np.diag(confusion)
    found, said = confusion.sum(axis=1), confusion.sum(axis=0)
    results = []
    for k, name in enumerate(classes):
        precision = float(right[k] / said[k]) if said[k] else 0.0
        recall = float(right[k] / found[k]) if found[k] else 0.0
        f1 = 2 * precision * recall / (precision + recall) if right[k] else 0.0
        interval = wilson(int(right[k]), int(found[k])) if independent and found[k] else None
        results.append(ClassResult(name, precision, recall, f1, int(found[k]), interval))
    return results


def wilson(successes: int, trials: int, confidence: float = 0.95) -> tuple[float, float]:
    """Wilson's score interval of a proportion (Wilson 1927), as SciPy computes it.

    Args:
        successes: Number of successes.
        trials: Number of independent trials, at least 1.
        confidence: Coverage, 0 to 1.

    Returns:
        Lower and upper end, 0 to 1.
    """
    interval = binomtest(successes, trials).proportion_ci(confidence_level=confidence, method="wilson")
    return float(interval.low), float(interval.high)


def probability_scores(
    labels: npt.NDArray[np.int64], probabilities: npt.NDArray[np.float64], bins: int = 10
) -> dict[str, float]:
    """Scores of predicted probabilities.

    Args:
        labels: True class numbers, shape (N,).
        probabilities: Shape (N, classes), rows sum to 1.
        bins: Bins of equal mass for the calibration error.

    Returns:
        ``log_loss`` in nats; ``brier``, the squared error summed over classes, 0 to 2; ``ece``, the mean
        gap between the highest probability and the share of right answers over bins of equal mass, 0 to 1.
    """
    rows = np.arange(len(labels))
    given = np.clip(probabilities[rows, labels], np.finfo(np.float32).tiny, 1.0)
    truth = np.zeros_like(probabilities)
    truth[rows, labels] = 1.0
    confidence = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == labels
    parts = np.array_split(np.argsort(confidence, kind="stable"), min(bins, len(labels)))
    gaps = [len(part) * abs(confidence[part].mean() - right[part].mean()) for part in parts]
    return {
        "log_loss": float(-np.log(given).mean()),
        "brier": float(((probabilities - truth) ** 2).sum(axis=1).mean()),
        "ece": float(sum(gaps) / len(labels)),
    }
