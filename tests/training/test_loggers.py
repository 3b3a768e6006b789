"""``logger=...``: another logger changes what watches a run, and nothing else of it."""

import sqlite3
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from bloodcell.common.files import read_csv
from bloodcell.tracking.reader import read_runs
from bloodcell.tracking.settings import split_settings
from tests.helpers import metrics_of, same

Train = Callable[..., Path]


def files_of(run: Path, *without: str) -> set[str]:
    """What a run has left, but for its logger and its log, to which other tests of this process write too."""
    paths = (path.relative_to(run) for path in run.rglob("*") if path.is_file())
    return {str(path) for path in paths if path.parts[0] not in (*without, "train.log")}


@pytest.mark.slow
def test_csv_leaves_every_artefact_and_our_metrics_csv_alone(train: Train, finished: Path, tmp_path: Path) -> None:
    run = train("logger=csv", "seed=3")
    assert files_of(run, "csv") == files_of(finished, "tensorboard")
    assert same(run, finished)
    assert metrics_of(run) == metrics_of(finished)
    assert [row["epoch"] for row in read_csv(run / "metrics.csv")] == ["0", "1"]
    logged = read_csv(run / "csv" / "metrics.csv")
    assert [row["step"] for row in logged if row["val/acc"]] == ["0", "1"]
    (reported,) = (row["test/acc"] for row in logged if row["test/acc"])
    assert float(reported) == pytest.approx(metrics_of(run)["test/acc"])
    (setting,) = split_settings([*read_runs(finished), *read_runs(run)])
    assert len(setting.runs) == 2, "what a run was watched with makes no other setting of it"


@pytest.mark.slow
def test_csv_of_a_resumed_run_keeps_what_was_logged(train: Train) -> None:
    run = train("logger=csv", "trainer.max_epochs=1")
    before = (run / "csv" / "metrics.csv").read_bytes()
    assert train(f"ckpt_path={run}", "trainer.max_epochs=2", base=()) == run
    assert (run / "csv" / "metrics.csv").read_bytes() == before
    assert any(row["val/acc"] for row in read_csv(run / "csv-2" / "metrics.csv"))
    assert [row["epoch"] for row in read_csv(run / "metrics.csv")] == ["0", "1"]


@pytest.mark.parametrize("name", ["wandb", "mlflow"])
def test_what_is_not_installed_is_one_line(
    name: str, train: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(SystemExit) as stopped:
        train(f"logger={name}")
    assert stopped.value.code == 1
    said = capsys.readouterr().err.strip()
    assert said.startswith(f"error: logger={name}: expected the package {name}, got none installed; type ")
    assert said.endswith(f" -m pip install {name}")
    assert "\n" not in said
    assert not list(tmp_path.rglob("status.json"))


@pytest.mark.slow
def test_wandb_logs_below_the_run_a_run_for_each_job(train: Train, tmp_path: Path) -> None:
    pytest.importorskip("wandb")
    train("logger=wandb", "seed=0,1", "trainer.max_epochs=1", "-m")
    jobs = [path.parent for path in tmp_path.glob("runs/tiny-sweep/*/*/metrics.json")]
    assert len(jobs) == 2
    for job in jobs:
        (log,) = job.glob("wandb/offline-run-*/run-*.wandb")
        content = log.read_bytes()
        assert b"val/balanced_acc" in content
        assert job.name.encode() in content
    assert not (tmp_path / "wandb").exists()


@pytest.mark.slow
def test_mlflow_logs_below_the_run(train: Train, tmp_path: Path) -> None:
    pytest.importorskip("mlflow")
    run = train("logger=mlflow", "seed=3")
    with sqlite3.connect(run / "mlflow.db") as database:
        (ended,) = database.execute("select name, status from runs").fetchall()
        logged = database.execute("select key, step, value from metrics where key like 'val/acc'").fetchall()
        reported = dict(database.execute("select key, value from metrics where key like 'test/%'").fetchall())
    assert ended == (run.name, "FINISHED")
    assert [step for _, step, _ in logged] == [0, 1]
    assert reported["test/acc"] == pytest.approx(metrics_of(run)["test/acc"])
    assert not (tmp_path / "mlruns").exists()
    assert not (tmp_path / "mlflow.db").exists()
