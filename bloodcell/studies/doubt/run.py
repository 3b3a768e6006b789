"""The study from the runs of a cross-validation to ``doubt.json`` and its table."""

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from PIL import Image
from sklearn.covariance import ledoit_wolf
from torch import Tensor

from bloodcell.common.console import progress_bar
from bloodcell.common.errors import InputError
from bloodcell.common.files import read_json, write_json, write_text
from bloodcell.data.micrographs import Pixels
from bloodcell.evidence.calibration import apply_temperature, fit_temperature, reliability
from bloodcell.evidence.doubt import FALSE_ALARMS, LEVEL, LearntCells, classes_left, fit_limits
from bloodcell.evidence.intervals import Bools, Floats, Ints, share_interval, wilson
from bloodcell.prediction.inputs import find_pictures
from bloodcell.prediction.predictor import Predictor
from bloodcell.studies.doubt.strange import made_pictures
from bloodcell.tracking.save import portable
from bloodcell.training.publish import HeldOut, fold_runs, held_out, learnt_cells, opened_with_data
from bloodcell.training.trained import TrainedNet

MOST = 100  # pictures of a set
RESAMPLES = 500
SIDES: tuple[Literal["left", "right"], ...] = ("left", "right")
OURS, MAHALANOBIS, PROBABILITY = "fifth neighbour", "Mahalanobis", "1 - highest probability"


class Fold(NamedTuple):
    """A net of the cross-validation, what it left out, and scores of its doubt by name."""

    net: TrainedNet
    learnt: LearntCells
    held: HeldOut
    features: Floats
    scores: Mapping[str, Callable[[Floats, Floats], Floats]]


def run(folder: Path, sets: Mapping[str, Path], out: Path) -> None:
    """Measure what nets doubt that were held out of something.

    Args:
        folder: The runs of a cross-validation.
        sets: Folders of pictures that are no such cells, by name.
        out: Folder for ``doubt.json`` and ``doubt.md``.

    Raises:
        InputError: If there are fewer than two folds, or a folder has no pictures.
    """
    folds = [_fold(path, number) for number, path in enumerate(fold_runs(folder))]
    if len(folds) < 2:
        raise InputError(str(folder), expected="runs of two folds or more", got=str(len(folds)), fix="check the path")
    found: dict[str, Any] = {
        "folds": len(folds),
        "nets": [fold.net.digest for fold in folds],
        "false_alarms": FALSE_ALARMS,
        "cells": _of_cells(folds),
        "sets": {},
    }
    strange = [*made_pictures().items(), *((name, _pictures(path)) for name, path in sets.items())]
    with progress_bar() as progress:
        for name, pictures in progress.track(strange, description="sets of pictures"):
            found["sets"][name] = _of_set(folds, pictures, name)
    manifest = read_json(fold_runs(folder)[0] / "manifest.json")
    write_json(out / "doubt.json", found)
    # Names alone: where the folders lie says nothing elsewhere.
    command = [Path(sys.argv[0]).name, "FOLDS", *(f"--set={name}=FOLDER" for name in sets)]
    write_json(out / "manifest.json", {**portable(manifest), "command": command})
    write_text(out / "doubt.md", table(found))
    print(table(found))


def _fold(path: Path, number: int) -> Fold:
    net, data = opened_with_data(path)
    learnt = learnt_cells(net, data)
    held, features = held_out(net, learnt, data, data.split.test, number)
    mahalanobis = _mahalanobis(learnt)
    scores: dict[str, Callable[[Floats, Floats], Floats]] = {
        OURS: lambda _, features: learnt.doubts(features),
        MAHALANOBIS: lambda _, features: mahalanobis(features),
        PROBABILITY: lambda probabilities, _: 1 - probabilities.max(axis=1),
    }
    return Fold(net, learnt, held, features, scores)


