"""A search with Optuna: trials that are runs, and the study that proposes them."""

import hashlib
import logging
import re
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from bloodcell.common.errors import InputError, printable
from bloodcell.common.files import read_json
from bloodcell.config.compose import composed, resolve
from bloodcell.sweeps.names import job_name
from bloodcell.sweeps.space import Space
from bloodcell.tracking.status import DONE, check_within, read_status
from bloodcell.training.job import run_once
from bloodcell.training.reuse import images_of

if TYPE_CHECKING:
    import optuna


STUDY = "study.db"
# In the study's folder: a lock of the study, and one of each trial that a process is running.
LOCKS = ".locks"
# Tables of a program, and columns that are made of others: Optuna has neither.
COMPUTES = re.compile(r"\bVIRTUAL\b|\bAS\s*\(", re.IGNORECASE)
# Trials in the table at the end.
SHOWN = 10
# A search stops if its first trials all fail, this many of them.
HOPELESS = 3


@contextmanager
def told_in_one_line(space: Space) -> Iterator[None]:
    """Say that a study cannot be read, whatever its reader raises: anybody may have written the file.

    What a training raises is in the status of its run and does not come here.
    """
    try:
        yield
    except (InputError, ImportError, NameError):  # the last two are faults of ours, of an installation, not of a file
        raise
    except Exception as error:  # SQLite, SQLAlchemy, JSON and Optuna each have their own
        raise InputError(
            str(space.folder / STUDY),
            expected="a study that bloodcell.search has written",
            got=f"{type(error).__name__}: {error}".split("\n", 1)[0][:150],
            fix="move it elsewhere and search again: runs that are finished are found by themselves",
        ) from error


def search(space: Space, trials: int, seed: int, prune: bool) -> None:
    """Run trials until the study has N of them; several processes may work on it.

    Args:
        space: What is searched.
        trials: Number of trials that the study is to have, earlier ones included.
        seed: Seeds the proposals.
        prune: Whether to stop bad trials early.

    Raises:
        InputError: If the first trials all fail.
    """
    with told_in_one_line(space):
        _search(space, trials, seed, prune)


def _search(space: Space, trials: int, seed: int, prune: bool) -> None:
    from optuna.trial import TrialState

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", datefmt="%H:%M:%S")
    images_of.cache_clear()  # they may have changed since the last search
    study, begun, mine = open_study(space, prune), time.monotonic(), 0
    while (taken := _take(study, space, trials, seed)) is not None:
        trial, lock = taken
        try:
            why = _try(study, space, trial, prune)
        finally:
            lock.release()
        mine += 1
        ended = [one for one in _trials(study) if one.state.is_finished()]
        if len(ended) >= HOPELESS and all(one.state == TrialState.FAIL for one in ended):
            raise InputError("search", expected="trials that finish", got=f"{HOPELESS} failures", fix=why)
        left = timedelta(seconds=round((time.monotonic() - begun) / mine * max(trials - len(ended), 0)))
        print(f"search: {len(ended)} of {trials} trials, {_best(study)}, about {left} left at this pace", flush=True)


def _try(study: "optuna.Study", space: Space, trial: "optuna.Trial", prune: bool) -> str:
    """Run what a trial proposes and report the result to the study.

    Returns:
        Why the trial has no value; empty if it has one.
    """
    from optuna.trial import TrialState

    from bloodcell.sweeps.pruning import Pruning, report_epochs

    chosen = {key: str(value) for key, value in trial.params.items()}
    overrides = [*space.fixed, *(f"{key}={value}" for key, value in chosen.items())]
    cfg = composed(overrides)
    resolve(cfg)  # as a run keeps it
    run_dir = space.folder / job_name(overrides, " ".join(space.axes), _root_=cfg)
    trial.set_user_attr("run", run_dir.name)
    if read_status(run_dir)["state"] in DONE:
        report_epochs(trial, space.metric, run_dir)
    run_once(cfg, run_dir, overrides, chosen, [Pruning(trial, space.metric, run_dir)] if prune else [])
    while (status := read_status(run_dir))["state"] == "running":
        time.sleep(1)  # another process runs the same proposal: its value is this trial's too
    found = read_json(run_dir / "metrics.json") if status["state"] == "ok" else {}
    if found.get(space.metric) is not None:
        study.tell(trial, float(found[space.metric]))
        return ""
    study.tell(trial, state=TrialState.PRUNED if status["state"] == "pruned" else TrialState.FAIL)
    return str(status.get("error", f"no {space.metric} in metrics.json"))


