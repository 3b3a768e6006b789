"""Rendered smears: stained blood fields with red cells, platelets and one white cell. Not real cells.

Shapes, colours and sizes follow the morphology of Wright-Giemsa stained blood (WHO Manual of basic techniques
for a health laboratory, p. 311; ASH image bank; CellaVision Cell Atlas). Light is absorbed: each thing multiplies
what lies below it by its own colour.
"""

import itertools
import multiprocessing
import shutil
import tempfile
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image
from rich.progress import track
from scipy.ndimage import gaussian_filter

from bloodcell.errors import InputError

VERSION = 1  # changes whenever the pictures do
HEIGHT, WIDTH = 240, 320
RED_RADIUS = 23.0  # pixels at scale 1: a red cell of 7.5 um is about 46 pixels wide in a 320x240 frame

Floats = npt.NDArray[np.float64]
Draw = np.random.Generator


@dataclass(frozen=True)
class Morphology:
    """What one kind of white cell looks like.

    Attributes:
        size: Diameter over that of a red cell: lowest, commonest, highest.
        share: Area of the nucleus over that of the cell, lowest and highest.
        cytoplasm: Colour, RGB in [0, 1].
        chromatin: Colour of the nucleus.
        clump: Contrast of the chromatin's texture.
        grain: Size of that texture in pixels.
    """

    size: tuple[float, float, float]
    share: tuple[float, float]
    cytoplasm: tuple[float, float, float]
    chromatin: tuple[float, float, float]
    clump: float
    grain: float


KINDS = {
    "EOSINOPHIL": Morphology((1.35, 1.75, 2.25), (0.26, 0.40), (0.91, 0.70, 0.66), (0.42, 0.27, 0.58), 0.20, 2.0),
    "LYMPHOCYTE": Morphology((1.08, 1.45, 1.95), (0.70, 0.84), (0.64, 0.73, 0.90), (0.35, 0.21, 0.53), 0.24, 2.6),
    "MONOCYTE": Morphology((1.60, 1.95, 2.55), (0.36, 0.52), (0.73, 0.75, 0.84), (0.50, 0.38, 0.66), 0.34, 1.3),
    "NEUTROPHIL": Morphology((1.35, 1.85, 2.25), (0.26, 0.40), (0.91, 0.81, 0.87), (0.37, 0.22, 0.53), 0.26, 2.2),
}
CLASSES = tuple(KINDS)
RED_COLOUR = np.array([0.83, 0.64, 0.61])
PLASMA = np.array([0.90, 0.89, 0.91])


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
    scale = rng.uniform(0.82, 1.16)
    field = np.empty((HEIGHT, WIDTH, 3))
    field[:] = PLASMA
    radius = scale * RED_RADIUS * rng.triangular(*KINDS[kind].size)
    centre = _white_place(radius, rng)
    stain = rng.uniform(0.8, 1.2)
    _red_cells(field, scale, centre, radius, stain, rng)
    _platelets(field, scale, centre, radius, rng)
    _white_cell(field, KINDS[kind], kind, centre, radius, stain, rng)
    return _photograph(field, rng)


def write_smears(root: Path, per_class: dict[str, int], seed: int, workers: int = 1) -> None:
    """Write an ImageFolder tree of smears: ``root/train/EOSINOPHIL/smear_0000.jpg`` and so on.

    The bytes of a file depend on the seed and on its place in the tree alone. The tree appears at once when
    all of it is there; if another process has made the same one meanwhile, that one stays.

    Args:
        root: Folder to make.
        per_class: Images of each class for each subset, as ``{"train": 200, "test": 50}``.
        seed: Seeds all pictures.
        workers: Processes.
    """
    root.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=f".{root.name}.", dir=root.parent))
    jobs: list[tuple[Path, str, tuple[int, ...]]] = []
    for s, (subset, number) in enumerate(per_class.items()):
        for c, kind in enumerate(CLASSES):
            folder = partial / subset / kind
            folder.mkdir(parents=True)
            jobs += [(folder / f"smear_{i:04d}.jpg", kind, (seed, s, c, i)) for i in range(number)]
    try:
        _run(jobs, workers)
        try:
            partial.rename(root)
        except OSError:
            if not root.is_dir():
                raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _run(jobs: list[tuple[Path, str, tuple[int, ...]]], workers: int) -> None:
    what = "rendering smears (not real cells)"
    if workers == 1 or len(jobs) < 100:
        for job in track(jobs, what, transient=True, disable=len(jobs) < 100):
            _write(job)
        return
    # torch may be loaded and running threads: a forked child could hang.
    with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn")) as pool:
        for _ in track(pool.map(_write, jobs, chunksize=16), what, total=len(jobs), transient=True):
            pass


