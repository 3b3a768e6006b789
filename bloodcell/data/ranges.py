"""Which values the data and their transforms take; torch is not imported, so that a wrong one is said at once."""

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from bloodcell.common.env import path_of
from bloodcell.common.errors import InputError, Rule, check_rules, is_number, is_whole
from bloodcell.data.kaggle import locate

CHANNELS = 3
MOST_SIDE = 4096  # of what a net sees: one such picture, and a few layers of a net on it, fit into memory
LEAST_MASKED = 360  # side of a crop that a mask leaves something of: its disc covers the widest cell, 346 pixels
MOST_SMEARS = 20_000  # of a class: they are rendered one by one, and kept
# Of each data set, by the name of what reads it.
PROTOCOLS: dict[str, tuple[str | None, ...]] = {
    "BloodCells": ("random", "official", "official_strict", "grouped", "blocked", "everything"),
    "Folder": (None, "grouped", "all_test"),
}
PROTOCOLS["blood_cells_or_smears"] = PROTOCOLS["BloodCells"]
SEEDS = 2**32 - 1  # NumPy takes no more
COUNT, MOST_COUNT = "a positive whole number of at most nine digits", 999_999_999


def check_data(reader: str, values: Mapping[str, Any]) -> None:
    """Stop at a value of ``data`` that its data set does not take.

    Args:
        reader: Name of the class or function that reads the data set.
        values: By key; those that are not there are not looked at.

    Raises:
        InputError: Naming the key.
    """
    check_rules((f"data.{key}", value, good, expected) for key, value, good, expected in _of_data(reader, values))
    if {"fold", "folds"} <= values.keys():
        check_fold(values["fold"], values["folds"])
    if values.get("group_pattern") is not None:
        check_pattern(values["group_pattern"])


def check_places(reader: str, values: Mapping[str, Any]) -> None:
    """Stop if what ``data`` names is not there.

    Args:
        reader: As of :func:`check_data`.
        values: All of its keys.

    Raises:
        InputError: Naming the key or the place.
    """
    if reader == "Folder":
        require_folder(Path(values["root"]))
    elif reader in PROTOCOLS:
        locate(values["root"])
    for key, below in (("table", values.get("root")), ("lineage", None)):
        path = values.get(key)
        if path is not None and not any(one.exists() for one in (path_of(path), Path(below or "") / path)):
            raise InputError(f"data.{key}={path}", expected="what is there", got="no such file", fix="check the path")


def _of_data(reader: str, values: Mapping[str, Any]) -> Iterator[Rule]:
    size, root, pattern = values.get("image_size"), values.get("root"), values.get("group_pattern")
    two = isinstance(size, Sequence) and len(size) == 2 and all(is_whole(side, 1, MOST_SIDE) for side in size)
    protocols = PROTOCOLS.get(reader, (values.get("protocol"),))
    rules = {
        "image_size": (two, f"height and width in pixels, at most {MOST_SIDE} each"),
        "root": ((isinstance(root, str) and bool(root)) or (root is None and reader != "Folder"), "a path"),
        "protocol": (values.get("protocol") in protocols, " or ".join(name or "null" for name in protocols)),
        "cache": (values.get("cache") in ("disk", "ram", "none"), "disk, ram or none"),
        "train_view": (values.get("train_view") in ("twin", "original"), "twin or original"),
        "mask": (values.get("mask") in (None, "background", "geometry"), "null, background or geometry"),
        "view": (values.get("view") in ("field", "crop"), "field or crop"),
        "crop": (values.get("crop") in ("found", "annotated"), "found or annotated"),
        "crop_side": (is_whole(values.get("crop_side"), 1, MOST_SIDE), "pixels of a field of 640x480, as 280"),
        "folds": (is_whole(values.get("folds"), 2, MOST_COUNT), "a whole number from 2"),
        "batch_size": (is_whole(values.get("batch_size"), 1, MOST_COUNT), COUNT),
        "test_per_class": (is_whole(values.get("test_per_class"), 1, MOST_COUNT), COUNT),
    }
    rules |= {
        key: (is_whole(values.get(key), 0, SEEDS), "a whole number from 0") for key in ("split_seed", "fold_seed")
    }
    for key in ("train_images", "num_classes"):
        rules[key] = (values.get(key) is None or is_whole(values[key], 1, MOST_COUNT), f"null or {COUNT}")
    share = values.get("train_share")
    rules["train_share"] = (
        share is None or (is_number(share, 0, 1) and share > 0),
        "null or a share from above 0 to 1",
    )
    for key in ("table", "lineage"):
        rules[key] = (values.get(key) is None or (isinstance(values[key], str) and bool(values[key])), "null or a path")
    if values.get("view") == "crop" and values.get("mask") is not None:
        yield "mask", values["mask"], values["mask"] == "background", "null or background with data.view=crop"
        side = values.get("crop_side")
        ring = f"{LEAST_MASKED} or more with data.mask, for a ring to be left"
        yield "crop_side", side, is_whole(side, LEAST_MASKED), ring
    rules["group_pattern"] = (pattern is None or isinstance(pattern, str), "null or a regular expression")
    for name, count in (values.get("synthetic_per_class") or {}).items():
        yield f"synthetic_per_class.{name}", count, is_whole(count, 1, MOST_SMEARS), f"1 to {MOST_SMEARS:,}"
    for key, (good, expected) in rules.items():
        if key in values:
            yield key, values[key], good, expected


def check_pattern(pattern: str) -> None:
    """Stop at a pattern that cannot name a group.

    Raises:
        InputError: Naming it.
    """
    try:
        why = "" if re.compile(pattern).groups else "none"
    except re.error as error:
        why = str(error)
    if why:
        raise InputError(
            f"data.group_pattern={pattern}",
            expected="a regular expression with brackets around the group, as 'patient([0-9]+)'",
            got=why,
            fix="correct it",
        )


def check_fold(fold: Any, folds: int) -> None:
    """Stop at a fold that there is not.

    Raises:
        InputError: Naming it.
    """
    if not is_whole(fold, 0, folds - 1):
        raise InputError(
            f"data.fold={fold}", expected=f"0 to {folds - 1}", got=str(fold), fix="choose one, or raise data.folds"
        )


def require_folder(folder: Path) -> None:
    """Stop if there is no such folder.

    Raises:
        InputError: Naming it.
    """
    if not folder.is_dir():
        raise InputError(
            str(folder),
            expected="a folder with one folder of images per class",
            got="no such folder" if not folder.exists() else "a file",
            fix="set data.root (or BLOODCELL_DATA) to the data",
        )


def check_view(
    rotation: Any = 0.0,
    zoom: Any = 0.0,
    shift: Any = 0.0,
    flip: Any = False,
    colour: Any = 0.0,
    strength: Any = 1.0,
    stain: Any = 0.0,
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
            (f"{key}.stain", stain, is_number(stain, 0, 2), "0 to 2; 1 is more than laboratories differ"),
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
