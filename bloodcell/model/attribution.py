"""Which pixels an answer rests on, by three methods of Captum, and what a net without knowledge would show."""

import copy
from typing import Literal, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bloodcell.common.errors import InputError
from bloodcell.model.orientations import upright

Method = Literal["gradcam", "integrated_gradients", "occlusion"]
METHODS: tuple[Method, ...] = ("gradcam", "integrated_gradients", "occlusion")
STEPS = 32  # of integrated gradients
PATCHES = 8  # side of the image in occluding patches; they move by half of theirs


def attribute(net: nn.Module, images: Tensor, targets: Tensor, method: Method) -> Tensor:
    """Compute how much each pixel speaks for a class.

    Args:
        net: Maps images to logits; one that sees an image in several orientations is asked about it as it stands.
        images: float32, shape (N, 3, H, W), scaled as the net takes them; 0, a mean grey, is what is compared with.
        targets: Class numbers, int64, shape (N,).
        method: ``gradcam`` (Selvaraju et al. 2017, at the last convolution), ``integrated_gradients`` (Sundararajan et
            al. 2017) or ``occlusion`` (Zeiler and Fergus 2014).

    Returns:
        Maps, float32, none below 0, shape (N, H, W). Of integrated gradients the absolute values, of the others what
        speaks for the class.

    Raises:
        InputError: If Captum is not installed, or the net has no convolution.
    """
    try:
        from captum.attr import IntegratedGradients, LayerGradCam, Occlusion
    except ImportError as error:
        raise InputError(
            "explain", expected="the package captum", got="none", fix='type pip install "bloodcell[explain]"'
        ) from error
    net, images = upright(net), images.detach().clone().requires_grad_()
    height, width = images.shape[2:]
    match method:
        case "gradcam":
            maps = LayerGradCam(net, _last_convolution(net)).attribute(images, targets, relu_attributions=True)
            whole = F.interpolate(cast(Tensor, maps), (height, width), mode="bilinear", align_corners=False)
            return whole[:, 0].detach()
        case "integrated_gradients":
            maps = IntegratedGradients(net).attribute(images, 0, targets, n_steps=STEPS, internal_batch_size=64)
            return cast(Tensor, maps).abs().sum(dim=1).detach()
        case "occlusion":
            patch = (3, max(1, height // PATCHES), max(1, width // PATCHES))
            strides = (3, max(1, patch[1] // 2), max(1, patch[2] // 2))
            with torch.no_grad():
                maps = Occlusion(net).attribute(images, patch, strides, 0, targets, perturbations_per_eval=8)
            return cast(Tensor, maps).sum(dim=1).clamp(min=0).detach()


def weighted_layers(net: nn.Module) -> list[str]:
    """Name the layers with weights, convolutions and linear ones, from the input to the output."""
    return [name for name, layer in net.named_modules() if isinstance(layer, nn.Conv2d | nn.Linear)]


def randomised(net: nn.Module, layers: int | None = None, seed: int = 0) -> nn.Module:
    """Give a net whose last layers have learnt nothing (the check of Adebayo et al. 2018).

    Args:
        net: The net; it stays as it is.
        layers: Of the layers with weights so many, and the normalisations after them; ``None`` for all.
        seed: Of the random weights.
    """
    other = copy.deepcopy(net)
    first = weighted_layers(other)[-layers if layers is not None else 0]
    begun = False
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for name, layer in other.named_modules():
            begun |= name == first
            reset = getattr(layer, "reset_parameters", None)
            if begun and callable(reset):
                reset()
    return other


def _last_convolution(net: nn.Module) -> nn.Conv2d:
    layers = [layer for layer in net.modules() if isinstance(layer, nn.Conv2d)]
    if not layers:
        raise InputError(
            "--method gradcam", expected="a net with convolutions", got="none", fix="choose another --method"
        )
    return layers[-1]
