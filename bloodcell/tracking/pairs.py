"""Settings against each other over the same seeds and folds."""

import itertools
import re
from collections.abc import Sequence
from typing import NamedTuple

from bloodcell.common.errors import InputError
from bloodcell.evidence.repeats import Mean, holm
from bloodcell.tracking.query import content_of
from bloodcell.tracking.settings import Setting, folds_of, mean_of


class Pair(NamedTuple):
    """Two settings, compared.

    Attributes:
        one: Number of the first setting in the table, from 1.
        other: Number of the second.
        difference: First minus second over the repeats of both; ``None`` if both have none in common.
        folds: Whether the repeats are folds.
        same_split: Whether both were trained and tested on the same images.
        p: P-value, adjusted for all comparisons (Holm); ``None`` where there is nothing to test.
    """

    one: int
    other: int
    difference: Mean | None
    folds: bool
    same_split: bool
    p: float | None

    @property
    def untested(self) -> str:
        """Why there is no test, in words; empty if there is one."""
        if self.p is not None:
            return ""
        if not self.same_split:
            return "other data or another split, so that no seed and fold of one is one of the other"
        unit = "fold" if self.folds else "seed"
        if self.difference is None:
            return "no seed and fold that both have done"
        if self.difference.repeats == 1:
            return f"one {unit} in common, and a test takes two"
        return f"the same difference in all {self.difference.repeats} {unit}s, nothing to test"


def paired_comparisons(settings: Sequence[Setting], metric: str, against: str) -> list[Pair]:
    """Compare settings on the seeds and folds that both have.

    Args:
        settings: In the order of the table.
        metric: What is compared.
        against: ``KEY=VALUE[,KEY=VALUE]`` that one setting alone meets, to compare it with every other; empty
            for all pairs.

    Returns:
        One pair per comparison.

    Raises:
        InputError: If there are fewer than two settings, or ``against`` is not one of them.
    """
    if len(settings) < 2:
        raise InputError(
            "--compare", expected="at least two settings", got=str(len(settings)), fix="look below a folder with more"
        )
    everyone = range(len(settings))
    if against:
        chosen = _find(settings, against)
        numbers = [(chosen, other) for other in everyone if other != chosen]
    else:
        numbers = list(itertools.combinations(everyone, 2))
    pairs = [_pair(settings, one, other, metric) for one, other in numbers]
    adjusted = iter(holm([pair.p for pair in pairs if pair.p is not None]))
    return [pair if pair.p is None else pair._replace(p=next(adjusted)) for pair in pairs]


def _pair(settings: Sequence[Setting], one: int, other: int, metric: str) -> Pair:
    """Two settings with the unadjusted p-value."""
    mine, theirs = settings[one], settings[other]
    same_split = mine.split == theirs.split
    first, second = mine.repeats(metric), theirs.repeats(metric)
    differences = {key: first[key] - second[key] for key in first if key in second and same_split}
    mean = mean_of(differences, folds_of([*mine.runs, *theirs.runs])) if differences else None
    folds = len({repeat.fold for repeat in differences}) > 1
    return Pair(one + 1, other + 1, mean, folds, same_split, mean.p if mean else None)


def _find(settings: Sequence[Setting], words: str) -> int:
    # A comma may be part of a value, as in model.widths=[16,32]: one that separates has a key after it.
    wanted = [word.partition("=") for word in re.split(r",(?=[^,=\[\]]+=)", words)]
    if not all(sign for _, sign, _ in wanted):
        raise InputError(
            f"--compare {words}",
            expected="KEY=VALUE[,KEY=VALUE]",
            got="no =",
            fix="name the folder before --compare, and the setting by its keys, as optim.lr=0.001",
        )
    found = [
        number
        for number, setting in enumerate(settings)
        if all(_same(content_of(setting.runs[0], key.strip()), value.strip()) for key, _, value in wanted)
    ]
    if len(found) != 1:
        raise InputError(
            f"--compare {words}",
            expected="what one setting alone has",
            got=f"{len(found)} of {len(settings)} settings",
            fix=f"name one by its keys, as {settings[0].label.replace(' ', ',')}",
        )
    return found[0]


def _same(content: str | float | None, wanted: str) -> bool:
    try:
        return content is not None and float(content) == float(wanted)
    except ValueError:
        return str(content) == wanted.replace(" ", "")
