"""The picture of the ladder."""

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D


def ladder_figure(rows: Sequence[Mapping[str, Any]], rungs: Mapping[str, str]) -> Figure:
    """Draw the balanced accuracy of each model under each protocol, on held-out copies and on originals.

    Args:
        rows: Of ``ladder.json``.
        rungs: The name of each protocol, from the most to the least flattering.

    Returns:
        The figure: models from top to bottom, a panel for each view, seeds as ticks, 95 % intervals as bars.
    """
    figure = Figure(figsize=(10.5, 4.6), layout="constrained")
    FigureCanvasAgg(figure)
    models = list(dict.fromkeys(str(row["model"]) for row in rows))
    panels = figure.subplots(1, 2, sharex=True, sharey=True)
    shades = dict(zip(rungs, ("#d1495b", "#edae49", "#66a182", "#2e4057", "#8a5a9e"), strict=False))
    for axes, view, name in zip(
        panels, ("twin", "original"), ("held-out copies", "originals, one per photograph"), strict=True
    ):
        for row in rows:
            one, offset = row[view]["balanced_acc"], 0.18 * (list(rungs).index(row["rung"]) - (len(rungs) - 1) / 2)
            place = models.index(row["model"]) + offset
            low, high = one["interval"]
            axes.plot([low, high], [place, place], color=shades[row["rung"]], lw=2.2, alpha=0.55)
            axes.plot(one["seeds"], [place] * len(one["seeds"]), "|", color=shades[row["rung"]], ms=7)
            axes.plot([one["mean"]], [place], "o", color=shades[row["rung"]], ms=5.5)
        axes.axvline(0.25, color="grey", ls=":", lw=1)
        axes.text(0.258, -0.75, "chance", color="grey", fontsize=8, va="top")
        axes.set(xlim=(0, 1.02), xlabel="balanced accuracy", ylim=(len(models) - 0.5, -0.8))
        axes.set_title(f"tested on {name}", fontsize=10)
        axes.grid(axis="x", alpha=0.25)
    panels[0].set_yticks(range(len(models)), models)
    handles = [Line2D([], [], color=shades[key], marker="o", lw=2.2, label=name) for key, name in rungs.items()]
    columns = 4 if len(rungs) < 5 else 3
    figure.legend(handles=handles, loc="outside lower center", ncols=columns, frameon=False, fontsize=9, title="split")
    figure.suptitle("Same net, same recipe, same number of training images, another split", fontsize=11)
    return figure
