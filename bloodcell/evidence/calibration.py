"""Whether predicted probabilities are calibrated, and the temperature that makes them so."""

from typing import NamedTuple

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import logsumexp, softmax

from bloodcell.evidence.intervals import Bools, Estimate, Floats, Ints, Strings, share_interval

# Nets compute in 32 bits: what is smaller than this was rounded to 0 there, and its logarithm is bounded here.
LEAST_PROBABILITY = float(np.finfo(np.float32).tiny)
# Ends of the search: without a wrong prediction every lower temperature fits better still.
LEAST_TEMPERATURE, MOST_TEMPERATURE = 0.1, 10.0


class ReliabilityBin(NamedTuple):
    """Images with about the same highest probability.

    Attributes:
        confidence: Mean of the highest probability, 0 to 1.
        correct: Share of correct predictions among them, with its interval.
        images: Number of images.
    """

    confidence: float
    correct: Estimate
    images: int


def probability_scores(labels: Ints, probabilities: Floats, bins: int = 10) -> dict[str, float]:
    """Score predicted probabilities.

    Args:
        labels: True class numbers, int64, shape (N,), N at least 1.
        probabilities: Shape (N, classes), rows sum to 1.
        bins: Bins of equal mass for the calibration error.

    Returns:
        ``log_loss`` in nats, each image weighing the same; ``log_loss_uniform``, its mean by class averaged
        over the classes that have images, so that each class weighs the same (the probabilities are taken as
        they are, not moved from the training set's class frequencies to equal ones); ``brier``, the squared
        error summed over classes, 0 to 2 (Brier 1950); ``ece``, the mean gap between the highest probability
        and the share of correct predictions over bins of equal mass, 0 to 1 (Naeini et al. 2015, there with bins
        of equal width).
    """
    rows = np.arange(len(labels))
    losses = -np.log(np.clip(probabilities[rows, labels], LEAST_PROBABILITY, 1.0))
    truth = np.zeros_like(probabilities)
    truth[rows, labels] = 1.0
    confidence, correct = _confidence(labels, probabilities)
    gaps = [len(part) * abs(confidence[part].mean() - correct[part].mean()) for part in _equal_mass(confidence, bins)]
    return {
        "log_loss": float(losses.mean()),
        "log_loss_uniform": float(np.mean([losses[labels == k].mean() for k in np.unique(labels)])),
        "brier": float(((probabilities - truth) ** 2).sum(axis=1).mean()),
        "ece": float(sum(gaps) / len(labels)),
    }


def expected_ece(probabilities: Floats, groups: Strings, bins: int = 10, draws: int = 200, seed: int = 0) -> float:
    """Compute the calibration error that a perfectly calibrated net would show on as many field groups.

    It is above 0: with few groups the share of correct predictions in a bin misses its probability by chance. For each
    draw every image is correct with its own highest probability, the images of a group together.

    Args:
        probabilities: Shape (N, classes), N at least 1, rows sum to 1.
        groups: Field group of each image, shape (N,); ``""`` where it is not known, an image by itself.
        bins: As in :func:`probability_scores`.
        draws: Number of draws.
        seed: Seeds them.

    Returns:
        The mean of ``ece`` over the draws, 0 to 1.
    """
    confidence = probabilities.max(axis=1)
    alone = np.char.add("image ", np.arange(len(groups)).astype(np.str_))
    names, group = np.unique(np.where(groups == "", alone, groups), return_inverse=True)
    parts = _equal_mass(confidence, bins)
    rng = np.random.default_rng(seed)
    total = 0.0
    for _ in range(draws):
        gaps = confidence - (rng.random(len(names))[group.reshape(-1)] < confidence)
        total += sum(abs(float(gaps[part].sum())) for part in parts)
    return total / draws / len(confidence)


