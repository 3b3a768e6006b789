"""White cells: what each kind looks like in Wright-Giemsa stain.

Sources: WHO Manual of basic techniques for a health laboratory, p. 311; ASH image bank;
CellaVision Cell Atlas.
"""

import itertools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter

from bloodcell.data.synthetic.paint import (
    Draw,
    Floats,
    absorb,
    capsule,
    cover,
    ellipse,
    join,
    noise,
    paint,
    patch,
    swell,
    tint,
)


@dataclass(frozen=True)
class Morphology:
    """What one kind of white cell looks like.

    Attributes:
        size: Diameter over that of a red cell: lowest, commonest, highest. The kinds overlap, as in blood.
        share: Area of the nucleus over that of the cell, lowest and highest.
        cytoplasm: Colour, RGB in [0, 1].
        chromatin: Colour of the nucleus.
        clump: Contrast of the chromatin's texture.
        grain: Size of that texture in pixels.
        lace: Share of the texture that is a network of pale threads instead of clumps.
        ragged: Unevenness of the cell's outline, over its radius.
    """

    size: tuple[float, float, float]
    share: tuple[float, float]
    cytoplasm: tuple[float, float, float]
    chromatin: tuple[float, float, float]
    clump: float
    grain: float
    lace: float
    ragged: float


KINDS = {
    "EOSINOPHIL": Morphology(
        (1.35, 1.75, 2.3), (0.27, 0.38), (0.92, 0.70, 0.66), (0.43, 0.29, 0.60), 0.17, 1.9, 0.1, 0.020
    ),
    "LYMPHOCYTE": Morphology(
        (1.08, 1.40, 1.95), (0.70, 0.85), (0.62, 0.72, 0.90), (0.35, 0.22, 0.55), 0.17, 2.7, 0.0, 0.015
    ),
    "MONOCYTE": Morphology(
        (1.60, 2.05, 2.6), (0.38, 0.54), (0.74, 0.75, 0.83), (0.51, 0.39, 0.67), 0.42, 1.6, 0.75, 0.040
    ),
    "NEUTROPHIL": Morphology(
        (1.35, 1.90, 2.3), (0.25, 0.38), (0.92, 0.81, 0.86), (0.37, 0.23, 0.55), 0.24, 2.0, 0.1, 0.020
    ),
}
CLASSES = tuple(KINDS)


def white_cell(field: Floats, kind: str, centre: Floats, radius: float, stain: float, rng: Draw) -> None:
    """Put a white cell on a field.

    Args:
        field: What is painted on.
        kind: One of ``CLASSES``.
        centre: Row and column.
        radius: In pixels.
        stain: Strength of the stain, 1 on average.
        rng: Source of everything that varies.
    """
    look = KINDS[kind]
    below, dy, dx = patch(field, centre, 1.3 * radius)
    outline = ellipse(dy, dx, radius, rng.uniform(0.88, 1.0), rng.uniform(0, np.pi))
    outline += np.float32(look.ragged * radius) * swell(dy, dx, radius, rng)
    # A bent sheet to draw on: no lobe comes out as a perfect disc, and a full nucleus stays round.
    share = rng.uniform(*look.share)
    bend = np.float32(0.065 * radius * (1 - share))
    wy, wx = (d + bend * swell(dy, dx, 0.9 * radius, rng) for d in (dy, dx))
    inner = NUCLEI[kind](wy, wx, radius, share, rng)
    body, nucleus = cover(outline, 2.2), cover(inner, 1.7)
    depth = np.clip(1 + outline / np.float32(radius), 0, 1)
    paint(below, np.float32(0.93) * body, tint(look.cytoplasm, 0.014, stain, rng))
    CYTOPLASMS[kind](below, body * (1 - nucleus), depth, stain, rng)
    _chromatin(below, nucleus * body, inner, look, stain, rng)


def _chromatin(below: Floats, opacity: Floats, inner: Floats, look: Morphology, stain: float, rng: Draw) -> None:
    colour = tint(look.chromatin, 0.015, stain, rng)
    clumps = np.clip(np.tanh(np.float32(1.6) * noise(inner.shape, look.grain, rng)), -0.6, 1)
    # Where noise passes through zero there are threads: pale ones between the chromatin of a monocyte.
    threads = np.float32(1.6) * np.exp(-((noise(inner.shape, 1.25 * look.grain, rng) / np.float32(0.5)) ** 2)) - 0.5
    texture = np.float32(look.clump) * ((1 - look.lace) * clumps + look.lace * threads)
    # The membrane gathers chromatin.
    texture = np.float32(0.5) * texture - np.float32(0.06) * np.exp(-((inner + 1.5) ** 2) / 3)
    for channel, full in zip(below, colour, strict=True):
        shade = np.clip(full + texture * (1 - full), 0, 1)
        channel += opacity * (shade - channel)


