"""Controls that learn nothing: what a nearest neighbour or the commonest class would give."""

import numpy as np
import numpy.typing as npt

from bloodcell.evidence.intervals import Ints

# Rows compared at once: 512 x 12,000 similarities are 25 MB.
CHUNK = 512


def nearest_labels(known: npt.NDArray[np.float32], labels: Ints, asked: npt.NDArray[np.float32]) -> Ints:
    """Label each row as the known row with the largest dot product is labelled.

    Args:
        known: Features of the training images, float32, shape (M, D).
        labels: Their class numbers, int64, shape (M,).
        asked: Features of the test images, float32, shape (N, D).

    Returns:
        Class numbers, int64, shape (N,).
    """
    found = [labels[(asked[start : start + CHUNK] @ known.T).argmax(axis=1)] for start in range(0, len(asked), CHUNK)]
    return np.concatenate(found)


def majority(labels: Ints) -> float:
    """Accuracy of always saying the commonest class, 0 to 1."""
    return float(np.bincount(labels).max() / len(labels))
