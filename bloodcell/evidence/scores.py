"""All scores of one set of predictions, each with its interval."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from bloodcell.evidence.calibration import expected_ece, probability_scores
from bloodcell.evidence.intervals import (
    Estimate,
    Floats,
    Ints,
    Strings,
    confusion_scores,
    recall_intervals,
    summary_intervals,
)


class Scores(NamedTuple):
    """Scores and intervals by name: ``balanced_acc``, ``recall/MONOCYTE``, ``log_loss``, ...

    Attributes:
        values: All scores.
        intervals: 95 % intervals over field groups of ``acc``, ``balanced_acc``, ``macro_precision``, ``macro_f1``
            and of the recalls; empty where groups are not known.
    """

    values: dict[str, float]
    intervals: dict[str, Estimate]


def score(labels: Ints, probabilities: Floats, groups: Strings, classes: Sequence[str]) -> Scores:
    """Score predictions.

    Args:
        labels: True class numbers, int64, shape (N,).
        probabilities: float64, shape (N, classes), rows sum to 1.
        groups: Field group of each image, shape (N,); ``""`` where it is not known.
        classes: Class names.

    Returns:
        The scores; a class without an image has none, one without a prediction a precision of 0.
    """
    predicted = probabilities.argmax(axis=1)
    confusion = np.zeros((len(classes), len(classes)))
    np.add.at(confusion, (labels, predicted), 1)
    values = {name: float(value) for name, value in confusion_scores(confusion).items()}
    correct, held, said = np.diagonal(confusion), confusion.sum(axis=1), confusion.sum(axis=0)
    for name, up, down in (("precision", correct, said), ("recall", correct, held), ("f1", 2 * correct, held + said)):
        values |= {f"{name}/{classes[k]}": float(up[k] / max(down[k], 1)) for k in np.unique(labels)}
    values |= probability_scores(labels, probabilities)
    values["ece_expected"] = expected_ece(probabilities, groups)
    return Scores(values, intervals_of(labels, predicted, groups, classes))


def intervals_of(labels: Ints, predicted: Ints, groups: Strings, classes: Sequence[str]) -> dict[str, Estimate]:
    """Compute the 95 % intervals in :class:`Scores`; none if the group of any image is not known.

    Args:
        labels: True class numbers, int64, shape (N,).
        predicted: Predicted class numbers, int64, shape (N,).
        groups: Field group of each image, shape (N,).
        classes: Class names.
    """
    if not len(groups) or (groups == "").any():
        return {}
    found = summary_intervals(labels, predicted, groups, len(classes))
    recalls = recall_intervals(labels, predicted, groups, len(classes))
    return found | {f"recall/{name}": one for name, one in zip(classes, recalls, strict=True) if one is not None}
