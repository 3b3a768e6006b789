"""Pictures of every kind: shown right, or refused by name with the reason."""

import io
import json
import os
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms
from torchvision.datasets.folder import default_loader

from bloodcell.common.errors import InputError
from bloodcell.data import decode
from bloodcell.data.decode import open_picture
from bloodcell.data.sources.folder import Folder
from tests.helpers import write_cells

Array = npt.NDArray[Any]


def pixels(path: Path) -> Array:
    image = open_picture(path)
    assert image.mode == "RGB"
    return np.asarray(image)


def refused(path: Path) -> str:
    with pytest.raises(InputError) as stopped:
        open_picture(path)
    line = str(stopped.value)
    assert line.startswith(f"{path}: expected an image that can be decoded, got ")
    return line


def noise(*shape: int, top: int = 256, seed: int = 0) -> Array:
    return np.random.default_rng(seed).integers(0, top, shape)


@pytest.mark.parametrize("suffix", ["jpg", "png", "bmp", "tif", "webp", "ppm"])
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_plain_pictures_are_what_they_always_were(tmp_path: Path, suffix: str, mode: str) -> None:
    shape = (37, 53, 3) if mode == "RGB" else (37, 53)
    path = tmp_path / f"x.{suffix}"
    Image.fromarray(noise(*shape).astype(np.uint8)).save(path)
    assert (pixels(path) == np.asarray(default_loader(str(path)))).all()


@pytest.mark.real
def test_the_committed_results_rest_on_the_same_pixels(real: Path) -> None:
    files = [path for path in sorted(real.rglob("*")) if path.suffix in (".jpeg", ".jpg")][::97]
    assert len(files) > 100
    for path in files:
        assert open_picture(path).tobytes() == default_loader(str(path)).tobytes(), path


def fraction(values: Array, top: float) -> Array:
    return np.repeat((values * (255 / top)).round()[..., None], 3, axis=2)


@pytest.mark.parametrize("suffix", ["png", "tif", "pgm"])
def test_sixteen_bits_keep_their_range(tmp_path: Path, suffix: str) -> None:
    values = noise(20, 30, top=65536)
    path = tmp_path / f"x.{suffix}"
    Image.fromarray(values.astype(np.uint16)).save(path)
    assert (pixels(path) == fraction(values, 65535)).all()


def tiff(values: bytes, width: int, height: int, bits: int, white_is_zero: bool = False, sample: int = 1) -> bytes:
    """A grey TIFF in one strip, with what Pillow cannot write."""
    tags = [(256, width), (257, height), (258, bits), (259, 1), (262, 0 if white_is_zero else 1)]
    tags += [(273, 8 + 2 + 12 * 9 + 4), (277, 1), (279, len(values)), (339, sample)]
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + struct.pack("<I", 0) + values


def test_twelve_bits_keep_their_range(tmp_path: Path) -> None:
    path = tmp_path / "x.tif"
    path.write_bytes(tiff(bytes([0xFF, 0xF0, 0x00, 0x80, 0x08, 0x00]), 2, 2, 12))  # 4095 0, 2048 2048
    assert pixels(path)[..., 0].tolist() == [[255, 0], [128, 128]]


def test_where_white_is_zero_pictures_are_no_negatives(tmp_path: Path) -> None:
    path = tmp_path / "x.tif"
    path.write_bytes(tiff(struct.pack("<4H", 0, 65535, 13107, 0), 2, 2, 16, white_is_zero=True))
    assert pixels(path)[..., 0].tolist() == [[255, 0], [204, 255]]


def test_floats_from_0_to_1_keep_their_range_and_others_are_refused(tmp_path: Path) -> None:
    values = noise(20, 30, top=1000) / 999
    path = tmp_path / "x.tif"
    Image.fromarray(values.astype(np.float32)).save(path)
    assert (pixels(path) == fraction(values, 1)).all()
    for odd in (values * 255, values - 0.5, np.where(values > 0.5, np.nan, values), values * np.inf):
        Image.fromarray(odd.astype(np.float32)).save(path)
        assert "where 0 to 1 is expected" in refused(path)


def test_whole_numbers_of_unknown_range_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.tif"
    Image.fromarray(noise(4, 4, top=100_000).astype(np.int32)).save(path)
    assert "whole numbers of 32 bits or with a sign" in refused(path)
    path.write_bytes(tiff(struct.pack("<4h", -5, 3, 4, 5), 2, 2, 16, sample=2))
    assert "whole numbers of 32 bits or with a sign" in refused(path)


