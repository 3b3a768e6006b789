"""Stopped at any moment and resumed, a run ends as one that was not; and it always says how it ended."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import ListConfig, OmegaConf

from bloodcell.common.errors import InputError
from bloodcell.config.command import run_command
from bloodcell.tracking.status import read_status
from bloodcell.training.checkpoints import WholeCheckpoints
from tests.helpers import TINY, lasting, same, weights

Train = Callable[..., Path]
ROOT = Path(__file__).parent.parent.parent
WORDS = ("trainer.max_epochs=4", "optim.lr=0.01", "data.batch_size=16")


class Killed(BaseException):
    """As if the process were gone."""


def status_of(run: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((run / "status.json").read_text())
    return content


def newest(root: Path) -> Path:
    return max(root.glob("runs/*/*"), key=lambda path: path.stat().st_mtime)


@pytest.fixture(scope="module")
def undisturbed(cells: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from bloodcell.train import main

    where = tmp_path_factory.mktemp("undisturbed")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(where)
        patch.setattr(sys, "argv", ["train", *TINY, f"data.root={cells}", *WORDS])
        main()
    return newest(where)


def killed_at(train: Train, patch: pytest.MonkeyPatch, tmp_path: Path, count: int, words: tuple[str, ...]) -> Path:
    """A run whose process is gone in the middle of writing its checkpoint number ``count``."""
    written = 0
    untouched = torch.save

    def save(content: Any, file: Any) -> None:
        nonlocal written
        written += 1
        if written == count:
            file.write(b"half")
            raise Killed
        untouched(content, file)

    with patch.context() as once:
        once.setattr(torch, "save", save)
        once.setattr("bloodcell.training.job.record_failure", lambda *_: None)
        with pytest.raises(Killed):
            train(*words)
    return newest(tmp_path)


@pytest.mark.parametrize("count", [3, *(pytest.param(count, marks=pytest.mark.slow) for count in (1, 2, 4, 5))])
def test_killed_in_a_checkpoint_it_ends_as_if_undisturbed(
    train: Train, undisturbed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    """The first is `best` of the first epoch, the second `last` of it: before that, the run starts over."""
    run = killed_at(train, monkeypatch, tmp_path, count, WORDS)
    assert read_status(run)["state"] == "interrupted"
    for path in (run / "checkpoints").glob("*.ckpt"):
        assert weights(run, path.stem)
    assert train(f"ckpt_path={run}", base=()) == run
    assert same(run, undisturbed)
    best, other = weights(run, "best"), weights(undisturbed, "best")
    assert all(torch.equal(best[name], other[name]) for name in other)
    assert lasting(run) == lasting(undisturbed)
    assert {path.name for path in (run / "checkpoints").iterdir()} == {"best.ckpt", "last.ckpt"}


@pytest.mark.slow
def test_of_equal_epochs_the_first_stays_the_best(
    train: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a learning rate of next to nothing all epochs are equal in what the net answers."""
    words = ("trainer.max_epochs=4", "optim.lr=1e-12")
    whole = train(*words)
    (tmp_path / "kept").mkdir()
    whole = Path(shutil.move(whole, tmp_path / "kept" / "whole"))
    run = killed_at(train, monkeypatch, tmp_path, 4, words)  # best and last of the first epoch, then last alone
    train(f"ckpt_path={run}", base=())
    epochs = [torch.load(one / "checkpoints" / "best.ckpt", weights_only=True)["epoch"] for one in (whole, run)]
    assert epochs == [0, 0]


@pytest.mark.slow
def test_a_run_that_was_moved_keeps_its_best(train: Train, finished: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(finished, tmp_path / "runs" / "moved"))
    content = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)
    (state,) = [one for name, one in content["callbacks"].items() if name.startswith("ModelCheckpoint{'monitor': 'val")]
    best = next(iter(state["best_k_models"]))
    state["best_k_models"][best] = state["best_model_score"] = state["kth_value"] = torch.tensor(2.0)  # never reached
    torch.save(content, run / "checkpoints" / "last.ckpt")
    before = (run / "checkpoints" / "best.ckpt").read_bytes()
    train(f"ckpt_path={run}", "trainer.max_epochs=3", base=())
    assert (run / "checkpoints" / "best.ckpt").read_bytes() == before


