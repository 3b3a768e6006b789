"""Simulated test sets of known recalls, and how often each interval holds the truth."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from bloodcell.evidence.intervals import Floats, Ints, confusion_scores, recall_intervals, summary_intervals

# Groups of each class: TEST's photographs, all photographs of the set, and round numbers.
CLASSES = {
    "4, 6, 13 and 48": (4, 6, 13, 48),
    "20, 33, 88 and 207": (20, 33, 88, 207),
    "2 x 50": (50, 50),
    "4 x 20": (20,) * 4,
    "4 x 100": (100,) * 4,
    "8 x 30": (30,) * 8,
}
RECALLS = (0.5, 0.75, 0.9, 0.95, 0.98, 0.99, "mixed")
MIXED = (0.98, 0.99, 0.97, 0.93)
SCORES = ("acc", "balanced_acc", "macro_precision", "macro_f1")


class Likeness(NamedTuple):
    """What the images of a group have in common.

    Attributes:
        name: In words.
        images: Mean number of images a group; groups differ up to threefold, unless it is 1.
        correlation: Intraclass correlation of the predictions, 0 to 1.
    """

    name: str
    images: int
    correlation: float


LIKENESSES = (
    Likeness("one image a group", 1, 1.0),
    Likeness("4 images that always agree", 4, 1.0),
    Likeness("4 images, correlation 0.5", 4, 0.5),
    Likeness("12 images, correlation 0.1", 12, 0.1),
)


class SimulatedSet(NamedTuple):
    """What simulated test sets are like: a cell of the grid."""

    classes: str
    recall: float | str
    likeness: Likeness


def simulated_sets() -> list[SimulatedSet]:
    """List the cells: recalls, group sizes and class counts in all combinations."""
    return [SimulatedSet(classes, recall, one) for classes in CLASSES for recall in RECALLS for one in LIKENESSES]


def coverage(cell: SimulatedSet, draws: int, seed: int = 0) -> dict[str, Any]:
    """Draw test sets and count how often each 95 % interval holds what was put in.

    Mistakes fall on the other classes alike.

    Args:
        cell: What the test sets are like.
        draws: Number of test sets.
        seed: Seeds the draws.

    Returns:
        The cell in words, and for each score the share of intervals that hold the true value; of the
        recalls the least of the classes.
    """
    groups = CLASSES[cell.classes]
    classes = len(groups)
    recalls = np.resize(MIXED, classes) if cell.recall == "mixed" else np.full(classes, float(cell.recall))
    shares = (1 - recalls[:, None]) / (classes - 1) * (1 - np.eye(classes)) + np.diag(recalls)
    rng = np.random.default_rng(seed)
    sizes = _sizes(rng, sum(groups), cell.likeness.images)
    label = np.repeat(np.arange(classes), groups)
    labels, names = np.repeat(label, sizes), np.repeat(np.arange(len(sizes)).astype(np.str_), sizes)
    truth = confusion_scores(shares * np.bincount(labels)[:, None])
    held = dict.fromkeys(SCORES, 0)
    each = np.zeros(classes)
    for predictions in _predictions(rng, shares[label], sizes, cell.likeness.correlation, draws):
        found = summary_intervals(labels, predictions, names, classes)
        for name in SCORES:
            held[name] += _holds(found[name], float(truth[name]))
        for k, one in enumerate(recall_intervals(labels, predictions, names, classes)):
            each[k] += one is not None and _holds(one, float(recalls[k]))
    shown = {"classes": cell.classes, "recall": cell.recall, "groups": cell.likeness.name, "draws": draws}
    return {**shown, **{name: held[name] / draws for name in SCORES}, "recalls": float(each.min()) / draws}


def _holds(interval: Any, truth: float) -> bool:
    # The truth may lie on an end, and differ from it in the last digit.
    return bool(interval.low - 1e-12 <= truth <= interval.high + 1e-12)


def _sizes(rng: np.random.Generator, groups: int, images: int) -> Ints:
    """Draw the number of images of each group, from half to one and a half times the mean."""
    if images == 1:
        return np.ones(groups, dtype=np.int64)
    return rng.integers(images // 2, images + images // 2 + 1, groups)


def _predictions(
    rng: np.random.Generator, shares: Floats, sizes: Ints, correlation: float, draws: int
) -> Iterator[Ints]:
    """Draw the predicted class of each image; images of a group agree as correlated (Dirichlet-multinomial)."""
    of = np.repeat(np.arange(len(sizes)), sizes)
    for _ in range(draws):
        if correlation == 1.0:
            yield _choose(rng, shares)[of]
        else:
            weights = rng.gamma(shares * (1 - correlation) / correlation) + 1e-300
            yield _choose(rng, (weights / weights.sum(axis=1, keepdims=True))[of])


def _choose(rng: np.random.Generator, shares: Floats) -> Ints:
    """Draw a class for each row of probabilities."""
    below = shares.cumsum(axis=1) < rng.random((len(shares), 1)) * shares.sum(axis=1, keepdims=True)
    chosen: Ints = np.minimum(below.sum(axis=1), shares.shape[1] - 1)
    return chosen
