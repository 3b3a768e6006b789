"""Write the tables of README.md and results/README.md from what is committed in ``results/``."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bloodcell.common.files import read_json, write_text
from bloodcell.evidence.pages import markdown_table
from bloodcell.studies.bench.speeds import bench_table
from bloodcell.studies.ladder.rows import RUNG_NAMES
from bloodcell.studies.ladder.trainings import CNN, PAPER
from bloodcell.studies.paper.argument import percent_interval
from bloodcell.studies.paper.stated import CLAIM

# Arms of results/crops that the README shows, under the names that it gives them.
CROPS = {
    "found": "small CNN on crops around found cells",
    "features": "logistic regression on 84 features of those crops",
    "Lite0 PBC first ensemble + features": "that averaged with three EfficientNet-Lite0, first trained on another "
    "laboratory's cells: the best of all arms",
}


def summary_table(results: Path) -> str:
    """Set the paper's claim beside ours: the rows at the top of the README.

    The paper tests 250 images of each class, so its accuracy is its balanced accuracy too.

    Args:
        results: Folder with ``paper``, ``ladder`` and ``crops``.

    Returns:
        Lines of Markdown: balanced accuracy on copies and on originals, with 95 % intervals over field groups.
    """
    ours = read_json(results / "paper" / "metrics.json")
    ladder = {(row["model"], row["rung"]): row for row in read_json(results / "ladder" / "ladder.json")["rows"]}
    rows = [
        ["the paper's claim", RUNG_NAMES["random"], f"{100 * CLAIM:.1f} %", ""],
        [
            "its net, reproduced here",
            RUNG_NAMES["random"],
            *(
                percent_interval(ours[f"{view}/balanced_acc"], ours["intervals"][f"{view}/balanced_acc"])
                for view in ("test", "original")
            ),
        ],
    ]
    for model, rung in ((PAPER, "grouped"), (CNN, "random"), (CNN, "grouped")):
        scores = [ladder[model, rung][view]["balanced_acc"] for view in ("twin", "original")]
        name = "its net, likewise" if model == PAPER else model
        rows.append([name, RUNG_NAMES[rung], *(percent_interval(one["mean"], one["interval"]) for one in scores)])
    arms = {row["arm"]: row["all"]["balanced_acc"] for row in read_json(results / "crops" / "crops.json")["rows"]}
    for arm, name in CROPS.items():
        shown = percent_interval(arms[arm]["value"], [arms[arm]["low"], arms[arm]["high"]])
        rows.append([name, RUNG_NAMES["grouped"], "", shown])
    return markdown_table(["net", "split", "tested on augmented copies", "tested on original photographs"], rows) + "\n"


def committed_table(results: Path) -> str:
    """Write the committed runs as a Markdown table.

    Args:
        results: Folder with one folder per experiment, each with ``metrics.json``.

    Returns:
        Lines of Markdown; a row per experiment, sorted by name, with 95 % intervals over field groups.
    """
    names = ("balanced_acc", "macro_f1", "acc")
    header = ["experiment", "protocol", "checkpoint", "tested on", "balanced accuracy", "macro-F1", "accuracy"]
    rows = []
    for path in sorted(results.glob("*/metrics.json")):
        record = json.loads(path.read_text(encoding="utf-8"))
        where = f"{record['checkpoint']}, epoch {record['epoch']}"
        for view, tested in (("test", "test images"), ("original", "originals")):
            if f"{view}/acc" in record:
                first = [f"[{path.parent.name}]({path.parent.name})", record["protocol"], where, tested]
                rows.append([*first, *(_score_cell(record, f"{view}/{name}") for name in names)])
    return f"{markdown_table(header, rows)}\n"


def _score_cell(record: dict[str, Any], name: str) -> str:
    ends = record.get("intervals", {}).get(name)
    return f"{record[name]:.3f}" + (f" ({ends[0]:.3f}-{ends[1]:.3f})" if ends else "")


def write_readme(readme: Path, results: Path) -> None:
    """Write the first rows into the README, and all other tables into that of ``results``."""
    tables = {"results": committed_table(results)}
    for name in ("finder", "crops"):
        tables[name] = (results / name / f"{name}.md").read_text(encoding="utf-8")
    if (results / "ladder" / "ladder.md").is_file():
        tables["ladder"] = (results / "ladder" / "ladder.md").read_text(encoding="utf-8")
    transfer = results / "transfer" / "transfer.md"
    tables["transfer"] = transfer.read_text(encoding="utf-8") if transfer.is_file() else "Not run yet.\n"
    if (results / "bench.json").is_file():
        tables["bench"] = bench_table(json.loads((results / "bench.json").read_text(encoding="utf-8")))
    _fill(readme, {"summary": summary_table(results)})
    _fill(results / "README.md", tables)


def _fill(page: Path, tables: Mapping[str, str]) -> None:
    """Put each table between its marks."""
    text = page.read_text(encoding="utf-8")
    for name, content in tables.items():
        begin, end = (f"<!-- {name}:{mark} -->" for mark in ("begin", "end"))
        head, rest = text.split(begin)
        text = f"{head}{begin}\n{content}{end}{rest.split(end)[1]}"
    write_text(page, text)
