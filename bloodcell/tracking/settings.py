"""Which runs are repeats of one setting, and which keys tell the settings apart."""

import json
import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from bloodcell.evidence.repeats import Mean, over_folds, over_seeds
from bloodcell.tracking.reader import Run

# A run differs from its repeats in these alone.
REPEATED = ("seed", "data.fold")
# Where a run is put, how it gets at its pixels and what it is watched with change no result; which images they were,
# the fingerprint says.
NO_SETTING = ("name", "sweep", "data.root", "data.cache")
# Metrics that lie between 0 and 1.
SHARE = re.compile(r"/(acc|balanced_acc|macro_\w+|ece\w*|(precision|recall|f1)/.+)$")
# Of the folds that are not tested a seventh is validation (``data.cuts.VALIDATION_FOLDS``).
TRAINED_SHARE = 6 / 7
# What is trained on and tested on: results of two settings that differ here cannot be subtracted.
SPLIT = tuple(
    f"data.{key}" for key in ("source", "fingerprint", "protocol", "split_seed", "fold_seed", "folds", "test_per_class")
)

Identity = tuple[tuple[str, str], ...]


class Repeat(NamedTuple):
    """Which repeat of its setting a run is.

    Attributes:
        fold: Seed of the folds and number of the fold that was tested on; ``None`` if the split has no folds.
        seed: Seed, and the values of further keys that are averaged over.
    """

    fold: tuple[str, str] | None
    seed: tuple[str, ...]


@dataclass(frozen=True)
class Setting:
    """Runs that differ in nothing but what is averaged over.

    Attributes:
        shown: The values of the keys that tell the settings apart.
        runs: At least one.
        over: Keys that are averaged over.
    """

    shown: dict[str, str]
    runs: list[Run]
    over: tuple[str, ...] = REPEATED

    @property
    def done(self) -> list[Run]:
        """The runs that ended with a result."""
        return [run for run in self.runs if run.state == "ok"]

    @property
    def label(self) -> str:
        """The setting in words."""
        return " ".join(f"{key}={value}" for key, value in self.shown.items() if value) or "all runs"

    @property
    def split(self) -> tuple[str, ...]:
        """Data and split, but for what is averaged over."""
        known = next((run for run in self.runs if run.manifest), self.runs[0])
        return tuple(value_of(known, key) for key in SPLIT if key not in self.over)

    def repeats(self, metric: str) -> dict[Repeat, float]:
        """Return the metric of each repeat that is done and has it; one that was run several times counts once."""
        found: dict[Repeat, list[float]] = defaultdict(list)
        for run in self.done:
            if metric in run.metrics:
                found[repeat_of(run, self.over)].append(run.metrics[metric])
        return {repeat: float(np.mean(values)) for repeat, values in found.items()}

    def mean(self, metric: str) -> Mean | None:
        """Average the metric over the repeats; ``None`` if no run has it."""
        found = self.repeats(metric)
        return _within(mean_of(found, folds_of(self.runs)), metric) if found else None


def _within(mean: Mean, metric: str) -> Mean:
    """End the interval of a share at 0 and 1, beyond which it says nothing: Student's t knows no ends."""
    if mean.interval is None or not SHARE.search(metric):
        return mean
    low, high = mean.interval
    return mean._replace(interval=(max(low, 0.0), min(high, 1.0)))


def value_of(run: Run, key: str) -> str:
    """Return what a run has for a key, as text: a value of the config, or a typed choice of a group."""
    return text_of(run.values[key]) if key in run.values else run.typed.get(key, "")


def text_of(value: Any) -> str:
    """Write a value of the config as one would type it: ``[16,32]``, ``true``, ``null``, ``0.001``."""
    if isinstance(value, list):
        return f"[{','.join(text_of(one) for one in value)}]"
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"), default=str)


def repeat_of(run: Run, over: Sequence[str]) -> Repeat:
    """Tell which repeat of its setting a run is."""
    fold = None
    if has_folds(run):
        fold = (value_of(run, "data.fold_seed"), value_of(run, "data.fold"))
    return Repeat(fold, tuple(value_of(run, key) for key in over if key not in ("data.fold", "data.fold_seed")))