def test_a_finished_run_is_not_touched(
    train: Train, finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = Path(shutil.copytree(finished, tmp_path / "runs" / "run"))
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file() and path.name != ".lock"}
    train(f"ckpt_path={run}", base=())
    assert "finished before" in capsys.readouterr().out
    for word in ("trainer.max_epochs=1", "optim.lr=0.5"):
        with pytest.raises(SystemExit, match="1"):
            train(f"ckpt_path={run}", word, base=())
        assert "expected trainer.max_epochs above 2" in capsys.readouterr().err
    after = {path: path.read_bytes() for path in run.rglob("*") if path.is_file() and path.name != ".lock"}
    assert after == before


@pytest.mark.slow
def test_resumed_after_its_last_epoch_it_draws_its_curves(
    train: Train, undisturbed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object, **__: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr("bloodcell.training.run.result_of", killed)
        with pytest.raises(Killed):
            train(*WORDS)
    run = newest(tmp_path)
    train(f"ckpt_path={run}", base=())
    assert lasting(run) == lasting(undisturbed)


def sends(number: int) -> Callable[..., None]:
    def send(*_: object, **__: object) -> None:
        os.kill(os.getpid(), number)

    return send


@pytest.fixture
def stopped_list(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """OmegaConf, stopped while it makes a list: it cleans up, and an item is not there yet."""

    def stopped(self: ListConfig, *_: object) -> None:
        self._get_flag("readonly")  # as it does first
        raise KeyboardInterrupt

    def make(*_: object) -> None:
        with monkeypatch.context() as patch:
            patch.setattr(ListConfig, "_set_item_impl", stopped)  # the item is there, as None
            OmegaConf.create(["a=1"])

    with pytest.raises(AttributeError):
        make()
    return make


def test_a_stop_that_a_library_makes_another_error_of_stops_any_command(
    stopped_list: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        run_command(stopped_list)
    assert (ended.value.code, capsys.readouterr().err) == (128 + signal.SIGINT, "interrupted\n")


def test_what_is_said_of_a_stop_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    def read() -> None:
        try:
            raise SystemExit(2)
        except SystemExit:
            raise InputError("a word", expected="one", got="another", fix="correct it") from None

    with pytest.raises(SystemExit) as ended:
        run_command(read)
    assert (ended.value.code, capsys.readouterr().err) == (1, "error: a word: expected one, got another; correct it\n")


def test_a_stop_that_a_library_makes_another_error_of_stops_a_training(
    train: Train, tmp_path: Path, stopped_list: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("bloodcell.training.run.keep_config", stopped_list)
        with pytest.raises(SystemExit) as ended:
            train("trainer=smoke")
    assert ended.value.code == 128 + signal.SIGINT
    assert status_of(newest(tmp_path))["state"] == "interrupted"


@pytest.mark.parametrize(
    "place",
    [
        "bloodcell.training.checks.check_before_fit",
        pytest.param("bloodcell.training.assemble.make_data", marks=pytest.mark.slow),
        pytest.param("bloodcell.training.recorder.RunRecorder.on_train_epoch_start", marks=pytest.mark.slow),
        pytest.param("bloodcell.training.run.result_of", marks=pytest.mark.slow),
        pytest.param("bloodcell.training.artefacts.write_artefacts", marks=pytest.mark.slow),
    ],
)
def test_sigterm_is_said_wherever_it_comes(
    train: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], place: str
) -> None:
    before = signal.getsignal(signal.SIGTERM)
    with monkeypatch.context() as patch:
        patch.setattr(place, sends(signal.SIGTERM))
        with pytest.raises(SystemExit) as stopped:
            train("trainer=smoke")
    assert stopped.value.code == 128 + signal.SIGTERM
    assert signal.getsignal(signal.SIGTERM) == before
    run = newest(tmp_path)
    status = status_of(run)
    assert (status["state"], status["error"]) == ("interrupted", "SIGTERM")
    assert f"stopped; to go on: python -m bloodcell.train ckpt_path={run}\n" in capsys.readouterr().err
    assert train(f"ckpt_path={run}", base=()) == run
    assert status_of(run)["state"] == "ok"


@pytest.mark.parametrize("words", [("trainer.max_steps=0",), ("+trainer.limit_val_batches=0",)])
def test_a_late_refusal_is_said(train: Train, tmp_path: Path, words: tuple[str, ...]) -> None:
    with pytest.raises((SystemExit, Exception)):
        train(*words)
    for run in tmp_path.glob("runs/*/*"):
        assert status_of(run)["state"] == "failed"
        assert status_of(run)["error"]


def test_an_image_that_goes_meanwhile_is_said(
    train: Train, cells: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = Path(shutil.copytree(cells, tmp_path / "images"))
    from bloodcell.training import run as story

    untouched = story.result_of

    def gone(*words: Any) -> Any:
        shutil.rmtree(images / "test")
        return untouched(*words)

    with monkeypatch.context() as patch:
        patch.setattr("bloodcell.training.run.result_of", gone)
        with pytest.raises((SystemExit, OSError)):
            train("trainer=smoke", base=(*TINY, f"data.root={images}"))
    assert status_of(newest(tmp_path))["state"] == "failed"


def test_an_early_refusal_leaves_an_older_run_as_it_was(train: Train, finished: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(finished, tmp_path / "runs" / "run"))
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file() and path.name != ".lock"}
    with pytest.raises(SystemExit, match="1"):
        train(f"ckpt_path={run}", "trainer.max_epochs=3", "optim.lr=-1", base=())
    assert {path: path.read_bytes() for path in before} == before


@pytest.mark.slow
def test_a_run_from_weights_of_another_starts_over_from_them(
    train: Train, finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = (f"ckpt_path={finished / 'checkpoints' / 'last.ckpt'}", "trainer.max_epochs=3", "seed=3")
    run = killed_at(train, monkeypatch, tmp_path, 1, words)
    train(f"ckpt_path={run}", base=())
    assert [row.split(",")[0] for row in (run / "metrics.csv").read_text().splitlines()] == ["epoch", "2"]
    assert str(finished) in (run / ".hydra" / "overrides.yaml").read_text()


DYING = """
import os, signal, sys, torch
from bloodcell.train import main
written, untouched = 0, torch.save
def save(content, file):
    global written
    written += 1
    if written == 4:
        file.write(b"half")
        file.flush()
        os.kill(os.getpid(), signal.SIGKILL)
    untouched(content, file)
torch.save = save
main()
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/dev/shm").is_dir(), reason="needs a second file system")
def test_killed_in_a_write_with_the_temporary_folder_elsewhere(cells: Path, train: Train, tmp_path: Path) -> None:
    words = [*TINY, f"data.root={cells}", *WORDS]
    environment = {**os.environ, "TMPDIR": "/dev/shm", "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", DYING, *words], cwd=tmp_path, env=environment, capture_output=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    run = newest(tmp_path)
    assert len(list((run / "checkpoints").glob(".*"))) == 1
    for path in (run / "checkpoints").glob("*.ckpt"):
        assert weights(run, path.stem)
    train(f"ckpt_path={run}", base=())
    assert {path.name for path in (run / "checkpoints").iterdir()} == {"best.ckpt", "last.ckpt"}


def test_a_checkpoint_is_written_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "folder" / "last.ckpt"
    WholeCheckpoints().save_checkpoint({"a": torch.ones(2)}, str(path))

    def full(content: Any, file: Any) -> None:
        file.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(OSError, match="No space"):
        WholeCheckpoints().save_checkpoint({"a": torch.zeros(2)}, path)
    assert torch.equal(torch.load(path, weights_only=True)["a"], torch.ones(2))
    assert [one.name for one in path.parent.iterdir()] == ["last.ckpt"]
