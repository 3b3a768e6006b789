"""Runs as evidence to commit (``--save OUT``), and the README's tables from what is committed (``--readme``)."""

import json
import shutil
import statistics
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bloodcell.bench.table import markdown
from bloodcell.files import write_json, write_text
from bloodcell.runs.reader import Run

# Where a run measured several things, these are shown first.
SHOWN = ("test/balanced_acc", "test/macro_f1", "test/acc", "probe/trains", "probe/steps", "probe/loss")

ROOT = Path(__file__).parent.parent.parent


def evidence_table(runs: Sequence[Run]) -> tuple[list[str], list[list[str]]]:
    """The table that is committed, one row per setting: what was typed differently, then each metric over the seeds.

    It is plainer than the table of the command, so that committed ones stay as they are.

    Args:
        runs: At least one.

    Returns:
        Header and rows; a metric of several seeds is ``mean (lowest to highest)``.
    """
    keys = [key for key in dict.fromkeys(key for run in runs for key in run.overrides) if key != "seed"]
    varied = [key for key in keys if len({run.overrides.get(key) for run in runs}) > 1]
    names = [name for name in SHOWN if any(name in run.metrics for run in runs)]
    groups: dict[tuple[str, ...], list[Run]] = defaultdict(list)
    for run in runs:
        groups[tuple(run.overrides.get(key, "") for key in varied)].append(run)
    rows = []
    for setting, members in groups.items():
        done = [run for run in members if run.state == "ok"]
        cells = [_cell([run.metrics[name] for run in done if name in run.metrics]) for name in names]
        rows.append([*setting, f"{len(done)} of {len(members)}", *cells])
    return [*varied, "runs done", *names], rows


def save(runs: Sequence[Run], out: Path) -> None:
    """Write what is worth committing, without paths of this machine.

    One run: ``metrics.json``, ``manifest.json``, ``metrics.csv`` and its figures. Several: ``table.md`` and
    ``runs.json`` with overrides, metrics and manifest of each.

    Args:
        runs: At least one.
        out: Folder to write into; made if missing.
    """
    if len(runs) == 1:
        run = runs[0]
        write_json(out / "metrics.json", run.record)
        write_json(out / "manifest.json", _portable(run.manifest))
        shutil.copyfile(run.path / "metrics.csv", out / "metrics.csv")
        for name in ("confusion_matrix", "loss", "accuracy"):
            if (run.path / "figures" / f"{name}.png").is_file():
                shutil.copyfile(run.path / "figures" / f"{name}.png", out / f"{name}.png")
        return
    header, rows = evidence_table(runs)
    lines = [header, ["---"] * len(header), *rows]
    said = "An empty setting is the experiment's own; a metric of several seeds is mean (lowest to highest).\n\n"
    write_text(out / "table.md", said + "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n")
    content = [
        {
            "overrides": {key: word for key, word in run.overrides.items() if not word.startswith(("/", "'/"))},
            "state": run.state,
            "metrics": run.metrics,
            "manifest": _portable(run.manifest),
        }
        for run in runs
    ]
    write_json(out / "runs.json", {"runs": content})


def committed_table(results: Path) -> str:
    """The committed runs as a Markdown table: what the README shows.

    Args:
        results: Folder with one folder per experiment, each with ``metrics.json``.

    Returns:
        Lines of Markdown; a row per experiment, sorted by name, with 95 % intervals over field groups.
    """
    names = ("balanced_acc", "macro_f1", "acc")
    header = ["experiment", "protocol", "checkpoint", "tested on", "balanced accuracy", "macro-F1", "accuracy"]
    lines = [header, ["---"] * len(header)]
    for path in sorted(results.glob("*/metrics.json")):
        record = json.loads(path.read_text(encoding="utf-8"))
        where = f"{record['checkpoint']}, epoch {record['epoch']}"
        for view, tested in (("test", "test images"), ("original", "originals")):
            if f"{view}/acc" in record:
                first = [f"[{path.parent.name}](results/{path.parent.name})", record["protocol"], where, tested]
                lines.append([*first, *(_with_interval(record, f"{view}/{name}") for name in names)])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def _with_interval(record: dict[str, Any], name: str) -> str:
    ends = record.get("intervals", {}).get(name)
    return f"{record[name]:.3f}" + (f" ({ends[0]:.3f}-{ends[1]:.3f})" if ends else "")


def write_readme(readme: Path, results: Path) -> None:
    """Put the tables of committed runs, of the ladder and of the bench between their marks in the README."""
    text = readme.read_text(encoding="utf-8")
    tables = {"results": committed_table(results)}
    if (results / "ladder" / "ladder.md").is_file():
        tables["ladder"] = (results / "ladder" / "ladder.md").read_text(encoding="utf-8")
    if (results / "bench.json").is_file():
        tables["bench"] = markdown(json.loads((results / "bench.json").read_text(encoding="utf-8")))
    for name, content in tables.items():
        begin, end = (f"<!-- {name}:{mark} -->" for mark in ("begin", "end"))
        head, rest = text.split(begin)
        text = f"{head}{begin}\n{content}{end}{rest.split(end)[1]}"
    write_text(readme, text)


def _cell(values: Sequence[float]) -> str:
    if not values:
        return ""
    mean = f"{statistics.fmean(values):.4g}"
    return mean if len(set(values)) == 1 else f"{mean} ({min(values):.4g} to {max(values):.4g})"


def _portable(manifest: dict[str, Any]) -> dict[str, Any]:
    """A manifest without the folders of the machine it was written on."""
    kept = {**manifest, "data": {key: value for key, value in manifest["data"].items() if key != "root"}}
    kept["command"] = [word for word in manifest["command"] if "=/" not in word and "='/" not in word]
    return kept
