"""Loading weights from files that nobody has to trust: tensors only, never code."""

import logging
import pickle
from pathlib import Path
from typing import Any

import torch
from torch import nn

from bloodcell.common.errors import InputError

log = logging.getLogger(__name__)


def read_checkpoint(path: Path, key: str) -> dict[str, Any]:
    """Read a file written by ``torch.save``, refusing everything but plain data and tensors.

    Args:
        path: A Lightning checkpoint or a bare state dict.
        key: What the user typed, for the message.

    Returns:
        The dictionary in the file, tensors on the CPU.

    Raises:
        InputError: If the file is missing, is no checkpoint, or holds more than data.
    """
    if not path.is_file():
        raise InputError(key, expected="a checkpoint file", got="no such file", fix="check the path")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError) as error:
        reason = str(error).split("\n", 1)[0][:120]
        raise InputError(
            key,
            expected="a checkpoint that holds tensors and plain data only",
            got=f"a file that cannot be read so ({reason})",
            fix="give a .ckpt of a run or a state dict saved with torch.save",
        ) from error
    if not isinstance(content, dict):
        raise InputError(key, expected="a dictionary", got=type(content).__name__, fix="give a state dict")
    return content


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


def _net_state(content: dict[str, Any]) -> dict[str, torch.Tensor]:
    if "state_dict" not in content:
        return content
    prefix = "net."
    state = content["state_dict"].items()
    return {name.removeprefix(prefix): value for name, value in state if name.startswith(prefix)}
