"""What a run says while it trains."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from bloodcell.training import recorder


@pytest.mark.slow
@pytest.mark.parametrize(("took", "said"), [((2, 2, 8, 9, 2), 1), ((0.1, 0.1, 0.9, 0.2, 0.1), 0)])
def test_a_run_that_becomes_slow_says_so_once_and_what_to_do(
    took: tuple[float, ...],
    said: int,
    train: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    clock = iter([moment for number, seconds in enumerate(took) for moment in (100.0 * number, 100 * number + seconds)])
    monkeypatch.setattr(recorder, "time", SimpleNamespace(perf_counter=lambda: next(clock)))
    run = train("trainer.max_epochs=5", "report=null")
    lines = capsys.readouterr().out.splitlines()
    notes = [number for number, line in enumerate(lines) if "times as long" in line]
    assert len(notes) == said
    for note in notes:
        assert lines[note - 1].startswith("epoch 3/5 "), "after the line of the slow epoch"
        assert "4.0 times" in lines[note]
        assert f"ckpt_path={run}; beside them OMP_NUM_THREADS=1 is faster" in lines[note]
