"""Figures of a run. Each function takes plain arrays and returns a matplotlib figure that nobody keeps open."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

TRAIN_COLOUR, VAL_COLOUR = "#8a5a9e", "#d1495b"
Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


def save(figure: Figure, path: Path) -> None:
    """Write a PNG at 150 dots per inch, atomically."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}")
    figure.savefig(partial, dpi=150, format="png")
    partial.replace(path)


def confusion_matrix(confusion: Ints, classes: Sequence[str], title: str) -> Figure:
    """Counts, and the share of each true class as shade and percentage.

    Args:
        confusion: Counts, rows truth, columns prediction.
        classes: Class names.
        title: Heading, with the caveat of the data where there is one.

    Returns:
        The figure.
    """
    shares = confusion / np.maximum(confusion.sum(axis=1, keepdims=True), 1)
    size = 3.2 + 0.85 * len(classes)
    figure, axes = _figure(size + 0.8, size)
    axes.imshow(shares, cmap="Purples", vmin=0, vmax=1)
    fontsize = 10 if len(classes) <= 5 else 8
    for row, column in np.ndindex(*confusion.shape):
        text = f"{confusion[row, column]}\n{shares[row, column]:.0%}"
        shade = "white" if shares[row, column] > 0.55 else "black"
        axes.text(column, row, text, ha="center", va="center", color=shade, fontsize=fontsize)
    ticks = range(len(classes))
    axes.set_xticks(ticks, [name.lower() for name in classes], rotation=35, ha="right")
    axes.set_yticks(ticks, [name.lower() for name in classes])
    axes.set(xlabel="predicted", ylabel="true")
    axes.set_title(title, fontsize=10)
    return figure


def curves(train: Sequence[float], val: Sequence[float], quantity: str, val_name: str, title: str) -> Figure:
    """One quantity by epoch, for training and validation.

    Args:
        train: Values by epoch; epochs count from 1 in the figure.
        val: Likewise; may be empty.
        quantity: Label of the y axis.
        val_name: What the second curve was measured on.
        title: Heading.

    Returns:
        The figure.
    """
    figure, axes = _figure(6.4, 4.2)
    marker = "o" if max(len(train), len(val)) < 30 else ""
    axes.plot(np.arange(1, len(train) + 1), train, color=TRAIN_COLOUR, marker=marker, ms=3, label="training")
    axes.plot(np.arange(1, len(val) + 1), val, color=VAL_COLOUR, marker=marker, ms=3, label=val_name)
    axes.set(xlabel="epoch", ylabel=quantity)
    axes.set_ylim(0, 1.02 if quantity == "accuracy" else 1.08 * max([*train, *val, 1e-3]))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(alpha=0.25)
    axes.legend(frameon=False)
    axes.set_title(title, fontsize=10)
    return figure


def precision_recall(labels: Ints, probabilities: Floats, classes: Sequence[str], title: str) -> Figure:
    """Precision against recall of each class, one against the rest, with the average precision.

    Args:
        labels: True class numbers, shape (N,).
        probabilities: Shape (N, classes).
        classes: Class names.
        title: Heading.

    Returns:
        The figure.
    """
    from sklearn.metrics import average_precision_score, precision_recall_curve

    figure, axes = _figure(5.6, 4.8)
    for k, name in enumerate(classes):
        truth = labels == k
        if not truth.any():
            continue
        precision, recall, _ = precision_recall_curve(truth, probabilities[:, k])
        area = average_precision_score(truth, probabilities[:, k])
        axes.step(recall, precision, where="post", label=f"{name.lower()} (AP {area:.3f})")
    axes.set(xlabel="recall", ylabel="precision", xlim=(0, 1.01), ylim=(0, 1.02))
    axes.grid(alpha=0.25)
    axes.legend(frameon=False, loc="lower left", fontsize=9)
    axes.set_title(title, fontsize=10)
    return figure


def image_grid(images: Sequence[npt.NDArray[np.uint8]], captions: Sequence[str], title: str) -> Figure:
    """Micrographs with a caption each, four to a row.

    Args:
        images: uint8, shape (H, W, 3) each; may be empty.
        captions: One per image.
        title: Heading.

    Returns:
        The figure.
    """
    columns = 4
    rows = max(1, -(-len(images) // columns))
    figure = Figure(figsize=(2.5 * columns, 2.3 * rows + 0.4), layout="constrained")
    FigureCanvasAgg(figure)
    grid = np.atleast_2d(figure.subplots(rows, columns, squeeze=False))
    for axes in grid.flat:
        axes.set_axis_off()
    for axes, image, caption in zip(grid.flat, images, captions, strict=False):
        axes.imshow(image)
        axes.set_title(caption, fontsize=8)
    figure.suptitle(title if images else f"{title}: none", fontsize=10)
    return figure


def architecture(layers: Sequence[Mapping[str, object]], title: str) -> Figure:
    """The net drawn from top to bottom: each layer with its output shape and number of parameters.

    Args:
        layers: One mapping per layer with ``name``, ``kind``, ``detail``, ``shape`` (without the batch)
            and ``parameters``.
        title: Heading.

    Returns:
        The figure.
    """
    step = 0.62
    figure, axes = _figure(7.2, 0.42 * len(layers) + 1.2)
    axes.set_xlim(0, 10)
    axes.set_ylim(-len(layers) * step, step)
    axes.set_axis_off()
    for x, heading, side in ((2.6, "layer", "center"), (5.6, "output", "left"), (10, "parameters", "right")):
        axes.text(x, step / 2, heading, ha=side, va="center", fontsize=9, style="italic", color="#444444")
    for number, layer in enumerate(layers):
        y = -number * step
        _draw_layer(axes, y, step, layer, last=number == len(layers) - 1)
    total = sum(int(str(layer["parameters"])) for layer in layers)
    axes.set_title(f"{title}\n{total:,} parameters", fontsize=10)
    return figure


LAYER_COLOURS = {
    "Conv2d": "#b79ac8",
    "Linear": "#e7a6a1",
    "MaxPool2d": "#9fc3d9",
    "AdaptiveAvgPool2d": "#9fc3d9",
    "Dropout": "#d9d9d9",
    "BatchNorm2d": "#cfe3c2",
    "Input": "#f3dfb5",
    "Softmax": "#f3dfb5",
}


def _draw_layer(axes: Axes, y: float, step: float, layer: Mapping[str, object], *, last: bool) -> None:
    colour = LAYER_COLOURS.get(str(layer["kind"]), "#f2f2f2")
    box = {"boxstyle": "round,pad=0.28", "facecolor": colour, "edgecolor": "#555555", "linewidth": 0.7}
    text = f"{layer['kind']}  {layer['detail']}".strip()
    axes.text(2.6, y - step / 2, text, ha="center", va="center", bbox=box, fontsize=8)
    axes.text(0.0, y - step / 2, str(layer["name"]), va="center", fontsize=8, color="#666666")
    axes.text(5.6, y - step / 2, str(layer["shape"]), va="center", fontsize=9, family="monospace")
    parameters = int(str(layer["parameters"]))
    if parameters:
        axes.text(10, y - step / 2, f"{parameters:,}", va="center", ha="right", fontsize=9, family="monospace")
    if not last:
        axes.annotate(
            "",
            xy=(2.6, y - step - 0.10),
            xytext=(2.6, y - step + 0.10),
            arrowprops={"arrowstyle": "-|>", "color": "#888888", "lw": 0.8},
        )


def _figure(width: float, height: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.subplots()
