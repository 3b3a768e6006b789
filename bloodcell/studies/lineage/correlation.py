"""The shift at which two photographs agree best, of all that there are: Fourier transforms, no feature points."""

from functools import cache
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt
from scipy import fft

Floats = npt.NDArray[np.float32]

# Overlaps of which this little is left cannot be told from chance.
LEAST_OVERLAP = 0.05
# Pixels, at half the size of what is given. What is coarser, light and outlines of red cells, is alike everywhere.
DETAIL_PX = 1.0
# Sum of squares of a part below which it has nothing to compare; a whole photograph has one for each of its pixels.
LEAST_ENERGY = 1.0


class Spectrum(NamedTuple):
    """A photograph, ready to be compared at all shifts.

    Attributes:
        transform: Fourier transform of its fine detail, padded to twice the size, complex64, shape (2H, W + 1).
        scale: One over the norm of the part that another photograph shows if it is shifted by (y, x), float32, shape
            (2H, 2W), negative shifts at the end; 0 where less than the least overlap is left.
        mirrored: The same for the shift (-y, -x).
    """

    transform: npt.NDArray[np.complex64]
    scale: Floats
    mirrored: Floats


def spectrum(grey: Floats) -> Spectrum:
    """Prepare the grey values of a photograph, float32, for :func:`best_shift`; it works at half their size."""
    small = cv2.resize(grey, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    fine = small - cv2.GaussianBlur(small, (0, 0), DETAIL_PX)
    fine /= max(float(fine.std()), 1e-6)
    height, width = fine.shape
    sums = np.zeros((height + 1, width + 1))
    sums[1:, 1:] = (fine.astype(np.float64) ** 2).cumsum(axis=0).cumsum(axis=1)
    (top, bottom), (left, right) = _edges(height), _edges(width)
    energy = sums[bottom][:, right] - sums[top][:, right] - sums[bottom][:, left] + sums[top][:, left]
    scale = np.where(_shares(height, width) >= LEAST_OVERLAP, 1 / np.sqrt(np.maximum(energy, LEAST_ENERGY)), 0).astype(
        np.float32
    )
    mirrored = np.roll(scale[::-1, ::-1], 1, axis=(0, 1))
    return Spectrum(fft.rfft2(fine, (2 * height, 2 * width)).astype(np.complex64), scale, mirrored)


def best_shift(one: Spectrum, other: Spectrum) -> tuple[float, npt.NDArray[np.float32]]:
    """Find the shift at which the common part of two photographs speaks most for one field.

    The evidence is ``-share * ln(1 - r**2)``, with the share of the frame in common and the correlation r of the fine
    detail in it: twice the log-likelihood ratio against "unrelated" per pixel of a frame. A high correlation of a
    small part so counts no more than a lower one of a large part.

    Args:
        one: The one.
        other: The other, of the same size.

    Returns:
        The evidence, and the shift (x, y) from the first to the second in pixels of the grey values given.
    """
    height, width = (length // 2 for length in one.scale.shape)
    correlation = fft.irfft2(one.transform * other.transform.conj(), one.scale.shape)
    correlation *= one.scale
    correlation *= other.mirrored
    evidence = -_shares(height, width) * np.log1p(-(np.clip(correlation, 0, 0.999) ** 2))
    y, x = np.unravel_index(int(evidence.argmax()), evidence.shape)
    shift = [2 * (int(at) - 2 * size * (at >= size)) for at, size in ((x, width), (y, height))]
    return float(evidence[y, x]), np.array(shift, np.float32)


def _edges(length: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Where the common part begins and ends for each shift, in the order of Fourier transforms."""
    shift = np.r_[0:length, -length:0]
    return np.maximum(shift, 0), length + np.minimum(shift, 0)


@cache
def _shares(height: int, width: int) -> Floats:
    """Share of the frame that is common at each shift, float32, shape (2 * height, 2 * width)."""
    rows, columns = (np.subtract(*_edges(length)[::-1]) / length for length in (height, width))
    return np.outer(rows, columns).astype(np.float32)
