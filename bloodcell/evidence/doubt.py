"""When not to trust an answer: pictures unlike those that were learnt, and sets of classes that are all possible."""

from dataclasses import dataclass, replace

import numpy as np

from bloodcell.evidence.intervals import Floats, Ints, Strings

# Class-conditional sets of this level need 9 independent cells of a class; 20 monocytes allow no more.
LEVEL = 0.9
# Share of cells like the learnt ones that are called unlike them all the same.
FALSE_ALARMS = 0.05
NEIGHBOURS = 5


@dataclass(frozen=True, eq=False)
class LearntCells:
    """Cells that a net has learnt, as points in its feature space.

    Attributes:
        points: Features in units of their spread, shape (M, D).
        centre: Mean of the features, shape (D,).
        scale: Their standard deviations, shape (D,).
        neighbours: The distance to a picture is that to the nearest point of this rank.
        threshold: Distance above which a picture is unlike what was learnt.
        files: Names of the pictures behind the points, shape (M,).
        labels: Their class numbers, int64, shape (M,).
    """

    points: Floats
    centre: Floats
    scale: Floats
    neighbours: int
    threshold: float
    files: Strings
    labels: Ints

    def doubts(self, features: Floats) -> Floats:
        """Measure how unlike the learnt cells pictures are: 1 at the threshold, more beyond; shape (N,)."""
        distances = np.partition(self.distances(features), self.neighbours - 1, axis=1)[:, self.neighbours - 1]
        scaled: Floats = distances / self.threshold
        return scaled

    def with_threshold(self, held_out: Floats, false_alarms: float = FALSE_ALARMS) -> "LearntCells":
        """Set the threshold by cells that were not learnt.

        Args:
            held_out: Their doubts, as :meth:`doubts` gives them, shape (N,), N at least 1.
            false_alarms: Share of them above the threshold.
        """
        scale = float(np.quantile(held_out, 1 - false_alarms, method="higher"))
        return replace(self, threshold=self.threshold * scale)

    def nearest(self, features: Floats, count: int) -> Ints:
        """Find the learnt cells most like each picture: numbers of points, nearest first, shape (N, count)."""
        found: Ints = np.argsort(self.distances(features), axis=1, kind="stable")[:, :count]
        return found

    def distances(self, features: Floats) -> Floats:
        """Measure the distance of each picture to each learnt cell, shape (N, M)."""
        points = (features - self.centre) / self.scale
        squares = (points**2).sum(axis=1)[:, None] + (self.points**2).sum(axis=1) - 2 * points @ self.points.T
        distances: Floats = np.sqrt(np.maximum(squares, 0.0))
        return distances


def classes_left(probabilities: Floats, limits: tuple[float | None, ...]) -> list[int]:
    """Give the prediction set of one cell: the classes that its probabilities leave possible.

    Args:
        probabilities: Calibrated, shape (classes,).
        limits: Of each class, the least probability that keeps it in; ``None`` always does.
    """
    return [k for k, limit in enumerate(limits) if limit is None or probabilities[k] >= limit]


def fit_limits(labels: Ints, probabilities: Floats, groups: Strings, level: float = LEVEL) -> tuple[float | None, ...]:
    """Fit class-conditional conformal limits (Vovk 2012) on cells that the net has not learnt.

    A set of the classes above their limits holds the true class of a new cell, whichever that is, with at least the
    probability ``level``, if new cells are like these. A field group counts once, by its least probable cell.

    Args:
        labels: True class numbers, int64, shape (N,).
        probabilities: Calibrated, shape (N, classes).
        groups: Field group of each cell, shape (N,); ``""`` for one of its own.
        level: Coverage, 0 to 1.

    Returns:
        Of each class the least probability that keeps it in a set; ``None`` for a class with too few groups: it is in
        every set.
    """
    own = np.where(groups == "", np.char.add("cell ", np.arange(len(groups)).astype(np.str_)), groups)
    limits: list[float | None] = []
    for k in range(probabilities.shape[1]):
        rows = np.flatnonzero(labels == k)
        given = {str(group): 1.0 for group in own[rows]}
        for row in rows:
            given[str(own[row])] = min(given[str(own[row])], float(probabilities[row, k]))
        ascending = sorted(given.values())
        rank = int((1 - level) * (len(ascending) + 1) + 1e-9)  # of so many may the worst be left out
        limits.append(ascending[rank - 1] if rank >= 1 else None)
    return tuple(limits)


def learn_cells(features: Floats, labels: Ints, files: Strings, neighbours: int = NEIGHBOURS) -> LearntCells:
    """Place learnt cells in a space in which distances tell: features in units of their spread.

    Of what was compared (results/doubt), the distance to the fifth nearest cell over the features of all blocks found
    the most; whitening by the full covariance, and the last layer alone, found fewer fields of red cells and texts.

    Args:
        features: Of the learnt cells, shape (M, D).
        labels: Class numbers, int64, shape (M,).
        files: Names, shape (M,).
        neighbours: Of them the distance to the last is taken.

    Returns:
        The cells, with a threshold of 1: see :meth:`LearntCells.with_threshold`.
    """
    centre, spread = features.mean(axis=0), features.std(axis=0)
    # What never varies among the learnt cells would make every difference infinite.
    scale = np.maximum(spread, max(float(spread.max()) * 1e-3, 1e-9))
    return LearntCells((features - centre) / scale, centre, scale, min(neighbours, len(features)), 1.0, files, labels)
