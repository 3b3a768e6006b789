"""Two runs side by side: what differs, and whether the second reproduces the first."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bloodcell.common.console import duration
from bloodcell.common.errors import InputError, is_number
from bloodcell.tracking.reader import Run, read_run
from bloodcell.tracking.settings import text_of
from bloodcell.tracking.sheets import Sheet


def differences(first: Path, second: Path) -> list[Sheet]:
    """List what two runs differ in, and their metrics.

    Args:
        first: A run directory.
        second: Another.

    Returns:
        A table of what differs in config, seeds, data, versions, hardware and commit, and one of the metrics.

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
    if not (path / "status.json").is_file():
        raise InputError(
            f"--diff {path}", expected="a run directory", got="no status.json", fix="give two that training made"
        )
    return read_run(path)


def _text(value: Any) -> str:
    return "" if value is None else text_of(value)


# Other hardware or versions round otherwise, and training amplifies it: a difference up to this size in a
# share of images is what another seed gives as well.
TOLERANCE = 0.05


COMPARED = ("acc", "balanced_acc", "macro_f1", "macro_precision", "macro_recall")


def metrics_agreement(before: dict[str, Any], after: dict[str, Any]) -> tuple[str, list[tuple[str, float, float]]]:
    """Tell how well the metrics of two runs agree.

    Args:
        before: The first ``metrics.json``.
        after: The new one.

    Returns:
        ``identical`` if every number is, else ``within tolerance`` or ``different`` by the shares in ``COMPARED``;
        and (name, before, after) of each of those.
    """
    numbers = [name for name, value in before.items() if "/" in name and is_number(value)]
    missing = [name for name in numbers if not is_number(after.get(name))]
    shares = [name for name in numbers if name.partition("/")[2] in COMPARED and name not in missing]
    rows = [(name, float(before[name]), float(after[name])) for name in shares]
    if not missing and all(before[name] == after[name] for name in numbers):
        return "identical", rows
    widest = max((abs(one - two) for _, one, two in rows), default=float("inf"))
    return "within tolerance" if widest <= TOLERANCE and not missing else "different", rows


def reasons(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    """List what differs between two manifests and may explain other numbers."""
    found = []
    if before["data"]["fingerprint"] != after["data"]["fingerprint"]:
        found.append("other data (fingerprint)")
    if before["seeds"] != after["seeds"]:
        found.append(f"other seeds ({after['seeds']}, before {before['seeds']})")
    for name, version in before["versions"].items():
        if after["versions"].get(name) != version:
            found.append(f"{name} {after['versions'].get(name)}, before {version}")
    if before.get("precision", "32-true") != after.get("precision", "32-true"):
        found.append(f"precision {after.get('precision')}, before {before.get('precision', '32-true')}")
    for name in ("processor", "threads", "cpu_capability", "gpu"):
        if before["hardware"].get(name) != after["hardware"].get(name):
            found.append(f"{name} {after['hardware'].get(name)}, before {before['hardware'].get(name)}")
    if before["git"] != after["git"] or before["git"]["dirty"]:
        found.append(f"code {_code(after)}, before {_code(before)}")
    return found


def _code(manifest: dict[str, Any]) -> str:
    git = manifest["git"]
    return str(git["commit"])[:10] + (" with changes that were not committed" if git["dirty"] else "")