def test_transparency_is_white(tmp_path: Path) -> None:
    colours = noise(10, 12, 3).astype(np.uint8)
    for alpha in (0, 255, 128):
        whole = np.dstack([colours, np.full((10, 12), alpha, np.uint8)])
        for suffix in ("png", "tif", "webp"):
            path = tmp_path / f"x.{suffix}"
            Image.fromarray(whole).save(path, **({"lossless": True, "exact": True} if suffix == "webp" else {}))
            share = alpha / 255
            assert np.abs(pixels(path) - (share * colours + (1 - share) * 255.0)).max() <= 1
    Image.fromarray(noise(10, 12, 2).astype(np.uint8)).save(tmp_path / "grey.png")
    grey, alpha_of = (np.asarray(Image.open(tmp_path / "grey.png"))[..., k].astype(float) for k in (0, 1))
    expected = grey * alpha_of / 255 + 255 - alpha_of
    assert np.abs(pixels(tmp_path / "grey.png")[..., 0] - expected).max() <= 1


def test_palettes_keep_their_colours_and_their_transparency(tmp_path: Path) -> None:
    image = Image.fromarray(noise(8, 8, 3).astype(np.uint8)).quantize(16)
    image.save(tmp_path / "plain.png")
    assert (pixels(tmp_path / "plain.png") == np.asarray(image.convert("RGB"))).all()
    image.save(tmp_path / "clear.png", transparency=3)
    clear = np.asarray(image) == 3
    assert (pixels(tmp_path / "clear.png")[clear] == 255).all()
    assert (pixels(tmp_path / "clear.png")[~clear] == np.asarray(image.convert("RGB"))[~clear]).all()
    Image.fromarray(noise(8, 8).astype(np.uint8)).save(tmp_path / "grey.png", transparency=0)
    Image.fromarray(noise(8, 8, top=65536).astype(np.uint16)).save(tmp_path / "deep.png", transparency=7)
    assert (pixels(tmp_path / "grey.png") >= 1).all()
    assert "a transparent grey value in 16 bits" in refused(tmp_path / "deep.png")


def test_black_and_white_of_one_bit(tmp_path: Path) -> None:
    values = noise(9, 9, top=2).astype(bool)
    Image.fromarray(values).save(tmp_path / "x.png")
    assert (pixels(tmp_path / "x.png")[..., 0] == 255 * values).all()


@pytest.mark.parametrize("suffix", ["jpg", "tif"])
def test_inks_become_colours(tmp_path: Path, suffix: str) -> None:
    # Cyan, magenta, yellow, black and paper, in fields that JPEG's blocks keep apart.
    inks = np.zeros((16, 80, 4), np.uint8)
    for k in range(4):
        inks[:, 16 * k : 16 * k + 16, k] = 255
    Image.fromarray(inks, "CMYK").save(tmp_path / f"x.{suffix}")
    middle = pixels(tmp_path / f"x.{suffix}")[8, 8::16].astype(int)
    assert np.abs(middle - [(0, 255, 255), (255, 0, 255), (255, 255, 0), (0, 0, 0), (255, 255, 255)]).max() <= 6


@pytest.mark.parametrize("suffix", ["jpg", "png", "tif", "webp"])
@pytest.mark.parametrize(("orientation", "turned"), [(3, 2), (6, 3), (8, 1)])
def test_pictures_stand_upright(tmp_path: Path, suffix: str, orientation: int, turned: int) -> None:
    values = np.repeat(np.repeat(noise(3, 4, 3), 16, axis=0), 16, axis=1).astype(np.uint8)
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"x.{suffix}"
    Image.fromarray(values).save(path, exif=exif, **({"lossless": True} if suffix == "webp" else {}))
    shown = pixels(path)
    assert shown.shape == np.rot90(values, turned).shape
    away = np.abs(shown[8::16, 8::16].astype(int) - np.rot90(values, turned)[8::16, 8::16])
    assert away.max() <= (60 if suffix == "jpg" else 0)


def test_an_orientation_that_cannot_be_read_does_not_matter(tmp_path: Path) -> None:
    values = noise(16, 16).astype(np.uint8)
    Image.fromarray(values).save(tmp_path / "x.png", exif=b"Exif\0\0MM\0*\0\0\0\x08\xff\xff no tags")
    assert (pixels(tmp_path / "x.png")[..., 0] == values).all()


def test_a_colour_profile_goes_no_further(tmp_path: Path) -> None:
    values = noise(16, 16).astype(np.uint8)
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    Image.fromarray(values).save(tmp_path / "x.png", icc_profile=profile)
    image = open_picture(tmp_path / "x.png")
    assert (np.asarray(image)[..., 0] == values).all()
    assert "icc_profile" not in image.info


