"""Run directories, read: overrides, composed config, state, numbers, manifest."""

import logging
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from bloodcell.common.errors import InputError
from bloodcell.common.files import read_csv, read_json, read_yaml
from bloodcell.tracking.status import read_status

log = logging.getLogger(__name__)

MOST = 2**32 - 1  # of a seed, as NumPy takes it


@dataclass(frozen=True)
class Run:
    """A run directory that was read.

    Attributes:
        path: The directory.
        overrides: What was typed, by key; groups and values alike.
        state: One of ``status.STATES``.
        metrics: The numbers of ``metrics.json``; empty if it has none (yet).
        record: ``metrics.json`` as it is, texts included.
        manifest: ``manifest.json``.
        status: What ``read_status`` says of it.
        config: The composed config by dotted key, ``{"optim.lr": 0.001}``; a list is one value.
    """

    path: Path
    overrides: dict[str, str]
    state: str
    metrics: dict[str, float]
    record: dict[str, Any]
    manifest: dict[str, Any]
    status: dict[str, Any] = field(default_factory=dict)
    config: dict[str, Any] = field(default_factory=dict)

    @cached_property
    def typed(self) -> dict[str, str]:
        """What was typed, by the key of the config that it sets (``+optim.lr=1`` sets ``optim.lr``)."""
        return {key.lstrip("+"): word for key, word in self.overrides.items()}

    @cached_property
    def values(self) -> dict[str, Any]:
        """What it was run with, by dotted key: the config, and where the manifest knows better, what that says.

        Only the manifest knows which images there were (``data.fingerprint``, ``data.source``) and what
        ``trainer.precision=auto`` became. Without a config it is what was typed.
        """
        data = self.part("data")
        known = {f"data.{key}": data[key] for key in ("source", "protocol") if key in data}
        if data.get("fingerprint"):
            known["data.fingerprint"] = str(data["fingerprint"])[:8]
        if self.manifest.get("precision"):
            known["trainer.precision"] = self.manifest["precision"]
        return {**(self.config or self.typed), **known}

    def part(self, name: str) -> dict[str, Any]:
        """Return a part of the manifest, such as ``versions``; empty if it has none."""
        return _below(self.manifest, name)

    def number(self, key: str, most: int = MOST) -> int:
        """Return a whole number of the config.

        Raises:
            InputError: If it has none from 0 to ``most``.
        """
        value = self.config.get(key)
        if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= most:
            expected, got = f"a whole number from 0 to {most:,}", str(value)[:40]
            raise InputError(f"{self.path}: {key}", expected=expected, got=got, fix="give runs of a cross-validation")
        return value

    @property
    def seconds(self) -> float | None:
        """How long it took, or has taken until it last wrote its status; ``None`` if it left no times."""
        if _is_number(self.manifest.get("wall_seconds")):
            return float(self.manifest["wall_seconds"])
        try:
            began, seen = (datetime.fromisoformat(word) for word in (self.manifest["started"], self.status["time"]))
            return max(0.0, (seen - began).total_seconds())  # the clock may have been set back
        except (KeyError, TypeError, ValueError):
            return None

    @property
    def progress(self) -> str:
        """The state, and for a run that is not done the epoch it is in: ``running, epoch 3 of 10``."""
        if self.state == "ok" or not self.status.get("epochs"):
            return self.state
        return f"{self.state}, epoch {self.status.get('epoch', 0)} of {self.status['epochs']}"

    @property
    def why(self) -> str:
        """Why it ended without a result, in one line; empty if it did not say."""
        return " ".join(str(self.status.get("error") or "").split()).rstrip(": ")


def read_runs(root: Path) -> list[Run]:
    """Read every run at or below a folder, sorted by path.

    Raises:
        InputError: If there is none.
    """
    return [read_run(path) for path in find_runs(root)]


def find_runs(root: Path) -> list[Path]:
    """List the run directories at or below a folder, sorted.

    Raises:
        InputError: If there is none.
    """
    paths = sorted(path.parent for path in root.rglob("status.json"))
    if not paths:
        raise InputError(
            str(root), expected="a folder with runs", got="none in it", fix="train first, or check the path"
        )
    return paths