def _arc(number: int, reach: float, span: float, rng: Draw) -> Floats:
    """So many places (row, column) along an arc around the centre."""
    angles = rng.uniform(0, 2 * np.pi) + np.linspace(-span / 2, span / 2, number)
    places: Floats = (reach * np.stack([np.sin(angles), np.cos(angles)], axis=1)).astype(np.float32)
    return places


def _lobes(
    dy: Floats, dx: Floats, places: Floats, radii: Floats, longer: float, neck: float, blend: float, rng: Draw
) -> Floats:
    """Rods across a row of places, each joined to the next by a strand of half-width ``neck``."""
    parts = []
    for place, radius in zip(places, radii, strict=True):
        outward = place / (np.hypot(*place) + 1e-6) + rng.normal(0, 0.45, 2)
        half = longer * radius * outward / (np.hypot(*outward) + 1e-6)
        parts.append(capsule(dy, dx, place - half, place + half, float(radius)))
    lobes = join(parts, 1.2)
    strands = [capsule(dy, dx, one, other, neck) for one, other in itertools.pairwise(places)]
    return join([lobes, *strands], blend)


def _neutrophil_nucleus(dy: Floats, dx: Floats, radius: float, share: float, rng: Draw) -> Floats:
    """Two to five lobes, three on average, joined by thin filaments."""
    number = int(rng.choice([2, 3, 4, 5], p=[0.17, 0.50, 0.25, 0.08]))
    span = {
        2: rng.uniform(2.1, 2.9),
        3: rng.uniform(3.0, 4.1),
        4: rng.uniform(4.0, 4.8),
        5: rng.uniform(4.6, 5.2),
    }
    places = _arc(number, radius * rng.uniform(0.46, 0.54), span[number], rng)
    places += rng.normal(0, 0.04 * radius, places.shape).astype(np.float32)
    longer = 0.42
    # A rod of half-length h r covers pi r^2 + 4 h r^2.
    radii = radius * np.sqrt(share * np.pi / number / (np.pi + 4 * longer)) * rng.uniform(0.85, 1.15, number)
    gap = np.hypot(*(places[1:] - places[:-1]).T).min()
    radii *= min(1.0, 0.47 * gap / radii.max())  # the filaments stay visible between the lobes
    return _lobes(dy, dx, places, radii.astype(np.float32), longer, 0.045 * radius, 0.6, rng)


def _eosinophil_nucleus(dy: Floats, dx: Floats, radius: float, share: float, rng: Draw) -> Floats:
    """Two full lobes, sometimes three, with a short bridge."""
    number = 2 if rng.random() < 0.87 else 3
    span = rng.uniform(2.2, 2.9) if number == 2 else rng.uniform(3.5, 4.0)
    places = _arc(number, radius * rng.uniform(0.43, 0.49), span, rng)
    longer = 0.22
    radii = radius * np.sqrt(share * np.pi / number / (np.pi + 4 * longer)) * rng.uniform(0.93, 1.08, number)
    gap = np.hypot(*(places[1:] - places[:-1]).T).min()
    radii *= min(1.0, 0.52 * gap / radii.max())
    return _lobes(dy, dx, places, radii.astype(np.float32), longer, 0.09 * radius, 1.2, rng)


def _lymphocyte_nucleus(dy: Floats, dx: Floats, radius: float, share: float, rng: Draw) -> Floats:
    """One round or oval nucleus that nearly fills the cell."""
    shift = rng.normal(0, 0.03 * radius, 2).astype(np.float32)
    own = radius * np.sqrt(share) * 0.98
    return ellipse(dy - shift[0], dx - shift[1], own, rng.uniform(0.85, 1.0), rng.uniform(0, np.pi))


