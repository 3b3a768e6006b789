"""Which photograph an image was made from, by registration. Features and geometry are OpenCV's (extra ``lineage``)."""

import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

import cv2
import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits

from bloodcell.data.colours import colour_histogram

Pixels = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]
Item = TypeVar("Item")
Result = TypeVar("Result")

# Points kept of an image; at 320x240 more of them are noise of the JPEG blocks.
POINTS = 600
# Lowe's ratio test with RootSIFT descriptors (Lowe 2004; Arandjelovic and Zisserman 2012).
RATIO = 0.85
# RANSAC: a point may be off by this many pixels. JPEG and interpolation move points by about one.
TOLERANCE_PX = 2.5
# The stretch of a copy: shear 0.2 rad alone gives singular values of 0.90 to 1.11.
STRETCH = (0.75, 1.35)
# A fit with fewer inliers is not looked at; three points fit any affine map.
LEAST_INLIERS = 8
# A copy is placed where its pixels agree with the warped photograph. True ones correlate at 0.99 in the
# median, photographs of an overlapping field below 0.98, others below 0.5.
LEAST_CORRELATION = 0.9
SURE_CORRELATION = 0.985
# Share of the picture that the photograph must explain: an overlapping field covers only its part.
LEAST_COVERAGE = 0.9
# Candidates tried in any case, so that there is a runner-up to compare with.
LEAST_CANDIDATES = 3
# Fill of rotated copies: black, a little brighter after JPEG.
BLACK = 12


class Features(NamedTuple):
    """SIFT points of an image.

    Attributes:
        points: x and y in pixels, float32, shape (n, 2).
        descriptors: RootSIFT, unit length, float32, shape (n, 128).
        scales: Size in pixels and angle in degrees of each point, float32, shape (n, 2).
    """

    points: Floats
    descriptors: Floats
    scales: Floats


class Fit(NamedTuple):
    """How one photograph fits an image.

    Attributes:
        inliers: Point pairs that one affine map explains.
        correlation: Of the grey values of both pictures where they overlap, -1 to 1; -1 if not looked at.
        coverage: Share of the image (its fill left out) that the photograph explains, 0 to 1.
        mirrored: Whether the photograph was mirrored left to right before the map.
        transform: Affine map from pixels of the (mirrored) photograph to pixels of the image, shape (2, 3).
    """

    inliers: int
    correlation: float = -1.0
    coverage: float = 0.0
    mirrored: bool = False
    transform: npt.NDArray[np.float64] | None = None


@dataclass(frozen=True)
class Placement:
    """Where an image comes from.

    Attributes:
        name: The photograph; ``""`` if none fits well enough.
        fit: How it fits; the best there is if none fits well enough.
        runner_up: Inliers of the second-best photograph among those tried.
        rival: Correlation of the best other photograph that explains the whole image; -1 if none does.
        tried: Photographs compared in detail.
    """

    name: str
    fit: Fit
    runner_up: int
    rival: float
    tried: int


_own = threading.local()


def features(image: Pixels, mask: Pixels | None = None, points: int = POINTS) -> Features:
    """Find the strongest SIFT points of an image.

    Args:
        image: RGB, uint8, shape (H, W, 3).
        mask: Where to look, uint8, shape (H, W), 0 or 1; ``None`` for everywhere.
        points: Greatest number of points.

    Returns:
        The features; empty ones for an image without structure.
    """
    if getattr(_own, "points", None) != points:  # a detector is not to be shared between threads
        _own.sift, _own.points = cv2.SIFT.create(nfeatures=points, contrastThreshold=0.01), points
    if mask is not None:  # the edge of the fill is a structure of its own
        mask = np.asarray(cv2.erode(mask, np.ones((9, 9), np.uint8), borderType=cv2.BORDER_REPLICATE), np.uint8)
    found, descriptors = _own.sift.detectAndCompute(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), mask)
    if descriptors is None:
        return Features(*(np.zeros((0, n), np.float32) for n in (2, 128, 2)))
    found, descriptors = found[:points], descriptors[:points]  # ties may exceed the number
    root = np.sqrt(descriptors / np.maximum(descriptors.sum(axis=1, keepdims=True), 1e-9))
    return Features(
        np.array([point.pt for point in found], np.float32),
        root.astype(np.float32),
        np.array([(point.size, point.angle) for point in found], np.float32),
    )


