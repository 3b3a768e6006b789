"""The picture of the study: a panel for each source and target."""

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

SHADES = ("#2e4057", "#d1495b", "#66a182", "#edae49")


def transfer_figure(rows: Sequence[Mapping[str, Any]]) -> Figure:
    """Draw balanced accuracy by what was looked at of the target.

    Args:
        rows: Of ``transfer.json``.

    Returns:
        The figure: points are means over seeds, bars 95 % intervals, a colour for each way of colours.
    """
    pairs = list(dict.fromkeys((str(row["source"]), str(row["target"])) for row in rows))
    stains = list(dict.fromkeys(str(row["stain"]) for row in rows))
    looks = list(dict.fromkeys(str(row["looked_at"]) for row in rows))
    columns = min(len(pairs), 2)
    lines = -(-len(pairs) // columns)
    figure = Figure(figsize=(5.2 * columns, 0.8 + 3.2 * lines), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(lines, columns, sharex=True, sharey=True, squeeze=False).ravel()
    chance = 1 / len(rows[0]["recall"])
    for axes, (source, target) in zip(panels, pairs, strict=False):
        for row in rows:
            if (row["source"], row["target"]) != (source, target):
                continue
            number, score = stains.index(row["stain"]), row["balanced_acc"]
            place = looks.index(row["looked_at"]) + 0.16 * (number - (len(stains) - 1) / 2)
            axes.plot([place] * 2, score["interval"], color=SHADES[number % len(SHADES)], lw=2.2, alpha=0.55)
            axes.plot(place, score["mean"], "o", color=SHADES[number % len(SHADES)], ms=5.5)
        axes.axhline(chance, color="grey", ls=":", lw=1)
        axes.set_title(f"{source} to {target}", fontsize=10)
        axes.grid(axis="y", alpha=0.25)
        axes.set(ylim=(0, 1.02), xlim=(-0.5, len(looks) - 0.5))
        axes.set_xticks(range(len(looks)), [look.replace(" ", "\n", 1).replace(" cells", "\ncells") for look in looks])
        axes.tick_params(axis="x", labelsize=8)
    for axes in panels[len(pairs) :]:
        axes.set_visible(False)
    for number, stain in enumerate(stains):
        panels[0].plot([], [], "o", color=SHADES[number % len(SHADES)], label=f"colours: {stain}")
    panels[0].legend(loc="lower right", frameon=False, fontsize=8)
    figure.supylabel("balanced accuracy (dotted: chance)", fontsize=10)
    figure.supxlabel("looked at of the target before, apart from what is tested", fontsize=10)
    return figure