def _monocyte_nucleus(dy: Floats, dx: Floats, radius: float, share: float, rng: Draw) -> Floats:
    """A thick bent band: a kidney if short, a horseshoe if long, folded where it is uneven."""
    span, reach = rng.uniform(1.9, 3.8), radius * rng.uniform(0.38, 0.48)
    # A band of half-width w along an arc of length l covers about 2 w l + pi w^2.
    length = reach * span
    width = (np.sqrt(4 * length**2 + 4 * np.pi * share * np.pi * radius**2) - 2 * length) / (2 * np.pi)
    width = min(width, 0.40 * radius)
    places = _arc(6, reach, span, rng)
    places -= np.float32(0.5) * places.mean(axis=0)
    half_widths = width * rng.uniform(0.84, 1.16, 6)
    parts = [
        capsule(dy, dx, one, other, float(w))
        for (one, other), w in zip(itertools.pairwise(places), half_widths[1:], strict=True)
    ]
    return join(parts, 1.5)


def _eosinophil_cytoplasm(below: Floats, inside: Floats, depth: Floats, stain: float, rng: Draw) -> None:
    """Coarse round orange-red granules of 0.5 to 1 um, densely packed."""
    # One granule in every cell of a jittered grid: dense, and yet apart from one another.
    step, sigma = 5, 1.45
    seeds = np.zeros((inside.shape[0] + step, inside.shape[1] + step), np.float32)
    ys, xs = (axis.ravel() for axis in np.mgrid[: inside.shape[0] : step, : inside.shape[1] : step])
    xs = xs + (ys // step % 2) * (step // 2)  # alternate rows are offset, or the grid would be seen
    ys, xs = (
        ys + rng.integers(0, 4, ys.shape),
        np.minimum(xs + rng.integers(0, 4, xs.shape), seeds.shape[1] - 1),
    )
    seeds[ys, xs] = rng.uniform(0.55, 1.25, ys.shape)
    bumps = gaussian_filter(seeds, sigma)[: inside.shape[0], : inside.shape[1]] * np.float32(2 * np.pi * sigma**2)
    granules = np.clip((bumps - 0.40) * 2.8, 0, 1) * inside * (depth < 0.97)
    paint(below, np.float32(0.95) * granules, tint((0.87, 0.42, 0.33), 0.02, stain, rng))


def _neutrophil_cytoplasm(below: Floats, inside: Floats, depth: Floats, stain: float, rng: Draw) -> None:
    """Very fine lilac granules on faint pink."""
    dust = np.clip(noise(inside.shape, 0.7, rng) - np.float32(0.4), 0, 1.5)
    paint(below, np.float32(0.33) * dust * inside, tint((0.74, 0.58, 0.78), 0.01, stain, rng))


def _lymphocyte_cytoplasm(below: Floats, inside: Floats, depth: Floats, stain: float, rng: Draw) -> None:
    """A rim that darkens outwards; none or a few violet granules."""
    dark = np.clip(depth - 0.55, 0, 1) * np.float32(rng.uniform(0.2, 0.9))
    absorb(below, inside * dark, np.array([0.55, 0.66, 0.86], np.float32))


def _monocyte_cytoplasm(below: Floats, inside: Floats, depth: Floats, stain: float, rng: Draw) -> None:
    """Ground glass: very fine dust, and clear vacuoles."""
    dust = np.clip(noise(inside.shape, 0.9, rng), -1, 1)
    below *= 1 + np.float32(0.035) * dust * inside
    seeds = (rng.random(inside.shape, dtype=np.float32) < rng.uniform(0.002, 0.005)).astype(np.float32)
    bubbles = gaussian_filter(seeds, 1.9) * np.float32(2 * np.pi * 1.9**2)
    clear = np.clip((bubbles - 0.35) * 2, 0, 0.8) * inside * (depth < 0.92)
    paint(below, clear, np.array([0.92, 0.92, 0.95], np.float32))


NUCLEI: dict[str, Callable[[Floats, Floats, float, float, Draw], Floats]] = {
    "EOSINOPHIL": _eosinophil_nucleus,
    "LYMPHOCYTE": _lymphocyte_nucleus,
    "MONOCYTE": _monocyte_nucleus,
    "NEUTROPHIL": _neutrophil_nucleus,
}
CYTOPLASMS: dict[str, Callable[[Floats, Floats, Floats, float, Draw], None]] = {
    "EOSINOPHIL": _eosinophil_cytoplasm,
    "LYMPHOCYTE": _lymphocyte_cytoplasm,
    "MONOCYTE": _monocyte_cytoplasm,
    "NEUTROPHIL": _neutrophil_cytoplasm,
}