def content_mask(image: Pixels) -> Pixels:
    """Mark where an image is not black fill: uint8, shape (H, W), 0 or 1."""
    bright = (image.max(axis=2) > BLACK).astype(np.uint8)
    return np.asarray(
        cv2.morphologyEx(bright, cv2.MORPH_CLOSE, np.ones((9, 9), np.uint8), borderType=cv2.BORDER_REPLICATE),
        np.uint8,
    )


def smooth_grey(image: Pixels) -> Pixels:
    """Turn an image grey and blur it by one pixel, so that half a pixel of misfit is nothing; uint8, shape (H, W)."""
    return np.asarray(cv2.GaussianBlur(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), (0, 0), 1), np.uint8)


def match(one: Features, other: Features) -> tuple[int, npt.NDArray[np.float64] | None]:
    """Fit an affine map from one image's points to the other's.

    Returns:
        The number of inliers, and the map of shape (2, 3); ``None`` where none of a plausible stretch is found.
    """
    if min(len(one.points), len(other.points)) < LEAST_INLIERS:
        return 0, None
    similarity = other.descriptors @ one.descriptors.T
    nearest = similarity.argmax(axis=1)
    rows = np.arange(len(nearest))
    best = similarity[rows, nearest]
    similarity[rows, nearest] = -1
    second = similarity.max(axis=1)
    # Unit vectors: the squared distance is 2 - 2 * similarity.
    good = np.flatnonzero((1 - best) < RATIO**2 * (1 - second))
    if len(good) < LEAST_INLIERS:
        return len(good), None
    transform, inlier = cv2.estimateAffine2D(
        one.points[nearest[good]],
        other.points[good],
        method=cv2.RANSAC,
        ransacReprojThreshold=TOLERANCE_PX,
        maxIters=1000,
        confidence=0.99,
    )
    if transform is None:
        return 0, None
    stretch = np.linalg.svd(transform[:, :2], compute_uv=False)
    # Little in common: everything falls on one point. A mirrored one: the other mirror image fits better.
    if stretch[0] > STRETCH[1] or stretch[1] < STRETCH[0] or np.linalg.det(transform[:, :2]) < 0:
        return 0, None
    return int(inlier.sum()), np.asarray(transform, np.float64)


def agreement(
    photograph: Pixels, image: Pixels, mask: Pixels, transform: npt.NDArray[np.float64]
) -> tuple[float, float]:
    """Compare the pixels of an image with a photograph that is warped onto it.

    Args:
        photograph: Grey values, uint8, shape (H, W).
        image: Grey values, uint8, shape (H, W).
        mask: Where the image is not fill, 0 or 1.
        transform: Affine map from the photograph to the image.

    Returns:
        Correlation where both are (-1 where that is too little to tell), and the share of the mask that is explained.
    """
    height, width = image.shape
    warped = cv2.warpAffine(photograph, transform, (width, height))
    there = np.asarray(cv2.warpAffine(np.ones_like(photograph), transform, (width, height)), np.uint8) & mask
    both = np.asarray(cv2.erode(there, np.ones((5, 5), np.uint8))) > 0
    coverage = float(there.sum() / max(mask.sum(), 1))
    if both.sum() < 0.2 * height * width:
        return -1.0, coverage
    one, other = warped[both].astype(np.float32), image[both].astype(np.float32)
    if one.std() == 0 or other.std() == 0:
        return -1.0, coverage
    return float(np.corrcoef(one, other)[0, 1]), coverage


