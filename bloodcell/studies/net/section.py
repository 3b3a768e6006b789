"""The net of the package in the report: calibration, doubt, and whether its maps are to be believed."""

import csv
import gzip
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from bloodcell.common.files import read_json
from bloodcell.evidence import figures
from bloodcell.evidence.calibration import reliability
from bloodcell.studies.maps.run import maps_table


def draw_net_figures(results: Path) -> None:
    """Draw the calibration of the out-of-fold predictions, and the accuracy of the surest answers alone."""
    with gzip.open(results / "crops" / "found.csv.gz", "rt", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    classes = [name.removeprefix("p_") for name in rows[0] if name.startswith("p_")]
    probabilities = np.array([[float(row[f"p_{name}"]) for name in classes] for row in rows])
    labels, groups = np.array([classes.index(row["class"]) for row in rows]), np.array([row["group"] for row in rows])
    bins = reliability(labels, probabilities, groups)
    title = f"out of fold, {len(rows)} photographs in {len(np.unique(groups))} field groups"
    figures.save(figures.reliability_diagram(bins, title), results / "net" / "reliability.png")
    risk = read_json(results / "doubt" / "doubt.json")["cells"]["risk"]
    figures.save(_risk_curve(risk), results / "net" / "risk.png")


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