def open_study(space: Space, prune: bool) -> "optuna.Study":
    """Open the study beside its runs, or create it."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    (space.folder / LOCKS).mkdir(parents=True, exist_ok=True)
    check_within(space.folder, space.folder / STUDY)
    _check_plain(space.folder / STUDY)
    content = repr((sorted((key, repr(axis)) for key, axis in space.axes.items()), space.metric, sorted(space.fixed)))
    with FileLock(space.folder / LOCKS / "study"):  # two processes would both create its tables
        return optuna.create_study(
            storage=f"sqlite:///{(space.folder / STUDY).resolve()}",
            study_name=hashlib.sha256(content.encode()).hexdigest()[:12],  # another space is another study
            load_if_exists=True,
            direction="maximize" if space.mode == "max" else "minimize",
            pruner=optuna.pruners.MedianPruner(n_warmup_steps=1) if prune else optuna.pruners.NopPruner(),
        )


def _check_plain(path: Path) -> None:
    """Stop at a database that computes: a view or a trigger of a stranger may run without end, a column fill memory."""
    if not path.is_file():
        return
    with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as database:
        for kind, name, made_by in database.execute("SELECT type, name, sql FROM sqlite_master"):
            if kind not in ("table", "index") or COMPUTES.search(str(made_by)):
                raise ValueError(f"the {kind} {name}, which computes")


def _take(study: "optuna.Study", space: Space, trials: int, seed: int) -> "tuple[optuna.Trial, FileLock] | None":
    """Take the next trial and the lock that tells other processes so; ``None`` if there are enough trials.

    A trial whose process has died comes first, as a new trial with the same values: its run resumes from its last
    checkpoint.
    """
    import optuna
    from optuna.trial import TrialState

    locks = space.folder / LOCKS
    with FileLock(locks / "study"):
        for one in study.get_trials(deepcopy=False, states=[TrialState.RUNNING]):
            try:
                with FileLock(locks / f"trial-{one.number}", blocking=False):
                    study.tell(one.number, state=TrialState.FAIL)
                    study.enqueue_trial(one.params, user_attrs={"again": one.number})
            except Timeout:
                continue
        waiting = study.get_trials(deepcopy=False, states=[TrialState.WAITING])
        count = len(_trials(study))
        if not waiting and count >= trials:
            return None
        # With a new sampler for each trial a proposal depends only on the trials so far, so that an interrupted
        # search proposes the same as an uninterrupted one.
        study.sampler = optuna.samplers.TPESampler(seed=seed * 10_007 + count, constant_liar=True)
        trial = study.ask(dict(space.axes))
        lock = FileLock(locks / f"trial-{trial.number}")
        lock.acquire()
        return trial, lock


def _trials(study: "optuna.Study") -> "list[optuna.trial.FrozenTrial]":
    """List the trials of the study without those that were resumed as another one."""
    found = study.get_trials(deepcopy=False)
    before = {one.user_attrs.get("again") for one in found}
    return [one for one in found if one.number not in before]


def _best(study: "optuna.Study") -> str:
    try:
        return f"best {study.best_value:.4f} by {printable(str(study.best_trial.user_attrs.get('run')))}"
    except ValueError:
        return "none finished"


def show_study(study: "optuna.Study", space: Space) -> None:
    """Print the best trials, the importance of the keys, and how to test the winner."""
    import optuna
    from optuna.trial import TrialState

    from bloodcell.tracking.sheets import Sheet
    from bloodcell.tracking.terminal import print_sheet

    done = study.get_trials(deepcopy=False, states=[TrialState.COMPLETE])
    if not done:
        raise InputError(
            str(space.folder), expected="a trial that ended", got="none", fix="see status.json of the runs"
        )
    states = [one.state.name.lower() for one in _trials(study)]
    counts = ", ".join(f"{states.count(name)} {name}" for name in dict.fromkeys(states))
    done.sort(key=lambda one: one.value or 0.0, reverse=space.mode == "max")
    runs = {one.user_attrs["run"]: one for one in done}  # the same proposal is the same run
    rows = [
        [str(number), *(_short(one.params[key]) for key in space.axes), f"{one.value:.4f}", str(run)]
        for number, (run, one) in enumerate(list(runs.items())[:SHOWN], 1)
    ]
    print_sheet(Sheet(f"search: {counts}", ["#", *space.axes, space.metric, "run"], rows, len(space.axes)))
    if len(done) > 1 and len({one.value for one in done}) > 1:
        weights = optuna.importance.get_param_importances(study)
        print("share of the spread: " + ", ".join(f"{key} {share:.0%}" for key, share in weights.items()))
    winner = space.folder / printable(str(done[0].user_attrs["run"]))
    print(f"to test the winner once: make evaluate RUN={winner}")
    print(f"all runs: make runs ARGS={space.folder}", flush=True)


def _short(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