def read_run(path: Path) -> Run:
    """Read whatever can be read of a run directory; what cannot is logged, one line for each file."""
    status = read_status(path)
    typed = _read_yaml(path / ".hydra" / "overrides.yaml", None)
    if typed is None:
        log.warning("%s: no .hydra/overrides.yaml, what was typed is not known", path)
    record = _read_json(path / "metrics.json")
    words = [str(word) for word in typed] if isinstance(typed, list) else []
    config = _read_yaml(path / ".hydra" / "config.yaml", {})
    return Run(
        path,
        dict(word.split("=", 1) for word in words if "=" in word),
        str(status["state"]),
        _numbers(path, record),
        record,
        _read_json(path / "manifest.json"),
        status,
        _resolved(dict(flat(config)), words) if isinstance(config, dict) else {},
    )


def read_epochs(run_dir: Path) -> list[dict[str, str]]:
    """Read ``metrics.csv``, a row an epoch; no rows if there is no such file.

    Raises:
        InputError: If it is another table.
    """
    path = run_dir / "metrics.csv"
    rows = read_csv(path)
    for number, row in enumerate(rows, 1):
        try:
            int(row["epoch"]), [float(cell) for cell in row.values() if cell]
        except (KeyError, ValueError) as error:
            fix = "put back the file as it was written"
            raise InputError(
                f"{path}, row {number}", expected="numbers of an epoch", got=str(error), fix=fix
            ) from error
    return rows


def _read_json(path: Path) -> dict[str, Any]:
    """A JSON mapping; empty if there is no such file, or, with a line in the log, if it holds something else."""
    if not path.is_file():
        return {}
    try:
        content: object = read_json(path)
    except InputError as error:
        log.warning("%s: cannot be read (%s)", path, str(error).removeprefix(f"{path}: "))
        return {}
    if isinstance(content, dict):
        return content
    log.warning("%s: cannot be read (it holds no mapping)", path)
    return {}


def _read_yaml(path: Path, otherwise: Any) -> Any:
    """What a YAML file holds; ``otherwise`` if there is no such file; empty, and a line in the log, if it is broken."""
    if not path.is_file():
        return otherwise
    try:
        return read_yaml(path)
    except InputError as error:
        log.warning("%s: cannot be read (%s)", path, str(error).removeprefix(f"{path}: "))
        return {}


def _numbers(path: Path, record: dict[str, Any]) -> dict[str, float]:
    """The metrics of a record that are numbers."""
    found = {name: value for name, value in record.items() if "/" in name and value is not None}  # null: undefined
    good = {name: float(value) for name, value in found.items() if _is_number(value)}
    bad = sorted(found.keys() - good.keys())
    if bad:
        more = f" and {len(bad) - 3} more" if len(bad) > 3 else ""
        log.warning("%s: no number in %s%s, left out of every mean", path, ", ".join(bad[:3]), more)
    return good


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= sys.float_info.max


def flat(config: dict[str, Any], head: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the values of a config by dotted key, ``("optim.lr", 0.001)``; a list is one value."""
    for key, value in config.items():
        if isinstance(value, dict) and value:
            yield from flat(value, f"{head}{key}.")
        else:
            yield f"{head}{key}", value


def _resolved(config: dict[str, Any], words: list[str]) -> dict[str, Any]:
    """A flat config in which keys that refer to another one have its value, as earlier versions left them.

    ``data.seed`` is the run's seed unless it was typed, and no key of its own then.
    """
    found = {
        key: config.get(value[2:-1], value) if str(value).startswith("${") else value for key, value in config.items()
    }
    if not any(word.lstrip("+").startswith("data.seed=") for word in words):
        found.pop("data.seed", None)
    return found


def _below(content: dict[str, Any], *keys: str) -> dict[str, Any]:
    for key in keys:
        content = content.get(key) or {}
        if not isinstance(content, dict):
            return {}
    return content
