"""Loading weights from files that nobody has to trust: tensors only, never code."""

import hashlib
import logging
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from bloodcell.common.errors import UNPRINTABLE, InputError

log = logging.getLogger(__name__)


def read_checkpoint(path: Path, key: str) -> dict[str, Any]:
    """Read a file written by ``torch.save``, refusing everything but plain data and tensors.

    Args:
        path: A Lightning checkpoint or a bare state dict.
        key: What the user typed, for the message.

    Returns:
        The dictionary in the file, tensors on the CPU.

    Raises:
        InputError: If the file is missing, is no checkpoint, or holds more than data; or if a part that is read by its
            name (weights, classes, epoch, what was seen) is of another kind.
    """
    if not path.is_file():
        raise InputError(key, expected="a checkpoint file", got="no such file", fix="check the path")
    try:
        _check_packing(path)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of kinds that are refused
            content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # it may raise anything on a file that was damaged
        reason = f"{type(error).__name__}: {error}".split("\n", 1)[0][:120]
        raise InputError(
            key,
            expected="a checkpoint that holds tensors and plain data only",
            got=f"a file that cannot be read so ({reason})",
            fix="give a .ckpt of a run or a state dict saved with torch.save",
        ) from error
    if not isinstance(content, dict):
        raise InputError(key, expected="a dictionary", got=type(content).__name__, fix="give a state dict")
    wrong = next(_wrong_parts(content), None)
    if wrong is not None:
        raise InputError(key, expected="a checkpoint of a run or a state dict", got=wrong, fix="get the file again")
    return content


# Of numbers that a checkpoint may hold.
KINDS = (torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.int32, torch.uint8, torch.bool)


def _check_packing(path: Path) -> None:
    """Stop at an archive that was changed, or is larger once it is unpacked: torch looks at no sum, and never packs."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            if sum(part.file_size for part in archive.infolist()) > path.stat().st_size:
                raise ValueError("an archive that says it is larger than its file")
            if archive.testzip() is not None:
                raise ValueError("it was changed since it was written: a sum does not fit")


def _wrong_parts(content: dict[Any, Any]) -> Iterator[str]:
    """Say what of a checkpoint is of another kind than it has to be."""
    if not all(_is_whole(one) for one in _tensors(content)):
        yield "a tensor that is not stored whole"
    state, classes, seen = (content.get(key) for key in ("state_dict", "classes", "seen"))
    if state is not None and not _are_named(state, torch.Tensor):
        yield "weights that are no tensors with names"
    elif state is not None and not all(bool(one.isfinite().all()) for one in state.values()):
        yield "weights that are no finite numbers"
    if classes is not None:
        names = isinstance(classes, list) and all(isinstance(name, str) for name in classes)
        if not names or len(set(classes)) < len(classes) or not classes:
            yield "classes that are no list of names"
        elif any(UNPRINTABLE.search(name) for name in classes):
            yield "names of classes that cannot be shown"
    if not isinstance(content.get("epoch", 0), int):
        yield "an epoch that is no whole number"
    if seen is not None:
        parts = [seen.get(name) for name in ("images", "groups")] if _are_named(seen, torch.Tensor) else [None]
        if any(one is None or one.dtype != torch.int64 or one.ndim != 1 for one in parts):
            yield "images and groups seen that are no whole numbers"


def _tensors(node: Any) -> Iterator[torch.Tensor]:
    waiting = [node]
    while waiting:
        one = waiting.pop()
        if isinstance(one, torch.Tensor):
            yield one
        elif isinstance(one, dict):
            waiting += one.values()
        elif isinstance(one, list | tuple):
            waiting += one


def _is_whole(one: torch.Tensor) -> bool:
    """Whether every value of a tensor has its own place in the file: a few bytes can say that they are a terabyte."""
    if one.layout != torch.strided or one.device.type != "cpu" or one.is_nested or one.dtype not in KINDS:
        return False
    return one.numel() * one.element_size() <= one.untyped_storage().nbytes()


def _are_named(found: Any, kind: type) -> bool:
    return isinstance(found, dict) and all(isinstance(key, str) and isinstance(found[key], kind) for key in found)


def load_matching(net: nn.Module, source: Path | dict[str, torch.Tensor], key: str) -> None:
    """Copy every tensor that fits by name and shape; the last layer may differ, all else must fit.

    Args:
        net: The net to fill.
        source: A state dict, or a file with one or with a Lightning checkpoint (prefix ``net.``).
        key: What the user typed, for the message.

    Raises:
        InputError: If more than the weight and bias of the last layer(s) of one child do not fit.
    """
    state = source if isinstance(source, dict) else _net_state(read_checkpoint(source, key))
    own = net.state_dict()
    if not _are_named(state, torch.Tensor):
        raise InputError(key, expected="tensors with names", got="other values", fix="give a .ckpt or a state dict")
    fitting = {name: value for name, value in state.items() if name in own and own[name].shape == value.shape}
    fresh = [name for name in own if name not in fitting]
    if not fitting or len({name.rsplit(".", 1)[0] for name in fresh}) > 2:
        raise InputError(
            key,
            expected="weights of the same net, another last layer allowed",
            got=f"{len(fitting)} of {len(own)} tensors that fit (first that does not: {fresh[0]})",
            fix="choose the model that the weights belong to",
        )
    net.load_state_dict(fitting, strict=False)
    log.info("%s: %d tensors loaded, starting anew: %s", key, len(fitting), ", ".join(fresh) or "none")


def take_weights(module: nn.Module, checkpoint: Path) -> None:
    """Give a module the weights of a checkpoint, all of them.

    Raises:
        InputError: If they are those of another.
    """
    state = read_checkpoint(checkpoint, str(checkpoint)).get("state_dict") or {}
    kinds = [{name: tuple(one.shape) for name, one in part.items()} for part in (module.state_dict(), state)]
    if kinds[0] != kinds[1]:
        odd = next(name for name in {**kinds[0], **kinds[1]} if kinds[0].get(name) != kinds[1].get(name))
        raise InputError(
            str(checkpoint),
            expected=f"the weights of the net in the config, with {odd} of shape {kinds[0].get(odd, 'none')}",
            got=f"others, with {kinds[1].get(odd, 'none')}",
            fix="give the checkpoint of that run",
        )
    module.load_state_dict(state)


def digest_of_weights(state: Mapping[str, torch.Tensor]) -> str:
    """Compute SHA-256 over the names and bytes of tensors, in hexadecimal digits; their order does not matter."""
    digest = hashlib.sha256()
    for name in sorted(state):
        digest.update(name.encode() + state[name].cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _net_state(content: dict[str, Any]) -> dict[str, torch.Tensor]:
    if "state_dict" not in content:
        return content
    prefix = "net."
    state = content["state_dict"].items()
    return {name.removeprefix(prefix): value for name, value in state if name.startswith(prefix)}
