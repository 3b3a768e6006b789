"""Tiny data, and the commands as a user types them."""

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

# The nets here are tiny: a second thread would only wait.
os.environ.setdefault("OMP_NUM_THREADS", "1")
CLASSES = ("EOSINOPHIL", "LYMPHOCYTE", "MONOCYTE")
# Small enough for a test, and what every tiny run shares.
TINY = (
    "data=folder",
    "data.image_size=[32,32]",
    "data.batch_size=8",
    "trainer.max_epochs=2",
    "model.widths=[4,8,8,8]",
    "name=tiny",
)


def write_cells(root: Path, subsets: tuple[str, ...], each: int, classes: tuple[str, ...] = CLASSES) -> Path:
    """A folder of noisy discs whose size and hue tell the class."""
    rng = np.random.default_rng(3)
    yy, xx = np.mgrid[:36, :48]
    for subset in subsets:
        for k, name in enumerate(classes):
            folder = root / subset / name
            folder.mkdir(parents=True)
            for i in range(each):
                image = rng.normal(200, 12, (36, 48, 3))
                centre = rng.uniform(12, 24), rng.uniform(14, 34)
                inside = (yy - centre[0]) ** 2 + (xx - centre[1]) ** 2 < (5 + 4 * k) ** 2
                image[inside] = rng.normal((120, 40 + 50 * k, 160), 12, (inside.sum(), 3))
                Image.fromarray(image.clip(0, 255).astype(np.uint8)).save(folder / f"_{k}_{i}.png")
    return root


@pytest.fixture(scope="session")
def cells(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``train/``, ``val/`` and ``test/`` with three classes of a few images; nobody writes to it."""
    return write_cells(tmp_path_factory.mktemp("cells"), ("train", "val", "test"), 8)


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every test works in its own folder, with its own cache, and finds no real images by accident."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BLOODCELL_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("BLOODCELL_DATA", raising=False)


@pytest.fixture(scope="session")
def real() -> Path:
    """The real images, where the environment named them when the tests were started."""
    if REAL is None:
        pytest.skip("no real images: set BLOODCELL_DATA")
    return Path(REAL)


REAL = os.environ.get("BLOODCELL_DATA")
if REAL is not None:
    REAL = str(Path(REAL).resolve())


@pytest.fixture
def train(cells: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """``train("optim.lr=0.1")`` types ``python -m bloodcell.train`` on the tiny cells; the newest run comes back."""

    def run(*words: str, base: tuple[str, ...] | None = None) -> Path:
        from bloodcell.train import main

        first = (*TINY, f"data.root={cells}") if base is None else base
        monkeypatch.setattr(sys, "argv", ["train", *first, *words])
        main()
        runs = sorted(tmp_path.glob("runs/**/status.json"), key=lambda path: path.stat().st_mtime)
        return runs[-1].parent

    return run


@pytest.fixture(scope="session")
def finished(cells: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run with seed 3, for tests that only read it."""
    from bloodcell.train import main

    where = tmp_path_factory.mktemp("finished")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(where)
        patch.setattr(sys, "argv", ["train", *TINY, f"data.root={cells}", "seed=3"])
        main()
    (run,) = where.glob("runs/tiny/*")
    return run


def metrics_of(run_dir: Path) -> dict[str, Any]:
    """``metrics.json`` of a run."""
    content: dict[str, Any] = json.loads((run_dir / "metrics.json").read_text())
    return content
