"""The rows of the ladder: from predictions to means with intervals, and the table of them."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from bloodcell.evidence.pages import markdown_table
from bloodcell.studies.ladder.trainings import MASKS, Sweep
from bloodcell.tracking.cross_validations import repeated_scores
from bloodcell.tracking.predictions import LEFT_OUT, Predictions, joined_predictions, read_predictions
from bloodcell.tracking.reader import Run

RUNG_NAMES = {
    "random": "random images (the paper)",
    "official": "published TRAIN/TEST",
    "official_strict": "TRAIN without TEST's fields",
    "grouped": "grouped by field, 5 folds",
    "blocked": "by blocks of consecutive photographs, 5 folds",
}

VIEWS = ("twin", "original", LEFT_OUT)
# The steps from the random split to whole fields, and what each is called in words.
DROPS = {
    "fewer photographs": "fewer photographs to learn from, with more copies of each",
    "leak": "the leak: fields that were not seen, instead of copies of seen ones",
    "originals": "photographs instead of copies of them",
}


class Tested(NamedTuple):
    """What one model said of one view of its test photographs.

    Attributes:
        model: The net, or the control.
        rung: The protocol.
        seed: Seed of the training.
        view: ``twin`` (held-out copies), ``original``, or ``left_out`` (copies of photographs that were learnt).
        predictions: Its predictions; of one fold where there are several.
    """

    model: str
    rung: str
    seed: int
    view: str
    predictions: Predictions


def read_tested(sweep: Sweep, run: Run) -> list[Tested]:
    """Read what a training predicted, a table for each view."""
    found, seed = read_predictions(run.path), int(str(run.config["seed"]))
    views = [view for view in VIEWS if view in found.view]
    return [Tested(sweep.model, sweep.rung, seed, view, found.of_view(view)) for view in views]


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
    """The mean over seeds with its interval."""
    seeds = [
        joined_predictions([one.predictions for one in tested if one.seed == seed])
        for seed in dict.fromkeys(one.seed for one in tested)
    ]
    first, scores = seeds[0], repeated_scores(seeds)
    return {
        "images": len(first),
        "groups": scores["acc"].groups,
        "majority": float(np.bincount(first.correct).max() / len(first)),
        **{
            name: {"mean": one.value, "interval": [one.low, one.high], "seeds": list(one.repeats)}
            for name, one in scores.items()
        },
    }


def drop(rows: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, dict[str, float]]]:
    """Take the way from the random split to whole fields apart, for each net that was trained under both.

    In the order of the way: ``fewer photographs`` is what is lost from all photographs to those of four folds, on other
    copies of what was learnt; ``leak`` is what the same weights lose from those copies to copies of fields that they
    have not seen; ``originals`` is what is lost from these copies to the photographs that they were made of.

    Args:
        rows: Of :func:`ladder_rows`.

    Returns:
        For each net, for these three and for ``all``, their sum: the difference of balanced accuracies ``value`` and
        its 95 % interval ``low`` to ``high``, squared and added from those of both (Newcombe 1998): both are of the
        same photographs in part, so it rather is too wide.
    """
    found = {}
    for model in dict.fromkeys(str(row["model"]) for row in rows if row["model"] not in MASKS):
        of = {row["rung"]: row for row in rows if row["model"] == model}
        if "random" not in of or LEFT_OUT not in of.get("grouped", {}):
            continue
        grouped = of["grouped"]
        way = [of["random"]["twin"], grouped[LEFT_OUT], grouped["twin"], grouped["original"]]
        scores = [view["balanced_acc"] for view in way]
        parts = {name: difference(*scores[step : step + 2]) for step, name in enumerate(DROPS)}
        found[model] = parts | {"all": difference(scores[0], scores[-1])}
    return found


def difference(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, float]:
    """The difference of two means with intervals."""
    (low, high), (other_low, other_high) = one["interval"], other["interval"]
    value = one["mean"] - other["mean"]
    return {
        "value": value,
        "low": value - float(np.hypot(one["mean"] - low, other_high - other["mean"])),
        "high": value + float(np.hypot(high - one["mean"], other["mean"] - other_low)),
    }


def ladder_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Write the ladder as a Markdown table: balanced accuracy, its interval, and the seeds.

    Args:
        rows: Of ``ladder.json``.

    Returns:
        What it shows in words, and the table.
    """
    learnt = [LEFT_OUT] if any(LEFT_OUT in row for row in rows) else []
    names = ["on held-out copies", "on originals", *("on other copies of learnt photographs" for _ in learnt)]
    header = ["model", "split", *names, "majority class (copies / originals)"]
    cells = []
    for row in rows:
        views = ("twin", "original", *learnt)
        shown = [mean_cell(row[view]["balanced_acc"]) if view in row else "" for view in views]
        majority = f"{row['twin']['majority']:.3f} / {row['original']['majority']:.3f}"
        cells.append([row["model"], RUNG_NAMES[row["rung"]], *shown, majority])
    said = (
        "Balanced accuracy (chance 0.250): mean over seeds, 95 % interval over field groups, lowest and highest seed. "
        "The last column is the accuracy of always predicting the majority class.\n\n"
    )
    return f"{said}{markdown_table(header, cells)}\n"


def drop_table(drops: Mapping[str, Mapping[str, Mapping[str, float]]]) -> str:
    """Write :func:`drop` as a Markdown table, in points of balanced accuracy."""
    header = ["from the random split to photographs of other fields", *drops]
    steps = {**DROPS, "all": "all"}
    cells = [[words, *(points(of[step]) for of in drops.values())] for step, words in steps.items()]
    return f"{markdown_table(header, cells)}\n"


def points(one: Mapping[str, float]) -> str:
    """Write a difference with its interval in points."""
    return f"{100 * one['value']:+.1f} ({100 * one['low']:+.1f} to {100 * one['high']:+.1f})"


def mean_cell(one: Mapping[str, Any]) -> str:
    """Write a mean with its interval and the lowest and highest seed."""
    seeds = f"; seeds {min(one['seeds']):.3f} to {max(one['seeds']):.3f}" if len(one["seeds"]) > 1 else ""
    return f"{one['mean']:.3f} ({one['interval'][0]:.3f}-{one['interval'][1]:.3f}{seeds})"
