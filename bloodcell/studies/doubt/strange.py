"""Pictures that no blood smear ever shows, drawn alike each time."""

from collections.abc import Iterator

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from bloodcell.data.micrographs import Pixels

MADE = 100
HEIGHT, WIDTH = 480, 640


def made_pictures(seed: int = 0) -> dict[str, list[Pixels]]:
    """Draw text pages, noise and flat colours, RGB, uint8, shape (480, 640, 3)."""
    rng = np.random.default_rng(seed)
    return {
        "text pages": [_text(rng) for _ in range(MADE)],
        "noise": [_noise(rng, number) for number in range(MADE)],
        "flat colour": [np.full((HEIGHT, WIDTH, 3), rng.integers(0, 256, 3), np.uint8) for _ in range(MADE)],
    }


def _text(rng: np.random.Generator) -> Pixels:
    page = Image.new("RGB", (WIDTH, HEIGHT), (255, 255, int(rng.integers(200, 256))))
    draw, size = ImageDraw.Draw(page), int(rng.integers(10, 30))
    font = ImageFont.load_default(size)
    for y in range(size, HEIGHT - size, int(size * rng.uniform(1.2, 2))):
        draw.text((size, y), " ".join(_words(rng)), fill=(20, 20, 20), font=font)
    return np.asarray(page)


def _words(rng: np.random.Generator) -> Iterator[str]:
    for length in rng.integers(2, 10, 20):
        yield "".join(rng.choice(list("abcdefghijklmnopqrstuvwxyz"), length))


def _noise(rng: np.random.Generator, number: int) -> Pixels:
    """Noise of every colour, or around one; fine, or in blocks of up to 32 pixels."""
    block = 2 ** (number % 6)
    shape = (HEIGHT // block, WIDTH // block, 3)
    if number % 2:
        values = rng.normal(rng.uniform(60, 220, 3), 30, shape).clip(0, 255).astype(np.uint8)
    else:
        values = rng.integers(0, 256, shape, dtype=np.uint8)
    return np.ascontiguousarray(values.repeat(block, 0).repeat(block, 1))