def _mahalanobis(learnt: LearntCells) -> Callable[[Floats], Floats]:
    """Distance to the nearest class mean, by the covariance within the classes (Lee et al. 2018)."""
    means = np.stack([learnt.points[learnt.labels == k].mean(axis=0) for k in np.unique(learnt.labels)])
    within = learnt.points - means[np.unique(learnt.labels, return_inverse=True)[1]]
    precision = np.linalg.pinv(ledoit_wolf(within, assume_centered=True)[0], hermitian=True)

    def distances(features: Floats) -> Floats:
        gaps = ((features - learnt.centre) / learnt.scale)[:, None] - means
        found: Floats = np.sqrt(np.einsum("nkd,de,nke->nk", gaps, precision, gaps).min(axis=1))
        return found

    return distances


def _pictures(folder: Path) -> Iterator[Pixels]:
    """Some of the pictures in a folder, evenly over their names; what cannot be read is left out."""
    from bloodcell.data.decode import open_picture

    names = [picture.name for picture in find_pictures([str(folder)])]
    for name in names[:: -(-len(names) // MOST)] if names else []:
        try:
            yield np.asarray(open_picture(name))
        except InputError as error:
            print(f"left out: {error}")


def _of_set(folds: Sequence[Fold], pictures: Iterable[Pixels], name: str) -> dict[str, Any]:
    """Share of the pictures that are flagged and the area under the ROC curve against the held-out cells.

    Where the name of the set names a class, as ``PBC eosinophils``, also the share that is called so.
    """
    flagged, called, areas = [], [], dict[str, list[Floats]]()
    label = next((k for k, one in enumerate(folds[0].net.card.classes) if one.casefold() in name.casefold()), None)
    nets = [Predictor(fold.net) for fold in folds]
    seen: list[list[Tensor]] = [[] for _ in folds]
    for picture in map(Image.fromarray, pictures):  # one at a time: each may be large
        for net, pixels in zip(nets, seen, strict=True):
            # Where no cell is found, the net is shown the whole picture all the same.
            pixels.append(net.squeezed(next((view for _, view in net.views(picture)), picture)))
    if not seen[0]:
        raise InputError(f"--set {name}", expected="pictures", got="none", fix="check the folder")
    for number, fold in enumerate(folds):
        cells = nets[number].outputs_of(seen[number])
        rest = np.concatenate([one.held.doubts for other, one in enumerate(folds) if other != number])
        threshold = np.quantile(rest, 1 - FALSE_ALARMS, method="higher")
        flagged.append(fold.learnt.doubts(cells[1]) > threshold)
        called.append(cells[0].argmax(axis=1) == label)
        for kind, score in fold.scores.items():
            own, strange = score(fold.held.probabilities, fold.features), score(*cells)
            areas.setdefault(kind, []).append(_areas(own, strange))
    found: dict[str, Any] = {"pictures": len(seen[0]), "flagged": _share(flagged)}
    if label is not None:
        found["right"] = _share(called)
    for kind, each in areas.items():
        means = np.mean(each, axis=0)
        found[f"auroc, {kind}"] = [float(means[0]), *map(float, np.quantile(means[1:], [0.025, 0.975]))]
    return found


def _share(of_folds: Sequence[Bools]) -> list[float]:
    """Mean share over the folds, with the interval that so many pictures leave."""
    share, pictures = float(np.mean(of_folds)), len(of_folds[0])
    return [share, *wilson(share * pictures, pictures)]


def _areas(own: Floats, strange: Floats) -> Floats:
    """The area, and those of resamples of both sides."""
    rng = np.random.default_rng(0)
    draws = [(own, strange)] + [
        (rng.choice(own, len(own)), rng.choice(strange, len(strange))) for _ in range(RESAMPLES)
    ]
    return np.array([_area(*draw) for draw in draws])


def _area(own: Floats, strange: Floats) -> float:
    """Area under the ROC curve: how often a strange picture is doubted more than a cell, ties half (Mann-Whitney)."""
    ordered = np.sort(own)
    below, up_to = (np.searchsorted(ordered, strange, side=side) for side in SIDES)
    return float((below + up_to).mean() / 2 / len(own))


def _of_cells(folds: Sequence[Fold]) -> dict[str, Any]:
    """False alarms, sets and abstention on held-out cells, each settled by the other folds."""
    held = HeldOut(*map(np.concatenate, zip(*(fold.held for fold in folds), strict=True)))
    alarms, covered = np.zeros(len(held.labels), dtype=bool), np.zeros(len(held.labels), dtype=bool)
    size, calibrated = np.zeros(len(held.labels)), held.probabilities.copy()
    for fold in range(len(folds)):
        own, rest = np.flatnonzero(held.fold == fold), held.fold != fold
        alarms[own] = held.doubts[own] > np.quantile(held.doubts[rest], 1 - FALSE_ALARMS, method="higher")
        temperature = fit_temperature(held.labels[rest], held.probabilities[rest])
        calibrated[own] = apply_temperature(held.probabilities[own], temperature)
        others = apply_temperature(held.probabilities[rest], temperature)
        limits = fit_limits(held.labels[rest], others, held.groups[rest])
        sets = [classes_left(calibrated[row], limits) for row in own]
        covered[own] = [label in one for label, one in zip(held.labels[own].tolist(), sets, strict=True)]
        size[own] = [len(one) for one in sets]
    classes = folds[0].net.card.classes
    coverage = {
        name: list(share_interval(covered[held.labels == k], held.groups[held.labels == k]))
        for k, name in enumerate(classes)
    }
    return {
        "cells": len(held.labels),
        "false alarms": list(share_interval(alarms, held.groups)),
        "sets": {"level": LEVEL, "mean size": float(size.mean()), "coverage": coverage},
        "calibration": [
            {"confidence": one.confidence, "correct": list(one.correct), "images": one.images}
            for one in reliability(held.labels, calibrated, held.groups)
        ],
        "groups": len(np.unique(held.groups)),
        "risk": _risks(held, calibrated),
    }


def _risks(held: HeldOut, calibrated: Floats) -> list[dict[str, Any]]:
    """Accuracy of the most probable answers alone."""
    right, order = calibrated.argmax(axis=1) == held.labels, np.argsort(-calibrated.max(axis=1), kind="stable")
    kept: list[Ints] = [order[: round(share * len(order))] for share in (1.0, 0.9, 0.8, 0.7, 0.5)]
    return [
        {"answered": len(rows) / len(order), "accuracy": list(share_interval(right[rows], held.groups[rows]))}
        for rows in kept
    ]


def table(found: Mapping[str, Any]) -> str:
    """Write what was found as Markdown."""
    lines = [
        f"Pictures that are no such cells, flagged at {found['false_alarms']:.0%} false alarms, and areas under "
        f"the ROC curve against held-out cells; means over the nets of {found['folds']} folds, with 95 % intervals.",
        "",
        f"| pictures | number | flagged | {' | '.join(f'area: {name}' for name in (OURS, MAHALANOBIS, PROBABILITY))} "
        "| called by their class |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for name, one in found["sets"].items():
        areas = (_written(one[f"auroc, {score}"]) for score in (OURS, MAHALANOBIS, PROBABILITY))
        right = _written(one["right"]) if "right" in one else ""
        lines.append(f"| {name} | {one['pictures']} | {_written(one['flagged'])} | {' | '.join(areas)} | {right} |")
    cells = found["cells"]
    lines += ["", f"Held-out cells ({cells['cells']}) flagged: {_written(cells['false alarms'])}.", ""]
    lines += ["| answered | accuracy of these |", "| ---: | ---: |"]
    lines += [f"| {one['answered']:.0%} | {_written(one['accuracy'])} |" for one in cells["risk"]]
    sets = cells["sets"]
    lines += [
        "",
        f"Sets at {sets['level']:.0%} hold the true class, by class ({sets['mean size']:.2f} classes a set):",
        "",
    ]
    lines += ["| class | held |", "| --- | ---: |"]
    lines += [f"| {name} | {_written(one)} |" for name, one in sets["coverage"].items()]
    return "\n".join(lines) + "\n"


def _written(estimate: Sequence[float]) -> str:
    return f"{estimate[0]:.3f} ({estimate[1]:.3f}-{estimate[2]:.3f})"
