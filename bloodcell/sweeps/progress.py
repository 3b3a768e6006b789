"""Progress of a sweep: a line whenever jobs have ended, a table of all jobs at the end."""

import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

from hydra.errors import HydraException

from bloodcell.common.files import read_json
from bloodcell.sweeps.launch import Job, Launch
from bloodcell.tracking.status import DONE, read_status

POLL = 1.0  # seconds


@contextmanager
def reported() -> Iterator[None]:
    """Report the jobs of a sweep while they run, and print a table of all of them at the end.

    Raises:
        SystemExit: With 1, if a job failed, diverged or was not run.
    """
    Launch.jobs = tuple[Job, ...]()
    ended = threading.Event()
    watch = threading.Thread(target=_watch, args=(ended,), daemon=True)
    watch.start()
    try:
        yield
    except HydraException:
        raise  # nothing was launched
    except BaseException:
        if any(read_status(one.run_dir)["state"] != "not started" for one in Launch.jobs):
            _report(Launch.jobs, Launch.metric)
        raise
    finally:
        ended.set()
        watch.join()
    if not _report(Launch.jobs, Launch.metric):
        raise SystemExit(1)


def _watch(ended: threading.Event) -> None:
    """Print a line whenever jobs have ended, with the time that is left at their pace."""
    while not Launch.jobs:
        if ended.wait(POLL):
            return
    started, begun = time.time(), time.monotonic()
    waiting = [job for job in Launch.jobs if read_status(job.run_dir)["state"] not in DONE]
    total = len(waiting)
    while not ended.wait(POLL):
        before = len(waiting)
        waiting = [job for job in waiting if not _ended_since(job.run_dir, started)]
        if len(waiting) < before and waiting:
            gone = total - len(waiting)
            left = timedelta(seconds=round((time.monotonic() - begun) / gone * len(waiting)))
            print(f"sweep: {gone} of {total} jobs ended, about {left} left", flush=True)


def _ended_since(run_dir: Path, started: float) -> bool:
    status = run_dir / "status.json"
    return status.is_file() and status.stat().st_mtime > started and read_status(run_dir)["state"] != "running"


def _report(jobs: Sequence[Job], metric: str) -> bool:
    """Print a table of all jobs.

    Returns:
        Whether no job failed or diverged and none is left to run. A job that another process is running is for that
        process to report.
    """
    from bloodcell.tracking.sheets import Sheet  # rich and NumPy, for which no --help waits
    from bloodcell.tracking.terminal import print_sheet

    rows, notes = [], []
    counts: Counter[str] = Counter()
    for number, job in enumerate(jobs, 1):
        status = read_status(job.run_dir)
        counts[status["state"]] += 1
        value, seconds = _outcome(job.run_dir, metric) if status["state"] == "ok" else ("", "")
        rows.append([str(number), *job.setting.values(), value, status["state"], seconds])
        if "error" in status:
            notes.append(f"#{number} {status['state']}: {status['error']}")
    if jobs:
        title = f"sweep: {', '.join(f'{number} {state}' for state, number in counts.items())}"
        header = ["#", *jobs[0].setting, metric, "state", "time"]
        print_sheet(Sheet(title, header, rows, len(jobs[0].setting), notes))
        if not Launch.tested:
            print("the test images were not looked at; to test a chosen job once: make evaluate RUN=DIR")
        print(f"settings over seeds and folds: make runs ARGS={jobs[0].run_dir.parent}", flush=True)
    return set(counts) <= {"ok", "pruned", "running"}


def _outcome(run_dir: Path, metric: str) -> tuple[str, str]:
    """Read the metric of a finished job and its duration, for the table."""
    metrics, record = read_json(run_dir / "metrics.json"), read_json(run_dir / "manifest.json")
    value = f"{metrics[metric]:.4f}" if metrics.get(metric) is not None else ""
    return value, str(timedelta(seconds=round(record.get("wall_seconds", 0))))
