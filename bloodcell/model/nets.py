"""Nets as functions: each returns a plain module that maps (N, 3, H, W) float images to (N, classes) logits.

To add a net, write a function that takes ``num_classes`` and ``image_size`` and put a YAML beside the
others in ``conf/model/``.
"""

from collections import OrderedDict
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Literal

import torch
from torch import nn

from bloodcell.common.errors import InputError
from bloodcell.model.weights import load_matching

# Where dropout may stand, in the order of the data; "flatten" means before both dense layers.
DROPOUT_PLACES = ("pool1", "pool2", "flatten", "dense1")


def paper_cnn(
    num_classes: int,
    image_size: Sequence[int],
    widths: Sequence[int] = (32, 64, 128),
    dense: int = 128,
    padding: int = 0,
    pool_after: Collection[int] = (1, 2),
    dropout: float = 0.5,
    dropout_after: Collection[str] = ("dense1",),
    init: Literal["glorot", "he", "torch"] = "glorot",
) -> nn.Sequential:
    """Build the sequential net of the paper's Table 1: 3 convolutions, 2 max-pools, 2 dense layers.

    The paper gives the number of layers, the 3x3 kernels, the 2x2 pools, ReLU and dropout 0.5. It leaves
    open the widths, the padding, which convolutions are pooled, where dropout stands and how weights start:
    these are arguments. Softmax is applied at prediction time, by the classifier.

    Args:
        num_classes: Number of logits.
        image_size: Height and width of the input in pixels.
        widths: Channels of the three convolutions.
        dense: Units of the first dense layer.
        padding: Zero padding of each convolution in pixels; 0 is Keras's default ("valid").
        pool_after: Numbers (1 to 3) of the convolutions that a max-pool follows.
        dropout: Probability of dropping a unit.
        dropout_after: Places of dropout, out of ``DROPOUT_PLACES``.
        init: ``glorot`` (uniform, zero biases: Keras's default), ``he`` (normal, zero biases) or ``torch``.

    Returns:
        Modules named ``conv1``, ``relu1``, ``pool1``, ... ``dense2``.

    Raises:
        InputError: If a value is outside of what is said above, or the image is too small.

    Source: "Blood Cell Image Classification Using Deep Sequential Model", The Bioscan 19(2) S.I(1), 2024, Table 1.
    """
    _check_paper_arguments(widths, pool_after, dropout, dropout_after, init)
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    channels, (height, width), pools = 3, image_size, 0
    for number, out in enumerate(widths, start=1):
        layers[f"conv{number}"] = nn.Conv2d(channels, out, kernel_size=3, padding=padding)
        layers[f"relu{number}"] = nn.ReLU()
        channels, height, width = out, height + 2 * padding - 2, width + 2 * padding - 2
        if number in pool_after:
            pools, height, width = pools + 1, height // 2, width // 2
            layers[f"pool{pools}"] = nn.MaxPool2d(2)
            _add_dropout(layers, f"pool{pools}", dropout, dropout_after)
    if min(height, width) < 1:
        raise InputError(
            f"data.image_size={list(image_size)}",
            expected="an image that three convolutions and two pools leave something of",
            got=f"{height}x{width} pixels after them",
            fix="enlarge data.image_size",
        )
    layers["flatten"] = nn.Flatten()
    _add_dropout(layers, "flatten", dropout, dropout_after)
    layers["dense1"] = nn.Linear(channels * height * width, dense)
    layers["relu4"] = nn.ReLU()
    _add_dropout(layers, "dense1", dropout, dropout_after)
    layers["dense2"] = nn.Linear(dense, num_classes)
    net = nn.Sequential(layers)
    _initialise(net, init)
    return net