def reliability(
    labels: Ints, probabilities: Floats, groups: Strings | None = None, bins: int = 10
) -> list[ReliabilityBin]:
    """Compare the share of correct predictions with their confidence, bin by bin (Murphy and Winkler 1977).

    Args:
        labels: True class numbers, int64, shape (N,), N at least 1.
        probabilities: Shape (N, classes), rows sum to 1.
        groups: Field group of each image, shape (N,); ``None`` if every image is independent of the others.
        bins: Bins of equal mass.

    Returns:
        The bins from the least to the most confident; fewer than ``bins`` if images are few or equally confident.
        Intervals are Wilson's, with as many trials as groups in the bin.
    """
    confidence, correct = _confidence(labels, probabilities)
    units = np.arange(len(labels)).astype(np.str_) if groups is None else groups
    return [
        ReliabilityBin(float(confidence[part].mean()), share_interval(correct[part], units[part]), len(part))
        for part in _equal_mass(confidence, bins)
    ]


def fit_temperature(labels: Ints, probabilities: Floats) -> float:
    """Fit the temperature of least log loss (Guo et al. 2017): above 1 a net is overconfident, below 1 underconfident.

    Fit it on the originals of the inner validation split alone: the net knows training images by heart, so that its
    confidence there seems justified, and the test images are for measuring.

    Args:
        labels: True class numbers, int64, shape (N,), N at least 1.
        probabilities: Shape (N, classes), rows sum to 1; a 0 counts as the least 32-bit number above it.

    Returns:
        ``LEAST_TEMPERATURE`` (0.1) to ``MOST_TEMPERATURE`` (10), to three digits or better; exactly at an end
        where the loss is least there: the lower if every prediction is correct, the upper if confident predictions
        are wrong more often than others.
    """
    logits = _logarithms(probabilities)
    # Against the true class, so that a confident and correct row is about 0 and its small loss not lost in rounding.
    margins = logits - logits[np.arange(len(labels)), labels][:, None]

    def loss(log_temperature: float) -> float:
        return float(logsumexp(margins / np.exp(log_temperature), axis=1).mean())

    ends = float(np.log(LEAST_TEMPERATURE)), float(np.log(MOST_TEMPERATURE))
    # The loss is convex in 1/T, so has one valley in log T too.
    found = float(minimize_scalar(loss, bounds=ends, method="bounded", options={"xatol": 1e-5}).x)
    # The search comes near its ends and never reaches them; first in a tie is the end.
    best = min((*ends, found), key=loss)
    return {ends[0]: LEAST_TEMPERATURE, ends[1]: MOST_TEMPERATURE}.get(best, float(np.exp(best)))


def apply_temperature(probabilities: Floats, temperature: float) -> Floats:
    """Give the probabilities at another temperature: softmax(log p / T) (Guo et al. 2017). Predictions stay the same.

    Args:
        probabilities: Shape (N, classes), rows sum to 1; a 0 counts as the least 32-bit number above it.
        temperature: T, above 0; 1 changes nothing.

    Returns:
        Shape (N, classes), rows sum to 1.

    Raises:
        ValueError: If the temperature is not above 0.
    """
    if not temperature > 0:
        raise ValueError(f"expected `temperature` above 0, got {temperature}")
    cooled: Floats = softmax(_logarithms(probabilities) / temperature, axis=1)
    return cooled


def _logarithms(probabilities: Floats) -> Floats:
    return np.log(np.clip(probabilities.astype(np.float64), LEAST_PROBABILITY, 1.0))


def _confidence(labels: Ints, probabilities: Floats) -> tuple[Floats, Bools]:
    """The highest probability of each row, and whether its class is the correct one."""
    return probabilities.max(axis=1), probabilities.argmax(axis=1) == labels


def _equal_mass(confidence: Floats, bins: int) -> list[Ints]:
    """Row numbers in bins of equal mass, ascending; equally confident rows share a bin, whatever their order."""
    order = np.argsort(confidence, kind="stable")
    numbers = np.concatenate([np.full(len(part), k) for k, part in enumerate(np.array_split(order, bins))])
    ascending = confidence[order]
    number = numbers[np.searchsorted(ascending, ascending)]
    return [order[number == k] for k in np.unique(number)]
