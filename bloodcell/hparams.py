"""The HPARAMS tab of TensorBoard: what runs are compared by, and their metrics."""

from collections.abc import Sequence
from typing import Any

import lightning as L
from omegaconf import DictConfig, OmegaConf

from bloodcell.data.datamodule import BloodCells
from bloodcell.results import name_of


def log_hparams(
    trainer: L.Trainer, cfg: DictConfig, overrides: Sequence[str], data: BloodCells, metrics: dict[str, float]
) -> None:
    """One entry in TensorBoard's HPARAMS tab, with the metrics of ``metrics.json``."""
    # A tag of its own: val/... of the curves is a point an epoch, and the tab shows the last point of a tag.
    shown = {
        f"reported/{name}" if name.startswith("val/") else name: value
        for name, value in metrics.items()
        if name.count("/") == 1
    }
    hparams = {**flat_hparams(cfg), **typed_hparams(cfg, overrides), "data.source": name_of(data)}
    for logger in trainer.loggers:
        logger.log_hyperparams(hparams, shown, step=trainer.current_epoch)
        logger.save()
        logger.finalize("success")


def flat_hparams(cfg: DictConfig) -> dict[str, Any]:
    """The keys that runs are compared by, flat; lists as text."""
    chosen = {
        "model": OmegaConf.to_container(cfg.model, resolve=True),
        "optim": OmegaConf.to_container(cfg.optim, resolve=True),
        "data": {key: cfg.data.get(key) for key in ("source", "protocol", "image_size", "batch_size", "augment")},
        "trainer": {key: cfg.trainer[key] for key in ("max_epochs", "precision")},
    }
    flat: dict[str, Any] = {"seed": cfg.seed}
    stack: list[tuple[str, Any]] = list(chosen.items())
    while stack:
        name, value = stack.pop(0)
        if isinstance(value, dict):
            stack += [(f"{name}.{key}", one) for key, one in value.items() if key != "_partial_"]
        else:
            flat[name.removesuffix("._target_")] = _shown(value)
    return flat


def typed_hparams(cfg: DictConfig, overrides: Sequence[str]) -> dict[str, Any]:
    """What was typed, and therefore what a sweep varies, whatever it is; no names of files."""
    keys = [word.lstrip("+").partition("=")[0] for word in overrides]
    values = {key: OmegaConf.select(cfg, key) for key in keys}
    return {
        key: _shown(value)
        for key, value in values.items()
        if not isinstance(value, DictConfig) and "/" not in f"{key}{value}"
    }


def _shown(value: Any) -> int | float | bool | str:
    return value if isinstance(value, int | float | bool | str) else str(value)
