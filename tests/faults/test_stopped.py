"""Commands other than training that are told to stop: no half of a file under its name, and typed again they go on."""

import os
import shutil
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
from matplotlib._path import affine_transform

from bloodcell.config.command import ended_by_sigterm

PLACES = {
    "evaluate": "bloodcell.training.artefacts.write_artefacts",
    "predict": "bloodcell.prediction.answers_file.AnswersFile.finish",
    "count": "bloodcell.prediction.answers_file.AnswersFile.finish",
}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("command", PLACES)
def test_told_to_stop(
    request: pytest.FixtureRequest,
    finished: Path,
    cells: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    command: str,
    number: int,
) -> None:
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)  # tests in the background ignore it
    request.addfinalizer(lambda: signal.signal(signal.SIGINT, handler))
    run = Path(shutil.copytree(finished, tmp_path / "run"))
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    words = [str(run)] if command == "evaluate" else [str(cells / "test"), "--model", str(run), "--out", "out.csv"]
    monkeypatch.setattr(sys, "argv", [command, *words])
    main = import_module(f"bloodcell.{command}").main
    with monkeypatch.context() as patch:
        patch.setattr(PLACES[command], lambda *_, **__: os.kill(os.getpid(), number))
        with pytest.raises(SystemExit) as stopped:
            main()
    assert stopped.value.code == 128 + number
    assert {path: path.read_bytes() for path in before} == before
    assert not (tmp_path / "out.csv").exists()
    assert not list(run.glob("evaluations/*/metrics.json"))
    with suppress(SystemExit):  # predict and count end so
        main()
    assert (tmp_path / "out.csv").exists() or list(run.glob("evaluations/*/metrics.json"))


class Removed:
    """Something in whose removal a signal arrives: Python prints an exception there, and goes on."""

    def __init__(self, number: int) -> None:
        self.number = number

    def __del__(self) -> None:
        os.kill(os.getpid(), self.number)


class Converted:
    """Something in whose conversion a signal arrives: matplotlib takes the exception for a matrix that is none."""

    def __init__(self, number: int) -> None:
        self.number = number

    def __array__(self, *_: object, **__: object) -> np.ndarray:
        os.kill(os.getpid(), self.number)
        return np.eye(3)


def remove(number: int) -> None:
    Removed(number)


def convert(number: int) -> None:
    affine_transform(np.zeros((1, 2)), Converted(number))


@pytest.mark.parametrize("meanwhile", [remove, convert])
@pytest.mark.parametrize(("number", "ends"), [(signal.SIGTERM, SystemExit), (signal.SIGINT, KeyboardInterrupt)])
def test_a_signal_that_comes_where_exceptions_are_lost_is_obeyed(
    request: pytest.FixtureRequest,
    capfd: pytest.CaptureFixture[str],
    number: int,
    ends: type[BaseException],
    meanwhile: Callable[[int], None],
) -> None:
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)  # tests in the background ignore it
    request.addfinalizer(lambda: signal.signal(signal.SIGINT, handler))

    def command() -> None:
        with ended_by_sigterm():
            meanwhile(number)
            time.sleep(5)

    with pytest.raises(ends):
        command()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert "ignored" not in capfd.readouterr().err
