"""The rows of the ladder: from predictions to means with intervals, and the table of them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from bloodcell.evidence.intervals import confusion_scores, group_confusions, summary_intervals
from bloodcell.evidence.pages import markdown_table
from bloodcell.studies.ladder.trainings import Training
from bloodcell.tracking.predictions import Predictions, joined_predictions, read_predictions

RUNG_NAMES = {
    "random": "random images (the paper)",
    "official": "published TRAIN/TEST",
    "official_strict": "TRAIN without TEST's fields",
    "grouped": "grouped by field, 5 folds",
}


class Tested(NamedTuple):
    """What one model said of one view of its test photographs.

    Attributes:
        model: The net, or the control.
        rung: The protocol.
        seed: Seed of the training.
        view: ``twin`` (held-out copies) or ``original``.
        predictions: Its predictions; of one fold where there are several.
    """

    model: str
    rung: str
    seed: int
    view: str
    predictions: Predictions


def read_tested(training: Training, run_dir: Path) -> list[Tested]:
    """Read what a training predicted, a table for each view."""
    found = read_predictions(run_dir)
    return [
        Tested(training.model, training.rung, training.seed, view, found.of_view(view)) for view in ("twin", "original")
    ]


def ladder_rows(tested: Sequence[Tested]) -> list[dict[str, Any]]:
    """Score each model under each protocol.

    Args:
        tested: All predictions, in the order that rows are wanted in.

    Returns:
        A row for ``ladder.json`` per model and protocol: for each view the mean over seeds with its interval.
    """
    rows = []
    for model, rung in dict.fromkeys((one.model, one.rung) for one in tested):
        these = [one for one in tested if (one.model, one.rung) == (model, rung)]
        views = {view: [one for one in these if one.view == view] for view in dict.fromkeys(one.view for one in these)}
        rows.append({"model": model, "rung": rung, **{view: _scores(held) for view, held in views.items()}})
    return rows


def _scores(tested: Sequence[Tested]) -> dict[str, Any]:
    """The mean over seeds; pooled predictions have just this mean, so its interval is theirs."""
    seeds = [
        joined_predictions([one.predictions for one in tested if one.seed == seed])
        for seed in dict.fromkeys(one.seed for one in tested)
    ]
    first, pooled = seeds[0], joined_predictions(seeds)
    classes = len(first.classes)
    found = summary_intervals(pooled.correct, pooled.predicted, pooled.group, classes)
    confusions = (group_confusions(one.correct, one.predicted, one.group, classes).sum(axis=0) for one in seeds)
    each = [confusion_scores(confusion) for confusion in confusions]
    return {
        "images": len(first),
        "groups": found["acc"].groups,
        "majority": float(np.bincount(first.correct).max() / len(first)),
        **{
            name: {
                "mean": float(np.mean([one[name] for one in each])),
                "interval": [found[name].low, found[name].high],
                "seeds": [float(one[name]) for one in each],
            }
            for name in ("balanced_acc", "macro_f1", "acc")
        },
    }


def ladder_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Write the ladder as a Markdown table: balanced accuracy, its interval, and the seeds.

    Args:
        rows: Of ``ladder.json``.

    Returns:
        What it shows in words, and the table.
    """
    header = ["model", "split", "on held-out copies", "on originals", "majority class (copies / originals)"]
    cells = []
    for row in rows:
        shown = [_mean_cell(row[view]["balanced_acc"]) for view in ("twin", "original")]
        majority = f"{row['twin']['majority']:.3f} / {row['original']['majority']:.3f}"
        cells.append([row["model"], RUNG_NAMES[row["rung"]], *shown, majority])
    said = (
        "Balanced accuracy (chance 0.250): mean over seeds, 95 % interval over field groups, lowest and highest seed. "
        "The last column is the accuracy of always predicting the majority class.\n\n"
    )
    return f"{said}{markdown_table(header, cells)}\n"


def _mean_cell(one: Mapping[str, Any]) -> str:
    seeds = f"; seeds {min(one['seeds']):.3f} to {max(one['seeds']):.3f}" if len(one["seeds"]) > 1 else ""
    return f"{one['mean']:.3f} ({one['interval'][0]:.3f}-{one['interval'][1]:.3f}{seeds})"
