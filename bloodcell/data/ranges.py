"""Which values the transforms take; torch is not imported, so that a wrong one is said at once."""

import math
from collections.abc import Sequence
from typing import Any

from bloodcell.common.errors import check_rules, is_number

CHANNELS = 3


def check_view(
    rotation: Any = 0.0,
    zoom: Any = 0.0,
    shift: Any = 0.0,
    flip: Any = False,
    colour: Any = 0.0,
    strength: Any = 1.0,
) -> None:
    """Stop at a range of the augmentation that makes no sense.

    Raises:
        InputError: Naming the key.
    """
    key = "data.augment"
    check_rules(
        [
            (f"{key}.rotation", rotation, is_number(rotation, 0), "degrees, 0 or more"),
            (f"{key}.zoom", zoom, is_number(zoom, 0) and zoom < 1, "a share from 0 to below 1"),
            (f"{key}.shift", shift, is_number(shift, 0, 1), "a share of the frame, 0 to 1"),
            (f"{key}.flip", flip, isinstance(flip, bool), "true or false"),
            (f"{key}.colour", colour, is_number(colour, 0, 1), "a share from 0 to 1"),
            (f"{key}.strength", strength, is_number(strength, 0), "a number, 0 or more"),
        ]
    )
    stronger = strength * zoom
    said = f"0 or more, and a zoom below 1 with it (it is {stronger:g})"
    check_rules([(f"{key}.strength", strength, stronger < 1, said)])


def check_scaling(mean: Sequence[Any] | None, std: Sequence[Any] | None) -> None:
    """Stop at a mean or a standard deviation that is not one of three channels.

    Raises:
        InputError: Naming the key.
    """
    check_rules(
        [
            ("data.mean", mean, _channels(mean), f"null or {CHANNELS} numbers"),
            ("data.std", std, _channels(std, above=0), f"null or {CHANNELS} numbers above 0"),
        ]
    )


def _channels(values: Any, above: float = -math.inf) -> bool:
    if values is None:
        return True
    of_all = isinstance(values, Sequence) and len(values) == CHANNELS
    return of_all and all(is_number(value) and value > above for value in values)
