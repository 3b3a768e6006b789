"""Sweeps: jobs survive, are named by content, fail in their own directory, and end up in one table."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import torch

from bloodcell.sweeps.names import slug
from bloodcell.tracking.status import claim, read_status
from tests.helpers import TINY, metrics_of

Train = Callable[..., Path]
SMOKE = ("trainer=smoke", "test=false")


def jobs_of(root: Path) -> dict[str, Path]:
    """Job directories by name."""
    found = (path for path in sorted(root.glob("runs/tiny-sweep/*/*")) if path.is_dir())
    return {path.name: path for path in found if not path.name.startswith(".")}


def states_of(root: Path) -> dict[str, str]:
    return {name: read_status(path)["state"] for name, path in jobs_of(root).items()}


def weights_of(run: Path) -> dict[str, torch.Tensor]:
    found: dict[str, torch.Tensor] = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
    return found


def numbers_of(run: Path) -> dict[str, Any]:
    return {name: value for name, value in metrics_of(run).items() if isinstance(value, float)}


@pytest.mark.slow
def test_a_grid_with_failing_jobs_ends_with_all_results_and_runs_only_those_again(
    train: Train, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """3 x 3 jobs of which two break: one by a value that cannot be used, one in the middle of its training."""
    from bloodcell.training.recorder import RunRecorder

    untouched = RunRecorder.on_train_epoch_start

    def breaks(self: RunRecorder, trainer: Any, module: Any) -> None:
        if (module.seed, module.lr) == (2, 0.001):
            raise KeyError("a fault in the middle")
        untouched(self, trainer, module)

    grid = (*SMOKE, "optim.lr=0.001,0.01,0.1", "seed=0,1,2", "-m")
    with monkeypatch.context() as patch:
        patch.setattr(RunRecorder, "on_train_epoch_start", breaks)
        patch.setattr("bloodcell.training.rules.check_values", lambda cfg: refuse(cfg))
        with pytest.raises(SystemExit, match="1"):
            train(*grid)
    first = capsys.readouterr().out
    assert "sweep: 7 ok, 2 failed" in first or "sweep: 2 failed, 7 ok" in first
    states = states_of(tmp_path)
    failed = [name for name, state in states.items() if state == "failed"]
    assert len(states) == 9
    assert [name.rpartition("-")[0] for name in failed] == ["lr_0.001-seed_2", "lr_0.1-seed_1"]
    for name in failed:
        status = json.loads((jobs_of(tmp_path)[name] / "status.json").read_text())
        assert "Traceback" in status["traceback"]
        assert "failed" in (jobs_of(tmp_path)[name] / "train.log").read_text()
    assert "KeyError: 'a fault in the middle'" in " ".join(first.replace("│", " ").split())
    before = {name: (path / "status.json").stat().st_mtime_ns for name, path in jobs_of(tmp_path).items()}

    train(*grid)
    assert set(states_of(tmp_path).values()) == {"ok"}
    after = {name: (path / "status.json").stat().st_mtime_ns for name, path in jobs_of(tmp_path).items()}
    assert [name for name in after if after[name] != before[name]] == failed
    assert "sweep: 9 ok" in capsys.readouterr().out


def refuse(cfg: Any) -> None:
    from bloodcell.common.errors import InputError

    if (cfg.seed, cfg.optim.lr) == (1, 0.1):
        raise InputError("optim.lr", expected="another value", got="this one", fix="change it")


@contextmanager
def sweeping(cells: Path, where: Path, *words: str) -> Iterator[subprocess.Popen[str]]:
    """A sweep in a process of its own; killed if it is still there at the end."""
    command = [sys.executable, "-m", "bloodcell.train", "-m", *TINY, f"data.root={cells}", *words]
    with (where / "out.log").open("a") as log:
        process = subprocess.Popen(command, cwd=where, stdout=log, stderr=log, text=True)
        try:
            yield process
        finally:
            process.kill()
            process.wait()


@pytest.mark.slow
def test_a_killed_sweep_goes_on_to_the_same_table(
    cells: Path, train: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """SIGKILL in the middle of the second of three jobs; launched again, all is as if nothing had been."""
    words = ("seed=0,1,2", "trainer.max_epochs=14", "data.batch_size=4", "test=false")
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    for folder in (whole, killed):
        folder.mkdir()
    with sweeping(cells, killed, *words) as process:
        deadline = time.monotonic() + 60
        while not (list(killed.glob("runs/*/*/seed_1-*/checkpoints/last.ckpt"))) and time.monotonic() < deadline:
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert [state for _, state in sorted(states_of(killed).items())] == ["ok", "interrupted"]
    reached = torch.load(next(killed.glob("runs/*/*/seed_1-*/checkpoints/last.ckpt")), weights_only=True)["epoch"]
    assert reached < 13
    for folder in (killed, whole):
        monkeypatch.chdir(folder)
        train(*words, "-m")
    assert "going on with seed_1" in capsys.readouterr().out
    assert jobs_of(killed).keys() == jobs_of(whole).keys()
    for name, job in jobs_of(killed).items():
        other = jobs_of(whole)[name]
        assert numbers_of(job) == numbers_of(other)
        assert all(torch.equal(one, weights_of(other)[key]) for key, one in weights_of(job).items())
        rows = (job / "metrics.csv").read_text().splitlines()
        assert len(rows) == 15, "every epoch once"


@pytest.mark.slow
def test_one_sweep_launched_twice_at_once_does_every_job_once(
    cells: Path, train: Train, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    words = ("seed=0,1,2,3", "test=false", "trainer.max_epochs=12")
    with sweeping(cells, tmp_path, *words) as other:
        deadline = time.monotonic() + 60
        while not jobs_of(tmp_path) and time.monotonic() < deadline:
            time.sleep(0.02)
        train(*words, "-m")
        assert other.wait(timeout=120) == 0
    assert list(states_of(tmp_path).values()) == ["ok"] * 4
    mine, theirs = capfd.readouterr().out, (tmp_path / "out.log").read_text()
    assert (mine + theirs).count("epoch 12/12") == 4, "a job was done twice"
    assert "left to another process" in mine + theirs or "finished before" in mine + theirs
    assert "epoch 12/12" in mine, "only one of them worked"
    for job in jobs_of(tmp_path).values():
        assert len({path.name.split(".")[-2] for path in job.glob("tensorboard/events*")}) == 1, "two processes"
        assert len((job / "metrics.csv").read_text().splitlines()) == 13


def test_a_directory_has_one_process_at_a_time(tmp_path: Path) -> None:
    holding, done = threading.Event(), threading.Event()

    def hold() -> None:
        with claim(tmp_path / "run") as ours:
            assert ours
            holding.set()
            done.wait(20)

    keeper = threading.Thread(target=hold)
    keeper.start()
    try:
        assert holding.wait(5)
        with claim(tmp_path / "run") as ours:
            assert not ours
    finally:
        done.set()
        keeper.join()
    with claim(tmp_path / "run") as ours:
        assert ours


def test_a_run_is_not_written_over(finished: Path, train: Train, capsys: pytest.CaptureFixture[str]) -> None:
    before = (finished / "metrics.json").read_bytes()
    with pytest.raises(SystemExit, match="1"):
        train("seed=9", f"hydra.run.dir={finished}")
    assert "expected a new directory, got one that holds a run" in capsys.readouterr().err
    assert (finished / "metrics.json").read_bytes() == before


@pytest.mark.slow
def test_jobs_are_named_by_content(train: Train, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train(*SMOKE, "optim.lr=1e-3", "seed=0,1", "-m")
    (folder,) = tmp_path.glob("runs/tiny-sweep/*")
    assert folder.name.startswith("folder-image_size_32_32-"), "what the jobs share names the sweep"
    assert sorted(name.rpartition("-")[0] for name in jobs_of(tmp_path)) == ["seed_0", "seed_1"]
    one = jobs_of(tmp_path).keys()
    # The same content, typed otherwise, with another key to tell the jobs apart, and one job more.
    train(*SMOKE, "optim.lr=0.001", "seed=1,0,2", "data.split_seed=0,0", "-m")
    assert one < jobs_of(tmp_path).keys()
    assert len(jobs_of(tmp_path)) == 3
    assert "3 jobs in" in (said := capsys.readouterr().out)
    assert ", 2 done before" in said
    # What no override tells is content too: a default that has changed is another job.
    train(*SMOKE, "optim.lr=0.001", "+optim.optimizer.betas=[0.8,0.9]", "seed=0,1", "-m")
    assert len({name.rpartition("-")[2] for name in jobs_of(tmp_path)}) == 5


def test_slugs_are_readable() -> None:
    assert slug(["optim=sgd", "optim.lr=0.01", "seed=1", "+model.widths=[8,16]"]) == "sgd-lr_0.01-seed_1-widths_8_16"
    assert slug(["data.root='/a/b c'", "optim/scheduler=cosine", "sweep=lr"]) == "root_b_c-scheduler_cosine-lr"
    assert "/" not in slug(["x=" + "/y" * 300])


def test_a_named_grid_needs_no_flag_and_keeps_its_place(train: Train, tmp_path: Path) -> None:
    train("sweep=lr", "optim.lr=1e-3,1e-2", "optim.optimizer.weight_decay=0.1", "trainer=smoke")
    (folder,) = tmp_path.glob("runs/tiny-sweep/*")
    assert "-lr" in folder.name
    assert sorted(name.rpartition("-")[0] for name in jobs_of(tmp_path)) == [
        "lr_0.001-weight_decay_0.1",
        "lr_0.01-weight_decay_0.1",
    ]
    for job in jobs_of(tmp_path).values():
        assert {name.partition("/")[0] for name in numbers_of(job)} == {"val"}, "the test images were looked at"
        assert not (job / "predictions.csv").exists()


@pytest.mark.parametrize(
    ("word", "line"),
    [
        ("optim.lrr=1,2", "error: optim.lrr: expected a key of the config"),
        ("optim/scheduler=cosine,null", "error: optim/scheduler: expected a choice of the group"),
        ("ckpt_path=.", "error: ckpt_path=.: expected a checkpoint file, from which every job of a sweep would start"),
    ],
)
def test_a_mistyped_grid_is_one_line_and_writes_nothing(
    train: Train, tmp_path: Path, capfd: pytest.CaptureFixture[str], word: str, line: str
) -> None:
    with pytest.raises(SystemExit, match="1"):
        train(word, "-m")
    said = capfd.readouterr()
    assert said.err.strip().splitlines()[-1].startswith(line)
    assert "Traceback" not in said.err
    assert not jobs_of(tmp_path)


@pytest.mark.slow
def test_a_finished_job_that_lost_its_files_is_done_again(train: Train, tmp_path: Path) -> None:
    grid = (*SMOKE, "seed=0,1", "-m")
    train(*grid)
    broken, bare = jobs_of(tmp_path).values()
    before = numbers_of(broken), numbers_of(bare)
    (broken / "status.json").write_text('{"state": "o')
    (bare / "metrics.json").unlink()
    train(*grid)
    assert (numbers_of(broken), numbers_of(bare)) == before
    assert set(states_of(tmp_path).values()) == {"ok"}


@pytest.mark.slow
@pytest.mark.parametrize(("name", "code"), [("SIGTERM", 143), ("SIGINT", 130)])
def test_a_sweep_that_is_told_to_stop_says_what_is_left(cells: Path, tmp_path: Path, name: str, code: int) -> None:
    with sweeping(cells, tmp_path, "seed=0,1", "trainer.max_epochs=400", "test=false") as process:
        deadline = time.monotonic() + 120
        while not (list(tmp_path.glob("runs/*/*/seed_0-*/checkpoints/last.ckpt"))) and time.monotonic() < deadline:
            time.sleep(0.05)
        while process.poll() is None and time.monotonic() < deadline:
            # Again, as Python drops a Ctrl-C that hits the callback of a weak reference; not at once, for a second one
            # while the first is obeyed ends everything.
            process.send_signal(getattr(signal, name))
            with suppress(subprocess.TimeoutExpired):
                process.wait(timeout=40)
        assert process.poll() == code
    assert "sweep: 1 interrupted, 1 not started" in (tmp_path / "out.log").read_text()


@pytest.mark.slow
def test_jobs_as_on_a_cluster(cells: Path, tmp_path: Path) -> None:
    """Submitit's local executor: what it would hand to Slurm, as processes of this machine."""
    words = ("hydra/launcher=submitit_local", "optim.lr=-1,0.01", *SMOKE)
    with sweeping(cells, tmp_path, *words) as process:
        assert process.wait(timeout=200) == 1
    assert sorted(states_of(tmp_path).values()) == ["failed", "ok"]
    assert "sweep: 1 failed, 1 ok" in (tmp_path / "out.log").read_text()


