"""Augmentation of whole batches on the device that trains, drawn per sample."""

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.transforms import v2

from bloodcell.data.ranges import check_view


class RandomView(v2.Transform):  # type: ignore[misc]  # torchvision has no types
    """Another view of each image of a batch: rotation, zoom, shift, flips and colour, drawn per sample.

    The geometry is one affine map per image and costs one interpolation; pixels from outside of the
    frame repeat its border. (A torchvision transform called on a batch draws once for the whole batch.)

    Args:
        rotation: Largest angle in degrees, either way.
        zoom: Largest relative change of size, either way, below 1.
        shift: Largest shift as a fraction of the frame, either way.
        flip: Whether to mirror at random, left-right and up-down.
        colour: Largest relative change of each colour channel's strength, either way.
        strength: Factor of all these ranges and of ``stain``, at least 0; flips stay as they are.
        stain: How much to change optical densities, as other stains and cameras would: their strength by a factor of up
            to e to this power either way, half of this of each channel's into the others, and a tenth added.

    Raises:
        InputError: If a range makes no sense, or the factor turns the zoom into 1 or more.
    """

    def __init__(
        self,
        rotation: float = 0.0,
        zoom: float = 0.0,
        shift: float = 0.0,
        flip: bool = False,
        colour: float = 0.0,
        strength: float = 1.0,
        stain: float = 0.0,
    ) -> None:
        super().__init__()
        check_view(rotation, zoom, shift, flip, colour, strength, stain)
        self.rotation, self.zoom, self.shift, self.colour, self.stain = (
            strength * widest for widest in (rotation, zoom, shift, colour, stain)
        )
        self.flip = flip
        self.generator = torch.Generator()

    def seed(self, *numbers: int) -> None:
        """Make the next draws depend on these numbers alone (run seed, epoch, batch, ...)."""
        mixed = 0
        for number in numbers:
            # An odd multiplier near 2**63 / golden ratio spreads neighbouring numbers over all seeds.
            mixed = (mixed * 0x5851F42D4C957F2D + number + 0x14057B7EF767814F) % 2**63
        self.generator.manual_seed(mixed)

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        """Transform a float batch.

        Args:
            inpt: Images, float, shape (N, C, H, W).
            params: Unused; torchvision's signature.

        Returns:
            Images of the same shape and dtype.
        """
        images: Tensor = inpt
        places = grid(self._maps(images), images.shape[2], images.shape[3])
        view = F.grid_sample(images, places, mode="bilinear", padding_mode="border", align_corners=False)
        if self.colour:
            gain = 1 + self.colour * self._uniform(len(images), images.shape[1])
            view = (view * gain[:, :, None, None].to(view)).clamp(0, 1)
        return self._stained(view) if self.stain else view

    def _stained(self, images: Tensor) -> Tensor:
        """The images as another stain and camera might show them: an affine map of their optical densities."""
        count, channels = images.shape[:2]
        mixing = torch.eye(channels) + self.stain / 2 * self._uniform(count, channels, channels)
        mixing = mixing * (self.stain * self._uniform(count, 1, 1)).exp()
        added = self.stain / 10 * self._uniform(count, channels)
        density = -images.clamp(1 / 255, 1).log10()
        density = torch.einsum("nij,njhw->nihw", mixing.to(images), density) + added.to(images)[:, :, None, None]
        return (10**-density).clamp(0, 1)

    def _maps(self, images: Tensor) -> Tensor:
        """Affine maps from output to input in the units of :func:`grid`, shape (N, 2, 3)."""
        count, _, height, width = images.shape
        draws = self._uniform(count, 6)
        angle = draws[:, 0] * math.radians(self.rotation)
        scale = 1 / (1 + self.zoom * draws[:, 1])
        mirror_x, mirror_y = (draws[:, 2:4].sign() if self.flip else torch.ones(count, 2)).unbind(1)
        cos, sin = scale * angle.cos(), scale * angle.sin()
        # grid_sample measures both sides as -1..1, so that rotating a frame that is not square needs its ratio.
        ratio = height / width
        rows = [
            torch.stack([cos * mirror_x, -sin * ratio * mirror_x, 2 * self.shift * draws[:, 4]], dim=1),
            torch.stack([sin / ratio * mirror_y, cos * mirror_y, 2 * self.shift * draws[:, 5]], dim=1),
        ]
        return torch.stack(rows, dim=1).to(images)

    def _uniform(self, *shape: int) -> Tensor:
        return torch.rand(shape, generator=self.generator) * 2 - 1


def grid(maps: Tensor, height: int, width: int) -> Tensor:
    """What ``affine_grid(..., align_corners=False)`` returns, in a third of its time: sums, no matrix product.

    Args:
        maps: Affine maps, float, shape (N, 2, 3), on both sides of the frame measured as -1 to 1.
        height: Of the output, in pixels.
        width: Of the output, in pixels.

    Returns:
        Where each output pixel is looked up, x before y, float, shape (N, height, width, 2).
    """
    x, y = ((2 * torch.arange(side, device=maps.device) + 1) / side - 1 for side in (width, height))
    along = maps[:, :, 0, None] * x + maps[:, :, 2, None]
    down = maps[:, :, 1, None] * y
    places = maps.new_empty(len(maps), height, width, 2)
    for axis in (0, 1):
        torch.add(down[:, axis, :, None], along[:, axis, None, :], out=places[..., axis])
    return places
