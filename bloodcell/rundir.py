"""The run directory: its manifest, its status, its checkpoints."""

import os
import platform
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from omegaconf import DictConfig, OmegaConf

from bloodcell.errors import InputError
from bloodcell.files import read_json, write_json, write_text

PACKAGES = (
    "bloodcell",
    "torch",
    "torchvision",
    "lightning",
    "torchmetrics",
    "hydra-core",
    "omegaconf",
    "tensorboard",
    "numpy",
    "scipy",
    "scikit-learn",
    "pillow",
)


DONE = ("ok", "pruned")  # states that are not run again
LOCK = ".lock"
PATIENCE = 2.0  # seconds; whoever only asks whether a directory is claimed holds its lock for an instant


@contextmanager
def claim(run_dir: Path) -> Iterator[bool]:
    """Keep a run directory for this process, so that no two ever write into one.

    The system gives the claim back when the process ends, however it ends.

    Args:
        run_dir: The run directory; made if missing.

    Yields:
        Whether it is ours; if not, another process is at work there.
    """
    run_dir.mkdir(parents=True, exist_ok=True)
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
    """Whether a process is at work in a run directory; yes if nobody but another user could tell."""
    if not (run_dir / LOCK).is_file():
        return False
    try:
        with FileLock(run_dir / LOCK, blocking=False):
            return False
    except (Timeout, PermissionError):
        return True


def keep_config(run_dir: Path, cfg: DictConfig, overrides: Sequence[str]) -> None:
    """Write ``.hydra/config.yaml`` and ``.hydra/overrides.yaml``: what a run is made again from.

    Hydra would write them before anything is checked and before the directory is claimed, and over those of a
    run that is gone on with (its own ``hydra.output_subdir`` is therefore null).

    Args:
        run_dir: The run directory.
        cfg: The config as composed; a checkpoint of this very run is no part of it.
        overrides: What was typed.
    """

    def own(checkpoint: str | None) -> bool:
        return checkpoint is not None and is_inside(run_dir, Path(checkpoint.strip("'\"")))

    kept = cfg.copy()
    if own(kept.ckpt_path):
        kept.ckpt_path = None
    words = [word for word in overrides if not (word.startswith("ckpt_path=") and own(word.partition("=")[2]))]
    write_text(run_dir / ".hydra" / "config.yaml", OmegaConf.to_yaml(kept))
    write_text(run_dir / ".hydra" / "overrides.yaml", OmegaConf.to_yaml(OmegaConf.create(words)))


def is_inside(folder: Path, path: Path) -> bool:
    """Whether a path leads into a folder."""
    return path.resolve().is_relative_to(folder.resolve())


def write_status(run_dir: Path, state: str, **more: object) -> None:
    """Write ``status.json``.

    Args:
        run_dir: The run directory.
        state: ``running``, ``ok``, ``failed``, ``interrupted`` or ``pruned``.
        **more: Further entries (epoch, error, ...).
    """
    write_json(run_dir / "status.json", {"state": state, "time": now(), **more})


def read_status(run_dir: Path, *, ours: bool = False) -> dict[str, Any]:
    """What ``status.json`` says, and what it cannot say by itself.

    Args:
        run_dir: The run directory.
        ours: Whether the caller has claimed it.

    Returns:
        Its entries. ``state`` is ``interrupted`` for a run whose process is gone, and ``not started`` where there
        is no run.
    """
    if not (run_dir / "status.json").is_file():
        return {"state": "running" if not ours and is_claimed(run_dir) else "not started"}
    try:
        status = read_json(run_dir / "status.json")
    except ValueError:
        return {"state": "failed", "error": "its status.json cannot be read"}
    if status["state"] == "running" and (ours or not is_claimed(run_dir)):
        status["state"] = "interrupted"
    elif status["state"] == "ok" and not (run_dir / "metrics.json").is_file():
        status = {**status, "state": "interrupted", "error": "its metrics.json is gone"}
    return status


def now() -> str:
    """The time in UTC, ISO 8601 to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def manifest(seeds: Mapping[str, int], data: Mapping[str, object]) -> dict[str, Any]:
    """What one has to know to run the same again.

    Args:
        seeds: Every seed by its key.
        data: What the datamodule says of the data (fingerprint, counts, protocol, ...).

    Returns:
        Command line, git commit, versions, hardware, seeds and data; wall time is added at the end.
    """
    return {
        "command": [Path(sys.argv[0]).name, *sys.argv[1:]],
        "started": now(),
        "git": _git(),
        "versions": {"python": platform.python_version(), **_versions()},
        "hardware": {
            "machine": platform.machine(),
            "processor": _processor(),
            "cores": os.cpu_count(),
            **_as_torch_sees_it(),
        },
        "seeds": dict(seeds),
        "data": dict(data),
    }


def find_checkpoint(run_dir: Path, which: str) -> Path:
    """The ``last`` or ``best`` checkpoint of a run directory.

    Raises:
        InputError: If there is none.
    """
    path = run_dir / "checkpoints" / f"{which}.ckpt"
    if not path.is_file():
        raise InputError(
            str(run_dir),
            expected=f"a run directory with checkpoints/{which}.ckpt",
            got="none there",
            fix="give the directory that a training printed, as runs/quickstart/2026-...",
        )
    return path


def _versions() -> dict[str, str]:
    found = {}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "not installed"
    if "torch" in sys.modules:
        import torch

        found["torch"] = torch.__version__  # with the build, as 2.14.1+cu130
    return found


def _as_torch_sees_it() -> dict[str, object]:
    """Threads, instruction set and GPU; nothing for a command that does without torch."""
    if "torch" not in sys.modules:
        return {}
    import torch

    return {
        "threads": torch.get_num_threads(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
    }


def _git() -> dict[str, object]:
    """Commit and dirty flag of the checkout that the package was imported from."""

    def git(*words: str) -> str:
        where = Path(__file__).parent
        return subprocess.run(
            ["git", *words], cwd=where, capture_output=True, text=True, check=True, timeout=10
        ).stdout.strip()

    try:
        return {"commit": git("rev-parse", "HEAD"), "dirty": bool(git("status", "--porcelain", "-uno"))}
    except (OSError, subprocess.SubprocessError):
        return {"commit": None, "dirty": None}


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "unknown")
