"""The shipped lineage is what it claims to be, and recovering it finds what was done to a picture."""

import os
import shutil
import sys
import time
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter
from sklearn.model_selection import train_test_split

from bloodcell.common.errors import InputError
from bloodcell.data.kaggle import find_images, originals_of
from bloodcell.data.lineage_table import (
    IMAGES,
    MICROGRAPHS,
    PAIRS,
    SHIPPED,
    across_split,
    conflicts,
    read_lineage,
    write_lineage,
)
from bloodcell.data.micrographs import LABELS, Cell, micrograph_files, open_micrograph
from bloodcell.lineage import main
from bloodcell.studies.lineage.outcome import lineage_outcome

# Overlapping micrographs that were known before (found by registration and looked at one by one).
KNOWN_PAIRS = (
    "227/260 223/263 382/395 230/257 206/278 244/247 243/250 386/391 231/256 204/277 381/397 37/38 205/276 236/253 "
    "226/261 384/393 239/240 232/255 229/258 228/259 107/108 365/408 237/252 204/276"
)


def test_all_published_images_are_placed_and_nothing_contradicts() -> None:
    said = lineage_outcome(read_lineage())
    assert said["images"] == 12_515
    assert said["placed"] == 12_515
    assert said["other class than its micrograph"] == said["other side than its micrograph"] == []
    assert said["micrographs with copies"] == {"TRAIN": 277, "TEST": 71}
    assert said["TEST_SIMPLE"] == {"files": 71, "micrographs": 69}


def test_the_published_split_is_the_one_that_scikit_learn_reproduces() -> None:
    rows = read_lineage().micrographs.values()
    names = [row.micrograph for row in sorted(rows, key=lambda row: int(row.micrograph)) if row.label in LABELS]
    assert len(names) == 351
    train, test = train_test_split(names, test_size=0.2, random_state=10)
    for subset, members in (("TRAIN", train), ("TEST", test)):
        found = {row.micrograph for row in rows if row.subset == subset}
        assert found == {name for name in members if read_lineage().micrographs[name].label != "BASOPHIL"}


def test_known_pairs_are_found_and_groups_are_their_components() -> None:
    lineage = read_lineage()
    pairs = {f"{pair.first}/{pair.second}" for pair in lineage.pairs}
    assert pairs >= set(KNOWN_PAIRS.split())
    assert all(pair.correlation > 0.85 for pair in lineage.pairs)
    near = defaultdict(set)
    for pair in lineage.pairs:
        near[pair.first].add(pair.second)
        near[pair.second].add(pair.first)
    for name, row in lineage.micrographs.items():
        seen, todo = {name}, [name]
        while todo:
            todo += near[todo.pop()] - seen
            seen |= set(todo)
        assert {one for one, other in lineage.micrographs.items() if other.group == row.group} == seen
    assert all(row.group == lineage.micrographs[row.micrograph].group for row in lineage.images.values())
    assert [f"{pair.first}/{pair.second}" for pair in conflicts(lineage)] == ["206/278"]
    assert {"230/257", "204/277", "204/276", "365/408"} <= {
        f"{one.first}/{one.second}" for one in across_split(lineage)
    }


def test_two_searches_agree_on_all_pairs_but_two_small_ones() -> None:
    said = lineage_outcome(read_lineage())
    assert (said["field pairs"], said["found by both searches"]) == (47, 45)
    assert said["found by points alone"] == []
    assert said["found by correlation alone"] == ["147/148", "311/312"]


def test_the_table_is_read_at_once_and_written_to_the_same_bytes(tmp_path: Path) -> None:
    started = time.perf_counter()
    lineage = read_lineage.__wrapped__()
    assert time.perf_counter() - started < 2
    write_lineage(lineage, tmp_path)
    for name in (IMAGES, MICROGRAPHS, PAIRS):
        assert (tmp_path / name).read_bytes() == (SHIPPED / name).read_bytes()


def test_a_table_that_is_none_is_one_line(tmp_path: Path) -> None:
    for name in (MICROGRAPHS, PAIRS):
        shutil.copyfile(SHIPPED / name, tmp_path / name)
    with pytest.raises(InputError, match="expected a table of the lineage, got no such file"):
        read_lineage(tmp_path)
    (tmp_path / IMAGES).write_bytes(b"nothing of the kind")
    with pytest.raises(InputError, match="expected a table with the columns file, sha256"):
        read_lineage(tmp_path)


