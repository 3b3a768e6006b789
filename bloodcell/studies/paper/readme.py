"""TODO studies/paper/readme.py."""

import json
from pathlib import Path
from typing import Any

from bloodcell.common.files import write_text
from bloodcell.studies.bench.table import markdown


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
