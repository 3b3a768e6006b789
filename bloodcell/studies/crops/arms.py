"""The arms side by side: whole field, annotated and found crops, features, and what their average gives."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bloodcell.common.errors import InputError
from bloodcell.common.files import read_json, write_json, write_text
from bloodcell.data.lineage_table import read_lineage
from bloodcell.evidence.comparison import group_permutation
from bloodcell.evidence.intervals import recall_intervals, summary_intervals
from bloodcell.evidence.pages import markdown_table
from bloodcell.studies.crops.finding import is_uncut
from bloodcell.tracking.manifest import manifest
from bloodcell.tracking.predictions import Predictions, read_folds, write_packed
from bloodcell.tracking.save import portable

PARTS = {"all": "all", "whole": "whole cells", "cut": "cut cells"}


def write_arms(named: Mapping[str, Path], averaged: Sequence[str], features: Predictions | None, out: Path) -> None:
    """Write the table of arms, and the out-of-fold predictions of each.

    Args:
        named: A folder with the five runs of one cross-validation for each arm, by the arm's name.
        averaged: Arms whose probabilities are averaged with those of the features, each a further arm.
        features: What the baseline predicts; ``None`` to leave it out.
        out: Folder for ``crops.json``, ``crops.md``, the manifests and the predictions.

    Raises:
        InputError: If an arm's runs did not test the same photographs as the first arm's.
    """
    arms = {name: _ordered(read_folds(folder)) for name, folder in named.items()}
    if features is not None:
        arms["features"] = _ordered(features)
        arms |= {f"{name} + features": _average(arms[name], arms["features"]) for name in averaged}
    first = next(iter(arms.values()))
    for name, table in arms.items():
        if table.file.tolist() != first.file.tolist():
            raise InputError(
                name, expected=f"the {len(first)} photographs of the first arm", got="others", fix="give all five folds"
            )
    content = scored_arms(arms)
    write_json(out / "crops.json", content)
    write_json(out / "manifest.json", portable(manifest({}, {})))
    write_text(out / "crops.md", arms_table(content["rows"], content["against_the_first"], first.classes))
    for name, table in arms.items():
        write_packed(out / f"{file_of(name)}.csv.gz", table)
    for name, folder in named.items():
        found = sorted(path for path in folder.rglob("manifest.json") if "evaluations" not in path.parts)
        write_json(out / f"{file_of(name)}.json", {path.parent.name: portable(read_json(path)) for path in found})


def scored_arms(arms: Mapping[str, Predictions]) -> dict[str, Any]:
    """Compute ``crops.json``: the scores of each arm, and each against the first.

    Args:
        arms: Predictions of the same photographs in the same order, by the arm's name.
    """
    (first_name, first), *others = arms.items()
    return {
        "classes": list(first.classes),
        "rows": [_row(name, table) for name, table in arms.items()],
        "against_the_first": [_pair(name, table, first_name, first) for name, table in others],
    }


def arms_table(rows: Sequence[Mapping[str, Any]], pairs: Sequence[Mapping[str, Any]], classes: Sequence[str]) -> str:
    """Write the arms as Markdown.

    Args:
        rows: Of ``crops.json``.
        pairs: Likewise, ``against_the_first``.
        classes: Likewise.
    """
    header = ["arm", "photographs", "balanced accuracy", "accuracy", *(f"recall {name}" for name in classes)]
    cells = []
    for row in rows:
        for part, words in PARTS.items():
            one = row[part]
            recalls = [_share(recall) if recall else "" for recall in one["recall"]]
            shown = [_share(one["balanced_acc"]), _share(one["acc"])]
            cells.append([row["arm"] if part == "all" else "", f"{words} ({one['photographs']})", *shown, *recalls])
    said = (
        "Each photograph is predicted once, by a net (or model) that has seen nothing of its field group: five folds, "
        "one seed. In brackets: 95 % intervals over field groups; they "
        "leave out what another seed would change. A cell is cut if the annotator's box comes within two pixels of "
        "the frame.\n\n"
    )
    against = [f"* {one['arm']}: {one['difference']:+.3f} (p {_p(one['p'])})" for one in pairs]
    tail = (
        f"\n\nBalanced accuracy less that of {rows[0]['arm']}, paired over field groups, not corrected for number:\n\n"
    )
    return f"{said}{markdown_table(header, cells)}{tail}" + "\n".join(against) + "\n"


def _row(name: str, table: Predictions) -> dict[str, Any]:
    micrographs = read_lineage().micrographs
    whole = np.array([is_uncut(micrographs[number]) for number in table.photograph.tolist()])
    known = np.array([not np.isnan(micrographs[number].cell_x) for number in table.photograph.tolist()])
    parts = {"all": np.ones(len(table), bool), "whole": known & whole, "cut": known & ~whole}
    return {"arm": name, **{part: _scores(table.take(np.flatnonzero(rows))) for part, rows in parts.items()}}


def _scores(table: Predictions) -> dict[str, Any]:
    classes = len(table.classes)
    means = summary_intervals(table.correct, table.predicted, table.group, classes)
    recalls = recall_intervals(table.correct, table.predicted, table.group, classes)
    return {
        "photographs": len(table),
        **{name: means[name]._asdict() for name in ("balanced_acc", "macro_f1", "acc")},
        "recall": [one._asdict() if one else None for one in recalls],
        "confusion": [
            np.bincount(table.predicted[table.correct == k], minlength=classes).tolist() for k in range(classes)
        ],
    }


def _pair(name: str, table: Predictions, other: str, first: Predictions) -> dict[str, Any]:
    found = group_permutation(
        table.correct, table.predicted, first.predicted, table.group, len(table.classes), statistic="balanced_acc"
    )
    return {"arm": name, "against": other, "difference": found.difference, "p": found.p}


def _ordered(table: Predictions) -> Predictions:
    return table.take(np.argsort(table.file))


def _average(one: Predictions, other: Predictions) -> Predictions:
    probabilities = (one.probabilities + other.probabilities) / 2
    texts = (one.file, one.view, one.photograph, one.group, one.correct)
    return Predictions(one.classes, *texts, probabilities.argmax(axis=1), probabilities)


def _p(p: float) -> str:
    return f"= {p:.3f}" if p >= 0.001 else "< 0.001"


def file_of(arm: str) -> str:
    """Name the files of an arm."""
    return arm.replace(" + ", "_and_").replace(" ", "_")


def _share(one: Mapping[str, float]) -> str:
    return f"{one['value']:.3f} ({one['low']:.3f}-{one['high']:.3f})"
