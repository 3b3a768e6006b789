"""Runs as evidence to commit (``--save OUT``)."""

import statistics
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bloodcell.common.errors import InputError
from bloodcell.common.files import CSV_BYTES, below, write_bytes, write_json, write_text
from bloodcell.evidence.pages import markdown_table
from bloodcell.tracking.predictions import FILE, read_predictions, write_packed
from bloodcell.tracking.reader import Run

# Where a run measured several things, these are shown first.
SHOWN = ("test/balanced_acc", "test/macro_f1", "test/acc", "probe/trains", "probe/steps", "probe/loss")


def evidence_table(runs: Sequence[Run]) -> tuple[list[str], list[list[str]]]:
    """Make the table that is committed: for each setting what was typed differently, then each metric over the seeds.

    It is plainer than the table of the command, so that committed tables stay as they are.

    Args:
        runs: At least one.

    Returns:
        Header and rows; a metric of several seeds is ``mean (lowest to highest)``.
    """
    typed = {run.path: _without_paths(run.overrides) for run in runs}
    keys = [key for key in dict.fromkeys(key for words in typed.values() for key in words) if key != "seed"]
    varied = [key for key in keys if len({words.get(key) for words in typed.values()}) > 1]
    names = [name for name in SHOWN if any(name in run.metrics for run in runs)]
    groups: dict[tuple[str, ...], list[Run]] = defaultdict(list)
    for run in runs:
        groups[tuple(typed[run.path].get(key, "") for key in varied)].append(run)
    rows = []
    for setting, members in groups.items():
        done = [run for run in members if run.state == "ok"]
        cells = [_cell([run.metrics[name] for run in done if name in run.metrics]) for name in names]
        rows.append([*setting, f"{len(done)} of {len(members)}", *cells])
    return [*varied, "runs done", *names], rows


def save_evidence(runs: Sequence[Run], out: Path) -> None:
    """Write what is worth committing, without paths of this machine.

    One run: ``metrics.json``, ``manifest.json``, ``metrics.csv``, ``predictions.csv.gz`` and its figures. Several:
    ``table.md``, ``runs.json`` with overrides, metrics and manifest of each, and its predictions as
    ``predictions/NUMBER.csv.gz``, numbered from 0 in the order of ``runs.json``.

    Args:
        runs: At least one.
        out: Folder to write into; made if missing.
    """
    if (out / "status.json").exists():
        raise InputError(str(out), expected="a folder for evidence", got="a run", fix="give another place")
    if len(runs) == 1:
        run = runs[0]
        write_json(out / "metrics.json", run.record)
        write_json(out / "manifest.json", portable(run.manifest))
        _copy(run.path, "metrics.csv", out)
        if (run.path / FILE).is_file():
            write_packed(out / f"{FILE}.gz", read_predictions(run.path))
        from bloodcell.evidence.figures import save  # Matplotlib: the other commands that know this file do without
        from bloodcell.tracking.redraw import drawn_again

        for name, figure in drawn_again(run).items():
            if name in ("confusion_matrix", "loss", "accuracy"):
                save(figure, out / f"{name}.png")
        return
    header, rows = evidence_table(runs)
    said = "An empty setting is the experiment's own; a metric of several seeds is mean (lowest to highest).\n\n"
    write_text(out / "table.md", f"{said}{markdown_table(header, rows)}\n")
    write_json(out / "runs.json", {"runs": [evidence_of(run) for run in runs]})
    for number, run in enumerate(runs):
        if (run.path / FILE).is_file():
            write_packed(out / "predictions" / f"{number:02d}.csv.gz", read_predictions(run.path))


def _copy(run_dir: Path, name: str, out: Path) -> None:
    """Copy a file of a run, which may be anybody's, if it is there; no link leads out of the run."""
    path = below(run_dir, name)
    if not path.is_file():
        return
    if path.stat().st_size > CSV_BYTES:
        got = f"{path.stat().st_size:,} bytes"
        raise InputError(str(path), expected=f"at most {CSV_BYTES:,} bytes", got=got, fix="remove the file")
    write_bytes(out / path.name, path.read_bytes())


def evidence_of(run: Run) -> dict[str, Any]:
    """Return what is committed of one run among several: overrides, state, metrics, the weights' hash, manifest."""
    return {
        "overrides": _without_paths(run.overrides),
        "state": run.state,
        "metrics": run.metrics,
        **{key: run.record[key] for key in ("weights",) if run.record.get(key)},  # none where nothing was reported
        "manifest": portable(run.manifest),
    }


def _without_paths(overrides: Mapping[str, str]) -> dict[str, str]:
    """Leave out what names a place on this machine."""
    return {key: word for key, word in overrides.items() if not word.startswith(("/", "'/"))}


def _cell(values: Sequence[float]) -> str:
    if not values:
        return ""
    mean = f"{statistics.fmean(values):.4g}"
    return mean if len(set(values)) == 1 else f"{mean} ({min(values):.4g} to {max(values):.4g})"


def portable(manifest: dict[str, Any]) -> dict[str, Any]:
    """Leave out of a manifest the folders of the machine it was written on."""
    data, command = manifest.get("data"), manifest.get("command")
    kept = dict(manifest)
    if isinstance(data, dict):
        kept["data"] = {key: value for key, value in data.items() if key != "root"}
    if isinstance(command, list):
        words = [word for word in map(str, command) if "=/" not in word and "='/" not in word]
        kept["command"] = [Path(word).name if word.startswith("/") else word for word in words]
    return kept
