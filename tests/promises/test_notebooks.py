"""The notebooks run from their first cell to their last, and show what they are about."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bloodcell.common.env import CHECKOUT

pytestmark = pytest.mark.slow


def executed(name: str, folder: Path) -> tuple[str, int]:
    """Run a notebook as one that is opened in a folder; its texts, and how many pictures it shows."""
    import jupytext
    import nbclient

    notebook = jupytext.read(CHECKOUT / "notebooks" / name)
    nbclient.NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(folder)}}).execute()
    shown: list[Any] = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    texts = [one.get("text", "") + one.get("data", {}).get("text/markdown", "") for one in shown]
    return "\n".join(texts), sum("image/png" in one.get("data", {}) for one in shown)


def test_the_data_and_their_lineage(tmp_path: Path) -> None:
    text, pictures = executed("02_data_and_lineage.py", tmp_path)
    assert "show 348 photographs" in text
    assert "348 photographs in 309 field groups" in text
    assert pictures == 0


@pytest.mark.real
def test_the_data_with_their_pictures(real: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BLOODCELL_DATA", str(real))
    assert executed("02_data_and_lineage.py", tmp_path)[1] == 2


def test_a_sweep(train: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for rate in ("0.1", "0.01"):
        train(f"optim.lr={rate}", f"hydra.run.dir=runs/sweep/{rate}")
    monkeypatch.setenv("SWEEP", "runs/sweep")
    text, pictures = executed("03_train_and_sweep.py", tmp_path)
    assert "optim.lr=0.01" in text
    assert pictures == 2


def test_doubt_and_maps(tmp_path: Path) -> None:
    pytest.importorskip("captum")
    text, pictures = executed("04_doubt_and_explain.py", tmp_path)
    assert "unlike the learnt cells" in text
    assert "nearest learnt cells" in text
    assert pictures == 3
