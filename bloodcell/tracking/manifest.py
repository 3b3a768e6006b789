"""``manifest.json``: what one has to know to run the same again."""

import os
import platform
import subprocess
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from bloodcell.common.env import CHECKOUT, waiting
from bloodcell.common.errors import InputError
from bloodcell.common.files import read_json

# What a commit must know for its runs to be made again; results and notes beside them decide nothing.
SOURCES = (":/bloodcell", ":/conf", ":/pyproject.toml")
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


def now() -> str:
    """Return the time in UTC, ISO 8601 to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def manifest(seeds: Mapping[str, int], data: Mapping[str, object]) -> dict[str, Any]:
    """Describe this process, so that the same can be run again.

    Args:
        seeds: Every seed by its key.
        data: What describes the data (fingerprint, counts, protocol, ...).

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
            **waiting(),
            **_as_torch_sees_it(),
        },
        "seeds": dict(seeds),
        "data": dict(data),
    }


def read_manifest(run_dir: Path) -> dict[str, Any]:
    """Read ``manifest.json``; parts that are no mappings are empty.

    Raises:
        InputError: If it does not say what the run was made on.
    """
    path = run_dir / "manifest.json"
    content = read_json(path)
    for part in ("hardware", "versions", "seeds", "git", "data"):
        if not isinstance(content.get(part), dict):
            content[part] = {}
    content["git"] = {"commit": None, "dirty": None, **content["git"]}
    if not {"source", "fingerprint"} <= content["data"].keys():
        raise InputError(
            str(path),
            expected="the source and fingerprint of the images of a run",
            got="neither or one",
            fix="put back the file as it was written",
        )
    return content


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
    """Commit and dirty flag of the checkout that the package was imported from.

    Nothing for a package that is installed, or lies ignored, below somebody else's repository.
    """

    def git(*words: str) -> str:
        where = Path(__file__).parent
        return subprocess.run(
            ["git", *words], cwd=where, capture_output=True, text=True, check=True, timeout=10
        ).stdout.strip()

    try:
        git("ls-files", "--error-unmatch", Path(__file__).name)  # fails for a file that git does not know
        if Path(git("rev-parse", "--show-toplevel")) != CHECKOUT.resolve():
            return {"commit": None, "dirty": None}
        return {"commit": git("rev-parse", "HEAD"), "dirty": bool(git("status", "--porcelain", "--", *SOURCES))}
    except (OSError, subprocess.SubprocessError):
        return {"commit": None, "dirty": None}


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "unknown")