class Atlas:
    """Photographs that images can be placed in.

    Each photograph takes about 0.8 MB: features of both mirror images and the grey values.

    Args:
        photographs: uint8, shape (240, 320, 3), by name.
        pool: Threads to compute features with.
    """

    def __init__(self, photographs: Mapping[str, Pixels], pool: ThreadPoolExecutor) -> None:
        self.names = list(photographs)
        images = list(photographs.values())
        self.grey = [smooth_grey(image) for image in images]
        self.histograms = np.stack([colour_histogram(image) for image in images])
        both = [side for image in images for side in (image, np.ascontiguousarray(image[:, ::-1]))]
        self.features = list(pool.map(features, both))

    def place(self, image: Pixels) -> Placement:
        """Find the photograph that an image is a copy of.

        Photographs are compared in the order of their likeness in colour, until one explains the image beyond doubt.

        Args:
            image: RGB, uint8, shape (240, 320, 3).

        Returns:
            The placement; with an empty name if no photograph fits, or two fit alike.
        """
        mask, grey = content_mask(image), smooth_grey(image)
        own = features(image, mask)
        order = np.argsort(-(self.histograms @ colour_histogram(image, mask)), kind="stable")
        fits: list[tuple[int, Fit]] = []
        for tried, number in enumerate(order, start=1):
            fits.append((int(number), self._fit(int(number), own, grey, mask)))
            best = max(fits, key=lambda one: _rank(one[1]))
            if tried >= LEAST_CANDIDATES and _explains(best[1], SURE_CORRELATION):
                break
        others = [fit for number, fit in fits if number != best[0]]
        rival = max((fit.correlation for fit in others if fit.coverage >= LEAST_COVERAGE), default=-1.0)
        name = self.names[best[0]] if _explains(best[1], LEAST_CORRELATION) and best[1].correlation > rival else ""
        return Placement(name, best[1], max((fit.inliers for fit in others), default=0), rival, len(fits))

    def _fit(self, number: int, own: Features, grey: Pixels, mask: Pixels) -> Fit:
        """Fit one photograph, both ways round."""
        found = Fit(0)
        for mirrored in (False, True):
            inliers, transform = match(self.features[2 * number + mirrored], own)
            if transform is None or inliers < LEAST_INLIERS:
                found = max(found, Fit(inliers), key=_rank)
                continue
            photograph = np.ascontiguousarray(self.grey[number][:, ::-1]) if mirrored else self.grey[number]
            fit = Fit(inliers, *agreement(photograph, grey, mask, transform), mirrored, transform)
            found = max(found, fit, key=_rank)
        return found


def _rank(fit: Fit) -> tuple[float, int]:
    """What makes one fit better than another: pixels of the whole image first, then points."""
    return (fit.correlation if fit.coverage >= LEAST_COVERAGE else -1.0, fit.inliers)


def _explains(fit: Fit, correlation: float) -> bool:
    return fit.coverage >= LEAST_COVERAGE and fit.correlation >= correlation


def point_in_copy(fit: Fit, points: npt.NDArray[np.float64], width: int) -> npt.NDArray[np.float64]:
    """Carry points of a photograph over to its copy.

    Args:
        fit: With a transform.
        points: x and y in pixels, shape (n, 2).
        width: Width of the photograph in pixels.

    Returns:
        x and y in the copy, float64, shape (n, 2).
    """
    assert fit.transform is not None
    x = width - 1 - points[:, 0] if fit.mirrored else points[:, 0]
    return np.stack([x, points[:, 1], np.ones(len(points))], axis=1) @ fit.transform.T


def in_threads(
    work: Callable[[Item], Result], items: Sequence[Item], workers: int, seen: Callable[[], None]
) -> list[Result]:
    """Map over items in threads; OpenCV and BLAS release Python's lock and get one thread each.

    Args:
        work: What to do with an item.
        items: The items.
        workers: Threads.
        seen: Called after each item, in order.

    Returns:
        Results in the order of the items.
    """
    results = []
    cv2.setNumThreads(1)
    with threadpool_limits(1), ThreadPoolExecutor(workers) as pool:
        for result in pool.map(work, items):
            results.append(result)
            seen()
    return results
