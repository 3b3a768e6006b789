"""A published net: one safetensors file whose header holds its card. Whoever wrote it, reading it runs no code."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from omegaconf import OmegaConf
from torch import Tensor, nn

from bloodcell.common.errors import UNPRINTABLE, InputError, Rule, holding, is_number, is_whole, limit_of
from bloodcell.common.files import JSON_BYTES, replacing, write_json
from bloodcell.config.instantiate import build
from bloodcell.data.seen import Seen, remembered
from bloodcell.evidence.doubt import LearntCells
from bloodcell.training.trained import Card, Preparation, TrainedNet

FORMAT = 1
SUFFIX = ".safetensors"
# Of a file from elsewhere. The net that comes with the package has less than a hundredth of it.
MOST_BYTES = 1_000_000_000
MOST_CLASSES, MOST_SIDE, MOST_ARGUMENTS, MOST_POINTS = 1000, 2048, 64, 100_000
MOST_LETTERS = 2**26  # of the names of learnt pictures, each as long as the longest
# Nets that a card may name: functions that build modules out of plain numbers.
_NETS = re.compile(r"(bloodcell\.model\.nets|torchvision\.models)\.[a-z]\w*")


def write_published(path: Path, trained: TrainedNet) -> None:
    """Write a net as one file, and its card once more beside it, to be read by people.

    Args:
        path: Ends in ``.safetensors``.
        trained: The net.
    """
    from safetensors.torch import save

    tensors = {f"net.{name}": value.contiguous() for name, value in trained.net.state_dict().items()}
    if trained.seen is not None:
        tensors |= {f"seen.{name}": value for name, value in trained.seen.tensors().items()}
    if trained.learnt is not None:
        known = trained.learnt
        tensors |= {
            "known.points": torch.from_numpy(known.points.astype(np.float16)),
            "known.centre": torch.from_numpy(known.centre.astype(np.float32)),
            "known.scale": torch.from_numpy(known.scale.astype(np.float32)),
            "known.labels": torch.from_numpy(known.labels.astype(np.int16)),
        }
    content = _content(trained)
    with holding(str(path), "a card of texts and finite numbers", "train the run again, or leave --doubts out"):
        text = json.dumps(content, allow_nan=False)
    with replacing(path) as file:
        file.write(save(tensors, metadata={"card": text}))
    write_json(path.with_suffix(".json"), content)


def _content(trained: TrainedNet) -> dict[str, Any]:
    card, known = trained.card, trained.learnt
    doubt = None
    if known is not None:
        doubt = {"neighbours": known.neighbours, "threshold": known.threshold, "files": known.files.tolist()}
    return {
        "format": FORMAT,
        "classes": list(card.classes),
        "model": dict(card.model),
        "preparation": asdict(card.preparation),
        "temperature": card.temperature,
        "limits": None if card.limits is None else list(card.limits),
        "doubt": doubt,
        "about": dict(card.about),
    }


def read_published(path: Path) -> TrainedNet:
    """Open a published net.

    Raises:
        InputError: If it is no such file, asks for more than a net needs, or its weights do not fit its card.
    """
    from safetensors import SafetensorError, safe_open

    if not path.is_file() or path.stat().st_size > MOST_BYTES:
        got = f"{path.stat().st_size:,} bytes" if path.is_file() else "no such file"
        raise InputError(str(path), expected=f"a file of at most {MOST_BYTES:,} bytes", got=got, fix="check the path")
    try:
        with safe_open(path, "pt", device="cpu") as file:
            text = (file.metadata() or {}).get("card", "")
            content = json.loads(text) if len(text) <= JSON_BYTES else None
            card, doubt = _card(content, path), content["doubt"] if content else None
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (it is no mapping)
    except (SafetensorError, OSError, ValueError, RecursionError, AttributeError) as error:
        if isinstance(error, InputError):
            raise
        raise _refused(path, "a net written by python -m bloodcell.export", str(error)) from error
    net = _net(card, {name[4:]: value for name, value in tensors.items() if name.startswith("net.")}, path)
    trained = TrainedNet(net, card, _seen(tensors, path), _known(tensors, doubt, card, path), str(path))
    _check_fit(trained, path)
    return trained


def _check_fit(trained: TrainedNet, path: Path) -> None:
    """Stop if the net takes no pictures of the size that its card names, or learnt cells have other numbers."""
    try:
        features = trained.outputs(torch.zeros(1, 3, *trained.card.preparation.image_size, dtype=torch.uint8))[1]
    except RuntimeError as error:
        if (limit := limit_of(error)) is not None:
            raise limit from error
        raise _refused(path, "a net that takes pictures of its image_size", str(error).split("\n", 1)[0]) from error
    if trained.learnt is not None and trained.learnt.points.shape[1] != features.shape[1]:
        raise _refused(path, f"learnt cells of {features.shape[1]} numbers", str(trained.learnt.points.shape[1]))


def _card(content: Any, path: Path) -> Card:
    """Check every value of a card that something is made of."""
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise _refused(path, f"a card of format {FORMAT}", str(content)[:40])
    given = content.get("preparation")
    preparation = given if isinstance(given, dict) else {}
    classes, limits = content.get("classes"), content.get("limits")
    for key, value, good, expected in _rules(content, preparation, classes, limits):
        if not good:
            raise _refused(path, f"a card with {key}: {expected}", repr(value))
    assert isinstance(classes, list)
    mean, std = (preparation[key] and tuple(map(float, preparation[key])) for key in ("mean", "std"))
    height, width = preparation["image_size"]
    return Card(
        tuple(classes),
        content["model"],
        Preparation(
            (height, width), mean, std, *(preparation[key] for key in ("view", "reduce", "crop_side", "field_side"))
        ),
        float(content["temperature"]),
        None if limits is None else tuple(limits),
        content["about"],
    )


def _rules(content: dict[str, Any], preparation: dict[str, Any], classes: Any, limits: Any) -> Iterator[Rule]:
    names = isinstance(classes, list) and all(isinstance(name, str) and 0 < len(name) < 200 for name in classes)
    names = names and not any(UNPRINTABLE.search(name) for name in classes)
    unique = names and 1 < len(set(classes)) == len(classes) <= MOST_CLASSES
    yield "classes", classes, unique, "two or more names that can be shown"
    missing = sorted({one.name for one in fields(Preparation)} - preparation.keys())
    yield "preparation", f"none of {missing}", not missing, "all that a picture needs"
    size = preparation.get("image_size")
    yield "image_size", size, _is_list(size, 2, lambda side: is_whole(side, 8, MOST_SIDE)), "height and width"
    for key in ("mean", "std"):
        least = 1e-6 if key == "std" else -1e3
        values = preparation.get(key)
        good = values is None or _is_list(values, 3, lambda one, least=least: is_number(one, least, 1e3))
        yield key, values, good, "null or three numbers"
    yield "view", preparation.get("view"), preparation.get("view") in ("field", "crop"), "field or crop"
    yield "reduce", preparation.get("reduce"), isinstance(preparation.get("reduce"), bool), "true or false"
    side, whole = preparation.get("crop_side"), preparation.get("field_side")
    yield "crop_side", side, is_whole(side, 8, MOST_SIDE), "pixels of a field whose shorter side is 480"
    yield "field_side", whole, whole is None or is_whole(whole, 8, 10 * MOST_SIDE), "null or pixels"
    yield "temperature", content.get("temperature"), is_number(content.get("temperature"), 0.01, 100), "a number"
    share = _is_list(limits, len(classes) if names else 0, lambda one: one is None or is_number(one, 0, 1))
    yield "limits", limits, limits is None or share, "null, or a share or null for each class"
    yield "about", content.get("about"), isinstance(content.get("about"), dict), "a mapping"
    yield "doubt", content.get("doubt", 0), isinstance(content.get("doubt", 0), dict | None), "null or a mapping"
    model = content.get("model")
    named = isinstance(model, dict) and _NETS.fullmatch(str(model.get("_target_"))) is not None
    yield "model", model, named, "a net of bloodcell.model.nets or torchvision.models"
    plain = isinstance(model, dict) and len(model) <= MOST_ARGUMENTS and all(map(_is_argument, model.items()))
    yield "model", model, plain and not (model or {}).get("weights"), "plain numbers and words, and weights=null"


def _is_list(value: Any, length: int, good: Any) -> bool:
    return isinstance(value, list) and len(value) == length and all(map(good, value))


def _is_argument(pair: tuple[Any, Any]) -> bool:
    """Whether an argument of a net is plain: no object is made of it and no file is named by it."""
    key, value = pair
    values = value if isinstance(value, list) else [value]
    known = key == "_target_" or re.fullmatch(r"[a-z]\w*", str(key)) is not None
    return (
        known
        and len(values) <= MOST_ARGUMENTS
        and all(
            one is None
            or isinstance(one, bool)
            or is_number(one, -1e6, 1e6)
            or (isinstance(one, str) and re.fullmatch(r"[\w.]{0,100}", one) is not None)
            for one in values
        )
    )


def _net(card: Card, state: Mapping[str, Tensor], path: Path) -> nn.Module:
    """Build the net without memory, and give it the tensors of the file where all of them fit."""
    with torch.device("meta"):
        net = build(OmegaConf.create(dict(card.model)), "model", num_classes=len(card.classes))
    own = net.state_dict()
    kinds = [{name: (one.shape, one.dtype) for name, one in tensors.items()} for tensors in (own, state)]
    if kinds[0] != kinds[1]:
        other = min(name for name in {*own, *state} if kinds[0].get(name) != kinds[1].get(name))
        raise _refused(path, "the weights of the net that its card names", f"another {other}")
    if not all(bool(one.isfinite().all()) for one in state.values()):
        raise _refused(path, "weights that are finite numbers", "others")
    net.load_state_dict(state, assign=True)
    left = [name for name, value in [*net.named_parameters(), *net.named_buffers()] if value.is_meta]
    if left:
        raise _refused(path, "a net whose whole state is in its weights", f"none of {left[0]}")
    assert isinstance(net, nn.Module)
    return net.eval().requires_grad_(False).to(memory_format=torch.channels_last)


def _seen(tensors: Mapping[str, Tensor], path: Path) -> Seen | None:
    if "seen.images" not in tensors:
        return None
    parts = [tensors.get(f"seen.{name}") for name in ("images", "groups")]
    if any(part is None or part.dtype != torch.int64 or part.ndim != 1 for part in parts):
        raise _refused(path, "whole numbers of 64 bits of what was seen", "something else")
    return remembered(*(part.numpy() for part in parts if part is not None))


def _known(tensors: Mapping[str, Tensor], doubt: Any, card: Card, path: Path) -> LearntCells | None:
    if doubt is None:
        return None
    points, centre, scale, labels = (
        tensors.get(f"known.{name}", torch.zeros(0)) for name in ("points", "centre", "scale", "labels")
    )
    files = doubt.get("files") if isinstance(doubt, dict) else None
    kinds = {one.dtype for one in (points, centre, scale)} <= {torch.float16, torch.float32, torch.float64}
    kinds = kinds and labels.dtype in (torch.int16, torch.int32, torch.int64) and labels.ndim == 1
    shapes = kinds and points.ndim == 2 and centre.shape == scale.shape == points.shape[1:]
    named = shapes and isinstance(files, list) and len(files) == len(points) == len(labels) <= MOST_POINTS
    whole = shapes and all(bool(one.isfinite().all()) for one in (points, centre, scale)) and bool((scale > 0).all())
    fit = shapes and named and whole and all(isinstance(file, str) for file in files or [])
    # NumPy gives every name the room of the longest one.
    fit = fit and max(map(len, files or [""]), default=0) * len(points) <= MOST_LETTERS
    numbered = fit and bool(((labels >= 0) & (labels < len(card.classes))).all())
    neighbours, threshold = (doubt.get(key) if numbered else None for key in ("neighbours", "threshold"))
    if not numbered or not is_whole(neighbours, 1, len(points)) or not is_number(threshold, 1e-9):
        raise _refused(path, "learnt cells as points with names and classes, and a threshold", "something else")
    return LearntCells(
        points=points.to(torch.float64).numpy(),
        centre=centre.to(torch.float64).numpy(),
        scale=scale.to(torch.float64).numpy(),
        neighbours=int(neighbours or 0),
        threshold=float(threshold or 0),
        files=np.array(files),
        labels=labels.to(torch.int64).numpy(),
    )


def _refused(path: Path, expected: str, got: str) -> InputError:
    return InputError(str(path), expected=expected, got=got[:150] or "something else", fix="get the file again")
