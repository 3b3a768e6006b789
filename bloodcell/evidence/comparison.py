"""Whether one model is better than another on the same images."""

from typing import Literal, NamedTuple

import numpy as np

from bloodcell.evidence.intervals import Bools, Ints, Strings, confusion_scores, group_confusions, parts_of
from bloodcell.evidence.repeats import Mean


class McNemar(NamedTuple):
    """Outcome of McNemar's test.

    Attributes:
        p: Two-sided p-value.
        only_one: Images that only the first model predicts correctly.
        only_two: Images that only the second does.
    """

    p: float
    only_one: int
    only_two: int


class Permutation(NamedTuple):
    """Outcome of a permutation test.

    Attributes:
        difference: Statistic of the first model less that of the second.
        p: Two-sided p-value, above 0.
    """

    difference: float
    p: float


def mcnemar(correct_one: Bools, correct_two: Bools) -> McNemar:
    """Test whether two models are correct equally often, by the exact test of McNemar (1947).

    Args:
        correct_one: Whether the first model is correct, bool, shape (N,): one prediction per field group, as the
            test takes them for independent. Several per group need ``group_permutation``.
        correct_two: The same of the second model, on the same images in the same order.

    Returns:
        The p-value, binomial over the images on which one model alone is correct (1 where there are none), and
        their numbers.

    Raises:
        ValueError: If the lengths differ.
    """
    from statsmodels.stats.contingency_tables import mcnemar as exact_test

    if len(correct_one) != len(correct_two):
        raise ValueError(f"expected predictions of the same images, got {len(correct_one)} and {len(correct_two)}")
    only_one = int((correct_one & ~correct_two).sum())
    only_two = int((correct_two & ~correct_one).sum())
    # The images on which both are correct, or both wrong, play no part.
    p = float(exact_test([[0, only_one], [only_two, 0]], exact=True).pvalue)
    return McNemar(p, only_one, only_two)


def group_permutation(
    labels: Ints,
    one: Ints,
    two: Ints,
    groups: Strings,
    num_classes: int,
    resamples: int = 9999,
    seed: int = 0,
    statistic: Literal["macro_f1", "balanced_acc", "macro_precision", "acc"] = "macro_f1",
) -> Permutation:
    """Test a summary over classes by a paired permutation of field groups.

    If the models are equally good, their predictions of a field group could as well be exchanged: each permutation
    exchanges those of a random half of the groups, whole groups at a time.

    Args:
        labels: True class numbers, int64, shape (N,).
        one: Class numbers that the first model predicts, int64, shape (N,).
        two: Predictions of the second on the same images in the same order.
        groups: Field group of each image, shape (N,). The order of the images does not matter.
        num_classes: Number of classes.
        resamples: Number of random permutations.
        seed: Seed of the draws.
        statistic: What is compared, as in ``intervals.confusion_scores``.

    Returns:
        The difference and its p-value: the share of permutations with at least this difference either way, the
        one observed counted in (Phipson and Smyth 2010), so at least 1 / (``resamples`` + 1).

    Raises:
        ValueError: As ``group_confusions``.
    """
    first = group_confusions(labels, one, groups, num_classes)
    second = group_confusions(labels, two, groups, num_classes)
    total_first, total_second = first.sum(axis=0), second.sum(axis=0)
    # A group with the same counts for both models changes nothing when exchanged.
    change = (second - first)[(first != second).any(axis=(1, 2))]
    rng = np.random.default_rng(seed)
    observed = float(confusion_scores(total_first)[statistic] - confusion_scores(total_second)[statistic])
    as_large = 0
    for part in parts_of(resamples, len(change)):
        exchanged = rng.integers(0, 2, (len(part), len(change))).astype(np.float64)
        moved = np.tensordot(exchanged, change, axes=1)
        one_way, other_way = (confusion_scores(total) for total in (total_first + moved, total_second - moved))
        differences = one_way[statistic] - other_way[statistic]
        # Equal differences may differ in the last digit.
        as_large += int((np.abs(differences) >= abs(observed) - 1e-12).sum())
    return Permutation(observed, (1 + as_large) / (1 + resamples))


def group_difference(
    labels: Ints, one: Ints, two: Ints, groups: Strings, num_classes: int, confidence: float = 0.95
) -> Mean:
    """Estimate how much better one model is in balanced accuracy, paired over field groups.

    What each group adds to the difference is linearised (the recall of a class is a ratio of sums over groups), and the
    sum of the squares is the variance. An interval by Student's t with groups - 1 degrees of freedom.

    Args:
        labels: True class numbers, int64, shape (N,).
        one: Class numbers that the first model predicts, int64, shape (N,).
        two: Predictions of the second on the same images in the same order.
        groups: Field group of each image, shape (N,).
        num_classes: Number of classes.
        confidence: Coverage, 0 to 1.

    Returns:
        The difference, first less second; its ``repeats`` are the field groups. No interval, error and p if no group
        differs.
    """
    from scipy.stats import t

    first, second = (group_confusions(labels, said, groups, num_classes) for said in (one, two))
    held = first.sum(axis=2)
    images = held.sum(axis=0)
    present = images > 0
    gained = np.diagonal(first - second, axis1=1, axis2=2)
    by_class = gained.sum(axis=0)[present] / images[present]
    value, count = float(by_class.mean()), len(first)
    parts = ((gained[:, present] - by_class * held[:, present]) / images[present]).mean(axis=1)
    error = float(np.sqrt((parts**2).sum() * count / max(count - 1, 1)))
    if not error or count < 2:
        return Mean(value, None, None, None, count)
    half = float(t.ppf((1 + confidence) / 2, count - 1)) * error
    p = float(2 * t.sf(abs(value) / error, count - 1))
    return Mean(value, error * float(np.sqrt(count)), (value - half, value + half), p, count, error)
