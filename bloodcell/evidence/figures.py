"""Figures of a run. Each function takes plain arrays and returns a matplotlib figure that nobody keeps open."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib
import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator, MultipleLocator, PercentFormatter
from PIL import Image

from bloodcell.common.files import replacing
from bloodcell.evidence.calibration import ReliabilityBin, reliability
from bloodcell.evidence.intervals import Floats, Ints, Strings

TRAIN_COLOUR, VAL_COLOUR = "#8a5a9e", "#d1495b"
# Up to so many classes a confusion matrix has its numbers, and names so many of them on each side.
MANY, NAMES = 24, 50
matplotlib.rcParams["text.parse_math"] = False  # names with dollars are names: they come from anybody's files
# So many classes have a curve of precision and recall, of these styles: colours alone do not tell them apart for all.
CURVES, STYLES = 10, ("-", "--", "-.", ":")


def render(figure: Figure) -> npt.NDArray[np.uint8]:
    """Draw a figure at 150 dots per inch; its pixels are uint8, shape (height, width, 3)."""
    figure.set_dpi(150)
    canvas = FigureCanvasAgg(figure)
    # Once; savefig() would lay it out and draw it, and then draw it again.
    canvas.draw()  # type: ignore[no-untyped-call]  # matplotlib has no types here
    pixels: npt.NDArray[np.uint8] = np.asarray(canvas.buffer_rgba())[:, :, :3]  # type: ignore[no-untyped-call]  # nor here
    return pixels


def save(figure: Figure, path: Path) -> npt.NDArray[np.uint8]:
    """Write a figure, atomically; PNG, JPEG where photographs fill it, or PDF for print, by the suffix.

    A PNG that shows the same already stays: another zlib would write other bytes for the same pixels.

    Returns:
        Its pixels, as of ``render``.
    """
    pixels = render(figure)
    if path.suffix == ".png" and path.is_file() and _shows(path, pixels):
        return pixels
    with replacing(path) as file:
        if path.suffix == ".pdf":
            figure.savefig(file, format="pdf", metadata={"CreationDate": None})  # the same figure, the same file
        else:
            # zlib's usual level, 6, takes half as long again and saves an eighth of the bytes
            Image.fromarray(pixels).save(file, "JPEG" if path.suffix == ".jpg" else "PNG", compress_level=3)
    return pixels


def _shows(path: Path, pixels: npt.NDArray[np.uint8]) -> bool:
    """Whether a file, which may be anybody's, is a PNG of these pixels."""
    try:
        image = Image.open(path, formats=("PNG",))  # its size is known before it is decoded
        return image.size == pixels.shape[1::-1] and np.array_equal(np.asarray(image), pixels)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return False


