"""``status.json``, and the claim that keeps a run directory for one process."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from bloodcell.common.errors import InputError
from bloodcell.common.files import is_inside, read_json, write_json
from bloodcell.tracking.manifest import now

STATES = ("ok", "failed", "interrupted", "running", "pruned", "diverged")
DONE = ("ok", "pruned", "diverged")  # states that are not run again: they would end so again
LOCK = ".lock"
PATIENCE = 2.0  # seconds; whoever asks whether a directory is claimed holds its lock for an instant


@contextmanager
def claim(run_dir: Path) -> Iterator[bool]:
    """Keep a run directory for this process, so that no two ever write into one.

    The system releases the claim when the process ends, however it ends.

    Args:
        run_dir: The run directory; made if missing.

    Yields:
        Whether it is ours; if not, another process works there.

    Raises:
        InputError: If something in it is a link that leads out of it: what is written there would end up elsewhere.
    """
    run_dir.mkdir(parents=True, exist_ok=True)
    for pattern in ("*", "*/*"):
        for path in run_dir.glob(pattern):
            check_within(run_dir, path)
    lock = FileLock(run_dir / LOCK)
    try:
        lock.acquire(timeout=PATIENCE)
    except Timeout:
        yield False
        return
    try:
        yield True
    finally:
        lock.release()


def is_claimed(run_dir: Path) -> bool:
    """Tell whether a process is at work in a run directory; where the lock cannot be tried, assume so."""
    if (run_dir / LOCK).is_symlink() or not (run_dir / LOCK).is_file():
        return False
    try:
        with FileLock(run_dir / LOCK, blocking=False):
            return False
    except OSError:  # held, or no file of ours
        return True


def check_within(run_dir: Path, path: Path) -> None:
    """Stop if a path below a run directory is a link, or behind one, that leads out of it.

    Raises:
        InputError: Naming it.
    """
    if not is_inside(run_dir, path):
        raise InputError(
            str(path),
            expected="a file or folder of the run",
            got=f"a link to {os.path.realpath(path)}",
            fix="put there what it leads to, or remove it",
        )


def write_status(run_dir: Path, state: str, **more: object) -> None:
    """Write ``status.json``.

    Args:
        run_dir: The run directory.
        state: One of ``STATES``.
        **more: Further entries (epoch, error, ...).
    """
    write_json(run_dir / "status.json", {"state": state, "time": now(), **more})


def read_status(run_dir: Path, *, ours: bool = False) -> dict[str, Any]:
    """Read the state of a run: what ``status.json`` says, checked against what it cannot know.

    Args:
        run_dir: The run directory.
        ours: Whether the caller has claimed it.

    Returns:
        The entries of ``status.json``. Their ``state`` is one of ``STATES``, or ``not started`` where there is no run
        yet. A run is ``interrupted`` if it says ``running`` and no process is at work there, or ``ok`` and its
        numbers are gone; it is ``failed`` if its ``status.json`` cannot be read. ``error`` then says why.
    """
    path = run_dir / "status.json"
    if not path.is_file():
        return {"state": "running" if not ours and is_claimed(run_dir) else "not started"}
    try:
        status: object = read_json(path)
    except (OSError, ValueError):
        status = None
    if not isinstance(status, dict) or status.get("state") not in STATES:
        return {"state": "failed", "error": "its status.json cannot be read"}
    if status["state"] == "running" and (ours or not is_claimed(run_dir)):
        return {**status, "state": "interrupted"}
    if status["state"] == "ok" and not (run_dir / "metrics.json").is_file():
        return {**status, "state": "interrupted", "error": "its metrics.json is gone"}
    return status
