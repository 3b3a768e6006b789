"""The commands as a user types them, on tiny data."""

import os
import signal

# The nets here are tiny: a second thread would only wait. Before torch, which reads this once, when it is loaded.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import gc
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.helpers import TINY, write_cells


@pytest.fixture(scope="session")
def cells(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``train/``, ``val/`` and ``test/`` with three classes of a few images; nobody writes to it."""
    return write_cells(tmp_path_factory.mktemp("cells"), ("train", "val", "test"), 8)


@pytest.fixture(autouse=True, scope="session")
def one_composition() -> Iterator[None]:
    """Let Hydra compose a config once; the other time, a tenth of a tiny run, it looks for ``hydra.mode`` alone."""
    from hydra._internal.hydra import Hydra

    look = Hydra.get_mode

    def mode(self: Hydra, config_name: str | None, overrides: list[str]) -> object:
        told = any(word.startswith(("sweep=", "experiment=", "hydra.", "+hydra.", "++hydra.")) for word in overrides)
        return look(self, config_name, overrides) if told else None

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Hydra, "get_mode", mode)
        yield


if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as in what a script starts in the background
    signal.signal(signal.SIGINT, signal.default_int_handler)  # what the tests start would ignore Ctrl-C too

FROZEN: list[bool] = []


@pytest.fixture(autouse=True)
def loaded_libraries_are_no_garbage() -> None:
    """Keep the libraries out of the garbage collection at the end of every run: a third of a second each."""
    if "lightning" in sys.modules and not FROZEN:  # gc knows too, but counts the objects one by one
        gc.collect()
        gc.freeze()
        FROZEN.append(True)


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
def train(cells: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """``train("optim.lr=0.1")`` types ``python -m bloodcell.train`` on the tiny cells; the newest run comes back."""

    def run(*words: str, base: tuple[str, ...] | None = None) -> Path:
        from bloodcell.train import main

        first = (*TINY, f"data.root={cells}") if base is None else base
        monkeypatch.setattr(sys, "argv", ["train", *first, *words])
        main()
        runs = sorted(Path.cwd().glob("runs/**/status.json"), key=lambda path: path.stat().st_mtime)
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


@pytest.fixture(scope="session")
def net(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny run as a published net, by the command."""
    from bloodcell.export import main

    path = tmp_path_factory.mktemp("net") / "tiny.safetensors"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["export", str(finished), "--to", "net", "--out", str(path)])
        main()
    return path