def confusion_matrix(confusion: Ints, classes: Sequence[str], title: str) -> Figure:
    """Draw a confusion matrix: counts, and the share of each true class as shade and percentage.

    Of many classes the shade alone, in a figure that grows no further, with the names of some.

    Args:
        confusion: Counts, rows truth, columns prediction.
        classes: Class names.
        title: Heading, with the caveat of the data where there is one.

    Returns:
        The figure.
    """
    shares = confusion / np.maximum(confusion.sum(axis=1, keepdims=True), 1)
    few = len(classes) <= MANY
    size = 3.2 + 0.85 * min(len(classes), MANY / 2)
    figure, axes = _figure(size + 0.8, size)
    axes.imshow(shares, cmap="Purples", vmin=0, vmax=1)
    fontsize = 10 if len(classes) <= 5 else 8 if len(classes) <= MANY / 2 else 5
    for row, column in np.ndindex(*confusion.shape) if few else ():
        text = f"{confusion[row, column]}\n{shares[row, column]:.0%}"
        shade = "white" if shares[row, column] > 0.55 else "black"
        axes.text(column, row, text, ha="center", va="center", color=shade, fontsize=fontsize)
    ticks = range(0, len(classes), -(-len(classes) // NAMES))
    names = [classes[k].lower() for k in ticks]
    axes.set_xticks(ticks, names, rotation=35 if few else 90, ha="right" if few else "center")
    axes.set_yticks(ticks, names)
    axes.set(xlabel="predicted", ylabel="true")
    axes.set_title(title, fontsize=10, y=1.0)
    return figure


def of_test(
    labels: Ints, probabilities: Floats, groups: Strings | None, classes: Sequence[str], title: str
) -> dict[str, Figure]:
    """Draw what a test showed: the confusion matrix, precision against recall, and reliability.

    Args:
        labels: True class numbers, shape (N,).
        probabilities: Shape (N, classes).
        groups: Field groups, shape (N,); ``None`` if they are not known.
        classes: Class names.
        title: Heading of all.

    Returns:
        Each by its name.
    """
    confusion = np.zeros((len(classes), len(classes)), np.int64)
    np.add.at(confusion, (labels, probabilities.argmax(axis=1)), 1)
    return {
        "confusion_matrix": confusion_matrix(confusion, classes, title),
        "precision_recall": precision_recall(labels, probabilities, classes, title),
        "reliability": reliability_diagram(reliability(labels, probabilities, groups), title),
    }


class Stated(NamedTuple):
    """A point of a curve as somebody states it.

    Attributes:
        epoch: From 1.
        value: What is stated.
        bound: Whether it is an upper bound, not a value.
    """

    epoch: int
    value: float
    bound: bool = False


def curves(
    train: Sequence[float],
    val: Sequence[float],
    quantity: str,
    val_name: str,
    title: str,
    stated: Sequence[Stated] = (),
) -> Figure:
    """Draw one quantity by epoch, for training and validation.

    Args:
        train: Values by epoch, which count from 1 in the figure; NaN where an epoch has none.
        val: The same for validation; may be empty.
        quantity: Label of the y axis.
        val_name: What the second curve was measured on.
        title: Heading.
        stated: Points that a paper states of its own curve, to be marked.

    Returns:
        The figure.
    """
    figure, axes = _figure(6.4, 4.2, (0.9, 0.55, 0.15, 0.35))
    for values, colour, of in ((np.array(train), TRAIN_COLOUR, "training"), (np.array(val), VAL_COLOUR, val_name)):
        (there,) = np.nonzero(~np.isnan(values))
        axes.plot(there + 1, values[there], color=colour, marker="o" if len(there) < 30 else "", ms=3, label=of)
    for number, point in enumerate(stated):
        name = "stated by the paper" if number == 0 else None
        marker = "v" if point.bound else "D"
        axes.plot([point.epoch], [point.value], marker, color="black", ms=7, ls="", mfc="none", mew=1.5, label=name)
    axes.set(xlabel="epoch", ylabel=quantity)
    axes.set_ylim(0, 1.02 if quantity == "accuracy" else 1.08 * np.nanmax([*train, *val, 1e-3]))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(alpha=0.25)
    axes.legend(frameon=False)
    axes.set_title(title, fontsize=10, y=1.0)
    return figure


def precision_recall(labels: Ints, probabilities: Floats, classes: Sequence[str], title: str) -> Figure:
    """Draw precision against recall of each class, one against the rest, with the average precision.

    Of many classes those with the most images.

    Args:
        labels: True class numbers, shape (N,).
        probabilities: Shape (N, classes).
        classes: Class names.
        title: Heading.

    Returns:
        The figure.
    """
    from sklearn.metrics import average_precision_score, precision_recall_curve

    figure, axes = _figure(5.6, 4.8, (0.7, 0.55, 0.15, 0.5))
    counts = np.bincount(labels, minlength=len(classes))
    shown = np.sort(np.argsort(-counts, kind="stable")[:CURVES])
    if len(classes) > CURVES:
        title = f"{title}\nthe {CURVES} of {len(classes):,} classes with the most images"
    for number, k in enumerate(shown[counts[shown] > 0]):
        name, truth = classes[k], labels == k
        precision, recall, _ = precision_recall_curve(truth, probabilities[:, k])
        area = average_precision_score(truth, probabilities[:, k])
        axes.step(recall, precision, where="post", ls=STYLES[number % 4], label=f"{name.lower()} (AP {area:.3f})")
    axes.set(xlabel="recall", ylabel="precision", xlim=(0, 1.01), ylim=(0, 1.02))
    axes.grid(alpha=0.25)
    axes.legend(frameon=False, loc="lower left", fontsize=9)
    axes.set_title(title, fontsize=10, y=1.0)
    return figure


def reliability_diagram(bins: Sequence[ReliabilityBin], title: str) -> Figure:
    """Draw how often the net is correct against its confidence, with a 95 % interval for each bin.

    Args:
        bins: From ``calibration.reliability``, at least one.
        title: Heading, with what the images are and how many groups they come from.

    Returns:
        The figure: points below the diagonal are overconfident, points above it underconfident.
    """
    confidence = np.array([part.confidence for part in bins])
    correct = np.array([part.correct.value for part in bins])
    low, high = np.array([part.correct.low for part in bins]), np.array([part.correct.high for part in bins])
    # Nets are mostly confident: what lies below all points and intervals is left out.
    least = min(0.5, np.floor(10 * min(confidence.min(), low.min())) / 10)
    figure, axes = _figure(5.6, 6.0, (0.75, 0.95, 0.15, 0.5))
    axes.plot([least, 1], [least, 1], color="#777777", linestyle="--", linewidth=1, label="perfectly calibrated")
    axes.fill_between([least, 1], [least, 1], least, color=VAL_COLOUR, alpha=0.07, linewidth=0)
    axes.vlines(confidence, low, high, color=TRAIN_COLOUR, linewidth=1.2, label="95 % interval")
    images = sorted(part.images for part in bins)
    each = f"{images[0]}" if images[0] == images[-1] else f"{images[0]}-{images[-1]}"
    axes.plot(confidence, correct, "o", color=TRAIN_COLOUR, ms=6, label=f"bin of {each} images")
    axes.text(0.96, 0.04, "overconfident", transform=axes.transAxes, ha="right", color="#555555", style="italic")
    axes.text(0.04, 0.93, "underconfident", transform=axes.transAxes, color="#555555", style="italic")
    axes.set(xlabel="confidence (highest probability)", ylabel="accuracy")
    margin = 0.02 * (1 - least)
    axes.set(xlim=(least - margin, 1 + margin), ylim=(least - margin, 1 + margin), aspect="equal")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MultipleLocator(0.1))
        axis.set_major_formatter(PercentFormatter(1, decimals=0))
    axes.grid(alpha=0.25)
    figure.legend(frameon=False, loc="lower center", ncols=3, fontsize=9)
    axes.set_title(title, fontsize=10, wrap=True, y=1.0)
    return figure


def image_grid(images: Sequence[npt.NDArray[np.uint8]], captions: Sequence[str], title: str) -> Figure:
    """Draw images with a caption each, four to a row.

    Args:
        images: uint8, shape (H, W, 3) each; may be empty.
        captions: One for each image, of at most two lines.
        title: Heading.

    Returns:
        The figure.
    """
    columns, cell, tall, picture, top = 4, 2.5, 2.2, 1.75, 0.3  # inches
    rows = max(1, -(-len(images) // columns))
    width, height = cell * columns, tall * rows + top
    figure = Figure(figsize=(width, height))
    FigureCanvasAgg(figure)
    figure.text(0.5, 1 - 0.5 * top / height, title if images else f"{title}: none", ha="center", va="center")
    if not images:
        return figure
    axes = figure.add_axes((0, 0, 1, 1))  # one for all: each takes a fiftieth of a second
    axes.set_axis_off()
    for number, (image, caption) in enumerate(zip(images, captions, strict=True)):
        row, column = divmod(number, columns)
        x, y = cell * (column + 0.5), height - top - tall * row - (tall - picture)
        scale = picture / max(image.shape[0], image.shape[1] * picture / (cell - 0.1))
        half, length = image.shape[1] * scale / 2, image.shape[0] * scale
        axes.imshow(image, extent=(x - half, x + half, y - length, y))
        axes.text(x, y + 0.06, caption, ha="center", va="bottom", fontsize=8)
    axes.set(xlim=(0, width), ylim=(0, height))
    return figure


def architecture(layers: Sequence[Mapping[str, object]], title: str) -> Figure:
    """Draw the net from top to bottom: each layer with its output shape and number of parameters.

    Args:
        layers: A mapping for each layer with ``name``, ``kind``, ``detail``, ``shape`` (without the batch)
            and ``parameters``.
        title: Heading.

    Returns:
        The figure.
    """
    height = 0.42 * (len(layers) + 1) + 0.6
    figure = Figure(figsize=(WIDE, height))
    for x, heading, side in ((1.92, "layer", "center"), (4.02, "output", "left"), (7.1, "parameters", "right")):
        _write(figure, x, 0.71, heading, ha=side, fontsize=9, style="italic", color="#444444")
    for number, layer in enumerate(layers):
        _draw_layer(figure, 1.13 + 0.42 * number, layer)
    between = 1 - np.array([1.34 + 0.42 * number for number in range(len(layers) - 1)]) / height
    figure.add_artist(Line2D([1.92 / WIDE] * len(between), between, marker="v", ms=4, ls="", color="#888888"))
    total = sum(int(str(layer["parameters"])) for layer in layers)
    _write(figure, WIDE / 2, 0.27, f"{title}\n{total:,} parameters", ha="center", fontsize=10)
    return figure


WIDE = 7.2  # inches
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


def _draw_layer(figure: Figure, y: float, layer: Mapping[str, object]) -> None:
    colour = LAYER_COLOURS.get(str(layer["kind"]), "#f2f2f2")
    box = {"boxstyle": "round,pad=0.28", "facecolor": colour, "edgecolor": "#555555", "linewidth": 0.7}
    _write(figure, 1.92, y, f"{layer['kind']}  {layer['detail']}".strip(), ha="center", bbox=box, fontsize=8)
    _write(figure, 0.1, y, str(layer["name"]), fontsize=8, color="#666666")
    _write(figure, 4.02, y, str(layer["shape"]), fontsize=9, family="monospace")
    if parameters := int(str(layer["parameters"])):
        _write(figure, 7.1, y, f"{parameters:,}", ha="right", fontsize=9, family="monospace")


def _write(figure: Figure, x: float, y: float, text: str, **style: Any) -> None:
    """Write text in inches from the left and the top: with axes to write in, drawing would take half as long again."""
    width, height = figure.get_size_inches()
    figure.text(x / width, 1 - y / height, text, va="center", **style)


def _figure(
    width: float, height: float, margins: tuple[float, float, float, float] | None = None
) -> tuple[Figure, Axes]:
    """Make a figure with one plot.

    Args:
        width: In inches.
        height: In inches.
        margins: Inches to leave for labels at the left, bottom, right and top; ``None`` to measure the labels, which
            takes as long as drawing them.
    """
    figure = Figure(figsize=(width, height), layout=None if margins else "constrained")
    FigureCanvasAgg(figure)
    if margins is None:
        return figure, figure.subplots()
    left, bottom, right, top = margins
    shares = (left / width, bottom / height, 1 - (left + right) / width, 1 - (bottom + top) / height)
    return figure, figure.add_axes(shares)
