"""The picture of what each key of a sweep did."""

import numpy as np
import pytest
from matplotlib.axes import Axes

from bloodcell.evidence.repeats import over_seeds
from bloodcell.tracking.effects import main_effects

VALUES = {
    "optim.lr": {"0.1": [0.5, 0.6], "1e-05": [0.4, 0.4], "0.001": [0.7, 0.9]},
    "trainer.max_epochs": {"5": [0.5, 0.6], "8": [0.7, 0.9]},
    "model.widths": {"[8,16,32]": [0.5, 0.6], "[8,16,32,64,128,256,512]": [0.7]},
}


def panels() -> dict[str, Axes]:
    values = {key: {name: np.array(held) for name, held in levels.items()} for key, levels in VALUES.items()}
    means = {key: {name: over_seeds(held) for name, held in levels.items()} for key, levels in values.items()}
    figure = main_effects(values, means, "val/acc", "a title")
    figure.draw_without_rendering()
    return {axes.get_xlabel(): axes for axes in figure.axes}


def test_numbers_that_span_decades_stand_on_a_logarithmic_axis_in_order() -> None:
    drawn = panels()
    assert {key: axes.get_xscale() for key, axes in drawn.items()} == {
        "optim.lr": "log",
        "trainer.max_epochs": "linear",
        "model.widths": "linear",
    }
    assert list(drawn["optim.lr"].get_xticks()) == [1e-5, 1e-3, 0.1]
    assert [label.get_text() for label in drawn["optim.lr"].get_xticklabels()] == ["1e-05", "0.001", "0.1"]


@pytest.mark.parametrize("key", VALUES)
def test_every_run_is_a_dot_and_several_have_their_mean_and_interval(key: str) -> None:
    lines = panels()[key].get_lines()
    dots = [float(y) for line in lines if line.get_marker() == "o" for y in line.get_ydata()]
    assert sorted(dots) == sorted(value for held in VALUES[key].values() for value in held)
    means = [float(line.get_ydata()[0]) for line in lines if line.get_marker() == "_"]
    assert sorted(means) == pytest.approx(sorted(np.mean(held) for held in VALUES[key].values() if len(held) > 1))
    bars = [
        line for line in lines if len(set(line.get_xdata())) == 1 and line.get_linestyle() == "-" and not dots_of(line)
    ]
    assert len(bars) == sum(len(set(held)) > 1 for held in VALUES[key].values())


def dots_of(line: object) -> bool:
    return line.get_marker() in ("o", "_")  # type: ignore[attr-defined]  # a line of matplotlib


def test_long_names_are_cut_and_do_not_overlap() -> None:
    axes = panels()["model.widths"]
    labels = axes.get_xticklabels()
    assert max(len(label.get_text()) for label in labels) <= 22
    first, second = (label.get_window_extent() for label in labels)
    assert labels[0].get_rotation() > 0 or first.x1 < second.x0
