"""The net of the package in the report: calibration, doubt, and whether its maps are to be believed."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from bloodcell.common.files import read_json
from bloodcell.evidence import figures
from bloodcell.evidence.calibration import ReliabilityBin
from bloodcell.evidence.intervals import Estimate
from bloodcell.studies.maps.run import maps_table


def draw_net_figures(results: Path) -> None:
    """Draw the calibration of the out-of-fold predictions, and the accuracy of the surest answers alone."""
    cells = read_json(results / "doubt" / "doubt.json")["cells"]
    bins = [ReliabilityBin(one["confidence"], Estimate(*one["correct"]), one["images"]) for one in cells["calibration"]]
    title = f"out of fold, {cells['cells']} photographs in {cells['groups']} field groups"
    figures.save(figures.reliability_diagram(bins, title), results / "net" / "reliability.png")
    figures.save(_risk_curve(cells["risk"]), results / "net" / "risk.png")


def _risk_curve(points: Sequence[Mapping[str, Any]]) -> Figure:
    figure = Figure(figsize=(5.6, 4.2), layout="constrained")
    axes = figure.subplots()
    answered = [point["answered"] for point in points]
    value, low, high = np.array([point["accuracy"][:3] for point in points]).T
    axes.fill_between(answered, low, high, alpha=0.15, linewidth=0, label="95 % interval")
    axes.plot(answered, value, "o-", label="accuracy of these")
    axes.set(xlabel="share of the cells that is answered, the surest first", ylabel="accuracy")
    axes.invert_xaxis()
    axes.grid(alpha=0.25)
    axes.legend(frameon=False, loc="lower right")
    axes.set_title("held-out cells, out of fold", fontsize=10)
    return figure


def maps_text(results: Path) -> str:
    """Write what the maps of the methods are worth."""
    return maps_table(read_json(results / "explain" / "explain.json"))
