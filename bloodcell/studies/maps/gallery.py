"""A picture of maps: of each class the surest right answer and the worst mistake, beside nets of random weights."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure

from bloodcell.data.micrographs import Pixels
from bloodcell.evidence import figures
from bloodcell.evidence.intervals import Floats

EACH = 1  # right answers of a class, and mistakes


class Shown(NamedTuple):
    """A cell with its maps.

    Attributes:
        view: What the net looked at, RGB, uint8, shape (H, W, 3).
        label: Class number.
        answer: What the net said.
        probability: Of that.
        maps: Of each method that of the trained net and that of random weights, shape (H, W).
    """

    view: Pixels
    label: int
    answer: int
    probability: float
    maps: Sequence[tuple[Floats, Floats]]


def write_gallery(cells: Sequence[Shown], classes: Sequence[str], methods: Sequence[str], path: Path) -> None:
    """Draw of each class the right answers and the mistakes that the net was surest of.

    Args:
        cells: All of them.
        classes: Class names.
        methods: Names of the methods.
        path: The picture.
    """
    rows, surest = list[Shown](), sorted(cells, key=lambda one: -one.probability)
    for k in range(len(classes)):
        for right in (True, False):
            rows += [one for one in surest if one.label == k and (one.answer == k) == right][:EACH]
    figure = Figure(figsize=(1.1 * (1 + 2 * len(methods)), 1.22 * len(rows) + 0.4), layout="constrained")
    axes = figure.subplots(len(rows), 1 + 2 * len(methods), squeeze=False)
    for row, one in enumerate(rows):
        axes[row, 0].imshow(one.view)
        said = classes[one.answer].lower()
        title = said if one.answer == one.label else f"{said}, is {classes[one.label].lower()}"
        axes[row, 0].set_title(title, fontsize=5.5, color="black" if one.answer == one.label else "firebrick")
        for column, heat in enumerate([heat for pair in one.maps for heat in pair], start=1):
            axes[row, column].imshow(one.view.mean(axis=2), cmap="gray")
            axes[row, column].imshow(heat, cmap="inferno", alpha=0.6, vmin=0, vmax=max(float(np.max(heat)), 1e-9))
            if row == 0:
                name = methods[(column - 1) // 2].replace("_", "\n")
                axes[row, column].set_title(name if column % 2 else "random weights", fontsize=5.5)
    for one_axes in axes.flat:
        one_axes.set_axis_off()
    figures.save(figure, path)
