"""A field of view: plasma, red cells, platelets, one white cell, and the camera."""

import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter1d

from bloodcell.common.errors import InputError
from bloodcell.data.synthetic.cells import CLASSES, KINDS, white_cell
from bloodcell.data.synthetic.paint import HEIGHT, WIDTH, Draw, Floats, absorb, cover, ellipse, patch, swell, tint

RED_RADIUS = 23.0  # pixels at scale 1: a red cell of 7.5 um is about 46 pixels wide in a 320x240 frame
RED_COLOUR = (0.83, 0.66, 0.64)
PLASMA = (0.91, 0.90, 0.90)


def render_smear(kind: str, rng: Draw) -> npt.NDArray[np.uint8]:
    """Render one field of view.

    Args:
        kind: One of ``CLASSES``, the white cell in it.
        rng: Source of everything that varies.

    Returns:
        RGB, uint8, shape (240, 320, 3).

    Raises:
        InputError: If the kind is unknown.
    """
    if kind not in KINDS:
        raise InputError("kind", expected=f"one of {', '.join(CLASSES)}", got=kind, fix="choose one of them")
    field = np.empty((3, HEIGHT, WIDTH), np.float32)
    field[:] = tint(PLASMA, 0.008, 1.0, rng)[:, None, None]
    scale, stain = rng.uniform(0.82, 1.16), rng.uniform(0.8, 1.2)
    radius = scale * RED_RADIUS * rng.triangular(*KINDS[kind].size)
    centre = _white_place(radius, rng)
    _red_cells(field, scale, centre, radius, stain, rng)
    _platelets(field, scale, centre, radius, rng)
    white_cell(field, kind, centre, radius, stain, rng)
    return _photograph(field, rng)


def _white_place(radius: float, rng: Draw) -> Floats:
    """Centre of the white cell; one in five is cut by the frame, never through most of its nucleus."""
    margin = radius * (rng.uniform(0.5, 0.8) if rng.random() < 0.2 else 1.02)
    margin = min(margin, HEIGHT / 2 - 1)
    return np.array([rng.uniform(margin, HEIGHT - margin), rng.uniform(margin, WIDTH - margin)], np.float32)


def _red_cells(field: Floats, scale: float, white: Floats, white_radius: float, stain: float, rng: Draw) -> None:
    colour = tint(RED_COLOUR, 0.02, stain, rng)
    pallor, wanted = rng.uniform(0.4, 0.95), int(rng.integers(10, 34))
    # Spread thinly the cells lie apart; where blood is thick they touch and overlap.
    apart = rng.uniform(1.3, 2.0) if wanted < 22 else rng.uniform(1.15, 1.6)
    placed, blood = np.empty((0, 2)), np.zeros((1, HEIGHT, WIDTH), np.float32)
    for _ in range(4 * wanted):
        centre = np.array([rng.uniform(-20, HEIGHT + 20), rng.uniform(-20, WIDTH + 20)])
        radius = scale * RED_RADIUS * rng.normal(1.0, 0.07)
        if np.hypot(*(centre - white)) < white_radius + 0.8 * radius:
            continue
        if len(placed) and np.hypot(*(placed - centre).T).min() < apart * radius:
            continue
        placed = np.vstack([placed, centre])
        _red_cell(blood, centre.astype(np.float32), radius, pallor * rng.uniform(0.5, 1.15), rng)
        if len(placed) == wanted:
            break
    absorb(field, blood[0], colour)


def _red_cell(blood: Floats, centre: Floats, radius: float, pallor: float, rng: Draw) -> None:
    (below,), dy, dx = patch(blood, centre, 1.4 * radius)
    angle, flat = rng.uniform(0, np.pi), 1 - min(0.4, abs(rng.normal(0, 0.13)))
    depth = ellipse(dy, dx, radius, flat, angle)
    depth += np.float32(0.03 * radius) * swell(dy, dx, 1.1 * radius, rng)
    # The dimple is never quite in the middle nor of one size; a crisp edge is a dimple that dried.
    shift = rng.normal(0, 0.06 * radius, 2).astype(np.float32)
    hollow = ellipse(dy - shift[0], dx - shift[1], radius * rng.uniform(0.36, 0.56), 0.5 + 0.5 * flat, angle)
    dimple = cover(hollow, radius * rng.uniform(0.25, 0.7))
    thickness = np.float32(0.82) + np.float32(0.18) * np.exp(-((depth + 3) ** 2) / 14)
    thickness *= cover(depth, 2.0) * (1 - np.float32(min(pallor, 0.92)) * dimple)
    # Where two lie on one another they are squeezed: darker than one, not twice as dark.
    below += thickness * (1 - np.float32(0.65) * np.minimum(below, 1))


def _platelets(field: Floats, scale: float, white: Floats, white_radius: float, rng: Draw) -> None:
    colour = tint((0.60, 0.50, 0.80), 0.02, 1.0, rng)
    for _ in range(int(rng.integers(1, 9))):
        centre = np.array([rng.uniform(0, HEIGHT), rng.uniform(0, WIDTH)], np.float32)
        if np.hypot(*(centre - white)) < 1.15 * white_radius:
            continue
        radius = scale * rng.uniform(3.2, 7.0)
        below, dy, dx = patch(field, centre, 2.2 * radius)
        depth = ellipse(dy, dx, radius, rng.uniform(0.6, 1.0), rng.uniform(0, np.pi))
        depth += np.float32(0.14 * radius) * swell(dy, dx, 0.9 * radius, rng)
        absorb(below, np.float32(rng.uniform(0.55, 0.9)) * cover(depth, 3.5), colour)


def _photograph(field: Floats, rng: Draw) -> npt.NDArray[np.uint8]:
    """Defocus, uneven light, white balance, exposure and sensor noise."""
    sigma = rng.uniform(0.4, 1.25)
    image = gaussian_filter1d(gaussian_filter1d(field, sigma, axis=1, truncate=3), sigma, axis=2, truncate=3)
    y = np.linspace(-1, 1, HEIGHT, dtype=np.float32)[:, None]
    x = np.linspace(-1, 1, WIDTH, dtype=np.float32)[None, :]
    slope = rng.normal(0, 0.03, 2).astype(np.float32)
    light = 1 + slope[0] * y + slope[1] * x - np.float32(rng.uniform(0, 0.08)) * (x * x + y * y)
    # Lamps go from warm to cold; towards green or violet a camera errs less.
    warm, green = rng.uniform(-0.055, 0.055), rng.uniform(-0.03, 0.02)
    gains = rng.uniform(0.86, 1.04) * np.array([1 + warm, 1 - green, 1 - warm])
    grain = np.float32(rng.uniform(0.004, 0.014))
    for channel, gain in zip(image, gains, strict=True):
        channel *= np.float32(gain) * light
        channel += grain * rng.standard_normal(channel.shape, dtype=np.float32)
    pixels = (np.clip(image, 0, 1) * 255 + 0.5).astype(np.uint8)
    return np.ascontiguousarray(pixels.transpose(1, 2, 0))
