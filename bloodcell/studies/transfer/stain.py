"""Ways to treat the colours of laboratories, picture by picture: none looks at another picture."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

from bloodcell.data.micrographs import Pixels

EMPTY = 235.0  # what white balance makes of empty slide, in each channel


def as_it_is(crop: Pixels, background: Pixels) -> Pixels:
    """Leave the colours of a crop alone."""
    return crop


def white_balanced(crop: Pixels, background: Pixels) -> Pixels:
    """Make empty slide the same grey everywhere; optical densities stay.

    Args:
        crop: RGB, uint8, shape (S, S, 3).
        background: Colour of the empty slide of its field, uint8, shape (3,).
    """
    balanced = crop.astype(np.float32) * (EMPTY / np.maximum(background, 1))
    return np.asarray(np.rint(balanced.clip(0, 255)), np.uint8)


COLOURS: Mapping[str, Callable[[Pixels, Pixels], Pixels]] = {"own": as_it_is, "white": white_balanced}


class Stain(NamedTuple):
    """An arm of the study.

    Attributes:
        colours: Name of the ``COLOURS`` of its crops.
        words: Hydra overrides of its trainings.
    """

    colours: str
    words: tuple[str, ...] = ()


STAINS: Mapping[str, Stain] = {
    "off": Stain("own"),
    "white": Stain("white"),
    "varied": Stain("white", ("++data.augment.stain=1.0",)),
}
