"""The argument in a few sentences, each from one committed file: the abstract, the readings, and Keras."""

import statistics
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from bloodcell.common.console import counted
from bloodcell.studies.ladder.rows import RUNG_NAMES
from bloodcell.studies.ladder.trainings import PAPER, WIDE, Sweep

Row = Mapping[str, Any]
EPOCHS = 50  # of the paper


def percent(share: float) -> str:
    """Write a share in per cent."""
    return f"{100 * share:.1f} %"


def percent_interval(share: float, ends: Sequence[float]) -> str:
    """Write a share in per cent, with its interval."""
    return f"{percent(share)} ({100 * ends[0]:.1f}-{100 * ends[1]:.1f})"


def abstract(
    stated: Mapping[str, float], claim: float, ours: Row, ladder: Row, trainings: Sequence[Row], crops: Row
) -> list[str]:
    """Write what the report says in five sentences, each with the file that it can be checked in.

    Args:
        stated: Scores of the paper's matrix.
        claim: The accuracy that the paper claims.
        ours: ``paper/metrics.json``.
        ladder: ``ladder/ladder.json``, with the paper's net.
        trainings: Of ``ladder/trainings.json``.
        crops: ``crops/crops.json``.
    """
    rows = {(row["model"], row["rung"]): row for row in ladder["rows"]}
    parts = ladder["drop"][PAPER]
    best = max(crops["rows"], key=lambda row: row["all"]["balanced_acc"]["value"])
    score, mistakes = best["all"]["balanced_acc"], _confused(best["all"]["confusion"])
    leaks = ours["warning"].partition("leaks: ")[2]
    return [
        f"A 2024 paper reports {percent(claim)} for four kinds of white blood cells; the confusion matrix that it "
        f"states in words gives {percent(stated['acc'])} (`bloodcell/studies/paper/stated.py`).",
        f"Its recipe, as we read it, reaches a balanced accuracy of "
        f"{_interval_of(ours, 'test/balanced_acc')} on a random split, where {leaks} "
        "([paper/metrics.json](paper/metrics.json)).",
        f"The same net, trained on {ladder['train_images']:,} images under either split with "
        f"{len(ladder['seeds'])} seeds, reaches {_mean_of(rows[PAPER, 'random'], 'twin')} on copies held out at "
        f"random, and {_mean_of(rows[PAPER, 'grouped'], 'original')} on photographs of fields that were held out "
        f"whole{_stuck(trainings)} ([ladder/ladder.json](ladder/ladder.json)).",
        f"Of the {100 * parts['all']['value']:.1f} points between the two, {_points(parts['leak'])} are the leak, the "
        f"difference between copies of learnt and of unseen fields with the same weights, and "
        f"{_points(parts['fewer photographs'])} come of fewer photographs to learn from (the same file).",
        f"The best of {len(crops['rows'])} arms on photographs of unseen fields, with crops around cells, reaches "
        f"{percent_interval(score['value'], [score['low'], score['high']])}; {mistakes} "
        "([crops/crops.json](crops/crops.json)).",
    ]


def _stuck(trainings: Sequence[Row]) -> str:
    """How many trainings of the paper's net by field ended where they began, one class for every image."""
    of = [one["metrics"]["test/balanced_acc"] for one in trainings if one["sweep"] == Sweep(PAPER, "grouped", ()).name]
    stuck = sum(score <= 0.25 for score in of)
    return f"; {stuck} of the {len(of)} trainings never left the loss of guessing, and counts" if stuck else ""


def _confused(confusion: Sequence[Sequence[float]]) -> str:
    """How many of the mistakes are eosinophil against neutrophil, the first and the last class."""
    wrong = sum(count for k, row in enumerate(confusion) for j, count in enumerate(row) if j != k)
    share = (confusion[0][3] + confusion[3][0]) / max(wrong, 1)
    return f"{percent(share)} of its mistakes are eosinophil against neutrophil"


