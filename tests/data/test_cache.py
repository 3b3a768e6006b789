"""The cache of decoded pixels: right or refused, never corrupt, whoever else writes to it."""

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Literal

import numpy as np
import pytest
import torch
from PIL import Image

from bloodcell.common.env import cache_dir
from bloodcell.common.errors import InputError
from bloodcell.data import cache, fingerprint
from bloodcell.data.fingerprint import digests, remembered_digests
from bloodcell.data.pixels import Decoder
from bloodcell.data.sources.blood_cells import BloodCells
from bloodcell.data.sources.folder import Folder
from tests.helpers import copy_some, write_cells


def data_of(root: Path, keep: Literal["disk", "ram", "none"] = "disk", side: int = 32) -> Folder:
    data = Folder(str(root), image_size=(side, side), cache=keep, batch_size=8)
    data.setup()
    return data


def pixels_of(data: Folder) -> torch.Tensor:
    return data.gather(torch.arange(len(data.index)))


def entries() -> list[Path]:
    return sorted((cache_dir() / "pixels").glob("*.npy"))


def no_decoding(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Decoder) -> None:
        raise AssertionError("decoded again")

    monkeypatch.setattr(Decoder, "blocks", refuse)


def test_disk_memory_and_nothing_give_the_same_batches(cells: Path) -> None:
    places: list[Literal["disk", "ram", "none"]] = ["disk", "ram", "none"]
    disk, ram, none = (pixels_of(data_of(cells, keep)) for keep in places)
    assert disk.dtype == torch.uint8
    assert torch.equal(disk, ram)
    assert torch.equal(disk, none)
    with Image.open(cells / "train" / "EOSINOPHIL" / "_0_0.png") as image:
        assert disk[0].float().mean() == pytest.approx(np.asarray(image).mean(), abs=1)
    assert len(entries()) == 1
    assert all(not list(cells.rglob(pattern)) for pattern in ("*.npy", "*.json", "*.lock")), "nothing beside the images"


