"""A cell has no upper side: a net may answer with the mean over turned and mirrored images."""

import math
from collections import OrderedDict
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from bloodcell.common.errors import InputError

QUARTERS = range(4)
ALL = 8  # quarter turns, each as it is and mirrored


class Oriented(nn.Sequential):
    """Layers in a sequence that see, in evaluation, every image in all eight orientations.

    The answer is the logarithm of the mean probability. In training they see an image once, as augmentation turns it.
    """

    def forward(self, images: Tensor) -> Tensor:
        """Compute logits of square images, float32, shape (N, classes)."""
        if self.training:
            return self._once(images)
        said = []
        for quarter in QUARTERS:
            turned = torch.rot90(images, quarter, (2, 3))
            for one in (turned, turned.flip(3)):  # one after another: all at once would take eight times the memory
                said.append(self._once(one).float().log_softmax(dim=1))
        return torch.stack(said).logsumexp(dim=0) - math.log(ALL)

    def _once(self, images: Tensor) -> Tensor:
        for layer in self:
            images = layer(images)
        return images


def oriented(net: nn.Sequential, orientations: int, image_size: Sequence[int]) -> nn.Sequential:
    """Let a net see images in one orientation or in all eight.

    Args:
        net: Maps images to logits.
        orientations: 1 or 8.
        image_size: Height and width in pixels; equal for eight.

    Returns:
        The net itself, or the same layers under the same names in an :class:`Oriented`.

    Raises:
        InputError: If it is another number, or the image is no square.
    """
    if orientations not in (1, ALL):
        raise InputError("model.orientations", expected=f"1 or {ALL}", got=str(orientations), fix="correct it")
    if orientations == 1:
        return net
    if len(set(image_size)) > 1:
        raise InputError(
            f"model.orientations={orientations}",
            expected="square images, which look the same size from every side",
            got=f"data.image_size={list(image_size)}",
            fix="make the sides equal, or set model.orientations=1",
        )
    return Oriented(OrderedDict(net.named_children()))


def orientations_of(net: nn.Module) -> int:
    """Return how often a net looks at an image to answer."""
    return ALL if isinstance(net, Oriented) else 1


def upright(net: nn.Module) -> nn.Module:
    """Return the same layers, which see an image as it stands alone."""
    if not isinstance(net, Oriented):
        return net
    layers = nn.Sequential(OrderedDict(net.named_children()))
    layers.training = net.training
    return layers
