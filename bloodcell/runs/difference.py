"""Two runs side by side: ``--diff RUN_A RUN_B``."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bloodcell.errors import InputError
from bloodcell.runs.reader import Run, read_run
from bloodcell.runs.settings import text_of
from bloodcell.runs.table import Sheet, duration


def differences(first: Path, second: Path) -> list[Sheet]:
    """What two runs differ in, and their metrics.

    Args:
        first: A run directory.
        second: Another.

    Returns:
        A table of the composed configs, seeds, data, versions, hardware and commits, with what differs alone, and
        one of the metrics.

    Raises:
        InputError: If one is not a run directory.
    """
    one, other = _read(first), _read(second)
    rows = [[key, _text(one_value), _text(other_value)] for key, one_value, other_value in _differing(one, other)]
    same = [] if rows else ["config, seeds, data, versions, hardware and commit are the same."]
    notes = [f"A: {first}", f"B: {second}", *same]
    return [Sheet("what differs", ["key", "A", "B"], rows, 0, notes), _metrics(one, other)]


def _differing(one: Run, other: Run) -> list[tuple[str, Any, Any]]:
    rows = []
    for mine, theirs in zip(_parts(one), _parts(other), strict=True):
        rows += [
            (key, mine.get(key), theirs.get(key))
            for key in sorted({*mine, *theirs})
            if mine.get(key) != theirs.get(key)
        ]
    return rows


def _parts(run: Run) -> list[Mapping[str, Any]]:
    """What is compared, part by part, each flat."""
    parts: list[Mapping[str, Any]] = [run.config]
    parts.append({key: seed for key, seed in run.part("seeds").items() if key not in run.config})
    for name in ("data", "versions", "hardware", "git"):
        # The folder of the images may differ from machine to machine: their fingerprint says if they do.
        parts.append(
            {f"{name}: {key}": value for key, value in run.part(name).items() if (name, key) != ("data", "root")}
        )
    return [*parts, {"precision": run.manifest.get("precision"), "state": run.state, "time": duration(run.seconds)}]


def _metrics(one: Run, other: Run) -> Sheet:
    names = sorted(name for name in {*one.metrics, *other.metrics} if name.count("/") == 1)
    rows = []
    for name in names:
        mine, theirs = one.metrics.get(name), other.metrics.get(name)
        cells = ["" if value is None else f"{value:.4g}" for value in (mine, theirs)]
        rows.append([name, *cells, "" if mine is None or theirs is None else f"{theirs - mine:+.4g}"])
    return Sheet("metrics", ["metric", "A", "B", "B minus A"], rows)


def _read(path: Path) -> Run:
    run = read_run(path) if (path / "status.json").is_file() else None
    if run is None:
        raise InputError(
            f"--diff {path}", expected="a run directory", got="none that can be read", fix="give two that training made"
        )
    return run


def _text(value: Any) -> str:
    return "" if value is None else text_of(value)
