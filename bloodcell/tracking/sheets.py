"""Sheets: a row per setting, a row per run, a row per comparison, with what must be said below each."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from bloodcell.common.console import counted, duration
from bloodcell.common.errors import printable
from bloodcell.evidence.repeats import Mean, equivalence, smallest_found
from bloodcell.tracking.pairs import Pair
from bloodcell.tracking.query import Order, is_test
from bloodcell.tracking.reader import Run
from bloodcell.tracking.settings import REPEATED, SPLIT, Repeat, Setting, has_folds, typed_keys, value_of, varied_keys

# Runs without a result that are named below the settings, at most.
NAMED = 10


@dataclass(frozen=True)
class Sheet:
    """A table as text.

    Attributes:
        title: What the rows are.
        header: Column names.
        rows: Cells; a cell of two lines is a mean with its interval.
        keys: How many columns, from the second on, hold the keys of a setting.
        notes: Lines below the table.
        numbers: The table for a machine: header, then rows with every digit.
    """

    title: str
    header: list[str]
    rows: list[list[str]]
    keys: int = 0
    notes: list[str] = field(default_factory=list)
    numbers: list[list[str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Replace what no terminal, page or table may be given: names and texts in it may be anybody's."""
        object.__setattr__(self, "title", printable(self.title))
        for lines in [self.header, self.notes, *self.rows, *self.numbers]:
            lines[:] = ["\n".join(map(printable, text.split("\n"))) for text in lines]


def settings_sheet(settings: Sequence[Setting], metrics: Sequence[str], order: Order) -> Sheet:
    """Make a row per setting: how many of its runs are done, and each metric over them.

    Args:
        settings: In the order of the rows, at least one.
        metrics: What is shown.
        order: How they were sorted.

    Returns:
        The table.
    """
    keys = list(settings[0].shown)
    rows, numbers = [], []
    for number, setting in enumerate(settings, 1):
        done, total = len(setting.done), len(setting.runs)
        means = [setting.mean(name) for name in metrics]
        first = [str(number), *setting.shown.values()]
        rows.append([*first, _done(setting), *(_mean_cell(mean) for mean in means)])
        numbers.append([*first, str(done), str(total), *(word for mean in means for word in _digits(mean))])
    runs = [run for setting in settings for run in setting.runs]
    parts = ("mean", "sd", "low", "high", "repeats")
    wide = ["#", *keys, "done", "runs", *(f"{name} {part}" for name in metrics for part in parts)]
    said = [
        _common(runs),
        order.said + ".",
        _of_splits(settings),
        *_of_intervals(settings, metrics),
        *_of_repeats(settings, metrics),
    ]
    return Sheet(
        f"{counted(len(settings), 'setting')}, {counted(len(runs), 'run')}",
        ["#", *keys, "done", *metrics],
        rows,
        len(keys),
        [line for line in [*said, *_of_versions(runs), *_troubles(runs, NAMED)] if line],
        [wide, *numbers],
    )


def runs_sheet(runs: Sequence[Run], metrics: Sequence[str], order: Order | None = None) -> Sheet:
    """Make a row per run: its keys that vary, its state and time, its metrics; below it why runs failed.

    Args:
        runs: In the order of the rows, at least one.
        metrics: What is shown.
        order: How they were sorted; ``None`` to leave it out.

    Returns:
        The table.
    """
    keys = varied_keys(runs)
    rows, numbers = [], []
    for run in runs:
        setting = [value_of(run, key) for key in keys]
        held = [run.metrics.get(name) for name in metrics]
        cells = ["" if value is None else f"{value:.4g}" for value in held]
        rows.append([_short(run.path.name), *setting, run.progress, duration(run.seconds), *cells])
        seconds = "" if run.seconds is None else f"{run.seconds:g}"
        epoch = str(run.status.get("epoch", ""))
        digits = ["" if value is None else repr(value) for value in held]
        numbers.append([str(run.path), *setting, run.state, epoch, seconds, *digits, run.why])
    said = [_common(runs), order.said + "." if order else "", *_of_versions(runs), *_troubles(runs, len(runs))]
    return Sheet(
        counted(len(runs), "run"),
        ["run", *keys, "state", "time", *metrics],
        rows,
        len(keys),
        [line for line in said if line],
        [["run", *keys, "state", "epoch", "seconds", *metrics, "error"], *numbers],
    )