def has_folds(run: Run) -> bool:
    """Tell whether ``data.fold`` means anything in the run's split."""
    return value_of(run, "data.protocol") in ("grouped", "blocked")


def folds_of(runs: Sequence[Run]) -> int:
    """Return the number of folds that the data of these runs are cut into."""
    words = [value_of(run, "data.folds") for run in runs]
    return max([2, *(int(word) for word in words if word.isdigit())])


def mean_of(values: dict[Repeat, float], folds: int) -> Mean:
    """Average over folds where there are several, else over seeds."""
    by_fold: dict[tuple[str, str] | None, list[float]] = defaultdict(list)
    for repeat, value in values.items():
        by_fold[repeat.fold].append(value)
    if len(by_fold) > 1:
        return over_folds([np.array(seeds) for seeds in by_fold.values()], folds, TRAINED_SHARE)
    return over_seeds(np.array(list(values.values())))


def split_settings(runs: Sequence[Run], over: Sequence[str] = REPEATED) -> list[Setting]:
    """Group runs that differ in nothing but what is averaged over.

    The whole composed config decides, with the data as the manifest describes them, not what was typed: runs on other
    images, of another split or another precision are never averaged.

    Args:
        runs: At least one.
        over: Keys to average over.

    Returns:
        The settings, in the order of their first runs; what each shows is the typed keys that vary, and, where
        these do not tell two settings apart, what else does.
    """
    groups: dict[Identity, list[Run]] = {}
    of_config: dict[Identity, Identity] = {}
    for run in sorted(runs, key=lambda run: not run.manifest):
        config = _comparable(run.config or run.typed, over)
        # One that failed before its manifest was written belongs to those with the same config.
        identity = _comparable(run.values, over) if run.manifest else of_config.get(config, config)
        of_config.setdefault(config, identity)
        groups.setdefault(identity, []).append(run)
    first = {id(run): number for number, run in enumerate(runs)}
    ordered = sorted(groups.values(), key=lambda members: first[id(members[0])])
    columns = _tell_apart(ordered, varied_keys(runs, over), over)
    return [Setting({key: _joined(members, key) for key in columns}, members, tuple(over)) for members in ordered]


def typed_keys(runs: Sequence[Run]) -> list[str]:
    """List every key that was typed for one of the runs and may change its result."""
    return [key for key in dict.fromkeys(key for run in runs for key in run.typed) if _is_setting(key)]


def varied_keys(runs: Sequence[Run], without: Sequence[str] = ()) -> list[str]:
    """List the typed keys in whose values the runs differ."""
    keys = [key for key in typed_keys(runs) if key not in without]
    return [key for key in keys if len({value_of(run, key) for run in runs}) > 1]


def _is_setting(key: str) -> bool:
    return key not in NO_SETTING and key.partition(".")[0] != "logger"


def _comparable(values: dict[str, Any], over: Sequence[str]) -> Identity:
    kept = (key for key in values if key not in over and _is_setting(key))
    return tuple(sorted((key, text_of(values[key])) for key in kept))


def _tell_apart(groups: Sequence[list[Run]], columns: list[str], over: Sequence[str]) -> list[str]:
    """Columns with as many further keys of the config as it takes to show no two settings alike."""
    while True:
        seen = defaultdict(list)
        for members in groups:
            seen[tuple(value_of(members[0], key) for key in columns)].append(members[0])
        alike = next((first for first in seen.values() if len(first) > 1), [])
        keys = [key for run in alike for key in run.values if key not in over and _is_setting(key)]
        further = next((key for key in keys if len({value_of(run, key) for run in alike}) > 1), None)
        if further is None:
            return columns
        columns = [*columns, further]


def _joined(runs: Sequence[Run], key: str) -> str:
    return " or ".join(dict.fromkeys(value_of(run, key) for run in runs))