def _write(job: tuple[Path, str, tuple[int, ...]]) -> None:
    path, kind, entropy = job
    rng = np.random.default_rng(np.random.SeedSequence(entropy))
    Image.fromarray(render_smear(kind, rng)).save(path, quality=int(rng.integers(86, 96)))


def _white_place(radius: float, rng: Draw) -> Floats:
    """Centre (y, x) of the white cell; one in five is cut by the frame, never through most of its nucleus."""
    margin = radius * (rng.uniform(0.5, 0.8) if rng.random() < 0.2 else 1.02)
    margin = min(margin, HEIGHT / 2 - 1)
    return np.array([rng.uniform(margin, HEIGHT - margin), rng.uniform(margin, WIDTH - margin)])


def _patch(field: Floats, centre: Floats, reach: float) -> tuple[Floats, Floats, Floats]:
    """The part of a field within reach of a centre (a view), and its coordinates relative to it."""
    y0, x0 = (max(0, int(c - reach)) for c in centre)
    y1, x1 = min(HEIGHT, int(centre[0] + reach) + 1), min(WIDTH, int(centre[1] + reach) + 1)
    dy = (np.arange(y0, max(y0, y1)) - centre[0])[:, None]
    dx = (np.arange(x0, max(x0, x1)) - centre[1])[None, :]
    return field[y0:y1, x0:x1], dy, dx


def _cover(distance: Floats, softness: float = 1.2) -> Floats:
    """Opacity from a signed distance in pixels (negative inside), with a soft edge."""
    return np.clip(0.5 - distance / softness, 0.0, 1.0)


def _absorb(patch: Floats, opacity: Floats, colour: Floats) -> None:
    patch *= 1.0 - opacity[..., None] * (1.0 - colour)


def _paint(patch: Floats, opacity: Floats, colour: Floats) -> None:
    patch += opacity[..., None] * (colour - patch)


def _red_cells(field: Floats, scale: float, white: Floats, white_radius: float, stain: float, rng: Draw) -> None:
    colour = np.clip(RED_COLOUR + rng.normal(0, [0.015, 0.025, 0.025]), 0, 1) ** stain
    pallor, wanted = rng.uniform(0.25, 0.75), rng.integers(8, 24)
    placed: list[tuple[float, float]] = []
    for _ in range(4 * int(wanted)):
        if len(placed) == wanted:
            break
        centre = np.array([rng.uniform(-20, HEIGHT + 20), rng.uniform(-20, WIDTH + 20)])
        radius = scale * RED_RADIUS * rng.normal(1.0, 0.07)
        apart = all(np.hypot(centre[0] - y, centre[1] - x) > 1.55 * radius for y, x in placed)
        if apart and np.hypot(*(centre - white)) > white_radius + 0.9 * radius:
            placed.append((centre[0], centre[1]))
            _red_cell(field, centre, radius, colour, pallor, rng)


