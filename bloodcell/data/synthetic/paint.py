"""Brushes: soft shapes that absorb light or cover what lies below.

A field is a float array (3, height, width).
"""

import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter

HEIGHT, WIDTH = 240, 320

Floats = npt.NDArray[np.float32]
Draw = np.random.Generator


def patch(field: Floats, centre: Floats, reach: float) -> tuple[Floats, Floats, Floats]:
    """The part of a field within reach of a centre.

    Args:
        field: What is painted on.
        centre: Row and column.
        reach: Half the width of the part.

    Returns:
        A view of the field, and the rows (h, 1) and columns (1, w) of its pixels relative to the centre.
    """
    y0, x0 = (max(0, int(c - reach)) for c in centre)
    y1, x1 = min(HEIGHT, int(centre[0] + reach) + 1), min(WIDTH, int(centre[1] + reach) + 1)
    dy = (np.arange(y0, max(y0, y1), dtype=np.float32) - np.float32(centre[0]))[:, None]
    dx = (np.arange(x0, max(x0, x1), dtype=np.float32) - np.float32(centre[1]))[None, :]
    return field[:, y0:y1, x0:x1], dy, dx


def cover(distance: Floats, softness: float) -> Floats:
    """Opacity from a signed distance in pixels (negative inside), with an edge so many pixels wide."""
    opacity: Floats = np.clip(0.5 - distance / np.float32(softness), 0.0, 1.0)
    return opacity


def absorb(below: Floats, opacity: Floats, colour: Floats) -> None:
    """Stain what lies below: light passes both."""
    for channel, left in zip(below, colour, strict=True):
        channel *= 1 - opacity * np.float32(1 - left)


def paint(below: Floats, opacity: Floats, colour: Floats) -> None:
    """Cover what lies below."""
    for channel, wanted in zip(below, colour, strict=True):
        channel += opacity * (np.float32(wanted) - channel)


def tint(colour: tuple[float, float, float], spread: float, strength: float, rng: Draw) -> Floats:
    """A colour as it comes out in one field: a little off, and stained more or less strongly."""
    shifted = np.clip(np.array(colour) + rng.normal(0, spread, 3), 0.02, 1)
    result: Floats = (shifted**strength).astype(np.float32)
    return result


def noise(shape: tuple[int, ...], grain: float, rng: Draw) -> Floats:
    """Smooth noise with mean 0 and deviation 1; grain in pixels."""
    rough = gaussian_filter(rng.standard_normal(shape, dtype=np.float32), grain, truncate=3)
    result: Floats = (rough - rough.mean()) / (rough.std() + np.float32(1e-9))
    return result


def swell(dy: Floats, dx: Floats, length: float, rng: Draw) -> Floats:
    """A few random waves of about this length in pixels: bends outlines, at little cost."""
    total: Floats = np.zeros((dy.size, dx.size), np.float32)
    for _ in range(3):
        ky, kx = rng.uniform(1.2, 4.2, 2) / length
        py, px = rng.uniform(0, 2 * np.pi, 2)
        total += np.cos(np.float32(ky) * dy + np.float32(py)) * np.cos(np.float32(kx) * dx + np.float32(px))
    return total * np.float32(1.15)


def capsule(dy: Floats, dx: Floats, one: Floats, other: Floats, radius: float) -> Floats:
    """Signed distance from a rod with round ends between two places (row, column)."""
    ly, lx = (np.float32(v) for v in other - one)
    ry, rx = dy - np.float32(one[0]), dx - np.float32(one[1])
    along = np.clip((ry * ly + rx * lx) / (ly * ly + lx * lx + np.float32(1e-6)), 0, 1)
    distance: Floats = np.sqrt((ry - along * ly) ** 2 + (rx - along * lx) ** 2) - np.float32(radius)
    return distance


def ellipse(dy: Floats, dx: Floats, radius: float, flat: float, angle: float) -> Floats:
    """Signed distance, near the outline, from an ellipse of the area of a disc with this radius."""
    c, s = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    squeeze = np.float32(np.sqrt(flat))
    u, v = (c * dx + s * dy) * squeeze, (c * dy - s * dx) / squeeze
    distance: Floats = np.sqrt(u * u + v * v) - np.float32(radius)
    return distance


def join(distances: list[Floats], blend: float) -> Floats:
    """Union of shapes whose seams are rounded over ``blend`` pixels."""
    nearest: Floats = np.minimum.reduce(distances)
    total: Floats = np.add.reduce([np.exp((nearest - one) / np.float32(blend)) for one in distances])
    nearest -= np.float32(blend) * np.log(total)
    return nearest
