"""A trained net as it is handed on: the module, and the card that says how pictures reach it and what it is worth."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from pkgutil import resolve_name
from typing import Any, Literal

import numpy as np
import torch
from omegaconf import DictConfig, OmegaConf
from torch import Tensor, nn

from bloodcell.common.errors import InputError, is_number
from bloodcell.common.files import read_json
from bloodcell.config.instantiate import build
from bloodcell.data.ranges import check_data
from bloodcell.data.scaling import Scaling
from bloodcell.data.seen import Seen, seen_in
from bloodcell.evidence.calibration import apply_temperature
from bloodcell.evidence.doubt import LearntCells
from bloodcell.evidence.intervals import Floats
from bloodcell.model.features import logits_and_features
from bloodcell.model.weights import read_checkpoint

# Pixels that a net is given at once: two hundred fields as they are trained on, one picture of the largest size.
AT_ONCE = 2**22


@dataclass(frozen=True)
class Preparation:
    """How a picture becomes what a net takes.

    Attributes:
        image_size: Height and width in pixels that it is squeezed to.
        mean: Per-channel mean to subtract from the [0, 1] values, or ``None``.
        std: Per-channel standard deviation to divide by, or ``None``.
        view: Whether the net looks at the whole ``field``, or at a ``crop`` around each cell.
        reduce: Whether a picture of the size of the photographs is first made like the published copies: as bright,
            and as small where the net looks at the whole field.
        crop_side: Side of a crop, in pixels of a field whose shorter side is 480.
        field_side: Shorter side to take for that of every picture; ``None`` for its own.
    """

    image_size: tuple[int, int]
    mean: tuple[float, ...] | None
    std: tuple[float, ...] | None
    view: Literal["field", "crop"] = "field"
    reduce: bool = False
    crop_side: int = 280
    field_side: int | None = None


@dataclass(frozen=True)
class Card:
    """What travels with the weights.

    Attributes:
        classes: Class names in the order of the net's outputs.
        model: The net as a config names it, ``_target_`` and arguments.
        preparation: How pictures reach it.
        temperature: Makes its probabilities calibrated, where it was fitted; else 1.
        limits: Of each class, the least calibrated probability that keeps it in a prediction set; ``None`` where not
            enough cells were held out to tell.
        about: For people: data, metrics with intervals, commit, what the net must not be used for.
    """

    classes: tuple[str, ...]
    model: Mapping[str, Any]
    preparation: Preparation
    temperature: float = 1.0
    limits: tuple[float | None, ...] | None = None
    about: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class TrainedNet:
    """A net ready to answer.

    Attributes:
        net: In evaluation mode, float32, on the CPU.
        card: What is known of it.
        seen: What its weights have seen; ``None`` where that is not known.
        learnt: The cells that it has learnt, as it sees them: what doubt is measured from; ``None`` for a run.
        name: The file or directory that it was opened from, for messages.
    """

    net: nn.Module
    card: Card
    seen: Seen | None
    learnt: LearntCells | None
    name: str

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the file that the weights are in."""
        return hashlib.sha256(Path(self.name).read_bytes()).hexdigest()

    def images(self, pixels: Tensor) -> Tensor:
        """Scale bytes as the net takes them; float32, shape (N, 3, H, W)."""
        scale = Scaling(self.card.preparation.mean, self.card.preparation.std)
        scaled: Tensor = scale(pixels).contiguous(memory_format=torch.channels_last)
        return scaled

    def outputs(self, pixels: Tensor) -> tuple[Floats, Floats]:
        """Answer a batch.

        Args:
            pixels: uint8, shape (N, 3, H, W), squeezed to the net's size.

        Returns:
            Calibrated probabilities, shape (N, classes), and features, shape (N, D), both float64.
        """
        with torch.inference_mode():
            found = [logits_and_features(self.net, self.images(part)) for part in torch.split(pixels, self.at_once)]
            logits, features = (torch.cat(parts) for parts in zip(*found, strict=True))
            probabilities = logits.float().softmax(dim=1).double().numpy()
        return apply_temperature(probabilities, self.card.temperature), features.numpy().astype(np.float64)

    @property
    def at_once(self) -> int:
        """How many pictures of its size the net is given at once."""
        height, width = self.card.preparation.image_size
        return max(AT_ONCE // (height * width), 1)


def net_of_run(run_dir: Path, cfg: DictConfig, checkpoint: Path, *, reduce: bool) -> TrainedNet:
    """Open the net of a run, without its data.

    Args:
        run_dir: The run directory.
        cfg: Its config, checked.
        checkpoint: One of its checkpoints.
        reduce: As of :class:`Preparation`.

    Raises:
        InputError: If the checkpoint cannot be read, or does not fit the config.
    """
    content = read_checkpoint(checkpoint, str(checkpoint))
    names, state = content.get("classes"), content.get("state_dict")
    if not isinstance(names, list) or not isinstance(state, dict):
        raise _misfit(checkpoint, "a checkpoint without class names or weights")
    check_data("", {key: cfg.data.get(key) for key in ("image_size", "crop_side") if cfg.data.get(key) is not None})
    check_fits(cfg.model, checkpoint)
    net: nn.Module = build(cfg.model, "model", num_classes=len(names))
    try:
        net.load_state_dict({str(name)[4:]: one for name, one in state.items() if str(name).startswith("net.")})
    except RuntimeError as error:
        raise _misfit(checkpoint, str(error).split("\n", 1)[-1].strip()) from error
    metrics = run_dir / "metrics.json"
    found = read_json(metrics) if metrics.is_file() else {}
    fitted = found.get("calibration/temperature") if found.get("checkpoint") == checkpoint.stem else None
    model: Any = OmegaConf.to_container(cfg.model, resolve=True)
    mean, std = (tuple(map(float, cfg.data[key])) if cfg.data.get(key) else None for key in ("mean", "std"))
    height, width = cfg.data.image_size
    card = Card(
        tuple(map(str, names)),
        model,
        Preparation(
            (int(height), int(width)),
            mean,
            std,
            "crop" if cfg.data.get("view") == "crop" else "field",
            reduce,
            int(cfg.data.get("crop_side") or 280),
            getattr(resolve_name(cfg.data._target_), "field_side", None),
        ),
        float(fitted) if fitted is not None and is_number(fitted, 0.01, 100) else 1.0,
        about={"run": str(run_dir), "checkpoint": checkpoint.stem},
    )
    return TrainedNet(net.eval().requires_grad_(False), card, seen_in(content), None, str(checkpoint))


def check_fits(model: DictConfig, checkpoint: Path) -> None:
    """Stop at the weights of another net than a config names, before that net takes memory: it may be of any size.

    Args:
        model: The part of the config.
        checkpoint: The weights.

    Raises:
        InputError: Naming a tensor.
    """
    content = read_checkpoint(checkpoint, str(checkpoint))
    state, names = content.get("state_dict") or {}, content.get("classes") or []
    try:
        with torch.device("meta"):
            own = build(model, "model", num_classes=len(names)).state_dict()
    except InputError:  # which the net itself will say; or a net that cannot be built without memory
        return
    given = {name[4:]: tuple(one.shape) for name, one in state.items() if name.startswith("net.")}
    odd = [name for name in {**own, **given} if name not in own or tuple(own[name].shape) != given.get(name)]
    if odd:
        wanted = tuple(own[odd[0]].shape) if odd[0] in own else "none"
        raise InputError(
            str(checkpoint),
            expected=f"the weights of the net in the config, with net.{odd[0]} of shape {wanted}",
            got=f"others, with {given.get(odd[0], 'none')}",
            fix="give the checkpoint of that run",
        )


def _misfit(checkpoint: Path, got: str) -> InputError:
    return InputError(
        str(checkpoint), expected="the weights of the net in its config", got=got[:150], fix="give another checkpoint"
    )
