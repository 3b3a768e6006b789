"""From predictions to the rows of ``transfer.json``, and the table of them. No row averages over directions."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from bloodcell.evidence.calibration import apply_temperature, probability_scores
from bloodcell.evidence.intervals import recall_intervals
from bloodcell.evidence.pages import markdown_table
from bloodcell.tracking.cross_validations import repeated_scores
from bloodcell.tracking.predictions import Predictions, joined_predictions


class Crossing(NamedTuple):
    """What the net of one training says of one target, having looked at some of it.

    Attributes:
        source: Sets that were learnt from.
        target: Set that was tested.
        stain: How the colours were treated.
        looked_at: What of the target was looked at before.
        seed: Of the training.
        temperatures: Of each fold, that make the probabilities calibrated.
        labelled: The fewest labelled cells of each class.
        predictions: A row a cell; the ``view`` is the fold.
    """

    source: str
    target: str
    stain: str
    looked_at: str
    seed: int
    temperatures: Sequence[float]
    labelled: Mapping[str, int]
    predictions: Predictions

    @property
    def calibrated(self) -> Any:
        """The probabilities, each fold at its temperature; float64, shape (N, classes)."""
        found = self.predictions.probabilities.copy()
        for fold, temperature in enumerate(self.temperatures):
            rows = self.predictions.view == f"fold {fold}"
            found[rows] = apply_temperature(found[rows], temperature)
        return found


def transfer_rows(tested: Sequence[Crossing]) -> list[dict[str, Any]]:
    """Score each source on each target, for each way of colours and each look at the target.

    Args:
        tested: All predictions, in the order that rows are wanted in.

    Returns:
        The rows for ``transfer.json``: means over seeds with 95 % intervals over groups.
    """
    rows = []
    for key in dict.fromkeys(one[:4] for one in tested):
        these = [one for one in tested if one[:4] == key]
        rows.append({**dict(zip(Crossing._fields, key, strict=False)), **_scores(these)})
    return rows


def _scores(these: Sequence[Crossing]) -> dict[str, Any]:
    first, pooled = these[0].predictions, joined_predictions([one.predictions for one in these])
    recalls = recall_intervals(pooled.correct, pooled.predicted, pooled.group, len(first.classes))
    before = [probability_scores(first.correct, one.predictions.probabilities) for one in these]
    after = [probability_scores(first.correct, one.calibrated) for one in these]
    return {
        "labelled": dict(these[0].labelled),
        "images": len(first),
        **{
            name: {"mean": one.value, "interval": [one.low, one.high], "seeds": list(one.repeats)}
            for name, one in repeated_scores([one.predictions for one in these]).items()
        },
        "recall": {name: list(one[:3]) for name, one in zip(first.classes, recalls, strict=True) if one is not None},
        "calibration": {
            name: {"as it is": _mean(before, name), "recalibrated": _mean(after, name)} for name in ("log_loss", "ece")
        },
    }


def _mean(scores: Sequence[Mapping[str, float]], name: str) -> float:
    return float(np.mean([one[name] for one in scores]))


def transfer_table(content: Mapping[str, Any]) -> str:
    """Write the rows as Markdown, a table for each source and target.

    Args:
        content: Of ``transfer.json``.

    Returns:
        What was done in words, and the tables.
    """
    said = [
        "Balanced accuracy over the shared classes "
        f"({', '.join(content['classes'])}; chance {1 / len(content['classes']):.3f}): mean over seeds, 95 % interval "
        "over groups, lowest and highest seed. What is looked at of the target before is never in the fold that is "
        "tested. Calibration: log loss and calibration error as the net is, and recalibrated by one temperature from "
        "labelled cells of the other folds."
    ]
    for name, one in content["sets"].items():
        said.append(
            f"* {name}: {one['cells']:,} cells ({', '.join(f'{k} {n}' for k, n in one['classes'].items())}) of "
            f"{one['groups']:,} groups; a red cell is {one['red_cell']:.0f} pixels wide."
        )
    tables = []
    for source, target in dict.fromkeys((row["source"], row["target"]) for row in content["rows"]):
        these = [row for row in content["rows"] if (row["source"], row["target"]) == (source, target)]
        tables.append(f"**{source} to {target}**\n\n{_table(these, content['classes'])}")
    return "\n".join([said[0], "", *said[1:]]) + "\n\n" + "\n\n".join(tables) + "\n"


def _table(rows: Sequence[Mapping[str, Any]], classes: Sequence[str]) -> str:
    header = ["colours", "looked at of the target", "balanced accuracy", *(f"recall {name}" for name in classes)]
    cells = []
    for row in rows:
        score = row["balanced_acc"]
        shown = f"{score['mean']:.3f} ({score['interval'][0]:.3f}-{score['interval'][1]:.3f})"
        if len(score["seeds"]) > 1:
            shown += f"; seeds {min(score['seeds']):.3f} to {max(score['seeds']):.3f}"
        recalls = [f"{row['recall'][name][0]:.3f}" if name in row["recall"] else "" for name in classes]
        calibration = [f"{one['as it is']:.2f} / {one['recalibrated']:.2f}" for one in row["calibration"].values()]
        cells.append([row["stain"], _looked_at(row), shown, *recalls, *calibration])
    return markdown_table([*header, "log loss", "ECE"], cells, numbers_from=3)


def _looked_at(row: Mapping[str, Any]) -> str:
    """What was looked at; with the classes that have fewer cells than that."""
    asked = next((int(word) for word in str(row["looked_at"]).split() if word.isdigit()), 0)
    fewer = {name: number for name, number in row["labelled"].items() if number < asked}
    short = ", ".join(f"{name} {number}" for name, number in fewer.items())
    return f"{row['looked_at']} ({short})" if fewer else str(row["looked_at"])