def _interval_of(record: Row, name: str) -> str:
    return percent_interval(record[name], record["intervals"][name])


def _mean_of(row: Row, view: str) -> str:
    return percent_interval(row[view]["balanced_acc"]["mean"], row[view]["balanced_acc"]["interval"])


def _points(one: Mapping[str, float]) -> str:
    return f"{100 * one['value']:.1f} ({100 * one['low']:.1f} to {100 * one['high']:.1f})"


def readings_text(runs: Sequence[Row]) -> str:
    """Say which readings of the recipe train, from ``readings/runs.json``; a reading trains if all its seeds do."""
    found: dict[str, list[float]] = defaultdict(list)
    scaled: dict[str, bool] = {}
    for run in runs:
        setting = {key: word for key, word in run["overrides"].items() if key not in ("seed", "sweep", "trainer")}
        name = " ".join(f"{key}={word}" for key, word in setting.items())
        scaled[name] = setting["experiment"] != "paper_literal"
        found[name].append(run["metrics"]["probe/trains"])
    kinds = {
        "with inputs in [0, 1], as the paper says": [name for name in found if not scaled[name]],
        "with inputs that are centred and scaled": [name for name in found if scaled[name]],
    }
    seeds = {len(trains) for trains in found.values()}
    lines = [
        f"* {words.capitalize()}, {len(names)} readings were tried, and {_trained(found, names)} runs train. Of the "
        f"readings, {sum(all(found[name]) for name in names)} train in every seed, "
        f"{sum(any(found[name]) and not all(found[name]) for name in names)} in some, "
        f"{sum(not any(found[name]) for name in names)} in none."
        for words, names in kinds.items()
    ]
    said = f"{min(seeds)}" if len(seeds) == 1 else f"{min(seeds)} to {max(seeds)}"
    return "\n".join([*lines, f"* Each was run with {said} seeds."])


def _trained(found: Mapping[str, Sequence[float]], names: Sequence[str]) -> str:
    trains = [one for name in names for one in found[name]]
    return f"{sum(trains):.0f} of {len(trains)}"


def keras_text(keras: Row) -> str:
    """Say what the recipe does in Keras, from ``keras/keras.json``."""
    trainings = keras["trainings"]
    versions = trainings[0]["manifest"]["versions"]
    leaves = sum(one["trains"] for one in trainings)
    fitted = statistics.fmean(one["history"]["accuracy"][-1] for one in trainings)
    of = Counter(one["protocol"] for one in trainings)
    tested = ", ".join(
        f"{_mean_of(row, 'twin')} under {RUNG_NAMES[row['rung']]} ({counted(of[row['rung']], 'training')})"
        for row in keras["rows"]
    )
    return (
        f"In Keras {versions['keras']} (on {versions['backend']}), with its defaults and inputs in [0, 1], "
        f"{leaves:.0f} of {counted(len(trainings), 'training')} leave the loss of guessing within 1,000 steps. After "
        f"{trainings[0]['epochs']} epochs the training accuracy is {percent(fitted)} in the mean, and the balanced "
        f"accuracy on held-out copies {tested} ([keras/keras.md](keras/keras.md)){_cut_short(trainings[0]['epochs'])}."
    )


def _cut_short(epochs: int) -> str:
    return "" if epochs >= EPOCHS else f"; the paper trains for {EPOCHS} epochs, which takes two hours here"


def both_readings(ladder: Row) -> str:
    """Set the narrow and the wide reading side by side, from ``ladder/ladder.json``."""
    rows = {(row["model"], row["rung"]): row for row in ladder["rows"]}
    said = [
        f"{name} {_mean_of(rows[model, 'random'], 'twin')} on copies at random and "
        f"{_mean_of(rows[model, 'grouped'], 'original')} on photographs of held-out fields"
        for model, name in ((PAPER, "the narrow reading"), (WIDE, "the wide one"))
        if (model, "random") in rows
    ]
    return f"On {ladder['train_images']:,} training images, " + "; ".join(said) + "."