def pairs_sheet(pairs: Sequence[Pair], settings: Sequence[Setting], metric: str, margin: float | None = None) -> Sheet:
    """Make a row per comparison; those that cannot be tested are below, in words.

    Args:
        pairs: From ``pairs.paired_comparisons``.
        settings: What their numbers mean.
        metric: What was compared.
        margin: The largest difference that does not matter, to test whether settings are equivalent; ``None`` not to.

    Returns:
        The table.
    """
    rows = []
    for pair in pairs:
        mean = pair.difference
        if mean is None or mean.interval is None or mean.p is None or pair.p is None:
            continue
        low, high = mean.interval
        unit = "folds" if pair.folds else "seeds"
        first = [*_names(pair, settings), f"{mean.value:+.4f}\n{low:+.4f} to {high:+.4f}"]
        same = [] if margin is None else [f"{equivalence(mean, margin):.3g}"]
        over = f"{mean.repeats} {unit}\nfind {smallest_found(mean):.2g}"
        rows.append([*first, f"{mean.p:.3g}", f"{pair.p:.3g}", *same, over])
    same = [] if margin is None else [f"p (±{margin:g})"]
    header = ["setting", "minus", "difference", "p", "p (Holm)", *same, "over"]
    warning = (
        [f"{metric} is a test metric: it says how good a setting is, and chooses none."] if is_test(metric) else []
    )
    return Sheet(f"{metric}, compared", header, rows, 0, [*_of_tests(pairs, margin), *warning, *_untested(pairs)])


def _names(pair: Pair, settings: Sequence[Setting]) -> list[str]:
    """Both settings by number and by what they differ in."""
    mine, theirs = (settings[number - 1].shown for number in (pair.one, pair.other))
    keys = [key for key in mine if mine[key] != theirs[key]]
    return [
        "\n".join([f"#{number}", *(f"{key}={shown[key]}" for key in keys)])
        for number, shown in ((pair.one, mine), (pair.other, theirs))
    ]


def _untested(pairs: Sequence[Pair]) -> list[str]:
    """A line for each reason why settings were not tested against each other."""
    reasons: dict[str, list[str]] = {}
    for pair in pairs:
        if pair.untested:
            value = "" if pair.difference is None else f" ({pair.difference.value:+.4g})"
            reasons.setdefault(pair.untested, []).append(f"#{pair.one} and #{pair.other}{value}")
    return [f"not tested: {', '.join(names)}: {reason}." for reason, names in reasons.items()]


def _mean_cell(mean: Mean | None) -> str:
    """A mean with its standard deviation, and its interval on a second line."""
    if mean is None:
        return ""
    if mean.sd is None:
        return f"{mean.value:.4g}"
    first = f"{mean.value:.4g} sd {mean.sd:.2g}"
    return first if mean.interval is None else f"{first}\n{mean.interval[0]:.3g} to {mean.interval[1]:.3g}"


def _common(runs: Sequence[Run]) -> str:
    """What was typed for all runs alike, in one line; empty if nothing was."""
    left_out = {*varied_keys(runs), *REPEATED}
    same = [f"{key}={value_of(runs[0], key)}" for key in typed_keys(runs) if key not in left_out]
    return f"common: {' '.join(same)}" if same else ""


def _of_versions(runs: Sequence[Run]) -> list[str]:
    """A line if the runs are of several commits or versions."""
    held_commits = (run.part("git").get("commit") for run in runs if run.manifest)
    commits = Counter(str(commit or "unknown")[:7] for commit in held_commits)
    found = [f"{len(commits)} commits ({_some(commits)})"] if len(commits) > 1 else []
    versions = [run.part("versions") for run in runs if run.manifest]
    for name in dict.fromkeys(name for one in versions for name in one):
        held = list(dict.fromkeys(str(one[name]) for one in versions if name in one))
        if len(held) > 1:
            found.append(f"{name} {' and '.join(held)}")
    return [f"note: these runs are of {'; '.join(found)}."] if found else []


def _troubles(runs: Sequence[Run], most: int) -> list[str]:
    """A line for each run without a result: the epoch it is in, or why it ended."""
    without = [run for run in runs if run.state in ("running", "failed", "interrupted", "diverged")]
    lines = [f"{run.progress}: {run.path}{': ' + run.why if run.why else ''}" for run in without[:most]]
    more = len(without) - most
    return [*lines, f"and {more} more without a result: --each names them."] if more > 0 else lines


def _done(setting: Setting) -> str:
    others = Counter(run.state for run in setting.runs if run.state != "ok")
    return "\n".join(
        [f"{len(setting.done)} of {len(setting.runs)}", *(f"{number} {state}" for state, number in others.items())]
    )


def _digits(mean: Mean | None) -> list[str]:
    if mean is None:
        return [""] * 5
    numbers = (mean.value, mean.sd, *(mean.interval or (None, None)))
    return [*("" if number is None else repr(number) for number in numbers), str(mean.repeats)]


