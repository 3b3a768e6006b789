"""The picture of a sweep: what each key that varied did to a metric."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from bloodcell.evidence.figures import TRAIN_COLOUR, VAL_COLOUR
from bloodcell.evidence.repeats import Mean

Floats = npt.NDArray[np.float64]

# Panels in a row, levels that a panel can name one by one, and letters that fit below it in a line.
COLUMNS, NAMED, WIDE = 3, 12, 34


def main_effects(
    values: Mapping[str, Mapping[str, Floats]], means: Mapping[str, Mapping[str, Mean]], metric: str, title: str
) -> Figure:
    """Draw a panel for each key: every run a dot at its level, and the mean of each level with its interval.

    Levels that are numbers are placed by their value, on a logarithmic axis where they span a decade; others are side
    by side with their names.

    Args:
        values: For each key, for each of its levels, the metric of the runs; at least one key.
        means: The same with their means over repeats.
        metric: What it is called.
        title: Heading.

    Returns:
        The figure; panels share the axis of the metric, and intervals may extend beyond it.
    """
    rows = math.ceil(len(values) / COLUMNS)
    columns = min(len(values), COLUMNS)
    figure = Figure(figsize=(max(4.8, 3.4 * columns), 3.3 * rows + 0.5), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(rows, columns, squeeze=False, sharey=True)
    for axes in panels.flat[len(values) :]:
        axes.set_axis_off()
    for axes, (key, levels) in zip(panels.flat, values.items(), strict=False):
        names = sorted(levels, key=lambda name: (_number(name) is None, _number(name) or 0.0))
        places = _place(axes, names)
        for name, place in zip(names, places, strict=True):
            _draw_level(axes, place, levels[name], means[key][name])
        drawn = [(place, means[key][name].value) for name, place in zip(names, places, strict=True)]
        if _are_numbers(names):
            axes.plot(*zip(*drawn, strict=True), color=VAL_COLOUR, lw=1, alpha=0.5, zorder=2)
        axes.set_xlabel(key)
        axes.grid(axis="y", alpha=0.25)
    for row in panels:
        row[0].set_ylabel(metric)
    # The runs are what is to be seen: the interval of two seeds would be many times as tall, so it is cut.
    every = np.concatenate([held for levels in values.values() for held in levels.values()])
    room = 0.6 * float(np.ptp(every)) or 0.05
    panels[0, 0].set_ylim(float(every.min()) - room, float(every.max()) + room)
    figure.suptitle(title, fontsize=10)
    return figure


def _draw_level(axes: Axes, place: float, values: Floats, mean: Mean) -> None:
    axes.plot([place] * len(values), values, "o", color=TRAIN_COLOUR, ms=5, alpha=0.6, mew=0, zorder=4)
    if len(values) > 1:
        axes.plot([place], [mean.value], "_", color=VAL_COLOUR, ms=14, mew=2, zorder=3)
    if mean.interval:
        axes.plot([place, place], mean.interval, color=VAL_COLOUR, lw=7, alpha=0.22, solid_capstyle="butt")


def _place(axes: Axes, names: Sequence[str]) -> list[float]:
    """Where each level is on the axis, whose ticks are set."""
    numbers = [_number(name) for name in names]
    places = [float(number) for number in numbers if number is not None]
    if len(places) < len(names):
        places = [float(k) for k in range(len(names))]
        short = [name if len(name) <= 22 else f"{name[:21]}…" for name in names]
        long = sum(len(name) + 2 for name in short) > WIDE
        axes.set_xticks(places, short, rotation=35 if long else 0, ha="right" if long else "center", fontsize=8)
        axes.set_xlim(-0.6, len(names) - 0.4)
        return places
    if min(places) > 0 and max(places) >= 10 * min(places):
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter("{x:g}")
        axes.margins(x=0.12)
    else:
        axes.margins(x=0.15)
    if len(names) <= NAMED:
        crowded = len(names) > 4
        axes.set_xticks(places, names, rotation=35 if crowded else 0, ha="right" if crowded else "center", fontsize=8)
        axes.xaxis.set_minor_locator(NullLocator())
    return places


def _are_numbers(names: Sequence[str]) -> bool:
    return all(_number(name) is not None for name in names)


def _number(name: str) -> float | None:
    try:
        number = float(name)
    except ValueError:
        return None
    return number if math.isfinite(number) else None
