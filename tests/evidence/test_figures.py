"""Figures stay within bounds, however many classes there are."""

import numpy as np
import pytest

from bloodcell.evidence import figures


def names(classes: int) -> list[str]:
    return [f"class {k:03d}" for k in range(classes)]


@pytest.mark.parametrize("classes", [2, 5, 24, 25, 60, 1000])
def test_a_confusion_matrix_of_many_classes_is_no_larger_than_one_of_some(classes: int) -> None:
    counts = np.random.default_rng(0).integers(0, 9, (classes, classes))
    figure = figures.confusion_matrix(counts, names(classes), "title")
    (axes,) = figure.axes
    assert len(axes.texts) == (classes**2 if classes <= 24 else 0)
    ticks = axes.get_xticklabels()
    assert ticks[0].get_text() == "class 000"
    assert len(ticks) <= 50
    width, height = figure.get_size_inches()
    assert max(width, height) < 15  # inches
    shown = axes.images[0].get_array()
    assert shown is not None
    assert shown.shape == (classes, classes)


@pytest.mark.parametrize("classes", [2, 10, 11, 1000])
def test_curves_of_precision_and_recall_are_of_the_commonest_classes(classes: int) -> None:
    rng = np.random.default_rng(0)
    labels = np.concatenate([np.repeat(np.arange(classes - 1), 2), np.full(5, classes - 1)])
    probabilities = rng.random((len(labels), classes))
    figure = figures.precision_recall(labels, probabilities, names(classes), "title")
    (axes,) = figure.axes
    assert len(axes.lines) == min(classes, 10)
    assert any(str(line.get_label()).startswith(f"class {classes - 1:03d} ") for line in axes.lines)
    assert (f"the 10 of {classes:,} classes" in axes.get_title()) == (classes > 10)
    # Told apart without colour as well.
    first = [(line.get_linestyle(), line.get_color()) for line in axes.lines]
    assert len(set(first)) == len(first)
    assert len({style for style, _ in first[:4]}) == min(4, len(first))


def test_classes_without_images_have_no_curve() -> None:
    figure = figures.precision_recall(np.array([0, 0, 2]), np.full((3, 3), 1 / 3), names(3), "title")
    assert len(figure.axes[0].lines) == 2


def test_a_validation_that_comes_once_is_drawn_at_its_epoch() -> None:
    nan = float("nan")
    (axes,) = figures.curves([0.9, 0.5, 0.3], [nan, nan, 0.4], "loss", "validation", "x").axes
    train, val = axes.get_lines()
    assert train.get_xdata().tolist() == [1, 2, 3]
    assert (val.get_xdata().tolist(), val.get_ydata().tolist()) == ([3], [0.4])
    (empty,) = figures.curves([nan], [], "loss", "validation", "x").axes
    assert empty.get_ylim()[1] > 0
