"""Pictures reduced to what has no shape: colours, and a handful of pixels. Controls compare images by them."""

import numpy as np
import numpy.typing as npt
from PIL import Image

Pixels = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]

BINS = 16
THUMBNAIL = (32, 32)


def colour_histogram(image: Pixels, mask: Pixels | None = None) -> Floats:
    """Compute the square roots of the shares of 16x16x16 RGB bins.

    The dot product of two of them is their Bhattacharyya coefficient, so the nearest in Hellinger distance is
    the one with the largest product. It knows no shape at all.

    Args:
        image: RGB, uint8, shape (H, W, 3).
        mask: Where to look, shape (H, W), 0 or 1; ``None`` for everywhere.

    Returns:
        float32, shape (4096,), of length 1.
    """
    pixels = (image.reshape(-1, 3) if mask is None else image[mask > 0]) >> 4
    bins = (pixels[:, 0].astype(np.intp) * BINS + pixels[:, 1]) * BINS + pixels[:, 2]
    counts = np.bincount(bins, minlength=BINS**3)
    return np.asarray(np.sqrt(counts / max(counts.sum(), 1)), np.float32)


def thumbnail(image: Pixels) -> Floats:
    """Reduce to 32x32 raw pixels, of length 1 about their mean: their dot product is the correlation.

    Args:
        image: RGB, uint8, shape (H, W, 3).

    Returns:
        float32, shape (3072,).
    """
    small = np.asarray(Image.fromarray(image).resize(THUMBNAIL, Image.Resampling.BOX), np.float32).ravel()
    small = small - small.mean()
    return np.asarray(small / max(float(np.linalg.norm(small)), 1e-6), np.float32)
