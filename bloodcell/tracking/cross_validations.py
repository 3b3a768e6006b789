"""A cross-validation done several times: predictions of every repeat, their means, and the file that holds them."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from bloodcell.common.errors import InputError
from bloodcell.evidence.intervals import confusion_scores, group_confusions, summary_intervals
from bloodcell.tracking.predictions import (
    COLUMNS,
    Predictions,
    header_of,
    joined_folds,
    joined_predictions,
    parsed_table,
    read_as,
    read_predictions,
    rows_of,
    write_packed_csv,
)
from bloodcell.tracking.reader import Run, read_runs

MOST_FOLDS = 10_000  # a fold for each photograph, of a large set


class CrossValidation(NamedTuple):
    """Which repeat of a cross-validation.

    Attributes:
        fold_seed: Seed of its folds.
        seed: Seed of its trainings; ``0+1+2`` for the average of several, empty where there is none.
    """

    fold_seed: int
    seed: str


# Every repeat has the same images in the same order, and every fold seed the same number of seeds.
Repeats = dict[CrossValidation, Predictions]


class RepeatedScore(NamedTuple):
    """A mean over repeats.

    Attributes:
        value: The mean.
        low: Lower end of its 95 % interval over field groups.
        high: Upper end.
        groups: Field groups that it rests on.
        repeats: The value of each repeat.
    """

    value: float
    low: float
    high: float
    groups: int
    repeats: tuple[float, ...]


def repeated_scores(repeats: Sequence[Predictions]) -> dict[str, RepeatedScore]:
    """Average scores over repeats; pooled predictions have just this mean, so its interval is theirs.

    Args:
        repeats: Predictions of the same images, at least one table.

    Returns:
        ``balanced_acc``, ``macro_f1`` and ``acc``.
    """
    pooled, classes = joined_predictions(repeats), len(repeats[0].classes)
    found = summary_intervals(pooled.correct, pooled.predicted, pooled.group, classes)
    confusions = (group_confusions(one.correct, one.predicted, one.group, classes).sum(axis=0) for one in repeats)
    each = [confusion_scores(confusion) for confusion in confusions]
    scores = {}
    for name in ("balanced_acc", "macro_f1", "acc"):
        values = tuple(float(one[name]) for one in each)
        scores[name] = RepeatedScore(
            float(np.mean(values)), found[name].low, found[name].high, found[name].groups, values
        )
    return scores


def read_repeats(path: Path) -> Repeats:
    """Read the repeats of a cross-validation.

    Args:
        path: A folder with its runs, one for each fold, seed and fold seed; or the file that :func:`write_repeats`
            writes. A table without its two columns is one repeat.

    Raises:
        InputError: If a run is missing or not done, or it is another file.
    """
    if path.is_dir():
        return repeats_of_runs(str(path), read_runs(path))
    found: Repeats = read_as(path, _parsed, ",".join([*CrossValidation._fields, *COLUMNS]))
    return _checked(str(path), found)


def repeats_of_runs(where: str, runs: Iterable[Run]) -> Repeats:
    """Read what the runs of one model have predicted.

    Args:
        where: What they are called in a message.
        runs: One for each fold, seed and fold seed.

    Raises:
        InputError: If one is missing or not done.
    """
    sorted_runs: dict[CrossValidation, list[Run]] = defaultdict(list)
    for run in runs:
        if run.state != "ok":
            raise InputError(str(run.path), expected="a finished run", got=run.state, fix="type its sweep again")
        sorted_runs[CrossValidation(run.number("data.fold_seed"), str(run.number("seed")))].append(run)
    found = {repeat: _joined(f"{where}, {_words(repeat)}", sorted_runs[repeat]) for repeat in sorted(sorted_runs)}
    return _checked(where, found)


def write_repeats(path: Path, repeats: Repeats) -> None:
    """Write all repeats into one packed file: a table of predictions with two more columns in front of it."""
    first = next(iter(repeats.values()))
    rows = ([*map(str, repeat), *row] for repeat, table in repeats.items() for row in rows_of(table))
    write_packed_csv(path, [*CrossValidation._fields, *header_of(first)], rows)


def averaged_seeds(repeats: Repeats) -> Repeats:
    """Average the probabilities over the seeds of each fold seed: an ensemble for each."""
    found = {}
    for fold_seed, tables in _by_fold_seed(repeats).items():
        found[CrossValidation(fold_seed, "+".join(tables))] = average_of(list(tables.values()))
    return found


def averaged_arms(one: Repeats, other: Repeats) -> Repeats:
    """Average the probabilities of two models over the repeats that both have.

    Seed by seed; a model with one repeat a fold seed is averaged with each of the other's.

    Raises:
        ValueError: If they have no repeat in common.
    """
    found: Repeats = {}
    theirs = _by_fold_seed(other)
    for fold_seed, tables in _by_fold_seed(one).items():
        others = theirs.get(fold_seed, {})
        if len(others) == 1:
            pairs = {seed: (table, *others.values()) for seed, table in tables.items()}
        elif len(tables) == 1:
            pairs = {seed: (*tables.values(), table) for seed, table in others.items()}
        else:
            pairs = {seed: (tables[seed], others[seed]) for seed in tables if seed in others}
        found |= {CrossValidation(fold_seed, seed): average_of(pair) for seed, pair in pairs.items()}
    if not found:
        raise ValueError("no fold seed and seed in common")
    return found


def average_of(tables: Sequence[Predictions]) -> Predictions:
    """Average the probabilities of several models of the same images in the same order."""
    probabilities = np.mean([table.probabilities for table in tables], axis=0)
    first = tables[0]
    texts = (first.file, first.view, first.photograph, first.group, first.correct)
    return Predictions(first.classes, *texts, probabilities.argmax(axis=1), probabilities)


def sorted_by_file(table: Predictions) -> Predictions:
    """Sort a table by the names of its files."""
    return table.take(np.argsort(table.file))


def _by_fold_seed(repeats: Repeats) -> dict[int, dict[str, Predictions]]:
    found: dict[int, dict[str, Predictions]] = defaultdict(dict)
    for repeat, table in repeats.items():
        found[repeat.fold_seed][repeat.seed] = table
    return found


def _joined(where: str, runs: Iterable[Run]) -> Predictions:
    by_fold = {run.number("data.fold"): run for run in runs}
    missing = sorted(set(range(next(iter(runs)).number("data.folds", MOST_FOLDS))) - set(by_fold))
    if missing:
        got = f"none of {', '.join(map(str, missing))}"
        raise InputError(where, expected="a run for each fold", got=got, fix="type its sweep again")
    return sorted_by_file(joined_folds(where, [read_predictions(run.path) for run in runs]))


def _parsed(header: list[str], lines: list[list[str]]) -> Repeats:
    """Take a file apart; a plain table of predictions is one repeat.

    Raises:
        ValueError: As ``parsed_table``.
    """
    if header[:2] != list(CrossValidation._fields):
        return {CrossValidation(0, ""): sorted_by_file(parsed_table(header, lines))}
    parts: dict[CrossValidation, list[list[str]]] = defaultdict(list)
    for fold_seed, seed, *line in lines:
        parts[CrossValidation(int(fold_seed), seed)].append(line)
    if not parts:
        raise ValueError("no rows")
    return {repeat: sorted_by_file(parsed_table(header[2:], part)) for repeat, part in parts.items()}


def _checked(where: str, repeats: Repeats) -> Repeats:
    """Stop if the repeats are not the same images, or a fold seed has fewer seeds than another.

    Raises:
        InputError: Naming the first that differs.
    """
    first = next(iter(repeats.values()))
    for repeat, table in repeats.items():
        if table.file.tolist() != first.file.tolist() or table.group.tolist() != first.group.tolist():
            expected = f"the {len(first)} images of its first repeat, in the same groups"
            raise InputError(f"{where}, {_words(repeat)}", expected=expected, got="others", fix="train it again")
    counts = {fold_seed: len(tables) for fold_seed, tables in _by_fold_seed(repeats).items()}
    if len(set(counts.values())) > 1:
        got = ", ".join(f"{count} of fold seed {fold_seed}" for fold_seed, count in counts.items())
        raise InputError(where, expected="as many seeds of each fold seed", got=got, fix="train those that are missing")
    return repeats


def _words(repeat: CrossValidation) -> str:
    return f"fold seed {repeat.fold_seed}" + (f", seed {repeat.seed}" if repeat.seed else "")


def common_fold_seeds(
    one: Mapping[CrossValidation, Predictions], other: Mapping[CrossValidation, Predictions]
) -> list[int]:
    """List the fold seeds that two models have both been tested under."""
    return sorted({repeat.fold_seed for repeat in one} & {repeat.fold_seed for repeat in other})
