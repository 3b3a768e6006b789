"""The bytes that torchvision's and Pillow's bilinear resize make, as plain operations that any runtime has.

Both weigh with whole numbers and round to bytes after each direction. A resize in floating point differs from that by a
grey value here and there, one without antialiasing by many, and either changes answers.
"""

import torch
from torch import Tensor

# Bits of Pillow's weights; torchvision takes as many as leave its largest weight below 2**15.
PILLOW_BITS = 22
MOST_BITS = 22


def resize_like_torchvision(pictures: Tensor, height: int, width: int) -> Tensor:
    """Resize as ``torchvision.transforms.v2.functional.resize(..., antialias=True)`` does on uint8 and a CPU.

    Args:
        pictures: Bytes as float64, shape (N, C, H, W), of any size.
        height: Wanted, in pixels.
        width: Wanted, in pixels.

    Returns:
        Bytes as float64, shape (N, C, height, width).
    """
    return _down(_across(pictures, width, None), height, None)


def resize_like_pillow(pictures: Tensor, height: int, width: int) -> Tensor:
    """Resize as ``PIL.Image.resize(..., Image.Resampling.BILINEAR)`` does where both sides shrink by the same factor.

    Elsewhere Pillow resizes the other direction first where that is faster. As :func:`resize_like_torchvision`.
    """
    return _down(_across(pictures, width, PILLOW_BITS), height, PILLOW_BITS)


def _across(pictures: Tensor, width: int, bits: int | None) -> Tensor:
    weights, unit = _weights(pictures[0, 0, 0, :], width, bits)
    return _rounded(pictures @ weights.T, unit)


def _down(pictures: Tensor, height: int, bits: int | None) -> Tensor:
    weights, unit = _weights(pictures[0, 0, :, 0], height, bits)
    return _rounded(weights @ pictures, unit)


def _rounded(sums: Tensor, unit: Tensor) -> Tensor:
    return torch.floor((sums + unit / 2) / unit).clamp(0, 255)


def _weights(line: Tensor, wanted: int, bits: int | None) -> tuple[Tensor, Tensor]:
    """Whole weights of a triangle filter, shape (wanted, pixels), and what stands for one.

    The number of pixels is counted as a tensor: an exported graph then takes pictures of any size.
    """
    ones = torch.ones_like(line)
    pixels, place = ones.sum(), ones.cumsum(0) - 1
    scale = pixels / wanted
    reach = scale.clamp(min=1.0)
    centre = scale * (torch.arange(wanted, dtype=line.dtype, device=line.device)[:, None] + 0.5)
    inside = (place >= torch.floor(centre - reach + 0.5)) & (place < torch.floor(centre + reach + 0.5))
    weights = torch.relu(1 - ((place - centre + 0.5) / reach).abs()) * inside
    weights = weights / weights.sum(dim=1, keepdim=True)
    if bits is None:
        powers = 2.0 ** torch.arange(1, MOST_BITS + 1, dtype=line.dtype, device=line.device)
        unit = powers[0] / 2 * torch.where(0.5 + weights.max() * powers < 2.0**15, 2.0, 1.0).prod()
    else:
        unit = torch.tensor(2.0**bits, dtype=line.dtype, device=line.device)
    return torch.floor(weights * unit + 0.5), unit