BETWEEN = """
import sys
from bloodcell.sweeps import launch
launch.check_job_place = lambda *_: None  # as if the file came after it had looked
from bloodcell.train import main
main()
"""


@pytest.mark.slow
def test_what_is_wrong_in_a_process_of_joblib_is_one_line(cells: Path, tmp_path: Path) -> None:
    words = ["-m", *TINY, f"data.root={cells}", *SMOKE, "hydra/launcher=joblib", "seed=0,1", "hydra.sweep.dir=sweep"]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent.parent)}
    (tmp_path / "sweep" / "seed_0").mkdir(parents=True)
    (tmp_path / "sweep" / "seed_0" / "thesis.txt").write_text("all of it")
    named = ["hydra.sweep.subdir=seed_${seed}"]
    done = subprocess.run(
        [sys.executable, "-c", BETWEEN, *words, *named], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("error: ")
    assert "got one that holds thesis.txt" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
    assert (tmp_path / "sweep" / "seed_0" / "thesis.txt").read_text() == "all of it"


MANY = """
import gc, os, sys
from bloodcell import train
from tests.helpers import TINY
sizes = []
once = train.run_once
def measured(*words):
    done = once(*words)
    gc.collect()
    pages = int(open("/proc/self/statm").read().split()[1])
    sizes.append(pages * os.sysconf("SC_PAGE_SIZE") / 1e6)
    return done
train.run_once = measured
seeds = ",".join(map(str, range(20)))
sys.argv = ["train", "-m", *TINY, f"data.root={sys.argv[1]}", "trainer=smoke", "test=false", f"seed={seeds}"]
train.main()
print("GROWTH", sizes[-1] - sizes[4])
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads the size of the process from /proc")
def test_many_jobs_in_one_process_keep_its_size(cells: Path, tmp_path: Path) -> None:
    root = str(Path(__file__).parent.parent.parent)
    env = {**os.environ, "PYTHONPATH": root}
    done = subprocess.run(
        [sys.executable, "-c", MANY, str(cells)], cwd=tmp_path, env=env, capture_output=True, text=True, check=True
    )
    assert float(done.stdout.split("GROWTH")[1]) < 50, "MB after the fifth job"
    assert len(jobs_of(tmp_path)) == 20


@pytest.mark.slow
def test_jobs_are_known_by_what_their_interpolations_lead_to(
    train: Train, cells: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from bloodcell.tracking.reader import read_runs
    from bloodcell.tracking.settings import split_settings

    grid = (
        "optim.lr=${oc.env:RATE},0.1",
        "optim.optimizer.weight_decay=${optim.lr}",
        *SMOKE,
        "trainer.max_epochs=1",
    )
    base = (*TINY, "data.root=${oc.env:CELLS}")
    monkeypatch.setenv("CELLS", str(cells))
    for rate, line in (("0.01", "sweep: 2 ok"), ("0.01", "2 done before"), ("0.02", "1 done before")):
        monkeypatch.setenv("RATE", rate)
        train(*grid, "-m", base=base)
        assert line in (said := capsys.readouterr().out)
        assert "sweep: 2 ok" in said
    (folder,) = tmp_path.glob("runs/tiny-sweep/*")
    assert f"root_{cells.name}" in folder.name
    assert sorted(name.rpartition("-")[0] for name in jobs_of(tmp_path)) == ["lr_0.01", "lr_0.02", "lr_0.1"]
    for job in jobs_of(tmp_path).values():
        assert "${" not in (job / ".hydra" / "config.yaml").read_text()
    settings = split_settings(read_runs(folder))
    assert sorted(setting.shown["optim.lr"] for setting in settings) == ["0.01", "0.02", "0.1"]


@pytest.mark.slow
def test_a_job_that_diverges_says_so_and_is_not_run_again(
    train: Train, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    grid = ("optim=sgd", "~optim/scheduler", "optim.lr=1e30,1e-3", *SMOKE, "-m")
    for line in ("2 jobs in", ", 2 done before"):
        with pytest.raises(SystemExit, match="1"):
            train(*grid)
        assert line in (said := capsys.readouterr().out)
        assert "1 diverged" in said
    assert sorted(states_of(tmp_path).values()) == ["diverged", "ok"]
