"""A published net of the tiny run, and the command that answers with it."""

import csv
import sys
from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def net_of_crops(net: Path) -> Path:
    """The same weights with a card that says that they look at crops."""
    from dataclasses import replace

    import bloodcell
    from bloodcell.training.published import write_published

    trained = bloodcell.load(net).trained
    preparation = replace(trained.card.preparation, view="crop")
    path = net.with_name("crops.safetensors")
    write_published(path, replace(trained, card=replace(trained.card, preparation=preparation)))
    return path


@pytest.fixture
def predict(net: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[list[dict[str, str]], int]]:
    """``predict("folder")`` types ``python -m bloodcell.predict``; the table and the exit code come back."""

    def run(*words: str, model: Path = net) -> tuple[list[dict[str, str]], int]:
        from bloodcell.predict import main

        monkeypatch.setattr(sys, "argv", ["predict", *words, "--model", str(model)])
        with pytest.raises(SystemExit) as ended:
            main()
        out = Path(words[words.index("--out") + 1] if "--out" in words else "predictions.csv")
        with out.open(encoding="utf-8", newline="") as file:
            return list(csv.DictReader(file)), int(ended.value.code or 0)

    return run
