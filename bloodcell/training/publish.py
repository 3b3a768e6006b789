"""From runs to a net that is handed on: what it doubts, how sure it may be, and a card of what it is worth."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from bloodcell.common.errors import InputError, holding
from bloodcell.common.files import read_json
from bloodcell.data.datamodule import CellImages
from bloodcell.data.micrographs import COPY_SIZE
from bloodcell.evidence.calibration import apply_temperature, fit_temperature, probability_scores
from bloodcell.evidence.doubt import FALSE_ALARMS, LEVEL, LearntCells, fit_limits, learn_cells
from bloodcell.evidence.intervals import Bools, Floats, Ints, Strings, share_interval
from bloodcell.evidence.scores import score
from bloodcell.tracking.manifest import manifest, now
from bloodcell.training.assemble import make_data, quiet
from bloodcell.training.restore import open_net, read_config
from bloodcell.training.trained import TrainedNet

# Points that are kept of the training images: more of them cost memory and tell no more.
POINTS = 1_000
BATCH = 256
USE = "research and teaching: how well four kinds of white cells can be told apart on photographs like these"
NOT_FOR = (
    "any decision about a patient: this is not a medical device",
    "cells of other kinds, which it calls by one of its own names where it does not doubt them",
    "other stains, microscopes or laboratories without a test on them: its probabilities are calibrated for its own",
    "claims about new patients: photographs were held out by field, and nobody knows which patient each shows",
)


class HeldOut(NamedTuple):
    """Answers of a net, of the recipe at least, for cells that it has not learnt.

    Attributes:
        labels: True class numbers, int64, shape (N,).
        probabilities: As the net gives them, shape (N, classes).
        doubts: Distances to the learnt cells, shape (N,).
        groups: Field groups, ``""`` where not known, shape (N,).
        files: Names, shape (N,).
        cut: Whether the frame cuts the cell, bool, shape (N,); false where its place is not known.
        fold: Number of the fold, int64, shape (N,).
    """

    labels: Ints
    probabilities: Floats
    doubts: Floats
    groups: Strings
    files: Strings
    cut: Bools
    fold: Ints


def publish(run_dir: Path, folds: Path | None, doubts: Path | None = None) -> TrainedNet:
    """Make a net of a run that can doubt, with its card.

    Args:
        run_dir: The run; its images are read once more.
        folds: A folder with the runs of a cross-validation of the same recipe, whose held-out cells settle the
            temperature, the threshold and the limits, and are measured; ``None`` for the run's own validation images.
        doubts: What the nets of these folds doubt, ``doubt.json`` of ``python -m bloodcell.doubts``, for the card.

    Raises:
        InputError: If a run or its images cannot be read, nothing was held out, or the doubts are of other nets.
    """
    quiet()
    trained, data = opened_with_data(run_dir)
    learnt = learnt_cells(trained, data)
    if folds is None:
        rows = data.split.calibration if len(data.split.calibration) else data.split.val
        if not data.split.choice or not len(rows):
            raise InputError(
                str(run_dir),
                expected="a run with validation images that it did not learn",
                got=f"protocol {data.split.protocol}",
                fix="give the runs of its folds with --folds FOLDER",
            )
        held, _ = held_out(trained, learnt, data, rows, 0)
    else:
        held = of_folds(folds, trained)
    temperature = fit_temperature(held.labels, held.probabilities)
    calibrated = apply_temperature(held.probabilities, temperature)
    by = "its validation images" if folds is None else f"{len(np.unique(held.fold))} folds by field group"
    card = replace(
        trained.card,
        temperature=temperature,
        limits=fit_limits(held.labels, calibrated, held.groups),
        about=_about(run_dir, trained, held, by, {} if doubts is None else _measured(doubts, folds)),
    )
    return replace(trained, card=card, learnt=learnt.with_threshold(held.doubts))


def opened_with_data(run_dir: Path) -> tuple[TrainedNet, CellImages]:
    """Open a run as a net, and its data."""
    trained, data = open_net(run_dir), make_data(read_config(run_dir, []))
    if data.classes != trained.card.classes:
        raise InputError(
            str(run_dir), expected=f"its classes {trained.card.classes}", got=str(data.classes), fix="check its data"
        )
    return replace(trained, card=replace(trained.card, temperature=1.0)), data


def learnt_cells(trained: TrainedNet, data: CellImages) -> LearntCells:
    """Place the cells that a run has learnt: all photographs of its training images, and some of their copies."""
    index, rows = data.index, data.split.train
    photographs = np.setdiff1d(np.unique(index.micrograph[rows]), [""])
    if len(photographs):
        rows = np.flatnonzero(index.published & np.isin(index.micrograph, photographs))
    originals = np.flatnonzero((index.view == "original") & np.isin(index.micrograph, photographs))
    rows = np.union1d(originals, rows[:: -(-len(rows) // POINTS)])
    _, features = _outputs(trained, data, rows)
    return learn_cells(features, index.label[rows], index.file[rows])


def held_out(
    trained: TrainedNet, learnt: LearntCells, data: CellImages, rows: Ints, fold: int
) -> tuple[HeldOut, Floats]:
    """Answer for rows that were not learnt; returns their features too."""
    index = data.index
    probabilities, features = _outputs(trained, data, rows)
    numbers = np.full(len(rows), fold)
    doubts, cut = learnt.doubts(features), _cut_by_frame(data, rows)
    labels, groups, files = index.label[rows], index.group[rows], index.file[rows]
    return HeldOut(labels, probabilities, doubts, groups, files, cut, numbers), features


def fold_runs(folder: Path) -> list[Path]:
    """Find the runs of protocol grouped below a folder.

    Raises:
        InputError: If there are none.
    """
    runs = sorted(config.parent.parent for config in folder.rglob(".hydra/config.yaml"))
    found = [run for run in runs if read_config(run, []).data.get("protocol") == "grouped"]
    if not found:
        fix = "make sweep SWEEP=folds, or check the path"
        raise InputError(str(folder), expected="runs of protocol grouped, a fold each", got="none", fix=fix)
    return found


def of_folds(folder: Path, trained: TrainedNet) -> HeldOut:
    """Answer with each run of a cross-validation for what it left out.

    Raises:
        InputError: If there are no runs, one is of another recipe, or two left the same image out.
    """
    parts: list[HeldOut] = []
    for path in fold_runs(folder):
        one, data = opened_with_data(path)
        if one.card.model != trained.card.model or one.card.preparation != trained.card.preparation:
            raise InputError(str(path), expected="the same recipe", got="another", fix="remove it")
        parts.append(held_out(one, learnt_cells(one, data), data, data.split.test, len(parts))[0])
    whole = HeldOut(*map(np.concatenate, zip(*parts, strict=True)))
    if len(np.unique(whole.files)) < len(whole.files):
        got = "images that two of them left out"
        raise InputError(str(folder), expected="runs of protocol grouped, a fold each", got=got, fix="check the path")
    return whole


def _outputs(trained: TrainedNet, data: CellImages, rows: Ints) -> tuple[Floats, Floats]:
    parts = [
        trained.outputs(data.gather(torch.from_numpy(part))) for part in np.split(rows, range(BATCH, len(rows), BATCH))
    ]
    probabilities, features = (np.concatenate(each) for each in zip(*parts, strict=True))
    return probabilities, features


def _cut_by_frame(data: CellImages, rows: Ints) -> Bools:
    height, width = COPY_SIZE
    cut = np.zeros(len(rows), dtype=bool)
    for number, row in enumerate(rows.tolist()):
        known = data.lineage.micrographs.get(str(data.index.micrograph[row])) if data.lineage else None
        if known is not None and data.index.view[row] == "original":
            left, top = known.cell_x - known.cell_width / 2, known.cell_y - known.cell_height / 2
            right, bottom = left + known.cell_width, top + known.cell_height
            cut[number] = min(left, top) <= 1 or right >= width - 1 or bottom >= height - 1
    return cut


def _measured(doubts: Path, folds: Path | None) -> dict[str, Any]:
    """What nets of folds doubt, as far as it belongs on a card."""
    found = read_json(doubts)
    if folds is None or found.get("nets") != [open_net(path).digest for path in fold_runs(folds)]:
        raise InputError(
            str(doubts),
            expected="what the nets of --folds doubt",
            got="numbers of other nets",
            fix="type python -m bloodcell.doubts FOLDS, and give its doubt.json",
        )
    kept = {"pictures": "pictures", "flagged": "flagged", "right": "right", "auroc, fifth neighbour": "auroc"}
    with holding(str(doubts), "doubt.json of python -m bloodcell.doubts", "make it again"):
        return {
            "held-out cells flagged": found["cells"]["false alarms"],
            "measured": {
                name: {to: one[key] for key, to in kept.items() if key in one} for name, one in found["sets"].items()
            },
        }


def _about(run_dir: Path, trained: TrainedNet, held: HeldOut, by: str, doubts: Mapping[str, Any]) -> dict[str, Any]:
    record = read_json(run_dir / "manifest.json")
    with holding(str(run_dir / "manifest.json"), "a manifest of a training", "train the run again"):
        data = record.get("data", {})
        kept = ("source", "fingerprint", "protocol", "images", "training_images")
        return {
            "made": now(),
            "commit": manifest({}, {})["git"]["commit"],
            "run": {
                "started": record.get("started"),
                "commit": record.get("git", {}).get("commit"),
                "seeds": record.get("seeds"),
            },
            "versions": record.get("versions"),
            "data": {key: data[key] for key in kept if key in data},
            "held_out": {
                "by": by,
                "cells": len(held.labels),
                "groups": len(np.unique(held.groups[held.groups != ""])) or None,
            },
            "metrics": _metrics(held, trained.card.classes),
            "doubt": {"false_alarms": FALSE_ALARMS, "sets": LEVEL, **doubts},
            "for": USE,
            "not_for": list(NOT_FOR),
        }


def _metrics(held: HeldOut, classes: Sequence[str]) -> dict[str, Any]:
    """Measure on what was held out; the temperature is then that of the other folds, where there are any."""
    found = score(held.labels, held.probabilities, held.groups, classes)
    metrics: dict[str, Any] = {name: list(one) for name, one in found.intervals.items()}
    right = held.probabilities.argmax(axis=1) == held.labels
    for name, rows in (("whole cells", ~held.cut), ("cells cut by the frame", held.cut)):
        if held.cut.any():
            metrics[f"acc of {name}"] = list(share_interval(right[rows], held.groups[rows]))
    folds = np.unique(held.fold)
    calibrated = held.probabilities.copy()
    for fold in folds if len(folds) > 1 else []:
        rest = held.fold != fold
        temperature = fit_temperature(held.labels[rest], held.probabilities[rest])
        calibrated[~rest] = apply_temperature(held.probabilities[~rest], temperature)
    scores: Mapping[str, float] = probability_scores(held.labels, calibrated)
    return metrics | {name: scores[name] for name in ("log_loss", "brier", "ece")}