def _red_cell(field: Floats, centre: Floats, radius: float, colour: Floats, pallor: float, rng: Draw) -> None:
    patch, dy, dx = _patch(field, centre, 1.35 * radius)
    angle, flat = rng.uniform(0, np.pi), rng.uniform(0.84, 1.0)
    u = np.cos(angle) * dx + np.sin(angle) * dy
    v = (np.cos(angle) * dy - np.sin(angle) * dx) / flat
    rho = np.sqrt(u * u + v * v) / radius
    bumps = 1 + rng.normal(0, 0.02) * np.cos(3 * np.arctan2(v, u) + rng.uniform(0, 6.3))
    body = _cover((rho - bumps) * radius, 2.0)
    # A disc with a dimple: thickest at two thirds of the radius, the pale centre about a third of the width.
    thickness = (0.72 + 0.28 * np.exp(-(((rho - 0.68) / 0.25) ** 2))) * (1 - pallor * np.exp(-((rho / 0.42) ** 4)))
    _absorb(patch, body * thickness, colour)


def _platelets(field: Floats, scale: float, white: Floats, white_radius: float, rng: Draw) -> None:
    for _ in range(int(rng.integers(1, 9))):
        centre = np.array([rng.uniform(0, HEIGHT), rng.uniform(0, WIDTH)])
        if np.hypot(*(centre - white)) < 1.15 * white_radius:
            continue
        radius = scale * rng.uniform(3.0, 6.0)
        patch, dy, dx = _patch(field, centre, 2 * radius)
        rho = np.hypot(dy, dx * rng.uniform(0.75, 1.3))
        _absorb(patch, 0.8 * _cover(rho - radius, 3.0), np.array([0.66, 0.52, 0.78]))


def _white_cell(
    field: Floats, look: Morphology, kind: str, centre: Floats, radius: float, stain: float, rng: Draw
) -> None:
    patch, dy, dx = _patch(field, centre, 1.25 * radius)
    theta, rho = np.arctan2(dy, dx), np.hypot(dy, dx)
    rim = radius * (1 + sum(rng.normal(0, 0.02) * np.cos(k * theta + rng.uniform(0, 6.3)) for k in (2, 3, 4)))
    body = _cover(rho - rim, 2.2)
    nucleus = _cover(NUCLEI[kind](dy, dx, radius, rng.uniform(*look.share), rng), 1.8)
    inside = body * (1 - nucleus)
    colour = np.clip(np.array(look.cytoplasm) + rng.normal(0, 0.012, 3), 0, 1) ** stain
    _paint(patch, 0.92 * body, colour)
    CYTOPLASMS[kind](patch, inside, rho / rim, stain, rng)
    texture = np.tanh(1.6 * _noise(rho.shape, look.grain, rng))
    chromatin = np.clip(np.array(look.chromatin) + rng.normal(0, 0.015, 3), 0, 1) ** stain
    shade = chromatin + look.clump * 0.5 * np.clip(texture, -0.6, 1.0)[..., None] * (1 - chromatin)
    patch += (nucleus * body)[..., None] * (np.clip(shade, 0, 1) - patch)


def _noise(shape: tuple[int, ...], grain: float, rng: Draw) -> Floats:
    """Smooth noise with mean 0 and deviation 1; grain in pixels."""
    rough = gaussian_filter(rng.standard_normal(shape), grain)
    result: Floats = (rough - rough.mean()) / (rough.std() + 1e-9)
    return result


def _join(distances: list[Floats], blend: float) -> Floats:
    """Union of shapes whose seams are rounded over ``blend`` pixels."""
    nearest: Floats = np.minimum.reduce(distances)
    total: Floats = np.add.reduce([np.exp((nearest - one) / blend) for one in distances])
    joined: Floats = nearest - blend * np.log(total)
    return joined


def _lobes(dy: Floats, dx: Floats, places: Floats, radii: Floats, neck: float, blend: float) -> Floats:
    """Discs in a row, each joined to the next by a strand of half-width ``neck``."""
    parts = [np.hypot(dy - y, dx - x) - r for (y, x), r in zip(places, radii, strict=True)]
    for (y0, x0), (y1, x1) in itertools.pairwise(places):
        ly, lx = y1 - y0, x1 - x0
        along = np.clip(((dy - y0) * ly + (dx - x0) * lx) / (ly * ly + lx * lx + 1e-9), 0, 1)
        parts.append(np.hypot(dy - y0 - along * ly, dx - x0 - along * lx) - neck)
    return _join(parts, blend)


