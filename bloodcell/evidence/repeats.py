"""What repeated runs of one setting say: over seeds of one split, over folds of a cross-validation, and in pairs."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


class Mean(NamedTuple):
    """A mean over repeats.

    Attributes:
        value: The mean.
        sd: Standard deviation of the repeats (ddof 1); ``None`` for one repeat.
        interval: Ends of its interval; ``None`` where the repeats do not tell how much it varies, because there is
            one, or because all are equal.
        p: Two-sided p-value of a mean of 0; ``None`` where there is no interval.
        repeats: How many there are: seeds, or folds.
        error: Standard error of the mean; ``None`` where there is no interval.
    """

    value: float
    sd: float | None
    interval: tuple[float, float] | None
    p: float | None
    repeats: int
    error: float | None = None


def over_seeds(values: Floats, confidence: float = 0.95) -> Mean:
    """Average over seeds of one split, with Student's t interval.

    The interval is about what another seed of the training would change. The split and the test images are taken
    as they are.

    Args:
        values: One per seed, or one difference per seed for a paired comparison, shape (N,), N at least 1.
        confidence: Coverage, 0 to 1.

    Returns:
        The mean; its p is that of ``scipy.stats.ttest_1samp``, for differences of ``ttest_rel``.

    Raises:
        ValueError: If there is no value.
    """
    return _student(values, 1 / max(len(values), 1), confidence)


def over_folds(by_fold: Sequence[Floats], folds: int, trained_share: float = 1.0, confidence: float = 0.95) -> Mean:
    """Average over folds of a cross-validation, with the corrected resampled t interval (Nadeau and Bengio 2003).

    Seeds are averaged within each fold first. Any two folds share most of their training images, so that their
    results vary together and the plain t interval is too narrow; the correction adds the ratio of test to training
    images to the variance of the mean: s^2 (1/k + 1/(``trained_share`` (``folds`` - 1))), k - 1 degrees of freedom.

    Args:
        by_fold: For each fold that was run the values of its seeds, or their differences, at least one each.
        folds: Folds that the data are cut into, at least 2; as many as ``by_fold`` has if all were run.
        trained_share: Share of the other folds that is trained on, the rest being validation; above 0, at most 1.
        confidence: Coverage, 0 to 1.

    Returns:
        The mean of the folds' means.

    Raises:
        ValueError: If there is no fold, a fold has no value, or ``folds`` is below 2.
    """
    if folds < 2 or not all(len(values) for values in by_fold):
        raise ValueError(f"expected at least 2 `folds`, each with a value, got {folds}")
    means = np.array([values.mean() for values in by_fold])
    return _student(means, 1 / max(len(means), 1) + 1 / (trained_share * (folds - 1)), confidence)


class Spread(NamedTuple):
    """Standard deviations of one number, by what it would vary with.

    Attributes:
        folds: Other folds of the same images.
        seeds: Another seed of the trainings under the same folds.
    """

    folds: float
    seeds: float


def variance_parts(by_fold_seed: Sequence[Floats]) -> Spread:
    """Share the spread of a repeated cross-validation out among its folds and its seeds (one-way random effects).

    The variance among the means of the fold seeds holds a part of that of the seeds, which is taken off; 0 where no
    more is left.

    Args:
        by_fold_seed: For each fold seed the values of its seeds, two or more, as many of each; two fold seeds or more.

    Returns:
        The two standard deviations, in the unit of the values.

    Raises:
        ValueError: If there are fewer.
    """
    table = np.stack(by_fold_seed)
    if min(table.shape) < 2:
        raise ValueError(f"expected two fold seeds with two seeds or more, got {table.shape[0]} with {table.shape[1]}")
    within = float(table.var(axis=1, ddof=1).mean())
    among = float(table.mean(axis=1).var(ddof=1))
    return Spread(folds=float(np.sqrt(max(among - within / table.shape[1], 0.0))), seeds=float(np.sqrt(within)))


def equivalence(difference: Mean, margin: float) -> float:
    """Test whether a mean difference is smaller than a margin, by two one-sided t tests (Schuirmann 1987).

    Args:
        difference: Of paired repeats, with an ``error``.
        margin: The largest difference that does not matter, above 0.

    Returns:
        The p-value: if it is below 0.05, the difference lies within the margin either way.
    """
    from scipy.stats import t

    assert difference.error is not None
    above, below = ((difference.value + side * margin) / difference.error for side in (1, -1))
    return float(max(t.sf(above, difference.repeats - 1), t.cdf(below, difference.repeats - 1)))


def smallest_found(difference: Mean, power: float = 0.8) -> float:
    """Compute the smallest true difference that a comparison with so much spread finds at the 5 % level.

    Args:
        difference: Of paired repeats, with an ``error``.
        power: How often it is to be found, 0 to 1.

    Returns:
        The difference, above 0, by the noncentral t distribution.
    """
    from statsmodels.stats.power import TTestPower

    assert difference.error is not None
    effect = TTestPower().solve_power(nobs=difference.repeats, alpha=0.05, power=power)
    return float(effect) * difference.error * float(np.sqrt(difference.repeats))


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjust the p-values of several comparisons so that any false positive among them has its level (Holm 1979).

    Args:
        p_values: May be empty.

    Returns:
        The adjusted p-values in the same order, at most 1.
    """
    # Here and not above: statsmodels loads pandas, which a plain table must not wait for.
    from statsmodels.stats.multitest import multipletests

    if not p_values:
        return []
    return [float(p) for p in multipletests(p_values, method="holm")[1]]


def _student(values: Floats, variance_of_mean: float, confidence: float) -> Mean:
    """Student's t for a mean whose variance is ``variance_of_mean`` times that of the values."""
    from scipy.stats import t

    count = len(values)
    if not count:
        raise ValueError("expected at least one value, got none")
    mean = float(values.mean())
    if count == 1:
        return Mean(mean, None, None, None, 1)
    sd = float(values.std(ddof=1))
    # Equal values may differ in the last digit; a t of such a spread would be a large number that means nothing.
    if sd <= 1e-12 * max(1.0, float(np.abs(values).max())):
        return Mean(mean, 0.0, None, None, count)
    error = sd * float(np.sqrt(variance_of_mean))
    half = float(t.ppf((1 + confidence) / 2, count - 1)) * error
    return Mean(mean, sd, (mean - half, mean + half), float(2 * t.sf(abs(mean) / error, count - 1)), count, error)
