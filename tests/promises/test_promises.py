"""What the README promises, through processes of their own: make, the notebook, the real images, a killed run."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from tests.helpers import TINY

ROOT = Path(__file__).parent.parent.parent


def test_make_help_lists_every_target() -> None:
    listed = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    words = [
        "setup",
        "quickstart",
        "data",
        "train",
        "sweep",
        "reproduce",
        "tensorboard",
        "lint",
        "test",
        "test-all",
        "clean",
    ]
    assert [word for word in words if f"make {word} " not in listed] == []


def test_rooms_keep_their_walls() -> None:
    def imports(folder: str) -> str:
        files = (ROOT / "bloodcell" / folder).rglob("*.py")
        return "\n".join(path.read_text() for path in files)

    for room, strangers in {
        "data": ["model", "evidence"],
        "model": ["data", "evidence"],
        "evidence": ["data", "model"],
    }.items():
        text = imports(room)
        assert "hydra" not in text.lower().replace("bloodcell.data.datamodule", ""), room
        assert "omegaconf" not in text.lower(), room
        for stranger in strangers:
            assert f"bloodcell.{stranger}" not in text, (room, stranger)


@pytest.mark.slow  # the sweep that is killed and goes on (test_sweep.py) is the fast one
def test_killed_within_an_epoch_loses_that_epoch_only(cells: Path, tmp_path: Path) -> None:
    words = [*TINY, f"data.root={cells}", "trainer.max_epochs=400", "data.batch_size=2"]
    train = subprocess.Popen([sys.executable, "-m", "bloodcell.train", *words], cwd=tmp_path)
    try:
        deadline = time.monotonic() + 60
        while not (found := list(tmp_path.glob("runs/tiny/*/checkpoints/last.ckpt"))) and time.monotonic() < deadline:
            time.sleep(0.05)
        time.sleep(1.0)
    finally:
        train.send_signal(signal.SIGKILL)
        train.wait()
    run = found[0].parent.parent
    reached = torch.load(found[0], weights_only=True)["epoch"]
    done = json.loads((run / "status.json").read_text())["epoch"]
    assert done - 1 - reached in (0, 1), "the checkpoint is that of the last finished epoch"
    again = [sys.executable, "-m", "bloodcell.train", f"ckpt_path={run}", f"trainer.max_epochs={done + 2}"]
    subprocess.run(again, cwd=tmp_path, check=True, capture_output=True)
    rows = (run / "metrics.csv").read_text().splitlines()[1:]
    assert [int(row.split(",")[0]) for row in rows] == list(range(done + 2))
    assert json.loads((run / "status.json").read_text())["state"] == "ok"


@pytest.mark.slow
def test_the_notebook_runs(train, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]  # the fixture is a command
    import jupytext
    import nbclient

    run = train()
    monkeypatch.setenv("RUN", str(run))
    notebook = jupytext.read(ROOT / "notebooks" / "01_read_a_run.py")
    nbclient.NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(run)}}).execute()
    shown = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    kinds = [kind for output in shown for kind in output.get("data", {})]
    assert (kinds.count("image/png"), kinds.count("image/jpeg")) == (3, 1)


@pytest.mark.real
def test_real_images_are_what_they_are_said_to_be(real: Path) -> None:
    from bloodcell.data.index import index_folders
    from bloodcell.data.kaggle import find_images
    from bloodcell.data.splits import official_split, random_split

    index = index_folders(find_images(real), ["TRAIN", "TEST"])
    assert len(index) == 12444
    official = official_split(index, 0)
    assert list(index.counts(official.test)) == [623, 620, 620, 624]
    paper = random_split(index, 0)
    assert (len(paper.train), len(paper.test)) == (11444, 1000)


@pytest.mark.slow
@pytest.mark.real
def test_a_smoke_run_on_real_images(real: Path, tmp_path: Path) -> None:
    words = ["experiment=quickstart", "trainer=smoke", "data.image_size=[48,64]", "data.cache=none"]
    environment = {**os.environ, "BLOODCELL_DATA": str(real)}
    done = subprocess.run(
        [sys.executable, "-m", "bloodcell.train", *words],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "8,432 train, 1,525 validation, 2,487 test images" in done.stdout
    assert "SYNTHETIC" not in done.stdout
    assert len(list(tmp_path.glob("runs/quickstart/*/metrics.json"))) == 1


@pytest.mark.slow
def test_the_quick_start_without_real_images_says_so(tmp_path: Path) -> None:
    words = ["experiment=quickstart", "trainer=smoke", "data.synthetic_per_class={train: 8, val: 4, test: 4}"]
    environment = {**os.environ, "BLOODCELL_CACHE": str(tmp_path / "cache"), "HTTPS_PROXY": "http://127.0.0.1:9"}
    environment.pop("BLOODCELL_DATA", None)
    started = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "bloodcell.train", *words],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert time.monotonic() - started < 60
    assert "no real images" in done.stdout
    assert done.stdout.count("SYNTHETIC") >= 2
    (run,) = tmp_path.glob("runs/quickstart/*")
    assert "SYNTHETIC" in json.loads((run / "metrics.json").read_text())["data"]
    assert [path.name for path in run.glob("tensorboard*")] == ["tensorboard-SYNTHETIC-not-real-cells"]