def _arc(number: int, reach: float, span: float, rng: Draw) -> Floats:
    """So many places (y, x) along an arc around the centre."""
    angles = rng.uniform(0, 2 * np.pi) + np.linspace(-span / 2, span / 2, number)
    return reach * np.stack([np.sin(angles), np.cos(angles)], axis=1)


def _neutrophil_nucleus(dy: Floats, dx: Floats, radius: float, share: float, rng: Draw) -> Floats:
    """Two to five lobes, three on average, joined by thin filaments."""
    number = int(rng.choice([2, 3, 4, 5], p=[0.17, 0.51, 0.25, 0.07]))
    span = {2: rng.uniform(1.9, 2.9), 3: rng.uniform(3.0, 4.1), 4: rng.uniform(4.0, 4.8), 5: rng.uniform(4.6, 5.2)}
    places = _arc(number, radius * rng.uniform(0.46, 0.54), span[number], rng)
    places += rng.normal(0, 0.04 * radius, places.shape)
    radii = radius * np.sqrt(share / number) * rng.uniform(0.82, 1.12, number)
    gap = np.hypot(*(places[1:] - places[:-1]).T).min()
    radii *= min(1.0, 0.52 * gap / radii.max())  # the filaments stay visible between the lobes
    # A lobe is longer across the row than along it, and never quite round.
    across = places / np.hypot(*places.T)[:, None] + rng.normal(0, 0.5, places.shape)
    bulge = 0.45 * radii[:, None] * across / np.hypot(*across.T)[:, None]
    row = _lobes(dy, dx, places - 0.5 * bulge, radii, 0.045 * radius, 0.6)
    twins = [np.hypot(dy - y, dx - x) - 0.86 * r for (y, x), r in zip(places + bulge, radii, strict=True)]
    return _join([row, *twins], 1.5)


def _eosinophil_nucleus(dy: Floats, dx: Floats, radius: float, share: float, rng: Draw) -> Floats:
    """Two full lobes, sometimes three, with a short bridge."""
    number = 2 if rng.random() < 0.85 else 3
    places = _arc(number, radius * rng.uniform(0.42, 0.48), rng.uniform(2.3, 2.8) if number == 2 else 3.9, rng)
    radii = radius * np.sqrt(share / number) * rng.uniform(0.95, 1.1, number)
    return _lobes(dy, dx, places, radii, 0.09 * radius, 1.5)


def _lymphocyte_nucleus(dy: Floats, dx: Floats, radius: float, share: float, rng: Draw) -> Floats:
    """One round or oval nucleus that nearly fills the cell."""
    flat, angle = rng.uniform(0.86, 1.0), rng.uniform(0, np.pi)
    shift = rng.normal(0, 0.03 * radius, 2)
    u = np.cos(angle) * (dx - shift[1]) + np.sin(angle) * (dy - shift[0])
    v = np.cos(angle) * (dy - shift[0]) - np.sin(angle) * (dx - shift[1])
    r = radius * np.sqrt(share)
    distance: Floats = np.hypot(u * np.sqrt(flat), v / np.sqrt(flat)) - r * 0.98
    return distance


def _monocyte_nucleus(dy: Floats, dx: Floats, radius: float, share: float, rng: Draw) -> Floats:
    """A thick bent band: kidney, horseshoe or folded."""
    span = rng.uniform(1.9, 3.7)
    reach = radius * rng.uniform(0.38, 0.46)
    # A band of half-width w along an arc of length L covers about 2 w L + pi w^2.
    length = reach * span
    width = (-2 * length + np.sqrt(4 * length**2 + 4 * np.pi * share * np.pi * radius**2)) / (2 * np.pi)
    width = min(width, 0.40 * radius)
    places = _arc(7, reach, span, rng)
    places -= 0.5 * places.mean(axis=0)
    radii = width * rng.uniform(0.88, 1.12, 7)
    return _lobes(dy, dx, places, radii, 0.8 * width, 2.0)


