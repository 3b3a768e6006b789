"""Damaged pictures of every format: refused with the reason, or shown as they were; what cannot be told is counted."""

import csv
import io
import random
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from bloodcell.data.decode import open_picture
from tests.fuzz import copied_run, damaged, refused, sample, tried, typed
from tests.helpers import CLASSES, TINY

TRIALS, COMMAND_TRIALS = 5_000, 63
Pixels = np.ndarray[Any, np.dtype[np.uint8]]


def smear(mode: str) -> Image.Image:
    """A picture with soft and sharp edges, and noise."""
    rng = np.random.default_rng(5)
    yy, xx = np.mgrid[:72, :96]
    values = np.stack(
        [128 + 90 * np.sin(xx / 9 + k) * np.cos(yy / 7) + rng.normal(0, 9, xx.shape) for k in range(4)], 2
    )
    values[20:50, 30:60] = (90, 40, 160, 255)
    pixels = values.clip(0, 255).astype(np.uint8)
    if mode == "I;16":
        return Image.fromarray(pixels[..., 0].astype(np.uint16) * 257)
    return Image.fromarray(pixels, "RGBA").convert(mode)


# Of each kind: what Pillow writes it with, and whether the format carries sums that tell a change of its pixels.
KINDS: dict[str, tuple[str, str, dict[str, Any], bool]] = {
    "jpeg": ("RGB", "JPEG", {"quality": 85}, False),
    "jpeg progressive": ("RGB", "JPEG", {"progressive": True}, False),
    "jpeg grey": ("L", "JPEG", {}, False),
    "jpeg cmyk": ("CMYK", "JPEG", {}, False),
    "png": ("RGB", "PNG", {}, True),
    "png palette": ("P", "PNG", {}, True),
    "png alpha": ("RGBA", "PNG", {}, True),
    "png 16": ("I;16", "PNG", {}, True),
    "png 1": ("1", "PNG", {}, True),
    "tiff": ("RGB", "TIFF", {}, False),
    "tiff lzw": ("RGB", "TIFF", {"compression": "tiff_lzw"}, False),
    "tiff deflate": ("RGB", "TIFF", {"compression": "tiff_adobe_deflate"}, False),
    "tiff jpeg": ("RGB", "TIFF", {"compression": "jpeg"}, False),
    "tiff 16": ("I;16", "TIFF", {}, False),
    "webp": ("RGB", "WEBP", {"quality": 80}, False),
    "webp lossless": ("RGBA", "WEBP", {"lossless": True}, False),
    "bmp": ("RGB", "BMP", {}, False),
    "ppm": ("RGB", "PPM", {}, False),
    "pgm": ("L", "PPM", {}, False),
}


@cache
def written(kind: str) -> tuple[bytes, Pixels]:
    mode, form, options, _ = KINDS[kind]
    file = io.BytesIO()
    smear(mode).save(file, form, **options)
    path = Path("whole")
    path.write_bytes(file.getvalue())
    return file.getvalue(), np.asarray(open_picture(path))


def seen(path: Path, content: bytes, whole: Pixels) -> str:
    path.write_bytes(content)
    picture = refused(lambda: open_picture(path), path)
    if picture is None:
        return "refused"
    pixels = np.asarray(picture)
    return "as it was" if pixels.shape == whole.shape and (pixels == whole).all() else "other pixels"


@pytest.mark.parametrize("numbers", sample(380, TRIALS, 1_155))
def test_damaged(tmp_path: Path, numbers: range) -> None:
    """A change is found wherever the format has sums of its content; that is PNG alone."""

    def trial(rng: random.Random) -> tuple[str, str]:
        kind = rng.choice(list(KINDS))
        content, whole = written(kind)
        return kind, seen(tmp_path / "damaged.jpg", damaged(rng, content), whole)

    outcomes = tried(trial, numbers, tmp_path)
    for kind in KINDS:
        assert outcomes[kind, "refused"], kind
        assert KINDS[kind][3] is False or not outcomes[kind, "other pixels"], kind


@pytest.mark.parametrize("kind", KINDS)
def test_a_picture_that_ends_early_is_refused(tmp_path: Path, kind: str) -> None:
    """Whatever the format."""
    content, whole = written(kind)
    ends = [*range(0, len(content), max(1, len(content) // 60)), *range(len(content) - 3, len(content))]
    assert {seen(tmp_path / "short", content[:end], whole) for end in ends} == {"refused"}


COMMANDS = ("predict", "predict", "predict", "audit", "train", "evaluate", "count")


@pytest.mark.parametrize("numbers", sample(3, COMMAND_TRIALS, 30))
def test_damaged_ones_in_a_folder(finished: Path, tmp_path: Path, numbers: range) -> None:
    """Every command that looks at pictures names those that it cannot read, and goes on or stops in one line."""

    def trial(rng: random.Random) -> str:
        root = tmp_path / f"set{rng.random()}"
        files = [root / name / f"{n}.{rng.choice(('jpg', 'png', 'tif'))}" for name in CLASSES for n in range(5)]
        for file in files:
            file.parent.mkdir(parents=True, exist_ok=True)
            content = written(rng.choice(list(KINDS)))[0] + rng.randbytes(4)  # no two are equal
            file.write_bytes(damaged(rng, content) if rng.random() < 0.2 else content)
        name = rng.choice(COMMANDS)
        words: dict[str, list[object]] = {
            "predict": [root, "--model", finished, "--out", root / "out.csv"],
            "count": [root, "--model", finished, "--out", root / "counts.csv"],
            "evaluate": [copied_run(finished, tmp_path / f"run{rng.random()}"), f"data.root={root}"],
            "audit": ["data=folder", f"data.root={root}", f"hydra.run.dir={root}-audit"],
            "train": [*TINY, "trainer=smoke", f"data.root={root}", f"hydra.run.dir={root}-run"],
        }
        said = typed(import_module(f"bloodcell.{name}"), *words[name])
        if name == "predict":
            with (root / "out.csv").open(newline="") as table:
                rows = list(csv.DictReader(table))
            assert sorted({row["file"] for row in rows}) == sorted(map(str, files))
            assert all(bool(row["class"]) != bool(row["reason"]) for row in rows)
        return f"{name}: {said.partition(' ')[0]}"

    assert tried(trial, numbers, tmp_path)
