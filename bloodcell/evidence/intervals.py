"""Confidence intervals for accuracies, over field groups rather than images: copies of one photograph agree."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.special import betaincinv, fdtri

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
Strings = npt.NDArray[np.str_]

# Fewer groups do not tell how alike the images of one are: each then counts as one trial.
LEAST_GROUPS = 6
# How sure we are that the images of a group are at most as alike as assumed.
SURE_OF_LIKENESS = 0.8
# Resamples are drawn in parts of this many numbers (twice 16 MB), however many groups there are.
DRAWN_AT_ONCE = 2_000_000


class Estimate(NamedTuple):
    """A number with its interval.

    Attributes:
        value: The number itself.
        low: Lower end.
        high: Upper end.
        groups: Field groups that it rests on.
    """

    value: float
    low: float
    high: float
    groups: int


def wilson(successes: float, trials: float, confidence: float = 0.95) -> tuple[float, float]:
    """Compute Wilson's score interval of a proportion (Wilson 1927), as statsmodels computes it: for plain counts.

    Args:
        successes: Number of successes, 0 to ``trials``.
        trials: Number of independent trials, above 0.
        confidence: Coverage, 0 to 1.

    Returns:
        Lower and upper end, 0 to 1; the share itself lies between them.

    Raises:
        ValueError: If there are no trials, or more successes than trials.
    """
    # Here and not above: statsmodels loads pandas, which no run has to wait for.
    from statsmodels.stats.proportion import proportion_confint

    if not (trials > 0 and 0 <= successes <= trials):
        raise ValueError(f"expected 0 <= `successes` <= `trials` and `trials` > 0, got {successes} of {trials}")
    low, high = proportion_confint(successes, trials, alpha=1 - confidence, method="wilson")
    # Rounding puts an end past 0, 1 or the share itself by 1e-16, which a figure's error bar would refuse.
    share = successes / trials
    return min(max(float(low), 0.0), share), max(min(float(high), 1.0), share)


def exact_interval(successes: float, trials: float, confidence: float = 0.95) -> tuple[float, float]:
    """Compute the exact interval of a proportion (Clopper and Pearson 1934), which covers at least its confidence.

    Args:
        successes: Number of successes, 0 to ``trials``; a fraction where a share is carried over to another number
            of trials (Korn and Graubard 1998).
        trials: Number of independent trials, above 0.
        confidence: Coverage, 0 to 1.

    Returns:
        Lower and upper end, 0 to 1; the share itself lies between them.

    Raises:
        ValueError: If there are no trials, or more successes than trials.
    """
    # A fraction of the trials may come out 1e-16 above them.
    if not (trials > 0 and 0 <= successes <= trials * (1 + 1e-12)):
        raise ValueError(f"expected 0 <= `successes` <= `trials` and `trials` > 0, got {successes} of {trials}")
    failures, tail = max(trials - successes, 0.0), (1 - confidence) / 2
    low = betaincinv(successes, failures + 1, tail) if successes > 0 else 0.0
    high = betaincinv(successes + 1, failures, 1 - tail) if failures > 0 else 1.0
    return float(low), float(high)


def effective_trials(correct: Bools, groups: Strings | Ints) -> float:
    """Estimate how many independent images tell as much as these, whose groups hold images that are alike.

    N / (1 + (m - 1) r), with m the mean group size as an image sees it, sum of squared sizes / N (Kish 1965), and r
    how alike the predictions of a group are: the upper 80 % limit of the intraclass correlation from the analysis of
    variance (Searle 1971, section 9.8). For r = 1, as copies of one photograph nearly are, a group is about one
    trial; groups of patients with different cells tell more. Groups of one image count as they are.

    Args:
        correct: Whether each prediction is correct, bool, shape (N,), N at least 1.
        groups: Group of each image, shape (N,).

    Returns:
        At most N. With fewer than ``LEAST_GROUPS`` groups, or where all predictions agree, r is taken as 1.
    """
    group = np.unique(groups, return_inverse=True)[1].reshape(-1)
    sizes = np.bincount(group).astype(np.float64)
    hits = np.bincount(group[correct], minlength=len(sizes)).astype(np.float64)
    images = float(sizes.sum())
    if len(sizes) == images:
        return images
    seen_size = float((sizes**2).sum()) / images
    return images / (1 + (seen_size - 1) * _likeness(hits, sizes, seen_size))


def share_interval(correct: Bools, groups: Strings | Ints, confidence: float = 0.95) -> Estimate:
    """Compute the share of correct predictions, with the exact interval of its effective number of trials.

    How often it holds the true value in simulation: ``results/coverage/``.

    Args:
        correct: Whether each prediction is correct, bool, shape (N,), N at least 1.
        groups: Field group of each image, shape (N,).
        confidence: Coverage, 0 to 1.

    Returns:
        The share, 0 to 1, and its interval.

    Raises:
        ValueError: If there is no image, or the lengths differ.
    """
    if len(correct) != len(groups) or not len(correct):
        raise ValueError(
            f"expected as many `groups` as predictions, at least one, got {len(groups)} and {len(correct)}"
        )
    share, trials = float(correct.mean()), effective_trials(correct, groups)
    return Estimate(share, *exact_interval(share * trials, trials, confidence), len(np.unique(groups)))


def recall_intervals(
    labels: Ints, predictions: Ints, groups: Strings, num_classes: int, confidence: float = 0.95
) -> list[Estimate | None]:
    """Compute the recall of each class, with the interval of the groups that hold the class.

    Args:
        labels: True class numbers, int64, shape (N,).
        predictions: Predicted class numbers, int64, shape (N,).
        groups: Field group of each image, shape (N,).
        num_classes: Number of classes.
        confidence: Coverage, 0 to 1.

    Returns:
        One estimate per class; ``None`` for a class without an image.
    """
    correct = labels == predictions
    held = [labels == k for k in range(num_classes)]
    return [share_interval(correct[rows], groups[rows], confidence) if rows.any() else None for rows in held]


def summary_intervals(
    labels: Ints, predictions: Ints, groups: Strings, num_classes: int, confidence: float = 0.95
) -> dict[str, Estimate]:
    """Combine the intervals of the classes into those of the summaries, by square and add (Zou and Donner 2008).

    With weights w, a mean of shares whose intervals go from l to u gets mean - sqrt(sum (w (share - l))^2) and
    mean + sqrt(sum (w (u - share))^2).
    Accuracy is the mean of the recalls weighted by images, balanced accuracy their plain mean: with classes of one
    size they are one number with one interval. Where groups hold several classes, as patients do, the recalls of a
    group may rise and fall together: the intervals are then wider by the root of the variance of the mean over groups
    to what it were without covariance between classes.

    F1 = 2 j / (1 + j), where j is the share of correct predictions among the images that are of a class or taken for
    it. A mistake enters the F1 of two classes, so their sum may vary by up to twice as much as if they were
    independent: the interval of macro-F1 is wider by the root of 2.

    How often they hold the true value in simulation: ``results/coverage/``.

    The net is taken as it is: what another training would give stands beside these intervals, as seeds.

    Args:
        labels: True class numbers, int64, shape (N,), N at least 1.
        predictions: Predicted class numbers, int64, shape (N,).
        groups: Field group of each image, shape (N,). The order of the images does not matter.
        num_classes: Number of classes.
        confidence: Coverage, 0 to 1.

    Returns:
        ``acc``, ``balanced_acc``, ``macro_precision``, ``macro_f1`` as in ``confusion_scores``.

    Raises:
        ValueError: As ``group_confusions``.
    """
    confusions = group_confusions(labels, predictions, groups, num_classes)
    total = confusions.sum(axis=0)
    held = total.sum(axis=1)
    correct, classes = labels == predictions, np.flatnonzero(held)
    group = np.unique(groups, return_inverse=True)[1].reshape(-1)  # numbers are compared faster than names

    def among(rows: Bools) -> Estimate:
        # A class that is never predicted has a precision of 0 by convention, and nothing is known of it.
        return share_interval(correct[rows], group[rows], confidence) if rows.any() else Estimate(0.0, 0.0, 1.0, 0)

    recalls = [among(labels == k) for k in classes]
    precisions = [among(predictions == k) for k in classes]
    overlaps = [among((labels == k) | (predictions == k)) for k in classes]
    f1s = [Estimate(_f1(one.value), _f1(one.low), _f1(one.high), one.groups) for one in overlaps]
    by_image, by_class = held[classes] / len(labels), np.full(len(classes), 1 / len(classes))
    together = _covariance(confusions, by_class)
    found = {
        "acc": _mean_interval(recalls, by_image, _covariance(confusions, by_image)),
        "balanced_acc": _mean_interval(recalls, by_class, together),
        "macro_precision": _mean_interval(precisions, by_class, together),
        "macro_f1": _mean_interval(f1s, by_class, 2 * together),
    }
    return {name: Estimate(*ends, len(confusions)) for name, ends in found.items()}


def confusion_scores(confusion: Floats) -> dict[str, Floats]:
    """Summarise one or many confusion matrices over classes.

    Args:
        confusion: Counts, rows truth, columns prediction, shape (..., classes, classes), at least one image each.

    Returns:
        Shape (...), 0 to 1 each: ``acc``; ``balanced_acc``, the mean recall of the classes that have images;
        ``macro_precision`` and ``macro_f1``, means over the classes that have images or predictions, with 0 where
        undefined, as scikit-learn and torchmetrics define them; but of a class without an image in any of the
        matrices predictions do not count either: an external set that lacks it says nothing of it.
    """
    correct = np.diagonal(confusion, axis1=-2, axis2=-1)
    held, predicted = confusion.sum(axis=-1), confusion.sum(axis=-2)
    there = held.reshape(-1, held.shape[-1]).any(axis=0)
    either = (held + predicted) * there
    # A numerator is 0 wherever its denominator is: dividing by 1 there gives the 0 that is wanted.
    recall, precision, f1 = (
        up / np.where(down, down, 1) for up, down in [(correct, held), (correct, predicted), (2 * correct, either)]
    )
    return {
        "acc": correct.sum(axis=-1) / held.sum(axis=-1),
        "balanced_acc": recall.sum(axis=-1) / (held > 0).sum(axis=-1),
        "macro_precision": (precision * there).sum(axis=-1) / (either > 0).sum(axis=-1),
        "macro_f1": (f1 * there).sum(axis=-1) / (either > 0).sum(axis=-1),
    }


def group_confusions(labels: Ints, predictions: Ints, groups: Strings, num_classes: int) -> Floats:
    """Count the confusion matrix of each field group.

    Args:
        labels: True class numbers, int64, 0 to ``num_classes`` - 1, shape (N,), N at least 1.
        predictions: Predicted class numbers, int64, shape (N,).
        groups: Field group of each image, shape (N,).
        num_classes: Number of classes.

    Returns:
        Counts, rows truth, columns prediction, shape (groups, classes, classes), in the order of the groups' names;
        floating point, for fast products.

    Raises:
        ValueError: If there is no image, the lengths differ, or a class number is out of range.
    """
    if not len(labels) == len(predictions) == len(groups) or not len(labels):
        lengths = f"{len(labels)}, {len(predictions)} and {len(groups)}"
        raise ValueError(f"expected `labels`, `predictions` and `groups` of one length, at least 1, got {lengths}")
    both = np.stack([labels, predictions])
    if both.min() < 0 or both.max() >= num_classes:
        raise ValueError(f"expected class numbers 0 to {num_classes - 1}, got {both.min()} to {both.max()}")
    names, group = np.unique(groups, return_inverse=True)
    cell = (group.reshape(-1) * num_classes + labels) * num_classes + predictions
    counts = np.bincount(cell, minlength=len(names) * num_classes**2)
    return counts.reshape(len(names), num_classes, num_classes).astype(np.float64)


def parts_of(resamples: int, units: int) -> Iterator[range]:
    """Cut the resamples of some number of units into parts that fit into memory."""
    step = max(1, DRAWN_AT_ONCE // max(units, 1))
    return (range(start, min(start + step, resamples)) for start in range(0, resamples, step))


def _likeness(hits: Floats, sizes: Floats, seen_size: float) -> float:
    """Limit the intraclass correlation of predictions from above, 0 to 1; see :func:`effective_trials`."""
    count, images = len(sizes), sizes.sum()
    between = float((sizes * (hits / sizes - hits.sum() / images) ** 2).sum()) / max(count - 1, 1)
    within = float((hits * (1 - hits / sizes)).sum()) / (images - count)
    if count < LEAST_GROUPS or within == 0:
        return 1.0
    ratio = between / within / float(fdtri(count - 1, images - count, 1 - SURE_OF_LIKENESS))
    typical = (images - seen_size) / (count - 1)
    return float(np.clip((ratio - 1) / (ratio + typical - 1), 0, 1)) if ratio > 1 else 0.0


def _f1(overlap: float) -> float:
    return 2 * overlap / (1 + overlap)


def _covariance(confusions: Floats, weights: Floats) -> float:
    """Estimate how much more a weighted mean of recalls varies than without covariance of classes, at least 1."""
    held = confusions.sum(axis=2)
    images = held.sum(axis=0)
    hits = np.diagonal(confusions, axis1=1, axis2=2)
    present = images > 0
    # What each group adds to the error of each class's recall, linearised.
    parts = ((hits - hits.sum(axis=0) / np.where(present, images, 1) * held)[:, present] / images[present]) * weights
    apart = float((parts**2).sum())
    return max(1.0, float((parts.sum(axis=1) ** 2).sum()) / apart) if apart > 0 else 1.0


def _mean_interval(parts: Sequence[Estimate], weights: Floats, variance: float) -> tuple[float, float, float]:
    """Square and add, see :func:`summary_intervals`: the mean and its ends, within 0 and 1."""
    values, lows, highs = (weights * np.array([one[k] for one in parts]) for k in range(3))
    value = float(values.sum())
    down, up = (float(np.sqrt(variance * ((values - ends) ** 2).sum())) for ends in (lows, highs))
    return value, max(value - down, 0.0), min(value + up, 1.0)
