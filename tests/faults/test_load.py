"""Many runs and many images in little time and memory."""

import io
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bloodcell import runs
from bloodcell.data.sources.folder import Folder
from bloodcell.training.recorder import RunRecorder
from tests.fuzz import copied_run
from tests.processes import Process

RUNS, IMAGES = 10_000, 100_000
LIMIT_S, LIMIT_MB = 30, 1_000
GROUPS = "/([0-9]+)_"


def resident_mb() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def open_files() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


@pytest.mark.slow
def test_a_folder_of_many_runs(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = copied_run(finished, tmp_path / "all" / "0")
    for name in ("figures", "checkpoints", "tensorboard"):
        shutil.rmtree(one / name)  # not read for the table
    for number in range(1, RUNS):
        shutil.copytree(one, tmp_path / "all" / str(number), copy_function=os.link)
    monkeypatch.setattr(sys, "argv", ["runs", str(tmp_path / "all"), "--csv", "t.csv"])
    begun = time.process_time()  # other processes may want the processor too
    runs.main()
    assert time.process_time() - begun < LIMIT_S
    assert len((tmp_path / "t.csv").read_text().splitlines()) == 2  # one setting


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """As many images, each with other pixels, of 500 groups."""
    root, written = tmp_path_factory.mktemp("many"), io.BytesIO()
    for name in ("A", "B", "C", "D"):
        (root / "set" / name).mkdir(parents=True)
        for number in range(IMAGES // 4):
            pixels = np.full((8, 8, 3), number % 251, dtype=np.uint8)
            pixels[0, 0] = divmod(number, 256)[0], number % 256, ord(name)
            written.seek(0)
            Image.fromarray(pixels).save(written, "PNG", compress_level=1)
            (root / "set" / name / f"{number // 50:03d}_{number}.png").write_bytes(
                written.getbuffer()[: written.tell()]
            )
    yield root / "set"
    shutil.rmtree(root)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads its memory from /proc")
def test_many_images_are_indexed_and_split(many: Path) -> None:
    before, handles = resident_mb(), open_files()
    data = Folder(str(many), protocol="grouped", group_pattern=GROUPS)
    data.look_up()
    assert len(data.index) == IMAGES
    assert len(np.unique(data.index.group)) == IMAGES // 200
    assert not set(data.index.group[data.split.test]) & set(data.index.group[data.split.learnt])
    assert resident_mb() - before < LIMIT_MB
    assert open_files() <= handles  # one of an earlier test may have been closed meanwhile


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads its memory from /proc")
def test_many_images_are_kept_and_trained_on(many: Path, tmp_path: Path) -> None:
    """An epoch, its validation and its test, by the command, with pixels on disk."""
    words = [f"data.root={many}", "data.protocol=grouped", f"data.group_pattern='{GROUPS}'", "data.image_size=[16,16]"]
    words += ["data=folder", "data.batch_size=512", "data.cache=disk", "trainer.max_epochs=1", "model.widths=[2,4]"]
    process = Process(tmp_path, ["train", *words, "data.augment=null", "name=many"])
    most, handles = 0.0, 0
    while process.process.is_alive():
        with suppress(OSError, IndexError):
            state = Path(f"/proc/{process.process.pid}/status").read_text()
            most = max(most, int(state.split("VmRSS:")[1].split()[0]) / 1e3)
            handles = max(handles, len(os.listdir(f"/proc/{process.process.pid}/fd")))  # noqa: PTH208
        process.process.join(0.2)
    ended = process.end()
    assert ended.code == 0, ended.err
    (run,) = tmp_path.glob("runs/many/*")
    tested = len((run / "predictions.csv").read_text().splitlines()) - 1
    assert 0.1 < tested / IMAGES < 0.3
    print(f"{IMAGES:,} images: {ended.seconds:.0f} s, {most:.0f} MB, {handles} files")
    assert most < LIMIT_MB * 2
    assert handles < 60


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads its memory from /proc")
def test_many_short_epochs_keep_memory_and_handles(train: Callable[..., Path]) -> None:
    """After the first epochs nothing is added by further ones."""
    marks: list[tuple[float, int]] = []

    untouched = RunRecorder.on_train_epoch_start

    def marked(self: RunRecorder, *args: object) -> None:
        marks.append((resident_mb(), open_files()))
        untouched(self, *args)  # type: ignore[arg-type]  # they are handed on as they came

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RunRecorder, "on_train_epoch_start", marked)
        train("trainer.max_epochs=120", "report=null", "data.batch_size=24")
    assert len(marks) == 120
    assert marks[-1][1] <= marks[20][1]
    assert marks[-1][0] - marks[60][0] < 30
