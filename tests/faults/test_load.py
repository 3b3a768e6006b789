"""Many runs and many images in little time and memory."""

import io
import os
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bloodcell import runs
from bloodcell.data.sources.folder import Folder
from bloodcell.training.recorder import RunRecorder
from tests.fuzz import copied_run

RUNS, IMAGES = 10_000, 100_000
LIMIT_S, LIMIT_MB = 30, 1_000


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


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads its memory from /proc")
def test_many_images_are_indexed_and_split(tmp_path: Path) -> None:
    written = io.BytesIO()
    Image.fromarray(np.zeros((8, 8, 3), dtype=np.uint8)).save(written, "PNG")
    for name in ("A", "B", "C", "D"):
        (tmp_path / "set" / name).mkdir(parents=True)
        for number in range(IMAGES // 4):
            (tmp_path / "set" / name / f"{number // 50:03d}_{number}.png").write_bytes(written.getvalue())
    before, handles = resident_mb(), open_files()
    data = Folder(str(tmp_path / "set"), protocol="grouped", group_pattern="/([0-9]+)_")
    data.look_up()
    assert len(data.index) == IMAGES
    assert len(np.unique(data.index.group)) == IMAGES // 200
    assert not set(data.index.group[data.split.test]) & set(data.index.group[data.split.learnt])
    assert resident_mb() - before < LIMIT_MB
    assert open_files() == handles


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
