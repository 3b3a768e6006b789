"""Field groups: photographs that show the same part of the slide belong together.

Two searches that have nothing in common but the photographs look at every pair: feature points that vote for a shift
(OpenCV's SIFT), and the correlation at every shift. What either finds is taken.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from bloodcell.studies.lineage.correlation import LEAST_OVERLAP, best_shift, spectrum
from bloodcell.studies.lineage.registration import Features, Pixels, features, in_threads, smooth_grey

# The microscope was moved, not turned or zoomed: points of one field differ by a shift alone.
POINTS = 1000
LEAST_SIMILARITY = 0.9
TURN_DEG = 15.0
ZOOM_LOG2 = 0.35
SHIFT_PX = 4.0
LEAST_VOTES = 3
# Between the weakest real overlap (147/148: 0.047) and the strongest chance one (167/174: 0.041), looked at by eye.
LEAST_EVIDENCE = 0.044
# Between the two there is a gap: real overlaps correlate above 0.85, all others below 0.6.
LEAST_CORRELATION = 0.75


class Overlap(NamedTuple):
    """Two photographs that may show the same part of the slide.

    Attributes:
        first: Position of the first.
        second: Position of the second, greater.
        x: Shift from the first to the second in pixels of the photographs compared, to the right.
        y: The same, downwards.
        share: Part of the frame that both show, 0 to 1.
        correlation: Of the grey values in that part, -1 to 1.
        votes: Point pairs that agree on the shift; 0 if the points do not find it.
        evidence: Of the correlation of fine detail for this shift; 0 if that search does not find it.
    """

    first: int
    second: int
    x: int
    y: int
    share: float
    correlation: float
    votes: int = 0
    evidence: float = 0.0


def overlaps(
    photographs: Sequence[Pixels], workers: int, seen: Callable[[], None], least: float = LEAST_CORRELATION
) -> list[Overlap]:
    """Find all pairs of photographs that overlap.

    Args:
        photographs: RGB, uint8, all of one shape.
        workers: Threads.
        seen: Called for each photograph when it has been compared with all after it.
        least: Lowest correlation of the overlapping parts.

    Returns:
        The overlaps, in the order of the photographs.
    """
    found = in_threads(lambda image: features(image, points=POINTS), photographs, workers, lambda: None)
    grey = [smooth_grey(image).astype(np.float32) for image in photographs]
    spectra = in_threads(spectrum, grey, workers, lambda: None)

    def pair(first: int, second: int) -> Overlap | None:
        votes, shift = _shift(found[first], found[second])
        evidence, peak = best_shift(spectra[first], spectra[second])
        evidence *= evidence >= LEAST_EVIDENCE
        if votes >= LEAST_VOTES and (same := _compare(grey, first, second, shift, reach=1)).correlation >= least:
            agree = np.abs(peak - (same.x, same.y)).max() < SHIFT_PX
            return same._replace(votes=votes, evidence=evidence * float(agree))
        if evidence and (same := _compare(grey, first, second, peak, reach=2)).correlation >= least:
            return same._replace(evidence=evidence)
        return None

    def row(first: int) -> list[Overlap]:
        pairs = (pair(first, second) for second in range(first + 1, len(grey)))
        return [one for one in pairs if one]

    return [pair for pairs in in_threads(row, range(len(found)), workers, seen) for pair in pairs]


def _shift(one: Features, other: Features) -> tuple[int, npt.NDArray[np.float32]]:
    """The shift that most points agree on, and how many do."""
    nowhere = 0, np.zeros(2, np.float32)
    if not (len(one.points) and len(other.points)):
        return nowhere
    similarity = one.descriptors @ other.descriptors.T
    nearest, back = similarity.argmax(axis=1), similarity.argmax(axis=0)
    rows = np.arange(len(nearest))
    pairs = np.flatnonzero((back[nearest] == rows) & (similarity[rows, nearest] > LEAST_SIMILARITY))
    (size_one, angle_one), (size_other, angle_other) = one.scales[pairs].T, other.scales[nearest[pairs]].T
    turn = (angle_one - angle_other + 180) % 360 - 180
    zoom = np.log2(size_one / size_other)
    pairs = pairs[(np.abs(turn) < TURN_DEG) & (np.abs(zoom) < ZOOM_LOG2)]
    if len(pairs) < LEAST_VOTES:
        return nowhere
    shifts = one.points[pairs] - other.points[nearest[pairs]]
    agree = np.abs(shifts[:, None] - shifts[None]).max(axis=2) < SHIFT_PX
    best = int(agree.sum(axis=1).argmax())
    return int(agree[best].sum()), shifts[agree[best]].mean(axis=0)


def _compare(
    grey: Sequence[npt.NDArray[np.float32]], first: int, second: int, shift: npt.NDArray[np.float32], reach: int
) -> Overlap:
    """Correlate what both photographs should show, at the shift and ``reach`` pixels around it."""
    best = Overlap(first, second, 0, 0, 0.0, -1.0)
    near, around = np.round(shift).astype(int), range(-reach, reach + 1)
    for x, y in ((near[0] + dx, near[1] + dy) for dx in around for dy in around):
        one, other = _common(grey[first], x, y), _common(grey[second], -x, -y)
        share = one.size / grey[first].size
        if share < LEAST_OVERLAP or not (one.std() and other.std()):
            continue
        correlation = float(np.corrcoef(one.ravel(), other.ravel())[0, 1])
        if correlation > best.correlation:
            best = Overlap(first, second, int(x), int(y), share, correlation)
    return best


def _common(image: npt.NDArray[np.float32], x: int, y: int) -> npt.NDArray[np.float32]:
    """The part of an image that another one, shifted by (x, y), shows as well."""
    height, width = image.shape
    return image[max(y, 0) : height + min(y, 0), max(x, 0) : width + min(x, 0)]
