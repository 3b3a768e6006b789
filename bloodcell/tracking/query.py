"""Which runs are shown, which of their metrics, and in which order."""

import difflib
import operator
import re
from collections import Counter
from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeVar

from bloodcell.common.errors import InputError
from bloodcell.tracking.reader import Run
from bloodcell.tracking.settings import Setting, typed_keys, value_of

Row = TypeVar("Row")

VALIDATION = "val/balanced_acc"
# Of runs that measure neither, the first few of their metrics are shown.
SHOWN = (VALIDATION, "test/balanced_acc")
COMPARISONS: dict[str, Callable[[float, float], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
}


class Order(NamedTuple):
    """How rows are sorted.

    Attributes:
        by: A metric, a key, ``state`` or ``seconds``; empty if nothing may decide.
        descending: Whether the highest comes first.
        said: The order in words, for the line below the table.
    """

    by: str
    descending: bool
    said: str


def filter_runs(runs: Sequence[Run], conditions: Sequence[str]) -> list[Run]:
    """Keep the runs that meet every condition.

    Args:
        runs: At least one.
        conditions: ``KEY=VALUE``, ``KEY!=VALUE``, or a comparison of numbers as ``val/balanced_acc>0.8``; a key of
            the config, a group, a metric, ``state`` or ``seconds``.

    Returns:
        Those runs, at least one.

    Raises:
        InputError: If a condition cannot be read, names what no run has, or no run is left.
    """
    left = list(runs)
    for condition in conditions:
        found = re.fullmatch(r"([^=<>!]+)(!=|>=|<=|=|>|<)(.*)", condition.strip())
        if found is None:
            raise InputError(
                f"--where {condition}",
                expected="KEY=VALUE or NAME>NUMBER",
                got="something else",
                fix="as --where optim.lr=0.001, --where 'val/balanced_acc>0.8' or --where state=failed",
            )
        name, sign, wanted = (part.strip() for part in found.groups())
        check_known(runs, name, f"--where {condition}")
        left = [run for run in left if _meets(content_of(run, name), sign, wanted, condition)]
    if not left:
        raise InputError(
            f"--where {' '.join(conditions)}",
            expected="at least one run that meets it",
            got=f"none of {len(runs)}",
            fix="see what there is without it",
        )
    return left


def content_of(run: Run, name: str) -> str | float | None:
    """Look up a name in a run: a metric, ``state``, ``seconds``, a key or a group; ``None`` if it has none."""
    if name in run.metrics:
        return run.metrics[name]
    if name == "state":
        return run.state
    if name == "seconds":
        return run.seconds
    return value_of(run, name) or None


def choose_metrics(runs: Sequence[Run], asked: Sequence[str], order: Order) -> list[str]:
    """Choose the metrics to show: those asked for, else the one that rows are sorted by, and balanced accuracy.

    Raises:
        InputError: If no run has a metric that was asked for.
    """
    known = list(dict.fromkeys(name for run in runs for name in run.metrics))
    for name in asked:
        if known and name not in known:
            raise _unknown(f"--metric {name}", "a metric of these runs", name, known)
    if asked:
        return list(dict.fromkeys(asked))
    shown = [name for name in dict.fromkeys([order.by, *SHOWN]) if name in known]
    return shown or known[:3]


def monitored_by(runs: Sequence[Run]) -> tuple[str, bool] | None:
    """Find the validation metric that settings are chosen by, and whether more is better; ``None`` without one.

    It is what the runs' checkpoints were chosen by (``monitor.metric``), or balanced accuracy. A test metric is
    never used, whatever a config monitors.
    """
    measured = [run for run in runs if run.metrics]
    pairs = Counter(
        (str(run.config.get("monitor.metric")), str(run.config.get("monitor.mode", "max"))) for run in measured
    )
    wanted = [*(pair for pair, _ in pairs.most_common()), (VALIDATION, "max")]
    for name, mode in wanted:
        if name.startswith("val/") and any(name in run.metrics for run in measured):
            return name, mode == "max"
    return None


def check_known(runs: Sequence[Run], name: str, where: str) -> None:
    """Stop at a name that none of the runs has, and name those that are close.

    Args:
        runs: At least one.
        name: A key, a group, a metric, ``state`` or ``seconds``.
        where: The option that names it.

    Raises:
        InputError: If no run has it.
    """
    if name in ("state", "seconds") or any(content_of(run, name) is not None for run in runs):
        return
    metrics = [key for run in runs for key in run.metrics]
    known = dict.fromkeys([*typed_keys(runs), *metrics, *(key for run in runs for key in run.values)])
    raise _unknown(where, "a key or a metric of these runs", name, list(known))


def is_test(metric: str) -> bool:
    """Tell whether a metric is of test images, which choose nothing."""
    return metric.startswith(("test/", "original/", "twin/"))


def choose_order(runs: Sequence[Run], asked: str | None) -> Order:
    """Choose how to sort: as asked, else best first by the metric that settings are chosen by.

    Args:
        runs: At least one.
        asked: ``NAME``, lowest first, or ``-NAME``, highest first.

    Raises:
        InputError: If no run has what was asked for.
    """
    if asked:
        name = asked.removeprefix("-")
        check_known(runs, name, f"--sort {asked}")
        descending = asked.startswith("-")
        said = f"sorted by {name}, {'highest' if descending else 'lowest'} first"
        if is_test(name):
            said += "; choose no setting by it: a test metric is for the one that validation chose"
        return Order(name, descending, said)
    found = monitored_by(runs)
    if found is None:
        if not any(run.metrics for run in runs):
            return Order("", False, "in the order of their paths: no run has a metric yet")
        return Order("", False, "in the order of their paths: no validation metric, and a test metric chooses nothing")
    name, more_is_better = found
    return Order(
        name,
        more_is_better,
        f"best first by {name}: settings are chosen by validation; read the test metrics of the chosen one",
    )


def sort_runs(runs: Sequence[Run], order: Order) -> list[Run]:
    """Sort runs; those that have nothing to be sorted by come last."""
    return in_order(runs, [content_of(run, order.by) if order.by else None for run in runs], order)


def sort_settings(settings: Sequence[Setting], order: Order) -> list[Setting]:
    """Sort settings, by their means where it is a metric."""

    def content(setting: Setting) -> str | float | None:
        mean = setting.mean(order.by)
        return content_of(setting.runs[0], order.by) if mean is None else mean.value

    return in_order(settings, [content(setting) if order.by else None for setting in settings], order)


def in_order(rows: Sequence[Row], contents: Sequence[str | float | None], order: Order) -> list[Row]:
    """Sort rows by their contents, numbers as numbers; ``None`` last; equal ones stay as they are."""
    numbers = [_number(content) for content in contents]
    numeric = all(number is not None for number, content in zip(numbers, contents, strict=True) if content is not None)
    keys: list[str | float | None] = list(numbers) if numeric else [None if c is None else str(c) for c in contents]
    pairs = list(zip(keys, rows, strict=True))
    held = [pair for pair in pairs if pair[0] is not None]
    held.sort(key=operator.itemgetter(0), reverse=order.descending)
    return [row for _, row in held] + [row for key, row in pairs if key is None]


def _meets(content: str | float | None, sign: str, wanted: str, condition: str) -> bool:
    one, other = _number(content), _number(wanted)
    if sign in COMPARISONS:
        if other is None:
            raise InputError(
                f"--where {condition}", expected=f"a number after {sign}", got=wanted or "nothing", fix="or use ="
            )
        return one is not None and COMPARISONS[sign](one, other)
    alike = one == other if one is not None and other is not None else str(content or "") == wanted.replace(" ", "")
    return alike is (sign == "=")


def _number(content: str | float | None) -> float | None:
    try:
        return None if content is None else float(content)
    except ValueError:
        return None


def _unknown(where: str, expected: str, got: str, known: Sequence[str]) -> InputError:
    near = difflib.get_close_matches(got, known, n=3, cutoff=0.5)
    fix = f"did you mean {' or '.join(near)}?" if near else f"there is {', '.join(known[:6])}"
    return InputError(where, expected=expected, got=got, fix=fix)
