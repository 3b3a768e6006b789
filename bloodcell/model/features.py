"""What a net sees in an image, as numbers: the mean of every map that its blocks make."""

from typing import Any

import torch
from torch import Tensor, nn

from bloodcell.common.errors import InputError
from bloodcell.model.orientations import orientations_of
from bloodcell.model.pretrained import Rescale


def logits_and_features(net: nn.Module, images: Tensor) -> tuple[Tensor, Tensor]:
    """Run a net, and keep on the way what it makes of the images.

    Args:
        net: Maps images to logits; its last linear layer makes the logits.
        images: float32, shape (N, 3, H, W).

    Returns:
        Logits, shape (N, classes); and features, float32, shape (N, D): the means over the image of all maps that
        direct children of the net make, or the input of its last linear layer where none makes any; of a net that sees
        an image in several orientations, the means over these.

    Raises:
        InputError: If the net has no linear layer.
    """
    found: list[Tensor] = []
    last: list[Tensor] = []

    def keep_maps(module: nn.Module, inputs: Any, output: Any) -> None:
        if isinstance(output, Tensor) and output.ndim == 4:
            found.append(output.mean(dim=(2, 3)))

    def keep_input(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        last.append(inputs[0].flatten(1))

    blocks = [child for child in net.children() if not isinstance(child, Rescale)]  # which only shows the image again
    handles = [child.register_forward_hook(keep_maps) for child in blocks]
    handles.append(last_layer(net).register_forward_pre_hook(keep_input))
    try:
        logits = net(images)
    finally:
        for handle in handles:
            handle.remove()
    seen = torch.cat(found or last, dim=1).float()
    times = orientations_of(net)
    return logits, seen if times == 1 else seen.reshape(-1, times, seen.shape[1] // times).mean(dim=1)


def last_layer(net: nn.Module) -> nn.Linear:
    """Find the linear layer that makes the logits.

    Raises:
        InputError: If there is none.
    """
    layers = [module for module in net.modules() if isinstance(module, nn.Linear)]
    if not layers:
        raise InputError("model", expected="a net whose last layer is linear", got="none", fix="choose another model")
    return layers[-1]
