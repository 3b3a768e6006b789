"""Nested selection: which recipe is taken for a fold is settled by validation inside it, not by its test."""

from collections import Counter, defaultdict
from collections.abc import Mapping
from pathlib import Path
from statistics import fmean
from typing import NamedTuple

from bloodcell.common.errors import InputError, printable
from bloodcell.tracking.cross_validations import CrossValidation, Repeats, sorted_by_file
from bloodcell.tracking.predictions import joined_folds, read_predictions
from bloodcell.tracking.reader import Run, read_runs

SCORE = "val/balanced_acc"


class Selected(NamedTuple):
    """What comes of choosing.

    Attributes:
        repeats: The predictions, each fold those of the recipe chosen for it.
        choices: For each fold seed and fold, as ``0/3``, the recipe that was chosen.
        validation: Likewise the mean validation score of each recipe over its seeds.
    """

    repeats: Repeats
    choices: dict[str, str]
    validation: dict[str, dict[str, float]]


def selected(recipes: Mapping[str, Path]) -> Selected:
    """Choose, for every fold of every fold seed, the recipe whose nets are best on the validation groups of that fold.

    Validation groups are a part of what the fold trains on; balanced accuracy there is averaged over seeds.

    Args:
        recipes: Folders of runs by the name of the recipe; the fold seeds, folds and seeds that all have are taken.

    Raises:
        InputError: If there are fewer than two, if they have no fold and seed in common, or a run no validation.
    """
    if len(recipes) < 2:
        raise InputError("--select", expected="two recipes or more", got=", ".join(recipes), fix="name more arms")
    runs = {name: _by_place(path) for name, path in recipes.items()}
    places = [place for place in next(iter(runs.values())) if all(place in of for of in runs.values())]
    if not places:
        fix = "type the sweep of one again with the words of the other"
        raise InputError("--select", expected="recipes with folds and seeds in common", got="none", fix=fix)
    folds: dict[tuple[int, int], list[str]] = defaultdict(list)
    for fold_seed, fold, seed in places:
        folds[fold_seed, fold].append(seed)
    validation = {
        place: {name: fmean(_score(of[*place, seed]) for seed in seeds) for name, of in runs.items()}
        for place, seeds in folds.items()
    }
    choices = {place: max(scores, key=scores.__getitem__) for place, scores in validation.items()}
    parts: dict[CrossValidation, list[Path]] = defaultdict(list)
    for fold_seed, fold, seed in places:
        parts[CrossValidation(fold_seed, seed)].append(runs[choices[fold_seed, fold]][fold_seed, fold, seed].path)
    repeats = {
        repeat: sorted_by_file(joined_folds("--select", [read_predictions(path) for path in paths]))
        for repeat, paths in sorted(parts.items())
    }
    named = {f"{fold_seed}/{fold}": (fold_seed, fold) for fold_seed, fold in folds}
    return Selected(
        repeats,
        {name: choices[place] for name, place in named.items()},
        {name: validation[place] for name, place in named.items()},
    )


def choices_text(choices: Mapping[str, str]) -> str:
    """Say how often each recipe was chosen, as ``lite in 10 of 15 folds, small in 5``."""
    counts = Counter(choices.values()).most_common()
    (first, often), *others = counts
    first = printable(first)
    others = [(printable(name), count) for name, count in others]
    return ", ".join([f"{first} in {often} of {len(choices)} folds", *(f"{name} in {count}" for name, count in others)])


def _by_place(folder: Path) -> dict[tuple[int, int, str], Run]:
    return {
        (run.number("data.fold_seed"), run.number("data.fold"), str(run.number("seed"))): run
        for run in read_runs(folder)
        if run.state == "ok"
    }


def _score(run: Run) -> float:
    if SCORE not in run.metrics:
        raise InputError(str(run.path), expected=f"{SCORE} in metrics.json", got="none", fix="train it with validation")
    return run.metrics[SCORE]
