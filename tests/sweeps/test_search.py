"""The search: trials are runs, bad ones are stopped early, and it goes on where it was."""

import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest

from bloodcell import search
from bloodcell.tracking.status import read_status
from tests import processes
from tests.helpers import TINY, metrics_of

Search = Callable[..., optuna.Study]


@pytest.fixture
def searching(cells: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Search:
    """``searching("optim.lr=interval(0.001,0.1)", "--trials", "3")`` types the command; the study comes back."""

    def run(*words: str) -> optuna.Study:
        monkeypatch.setattr(sys, "argv", ["search", *TINY, f"data.root={cells}", *words])
        search.main()
        return study_in(tmp_path)

    return run


def study_in(root: Path) -> optuna.Study:
    (path,) = root.glob("runs/tiny-search/*/study.db")
    storage = f"sqlite:///{path}"
    (name,) = optuna.get_all_study_names(storage)
    return optuna.load_study(study_name=name, storage=storage)


@pytest.mark.slow
def test_trials_are_runs_and_a_search_goes_on(
    searching: Search, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    space = ("optim.lr=tag(log,interval(1e-3,1e-1))", "data.batch_size=4,8")
    study = searching(*space, "--trials", "3")
    runs = {path.parent.name: path.parent for path in tmp_path.glob("runs/tiny-search/*/*/status.json")}
    assert len(study.trials) == len(runs) == 3
    for trial in study.trials:
        run = runs[trial.user_attrs["run"]]
        assert trial.value == metrics_of(run)["val/balanced_acc"]
        assert "test/acc" not in metrics_of(run)
        assert f"optim.lr={trial.params['optim.lr']}" in (run / ".hydra" / "overrides.yaml").read_text()
        assert 1e-3 <= trial.params["optim.lr"] <= 1e-1
    best = max(study.trials, key=lambda one: one.value or 0)
    said = capsys.readouterr().out
    assert f"make evaluate RUN=runs/tiny-search/{runs[best.user_attrs['run']].parent.name}/" in said
    before = [one.params for one in study.trials]
    after = [one.params for one in searching(*space, "--trials", "4").trials]
    assert (after[:3], len(after)) == (before, 4)


@pytest.mark.slow
def test_a_trial_that_lags_behind_is_stopped(searching: Search, tmp_path: Path) -> None:
    words = ("optim.lr=tag(log,interval(1e-3,1e-1))", "test=false", "trainer.max_epochs=6")
    study = searching(*words, "--trials", "1")
    for lr in (0.01, 0.02, 0.03, 0.04, 0.05):  # what no run can reach
        study.add_trial(
            optuna.create_trial(
                params={"optim.lr": lr},
                distributions=study.trials[0].distributions,
                intermediate_values=dict.fromkeys(range(6), 2.0),
                value=2.0,
                user_attrs={"run": "by hand"},
            )
        )
    study = searching(*words, "--trials", "7")
    last = study.trials[-1]
    assert last.state == optuna.trial.TrialState.PRUNED
    assert list(last.intermediate_values) == [0, 1], "one epoch of grace, stopped after the second"
    (folder,) = tmp_path.glob("runs/tiny-search/*/")
    status = read_status(folder / last.user_attrs["run"])
    assert status["state"] == "pruned"
    assert "lags behind" in status["error"]
    study = searching(*words, "--trials", "8", "--no-pruning")
    assert study.trials[-1].state == optuna.trial.TrialState.COMPLETE


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("sweep=optimizer", "optim=adam"), "expected a key with a space, got fixed values alone"),
        (("optim.lr=interval(2,1)",), "optim.lr=interval(2,1): expected a space"),
        (("optim.lrr=0.1,0.2",), "optim.lrr"),
        (("optim.lr=-1,-2", "test=false"), "expected trials that finish, got 3 failures; optim.lr: expected a posit"),
    ],
)
def test_what_cannot_be_searched_is_one_line(
    searching: Search, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], said: str
) -> None:
    with pytest.raises(SystemExit, match="1"):
        searching(*words, "--trials", "4")
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("error: ")
    assert said in error


def test_spaces_are_read_as_hydra_writes_them() -> None:
    space = search.read_space(
        [
            "optim.lr=tag(log,interval(1e-4,1e-1))",
            "seed=range(1,8,2)",
            "data.batch_size=int(interval(4,8))",
            "optim=adam,sgd",
        ]
    )
    assert space.axes == {
        "optim.lr": optuna.distributions.FloatDistribution(1e-4, 1e-1, log=True),
        "seed": optuna.distributions.IntDistribution(1, 7, step=2),
        "data.batch_size": optuna.distributions.IntDistribution(4, 8),
        "optim": optuna.distributions.CategoricalDistribution(("adam", "sgd")),
    }
    assert set(search.read_space(["sweep=search", "optim.lr=0.1"]).axes) < set(search.read_space([]).axes)


@pytest.mark.slow
def test_a_killed_search_makes_the_same_proposals(cells: Path, tmp_path: Path) -> None:
    """Also those that rest on the results of earlier trials, of which TPE wants ten."""
    space = ["optim.lr=tag(log,interval(1e-3,1e-1))", "trainer.max_epochs=3", "test=false", "--trials", "13"]
    words = ["search", *TINY, f"data.root={cells}", *space]
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    whole.mkdir(), killed.mkdir()

    def proposals(where: Path) -> list[Any]:
        trials = study_in(where).trials
        before = {one.user_attrs.get("again") for one in trials}
        return [(one.params, one.state, one.value) for one in trials if one.number not in before]

    undisturbed = processes.run(whole, *words)
    assert undisturbed.code == 0, undisturbed.err
    written = [n for n, one in enumerate(undisturbed.writes) if "os.rename" in one and "last.ckpt" in one]
    for count in (4, 22):
        assert processes.Process(killed, words, (written[count], signal.SIGKILL)).end().code == -signal.SIGKILL
    assert processes.run(killed, *words).code == 0
    assert proposals(killed) == proposals(whole)
    assert len(study_in(killed).trials) == 15


@pytest.mark.slow
def test_what_is_wrong_in_a_process_of_a_search_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Not the traceback of joblib, which could not take the error up."""
    words = [*TINY, f"data.root={tmp_path / 'nowhere'}", "optim.lr=interval(0.001,0.1)", "--jobs", "2", "--trials", "6"]
    monkeypatch.setattr(sys, "argv", ["search", *words])
    with pytest.raises(SystemExit, match="1"):
        search.main()
    said = capfd.readouterr().err
    assert len([line for line in said.splitlines() if line.startswith("error: search: expected trials that")]) == 1
    assert "Traceback" not in said
