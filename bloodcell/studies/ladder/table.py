"""TODO studies/ladder/table.py."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from bloodcell.common.console import progress_bar
from bloodcell.common.files import read_csv
from bloodcell.studies.ladder.jobs import Job

if TYPE_CHECKING:
    from bloodcell.data.datamodule import CellImages
    from bloodcell.evidence.intervals import Estimate


RUNG_NAMES = {
    "random": "random images (the paper)",
    "official": "published TRAIN/TEST",
    "official_strict": "TRAIN without TEST's fields",
    "grouped": "grouped by field, 5 folds",
}


HISTOGRAM, RAW = "nearest colour histogram", "nearest raw pixels"


class Answers(NamedTuple):
    """Predictions on one view of the test photographs.

    Attributes:
        label: True classes, int64, shape (N,).
        said: Predicted ones, likewise.
        group: Field groups.
    """

    label: np.ndarray[Any, np.dtype[np.int64]]
    said: np.ndarray[Any, np.dtype[np.int64]]
    group: np.ndarray[Any, np.dtype[np.str_]]


def _read_answers(run_dir: Path, classes: Sequence[str]) -> dict[str, Answers]:
    """The predictions of a run by view."""
    rows = read_csv(run_dir / "predictions.csv")
    found = {}
    for view in ("twin", "original"):
        these = [row for row in rows if row["view"] == view]
        label, said = ([classes.index(row[key]) for row in these] for key in ("class", "predicted"))
        found[view] = Answers(np.array(label), np.array(said), np.array([row["group"] for row in these]))
    return found


def _by_rung(answers: dict[tuple[str, str, int], Any]) -> dict[tuple[str, str], dict[str, list[Answers]]]:
    """One pooled set of answers for each seed, by view."""
    found: dict[tuple[str, str], dict[str, list[Answers]]] = {}
    for (model, rung, _), views in answers.items():
        for view, parts in views.items():
            found.setdefault((model, rung), {}).setdefault(view, []).append(_pool(parts))
    return found


def _pool(parts: Iterable[Answers]) -> Answers:
    return Answers(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def _row(model: str, rung: str, views: dict[str, list[Answers]]) -> dict[str, Any]:
    """What is said of one model under one protocol: each view's mean over seeds with its interval."""
    return {"model": model, "rung": rung, **{view: _scores(seeds) for view, seeds in views.items()}}


def _scores(seeds: Sequence[Answers]) -> dict[str, Any]:
    """The mean over seeds; pooled answers have just this mean, so their bootstrap over groups is its interval."""
    from bloodcell.evidence.intervals import bootstrap_intervals, group_confusions, scores
    from bloodcell.studies.ladder.controls import majority

    classes = 1 + max(int(one.label.max()) for one in seeds)
    found: dict[str, Estimate] = bootstrap_intervals(*_pool(seeds), classes)
    each = [scores(group_confusions(*one, classes).sum(axis=0)) for one in seeds]
    return {
        "images": len(seeds[0].label),
        "groups": found["acc"].groups,
        "majority": majority(seeds[0].label),
        **{
            name: {
                "mean": float(np.mean([one[name] for one in each])),
                "interval": [found[name].low, found[name].high],
                "seeds": [float(one[name]) for one in each],
            }
            for name in ("balanced_acc", "macro_f1", "acc")
        },
    }


def _neighbours(data: dict[Job, "CellImages"]) -> list[dict[str, Any]]:
    """The controls without training: the nearest image in colours, and in raw pixels."""
    from concurrent.futures import ThreadPoolExecutor

    from bloodcell.data.colours import colour_histogram, thumbnail
    from bloodcell.data.pixels import open_row
    from bloodcell.studies.ladder.controls import nearest_labels

    index = next(iter(data.values())).index

    def reduce(row: int) -> tuple[Any, Any]:
        pixels = np.asarray(open_row(index, row))
        return colour_histogram(pixels), thumbnail(pixels)

    with progress_bar() as progress, ThreadPoolExecutor() as pool:
        done = pool.map(reduce, range(len(index)))
        reduced = list(progress.track(done, total=len(index), description="colours and pixels"))
    rows_of_table = []
    for model, features in zip((HISTOGRAM, RAW), (np.stack(one) for one in zip(*reduced, strict=True)), strict=True):
        found: dict[str, dict[str, list[Answers]]] = defaultdict(lambda: defaultdict(list))
        for job, one in data.items():
            split = one.split
            known = np.union1d(split.train, split.val) if split.choice else split.train
            for rows in (split.test, split.test_beside):
                said = nearest_labels(features[known], index.label[known], features[rows])
                view = str(index.view[rows[0]])
                found[job.rung][view].append(Answers(index.label[rows], said, index.group[rows]))
        pooled = {rung: {view: [_pool(parts)] for view, parts in views.items()} for rung, views in found.items()}
        rows_of_table += [_row(model, rung, views) for rung, views in pooled.items()]
    return rows_of_table


def markdown(rows: list[dict[str, Any]]) -> str:
    """The ladder as a Markdown table: balanced accuracy, its interval, and the seeds."""
    header = ["model", "split", "on held-out copies", "on originals", "commonest class (copies / originals)"]
    lines = [header, ["---"] * len(header)]
    for row in rows:
        cells = [_cell(row[view]["balanced_acc"]) for view in ("twin", "original")]
        rate = f"{row['twin']['majority']:.3f} / {row['original']['majority']:.3f}"
        lines.append([row["model"], RUNG_NAMES[row["rung"]], *cells, rate])
    said = (
        "Balanced accuracy (chance 0.250): mean over seeds, 95 % interval over field groups, lowest and highest seed. "
        "The last column is the accuracy of always saying the commonest class.\n\n"
    )
    return said + "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def _cell(one: dict[str, Any]) -> str:
    seeds = f"; seeds {min(one['seeds']):.3f} to {max(one['seeds']):.3f}" if len(one["seeds"]) > 1 else ""
    return f"{one['mean']:.3f} ({one['interval'][0]:.3f}-{one['interval'][1]:.3f}{seeds})"
