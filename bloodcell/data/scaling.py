"""Pictures as a net takes them: resized bytes, scaled numbers.

Bit for bit what torchvision does, without it: importing torchvision takes as long as importing torch, and a prediction
needs nothing else of it.
"""

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from bloodcell.data.ranges import check_scaling


def squeezed(image: Image.Image, image_size: tuple[int, int]) -> Tensor:
    """Resize a picture to what a net takes: the frame is squeezed, not cropped.

    Args:
        image: RGB.
        image_size: Height and width in pixels.

    Returns:
        uint8, shape (3, height, width).
    """
    pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1)
    if pixels.shape[1:] == image_size:
        return pixels
    return F.interpolate(pixels[None], image_size, mode="bilinear", antialias=True)[0]


class Scaling(nn.Module):
    """Bytes to floats in [0, 1], then, if a mean is given, centred and scaled by channel.

    Args:
        mean: Per-channel mean of the [0, 1] values, or ``None`` for none.
        std: Per-channel standard deviation, or ``None`` for none.

    Raises:
        InputError: If there are not three of them.
    """

    def __init__(self, mean: Sequence[float] | None, std: Sequence[float] | None) -> None:
        super().__init__()
        check_scaling(mean, std)
        self.mean, self.std = mean, (std or (1.0,) * 3)

    def forward(self, images: Tensor) -> Tensor:
        """Scale a uint8 (or already float [0, 1]) batch; float32, shape (N, 3, H, W)."""
        scaled = images.float() if images.is_floating_point() else images.float().mul_(1 / 255)
        if self.mean is None:
            return scaled
        mean, std = (torch.tensor(values, device=scaled.device).view(3, 1, 1) for values in (self.mean, self.std))
        return scaled.sub(mean).div_(std)