def _eosinophil_cytoplasm(patch: Floats, inside: Floats, rho: Floats, stain: float, rng: Draw) -> None:
    """Coarse round orange-red granules of 0.5 to 1 um, densely packed."""
    # One granule in every cell of a jittered grid: dense, and yet apart from one another.
    step = 4
    seeds = np.zeros((inside.shape[0] + step, inside.shape[1] + step))
    ys, xs = (axis.ravel() for axis in np.mgrid[: inside.shape[0] : step, : inside.shape[1] : step])
    ys, xs = ys + rng.integers(0, 3, ys.shape), xs + rng.integers(0, 3, xs.shape)
    seeds[ys, xs] = rng.uniform(0.55, 1.2, ys.shape)
    bumps = gaussian_filter(seeds, 1.15)[: inside.shape[0], : inside.shape[1]] * (2 * np.pi * 1.15**2)
    granules = np.clip((bumps - 0.42) * 3, 0, 1) * inside * (rho < 0.97)
    _paint(patch, 0.95 * granules, np.array([0.86, 0.42, 0.33]) ** stain)


def _neutrophil_cytoplasm(patch: Floats, inside: Floats, rho: Floats, stain: float, rng: Draw) -> None:
    """Very fine lilac granules on faint pink."""
    dust = np.clip(_noise(inside.shape, 0.7, rng) - 0.5, 0, 1.5)
    _paint(patch, 0.35 * dust * inside, np.array([0.74, 0.58, 0.78]) ** stain)


def _lymphocyte_cytoplasm(patch: Floats, inside: Floats, rho: Floats, stain: float, rng: Draw) -> None:
    """A rim that darkens outwards; none or a few violet granules."""
    _absorb(patch, inside * np.clip(rho - 0.55, 0, 1) * rng.uniform(0.2, 0.8), np.array([0.55, 0.66, 0.86]))


def _monocyte_cytoplasm(patch: Floats, inside: Floats, rho: Floats, stain: float, rng: Draw) -> None:
    """Ground glass: very fine dust, and clear vacuoles."""
    dust = np.clip(_noise(inside.shape, 0.9, rng), -1, 1)
    patch *= 1 + 0.035 * (dust * inside)[..., None]
    seeds = (rng.random(inside.shape) < 0.0035).astype(np.float64)
    bubbles = gaussian_filter(seeds, 1.9) * (2 * np.pi * 1.9**2)
    _paint(patch, np.clip((bubbles - 0.35) * 2, 0, 0.75) * inside * (rho < 0.92), np.array([0.90, 0.90, 0.94]))


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


def _photograph(field: Floats, rng: Draw) -> npt.NDArray[np.uint8]:
    """Defocus, uneven light, white balance, exposure and sensor noise."""
    sigma = rng.uniform(0.35, 1.25)
    blurred = gaussian_filter(field, (sigma, sigma, 0))
    y = np.linspace(-1, 1, HEIGHT)[:, None]
    x = np.linspace(-1, 1, WIDTH)[None, :]
    slope = rng.normal(0, 0.03, 2)
    light = 1 + slope[0] * y + slope[1] * x - rng.uniform(0, 0.08) * (x * x + y * y)
    gains = rng.uniform(0.86, 1.04) * (1 + rng.uniform(-0.06, 0.06, 3))
    image = blurred * light[..., None] * gains
    image += rng.normal(0, rng.uniform(0.004, 0.014), image.shape)
    pixels: npt.NDArray[np.uint8] = (np.clip(image, 0, 1) * 255 + 0.5).astype(np.uint8)
    return pixels