def test_a_second_run_maps_what_the_first_decoded(cells: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = pixels_of(data_of(cells))
    no_decoding(monkeypatch)
    assert torch.equal(pixels_of(data_of(cells)), first)
    with pytest.raises(AssertionError, match="decoded again"):
        data_of(cells, side=48)


def test_images_that_moved_are_known_and_an_image_that_changed_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = write_cells(tmp_path / "one", ("train", "val", "test"), 3)
    before = pixels_of(data_of(root))
    shutil.move(root, tmp_path / "two")
    with monkeypatch.context() as patch:
        no_decoding(patch)
        assert torch.equal(pixels_of(data_of(tmp_path / "two")), before)
    file = tmp_path / "two" / "test" / "MONOCYTE" / "_2_1.png"
    Image.new("RGB", (48, 36)).save(file)
    after = pixels_of(data_of(tmp_path / "two"))
    changed = (after != before).flatten(1).any(dim=1)
    assert changed.sum() == 1
    assert len(entries()) == 2


def test_an_image_that_changes_while_it_is_read_leaves_no_entry(cells: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blocks, file = Decoder.blocks, cells / "test" / "MONOCYTE" / "_2_1.png"

    def changing(self: Decoder) -> Iterator[torch.Tensor]:
        yield from blocks(self)
        shutil.copy(cells / "test" / "MONOCYTE" / "_2_0.png", file)

    with monkeypatch.context() as patch:
        patch.setattr(Decoder, "blocks", changing)
        with pytest.raises(InputError, match=r"_2_1.png: expected images that stay .*, got 1 image changed meanwhile"):
            data_of(cells)
    assert not entries()
    assert torch.equal(pixels_of(data_of(cells)), pixels_of(data_of(cells, "none")))


@pytest.mark.parametrize("damage", [b"", b"\x93NUMPY\x01\x00", None])
def test_an_entry_that_is_not_whole_is_made_again(cells: Path, damage: bytes | None) -> None:
    before = pixels_of(data_of(cells)).clone()
    (entry,) = entries()
    content = entry.read_bytes()
    entry.write_bytes(content[: len(content) // 2] if damage is None else damage)
    assert torch.equal(pixels_of(data_of(cells)), before)
    assert entry.read_bytes() == content


def test_an_entry_of_other_versions_is_left_alone(cells: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = pixels_of(data_of(cells))
    for name, value in (("FORMAT", cache.FORMAT + 1), ("torch.__version__", "9.9"), ("PIL.__version__", "99")):
        with monkeypatch.context() as patch:
            patch.setattr(f"bloodcell.data.cache.{name}", value)
            assert torch.equal(pixels_of(data_of(cells)), before)
    assert len(entries()) == 4


def test_writing_to_the_pixels_does_not_reach_the_file(cells: Path) -> None:
    data = data_of(cells)
    (entry,) = entries()
    content = entry.read_bytes()
    assert isinstance(data._pixels, torch.Tensor)
    data._pixels.zero_()
    assert entry.read_bytes() == content
    assert pixels_of(data_of(cells)).any()


@pytest.mark.real
def test_a_mask_has_an_entry_of_its_own(real: Path, tmp_path: Path) -> None:
    root = copy_some(real, tmp_path / "set", train=3, test=2, copies=2)
    names: list[Literal["background", "geometry"] | None] = [None, "background", "geometry"]
    for mask in names:
        BloodCells(str(root), protocol="official", image_size=(24, 32), mask=mask).setup()
    assert len(entries()) == 3


def test_no_room(cells: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=0))
    with pytest.raises(InputError, match=r"got room for less than .* MB; set BLOODCELL_CACHE=.* or data.cache=ram"):
        data_of(cells)


@pytest.mark.slow
def test_a_disk_that_is_full_in_the_middle_leaves_one_line_and_no_file(cells: Path, tmp_path: Path) -> None:
    """A limit on the size of files stands in for the end of the disk: the system refuses the same call."""
    words = ["data=folder", f"data.root={cells}", "data.image_size=[128,128]", "name=tiny"]
    done = subprocess.run(
        [sys.executable, "-m", "bloodcell.train", *words],
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (500_000, 500_000)),
    )
    assert done.returncode == 1
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert "expected a folder for decoded pixels that can be written to" in line
    assert "data.cache=ram" in line
    assert [path.suffix for path in (cache_dir() / "pixels").iterdir()] == [".lock"]


def test_a_cache_that_cannot_be_written_to(cells: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("BLOODCELL_CACHE", str(tmp_path / "file"))
    with pytest.raises(InputError, match="Not a directory"):
        data_of(cells)
    assert len(pixels_of(data_of(cells, "ram"))) == 72


LOAD = """
import sys, torch
from bloodcell.data import pixels
from bloodcell.data.sources.folder import Folder
pixels.BLOCK = 2
data = Folder(sys.argv[1], image_size=(256, 256))
data.setup()
print(int(data.gather(torch.arange(len(data.index))).long().sum()))
"""


@pytest.mark.slow
def test_processes_that_fill_the_same_entry_at_once_agree(cells: Path) -> None:
    jobs = [
        subprocess.Popen([sys.executable, "-c", LOAD, str(cells)], stdout=subprocess.PIPE, text=True) for _ in range(2)
    ]
    sums = {job.communicate()[0].splitlines()[-1] for job in jobs}
    assert [job.returncode for job in jobs] == [0, 0]
    assert sums == {str(int(pixels_of(data_of(cells, "ram", 256)).long().sum()))}
    assert len(entries()) == 1
    assert not list((cache_dir() / "pixels").glob(".*"))


@pytest.mark.slow
def test_a_process_killed_while_it_fills_an_entry_leaves_nothing_wrong(cells: Path) -> None:
    slow = LOAD.replace("pixels.BLOCK = 2", "pixels.BLOCK = 1").replace("(256, 256)", "(3000, 3000)")
    job = subprocess.Popen([sys.executable, "-c", slow, str(cells)])
    folder, deadline = cache_dir() / "pixels", time.monotonic() + 60
    while not (left := [path for path in folder.glob(".*") if path.stat().st_size]) and time.monotonic() < deadline:
        time.sleep(0.02)
    job.send_signal(signal.SIGKILL)
    job.wait()
    assert left
    assert not entries(), "killed before it was whole"
    # The rest of it is swept up by whoever makes the entry.
    name = left[0].name.split(".npy")[0].lstrip(".")
    decoder = Decoder(data_of(cells, "none").index, (8, 8), None, workers=1)
    cache._fill(folder / f"{name}.npy", decoder)
    assert [path.name for path in folder.glob("*.npy")] == [f"{name}.npy"]
    assert not list(folder.glob(".*"))


def test_digests_are_remembered_while_a_file_is_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root, memory = tmp_path / "files", tmp_path / "memory"
    root.mkdir()
    for name in "abc":
        (root / name).write_text(name * 10)
    read: list[str] = []
    plain = fingerprint._digest

    def noted(path: Path) -> str:
        read.append(path.name)
        return plain(path)

    monkeypatch.setattr(fingerprint, "_digest", noted)

    def seen() -> list[str]:
        """Which files a second look reads."""
        first = remembered_digests("abc", root, memory)
        read.clear()
        assert remembered_digests("abc", root, memory) == first
        return sorted(read)

    assert seen() == ["a", "b", "c"], "too new for their times to be relied on"
    monkeypatch.setattr(fingerprint, "SETTLED_NS", 0)
    assert seen() == []
    times = (root / "b").stat()
    (root / "b").write_text("B" * 10)
    os.utime(root / "b", ns=(times.st_atime_ns, times.st_mtime_ns))  # same size, same time of change: ctime tells
    read.clear()
    found = remembered_digests("abc", root, memory)
    assert read == ["b"]
    assert found == digests("abc", root)
    (next(memory.iterdir())).write_text(json.dumps(["not", "a", "table"]))
    assert remembered_digests("abc", root, memory) == found
    (root / "c").unlink()
    with pytest.raises(InputError, match="expected a file that can be read"):
        remembered_digests("abc", root, memory)


def test_pixels_live_on_the_device_that_trains_if_it_has_room(cells: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The meta device stands in for a GPU: it knows places and shapes, and would raise if anything had to come back."""
    meta = torch.device("meta")
    data = data_of(cells, "ram")
    chosen = next(iter(data.train_dataloader()))
    batch = data.prepare(chosen._replace(rows=chosen.rows.to(meta)), epoch=0, training=False)
    assert [part.device for part in batch] == [meta] * 3
    assert batch.images.shape == (8, 3, 32, 32)
    assert data._pixels is not None
    assert data._pixels[:1].device == meta
    full = data_of(cells, "ram")
    monkeypatch.setattr("bloodcell.data.datamodule._free_memory", lambda device: 1000)
    full._move(meta)
    assert full._labels.device == meta
    assert full._pixels[:1].device.type == "cpu"