@pytest.mark.parametrize("fault", ["changed", "missing"])
def test_a_changed_or_missing_image_is_one_line(
    real: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], fault: str
) -> None:
    images = find_images(real)
    shutil.copytree(images, tmp_path / "images", copy_function=os.symlink)
    victim = tmp_path / "images" / "TRAIN" / "MONOCYTE" / "_0_1173.jpeg"
    victim.unlink()
    if fault == "changed":
        victim.write_bytes(b"another")
    monkeypatch.setattr(sys, "argv", ["lineage", "--check", str(tmp_path / "images")])
    with pytest.raises(SystemExit) as stop:
        main()
    assert stop.value.code == 1
    error = capsys.readouterr().err.strip()
    assert "_0_1173.jpeg: expected" in error
    assert error.count("\n") == 0


def field(seed: int, height: int = 240, width: int = 320) -> np.ndarray:
    """A field of blobs with a texture, uint8, as rich as a smear."""
    rng = np.random.default_rng(seed)
    pixels = np.full((height, width, 3), 225.0)
    yy, xx = np.mgrid[:height, :width]
    for _ in range(height * width // 900):
        y, x, radius = rng.uniform(0, height), rng.uniform(0, width), rng.uniform(6, 22)
        inside = (yy - y) ** 2 + ((xx - x) * rng.uniform(0.7, 1.3)) ** 2 < radius**2
        pixels[inside] = pixels[inside] * 0.4 + 0.6 * rng.uniform(60, 220, 3)
    pixels += rng.normal(0, 3, pixels.shape)
    smooth = Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).filter(ImageFilter.GaussianBlur(1))
    return np.asarray(smooth)


def test_copies_are_placed_and_strangers_are_not() -> None:
    cv2 = pytest.importorskip("cv2")
    from bloodcell.studies.lineage.recover import _where
    from bloodcell.studies.lineage.registration import Atlas

    with ThreadPoolExecutor(2) as pool:
        atlas = Atlas({str(seed): field(seed) for seed in range(8)}, pool)
    rng = np.random.default_rng(0)
    for seed in range(8):
        mirrored = bool(seed % 2)
        turn, shear = np.radians(rng.uniform(-20, 20)), rng.uniform(-0.2, 0.2)
        linear = np.array([[np.cos(turn), -np.sin(turn + shear)], [np.sin(turn), np.cos(turn + shear)]])
        middle = np.array([159.5, 119.5])
        move = np.column_stack([linear, middle - linear @ middle + rng.uniform(-20, 20, 2)])
        source = field(seed)[:, ::-1] if mirrored else field(seed)
        copy = cv2.warpAffine(np.ascontiguousarray(source), move, (320, 240))
        packed = cv2.imdecode(cv2.imencode(".jpg", copy, [cv2.IMWRITE_JPEG_QUALITY, 80])[1], cv2.IMREAD_COLOR)
        found = atlas.place(packed)
        assert (found.name, found.fit.mirrored) == (str(seed), mirrored)
        x, y, inside = _where(Cell(140, 100, 60, 40), found.fit)
        truth = move @ (319 - 140 if mirrored else 140, 100, 1)
        assert np.hypot(*(truth - (x, y))) < 2
        assert inside == pytest.approx(1, abs=0.02)
    stranger = atlas.place(field(99))
    assert stranger.name == ""
    assert stranger.fit.inliers < 30


@pytest.mark.slow
def test_shifted_fields_overlap_and_others_do_not() -> None:
    pytest.importorskip("cv2")
    from bloodcell.studies.lineage.overlaps import overlaps

    slide = field(5, 600, 800)
    places = [(0, 0), (120, 60), (300, 340)]
    photographs = [slide[y : y + 240, x : x + 320] for x, y in places] + [field(7)]
    seen: list[int] = []
    (found,) = overlaps(photographs, 2, lambda: seen.append(1))
    assert (found.first, found.second, found.x, found.y) == (0, 1, 120, 60)
    assert found.share == pytest.approx((200 * 180) / (320 * 240))
    assert len(seen) == len(photographs)


def test_real_images_are_recovered_as_shipped(real: Path) -> None:
    pytest.importorskip("cv2")
    from bloodcell.studies.lineage.registration import Atlas

    lineage, images = read_lineage(), find_images(real)
    rng = np.random.default_rng(1)
    rows = [list(lineage.images.values())[number] for number in rng.choice(12_515, 12, replace=False)]
    names = {row.micrograph for row in rows} | {str(number) for number in range(200, 215)}
    files = micrograph_files(originals_of(images))
    with ThreadPoolExecutor(2) as pool:
        atlas = Atlas({name: open_micrograph(files[name]) for name in files if name in names}, pool)
    for row in rows:
        found = atlas.place(np.asarray(Image.open(images / row.file).convert("RGB")))
        assert found.name == row.micrograph
        assert found.fit.correlation == pytest.approx(row.correlation, abs=1e-3)