def small_cnn(
    num_classes: int,
    image_size: Sequence[int],
    widths: Sequence[int] = (24, 48, 96, 192),
    dropout: float = 0.2,
) -> nn.Sequential:
    """Build a net that trains well in minutes on two cores: normalised blocks, then a global average.

    Each block is convolution 3x3, batch normalisation, ReLU, max-pool 2x2; the first convolution has a
    5x5 kernel and stride 2.

    Args:
        num_classes: Number of logits.
        image_size: Height and width in pixels; at least ``2 ** (len(widths) + 1)`` each.
        widths: Channels of the blocks.
        dropout: Probability of dropping a feature before the last layer.

    Returns:
        A sequential module with one child per block, then ``head``.

    Raises:
        InputError: If the image is too small for the number of blocks.
    """
    if min(widths) < 1:
        raise InputError("model.widths", expected="positive numbers of channels", got=str(widths), fix="correct it")
    least = 2 ** (len(widths) + 1)
    if min(image_size) < least:
        raise InputError(
            f"data.image_size={list(image_size)}",
            expected=f"at least {least} pixels a side for {len(widths)} blocks",
            got=f"{min(image_size)}",
            fix="enlarge data.image_size or shorten model.widths",
        )
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    channels = 3
    for number, out in enumerate(widths, start=1):
        kernel, stride = (5, 2) if number == 1 else (3, 1)
        layers[f"block{number}"] = nn.Sequential(
            nn.Conv2d(channels, out, kernel, stride=stride, padding=kernel // 2, bias=False),
            nn.BatchNorm2d(out),
            nn.ReLU(),
            nn.MaxPool2d(2),
        )
        channels = out
    layers["head"] = nn.Sequential(
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(dropout), nn.Linear(channels, num_classes)
    )
    return nn.Sequential(layers)


def torchvision_net(
    num_classes: int,
    image_size: Sequence[int],
    name: str = "resnet18",
    weights: str | None = None,
) -> nn.Module:
    """Build any classifier of torchvision by name, with pretrained weights or none; the last layer is new.

    Args:
        num_classes: Number of logits.
        image_size: Height and width in pixels (some nets, as ``vit_b_16``, accept only their own).
        name: As in ``torchvision.models.list_models()``.
        weights: ``None``, ``"download"`` (torchvision's default weights) or the path of a state dict.

    Returns:
        The module.

    Raises:
        InputError: If the name is unknown, or the weights cannot be had or do not fit.
    """
    from torchvision import models

    names = models.list_models(module=models)
    if name not in names:
        raise InputError(
            f"model.name={name}",
            expected="a classifier of torchvision",
            got="an unknown name",
            fix=f"choose one of {', '.join(names)}",
        )
    # These two return several outputs while training unless told otherwise.
    extra: dict[str, object] = {"aux_logits": False} if name in {"googlenet", "inception_v3"} else {}
    if "vit" in name:
        extra["image_size"] = int(image_size[0])
    net = models.get_model(name, weights=None, num_classes=num_classes, **extra)
    if weights is not None:
        state = _pretrained(name) if weights == "download" else None
        load_matching(net, state if state is not None else Path(weights), key=f"model.weights={weights}")
    assert isinstance(net, nn.Module)
    return net


def _pretrained(name: str) -> dict[str, torch.Tensor]:
    """Download torchvision's default weights of a net into torch's own cache."""
    from torchvision import models

    try:
        state = models.get_model_weights(name).DEFAULT.get_state_dict(progress=True, check_hash=True)
    except OSError as error:
        raise InputError(
            "model.weights=download",
            expected="a connection to torchvision's server",
            got=str(error),
            fix="give a local file with model.weights=PATH, or model.weights=null to start from none",
        ) from error
    return dict(state)


def _add_dropout(layers: OrderedDict[str, nn.Module], place: str, probability: float, places: Collection[str]) -> None:
    if place in places:
        layers[f"dropout_{place}"] = nn.Dropout(probability)


def _check_paper_arguments(
    widths: Sequence[int], pool_after: Collection[int], dropout: float, places: Collection[str], init: str
) -> None:
    rules: list[tuple[str, object, bool, str]] = [
        ("model.widths", widths, len(widths) == 3 and min(widths) > 0, "three positive numbers of channels"),
        ("model.pool_after", pool_after, set(pool_after) <= {1, 2, 3}, "numbers of convolutions, 1 to 3"),
        ("model.dropout", dropout, 0 <= dropout < 1, "a probability below 1"),
        ("model.dropout_after", places, set(places) <= set(DROPOUT_PLACES), f"some of {DROPOUT_PLACES}"),
        ("model.init", init, init in {"glorot", "he", "torch"}, "glorot, he or torch"),
    ]
    for key, value, good, expected in rules:
        if not good:
            raise InputError(key, expected=expected, got=str(value), fix="correct the override")


def _initialise(net: nn.Sequential, init: str) -> None:
    for layer in net:
        if init == "torch" or not isinstance(layer, nn.Conv2d | nn.Linear):
            continue
        if init == "glorot":
            nn.init.xavier_uniform_(layer.weight)
        else:
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
        assert layer.bias is not None
        nn.init.zeros_(layer.bias)