def _of_intervals(settings: Sequence[Setting], metrics: Sequence[str]) -> list[str]:
    """What the intervals of these settings are, and what they leave out."""
    folds, seeds, lone, flat = set(), False, False, False
    for setting in settings:
        for name in metrics:
            mean = setting.mean(name)
            if mean is None:
                continue
            lone |= mean.repeats == 1
            flat |= mean.sd == 0
            if mean.interval and len({repeat.fold for repeat in setting.repeats(name)}) > 1:
                folds.add(mean.repeats)
            elif mean.interval:
                seeds = True
    lines = []
    if seeds:
        one_split = not set(SPLIT) & set(settings[0].over)
        lines.append(
            f"intervals: 95 %, Student's t over {_over(settings)}{' of one split' if one_split else ''}. They say what "
            f"another seed would change; they leave out {'another split, ' if one_split else ''}other images and other "
            "patients."
        )
    if folds:
        number = " or ".join(str(k) for k in sorted(folds))
        lines.append(
            f"intervals: 95 %, over {number} folds, seeds averaged within each, by the corrected resampled t (Nadeau "
            "and Bengio 2003), as folds share training images. They leave out other ways to cut the folds, "
            "and other data."
        )
    if lone:
        lines.append("one value: no sd and no interval, another seed may give another number.")
    if flat:
        lines.append("sd 0: all repeats gave the same number, which says nothing of what another would give.")
    return lines


def _of_splits(settings: Sequence[Setting]) -> str:
    """A line if settings were tested on different images, so that no one reads them as better and worse."""
    if len({setting.split for setting in settings}) == 1:
        return ""
    return (
        "note: these settings are of several data sets or splits: only those of one are better or worse than another."
    )


def _over(settings: Sequence[Setting]) -> str:
    further = [key for key in settings[0].over if key not in REPEATED]
    return " and ".join(["seeds", *further])


def _of_repeats(settings: Sequence[Setting], metrics: Sequence[str]) -> list[str]:
    """Lines for what is uneven: a seed that was run twice within a setting, settings with different seeds."""
    lines = []
    fold = " and fold" if any(has_folds(setting.runs[0]) for setting in settings) else ""
    held = [{repeat for name in metrics for repeat in setting.repeats(name)} for setting in settings]
    measured = [sum(any(name in run.metrics for name in metrics) for run in setting.done) for setting in settings]
    again = sum(runs - len(repeats) for runs, repeats in zip(measured, held, strict=True))
    if again:
        lines.append(
            f"note: {counted(again, 'run')} of a seed{fold} that its setting has already: averaged with it, they count "
            "once."
        )
    by_split: dict[tuple[str, ...], set[frozenset[Repeat]]] = {}
    for setting, repeats in zip(settings, held, strict=True):
        if repeats:
            by_split.setdefault(setting.split, set()).add(frozenset(repeats))
    if any(len(different) > 1 for different in by_split.values()):
        said = "seeds and folds" if fold else "seeds"
        lines.append(
            f"note: not every setting has the same {said} done; --compare takes those that two have in common."
        )
    return lines


def _of_tests(pairs: Sequence[Pair], margin: float | None) -> list[str]:
    """What the tests are, and what they leave out."""
    tested = [pair for pair in pairs if pair.p is not None]
    if not tested:
        return []
    number = counted(len(tested), "comparison")
    lines = [
        f"difference: with its 95 % interval; p is two-sided, p (Holm) allows for the {number} shown; find: the "
        "smallest true difference that so many repeats find with a probability of 0.8."
    ]
    if margin is not None:
        lines.append(
            f"p (±{margin:g}): of two one-sided t tests (Schuirmann 1987); below 0.05, the true difference lies within "
            f"{margin:g} either way."
        )
    if any(not pair.folds for pair in tested):
        lines.append("over seeds: paired t on the seeds that both have, on one split; another split is left out.")
    if any(pair.folds for pair in tested):
        lines.append(
            "over folds: paired, seeds averaged within each fold, corrected resampled t (Nadeau and Bengio 2003); "
            "other ways to cut the folds are left out."
        )
    return lines


def _some(commits: Counter[str]) -> str:
    words = [f"{commit}: {counted(number, 'run')}" for commit, number in commits.most_common(4)]
    return ", ".join([*words, "..."] if len(commits) > 4 else words)


def _short(name: str) -> str:
    """The name of a run directory; of a sweep's job, whose name repeats its overrides, the hash at its end."""
    return re.sub(r"^.{18,}-([0-9a-f]{8})$", r"…\1", name)