@pytest.mark.parametrize("suffix", ["tif", "png", "webp"])
def test_several_pages_are_refused(tmp_path: Path, suffix: str) -> None:
    pages = [Image.fromarray(noise(8, 8, 3, seed=seed).astype(np.uint8)) for seed in range(3)]
    pages[0].save(tmp_path / f"x.{suffix}", save_all=True, append_images=pages[1:])
    assert "a picture of several pages" in refused(tmp_path / f"x.{suffix}")


def test_of_a_photograph_for_two_screens_the_first_is_the_picture(tmp_path: Path) -> None:
    first, second = (Image.fromarray(noise(16, 16, 3, seed=seed).astype(np.uint8)) for seed in (0, 1))
    first.save(tmp_path / "x.jpg", "MPO", save_all=True, append_images=[second])
    first.save(tmp_path / "one.jpg")
    assert (pixels(tmp_path / "x.jpg") == pixels(tmp_path / "one.jpg")).all()


FORMATS: list[tuple[str, dict[str, Any]]] = [
    ("JPEG", {}),
    ("JPEG", {"progressive": True}),
    ("PNG", {}),
    ("TIFF", {}),
    ("TIFF", {"compression": "tiff_lzw"}),
    ("WEBP", {}),
    ("BMP", {}),
    ("PPM", {}),
]


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(form=st.sampled_from(FORMATS), share=st.floats(0, 1, exclude_max=True))
def test_a_file_that_ends_early_is_an_error_wherever_it_ends(
    tmp_path: Path, form: tuple[str, dict[str, Any]], share: float
) -> None:
    whole = io.BytesIO()
    Image.fromarray(noise(24, 31, 3).astype(np.uint8)).save(whole, form[0], **form[1])
    content = whole.getvalue()
    path = tmp_path / "x.png"
    path.write_bytes(content)
    before = pixels(path)
    path.write_bytes(content[: int(share * len(content))])
    try:
        after = pixels(path)
    except InputError:
        return
    assert form[0] == "BMP"  # the last row of this one has three bytes of padding
    assert (after == before).all()


def test_a_jpeg_and_a_png_without_their_end_are_refused(tmp_path: Path) -> None:
    image = Image.fromarray(noise(24, 31, 3).astype(np.uint8))
    for name, end in (("x.jpg", 2), ("x.png", 12)):
        image.save(tmp_path / name)
        whole = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(whole[:-end])
        assert "ends early" in refused(tmp_path / name) or "truncated" in refused(tmp_path / name)
        (tmp_path / name).write_bytes(whole + b"\0" * 40)  # cameras pad
        open_picture(tmp_path / name)


@pytest.mark.parametrize("size", [(1, 1), (1, 30_000), (30_000, 1), (30_000, 40)])
def test_tiny_and_long_pictures_are_shown(tmp_path: Path, size: tuple[int, int]) -> None:
    root = write_cells(tmp_path, ("",), 3)
    Image.new("RGB", size, (10, 200, 30)).save(root / "MONOCYTE" / "odd.png")
    data = Folder(str(root), image_size=(32, 32), cache="none")
    data.setup()
    (row,) = np.flatnonzero(data.index.file == "MONOCYTE/odd.png")
    import torch

    assert data.gather(torch.tensor([int(row)]))[0, :, 16, 16].tolist() == [10, 200, 30]


def header_of(width: int, height: int) -> bytes:
    """A PNG that says how large it is, and has no pixels."""
    whole = io.BytesIO()
    Image.new("L", (1, 1)).save(whole, "PNG")
    content = whole.getvalue()
    head = b"IHDR" + struct.pack(">II", width, height) + content[24:29]
    import zlib

    return content[:12] + head + struct.pack(">I", zlib.crc32(head)) + content[33:]


@pytest.mark.parametrize("size", [(13_000, 13_000), (30_000, 30_000), (64_001, 1_000), (1, 64_000_001)])
def test_what_is_too_large_is_refused_before_it_is_decoded(tmp_path: Path, size: tuple[int, int]) -> None:
    (tmp_path / "x.png").write_bytes(header_of(*size))
    line = refused(tmp_path / "x.png")
    assert "of which at most 64,000,000 are read" in line or "DecompressionBomb" in line


def test_a_file_without_end_is_refused(tmp_path: Path) -> None:
    with (tmp_path / "x.png").open("wb") as file:
        file.truncate(10**12)  # takes no room
    assert "of which at most 512,000,000 are read" in refused(tmp_path / "x.png")


EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\n(x) run\nshowpage\n%%EOF\n"


@pytest.mark.parametrize(
    "content", [EPS, b"GIF89a" + b"\0" * 50, b"8BPS\0\1" + b"\0" * 50, b"<svg/>", b"BLP1" * 9, b""]
)
def test_formats_that_are_not_on_the_list_are_no_images(
    tmp_path: Path, content: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subprocess, "Popen", lambda *words, **_: pytest.fail(f"started {words}"))
    (tmp_path / "x.jpg").write_bytes(content)
    assert "none of the formats that are read (JPEG, PNG, TIFF, WEBP, BMP, PPM)" in refused(tmp_path / "x.jpg")


@pytest.mark.parametrize("kind", ["pipe", "device", "link to a device", "folder", "nothing"])
def test_only_regular_files_are_opened(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "x.png"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind != "nothing":
        path.symlink_to("/dev/zero")
    line = refused(Path("/dev/zero") if kind == "device" else path)
    assert "no regular file" in line or "Error" in line


def test_large_pictures_wait_for_each_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    room = decode._Room(10 * decode.SMALL)
    monkeypatch.setattr(decode, "_room", room)
    inside, most, lowest = [], [], []
    whole = decode._over_white

    def watched(image: Image.Image) -> Image.Image:
        inside.append(image.width * image.height)
        most.append(sum(inside))
        lowest.append(room.left)
        result = whole(image)
        inside.remove(image.width * image.height)
        return result

    monkeypatch.setattr(decode, "_over_white", watched)
    root = tmp_path / "set"
    for name in "ab":
        (root / name).mkdir(parents=True)
        for number in range(4):
            Image.new("L", (2000, 2000), 50 * number + 9).save(root / name / f"{number}.png")
    data = Folder(str(root), image_size=(32, 32), cache="ram")
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    data.setup()
    assert len(most) == 8
    assert max(most) <= room.all
    assert min(lowest) >= 0
    assert room.left == room.all


MEMORY = """
import json, resource, sys
from pathlib import Path
from bloodcell.data.index import index_folders
from bloodcell.data.pixels import Decoder
index = index_folders(Path(sys.argv[1]), [""])
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
Decoder(index, (64, 64), None, workers=8).all()
print(json.dumps((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1000))
"""


@pytest.mark.slow
def test_eight_threads_and_the_largest_pictures_take_no_more_memory_than_one(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / name).mkdir()
        for number in range(4):
            Image.new("RGB", (8000, 8000), (9, 50 * number, 7)).save(
                tmp_path / name / f"{number}.png", compress_level=1
            )
    done = subprocess.run([sys.executable, "-c", MEMORY, str(tmp_path)], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout.splitlines()[-1]) < 2000  # MB; with eight at once it is eight times as much


def flat_set(root: Path, colour: Callable[[int], tuple[int, int, int]]) -> Folder:
    for k, name in enumerate("ab"):
        (root / name).mkdir(parents=True)
        for number in range(8):
            Image.new("RGB", (40, 40), colour(8 * k + number)).save(root / name / f"{number}.png")
    data = Folder(str(root), image_size=(32, 32), cache="ram")
    data.setup()
    return data


@pytest.mark.parametrize("colour", [(0, 0, 0), (255, 255, 255), (9, 200, 30)])
def test_a_blank_set_is_refused(tmp_path: Path, colour: tuple[int, int, int]) -> None:
    with pytest.raises(InputError, match="expected pictures that show something, got 16 pictures of one and the same"):
        flat_set(tmp_path, lambda number: colour)


def test_a_set_that_shows_next_to_nothing_is_said(tmp_path: Path) -> None:
    said = flat_set(tmp_path / "flat", lambda number: (number, 10 * number, 0)).split.caveat
    assert "no picture shows much" in said
    for k, name in enumerate("ab"):  # 12 bits in 16, not scaled
        (tmp_path / "dark" / name).mkdir(parents=True)
        for number in range(8):
            values = noise(40, 40, top=4096, seed=8 * k + number).astype(np.uint16)
            Image.fromarray(values).save(tmp_path / "dark" / name / f"{number}.png")
    data = Folder(str(tmp_path / "dark"), image_size=(32, 32), cache="disk")
    data.setup()
    assert "12 bits that were stored as 16 without scaling look like that" in data.split.caveat
    cells = Folder(str(write_cells(tmp_path / "cells", ("",), 4)), image_size=(32, 32), cache="ram")
    cells.setup()
    assert "shows much" not in cells.split.caveat
