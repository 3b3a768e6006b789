"""The HPARAMS tab of TensorBoard: what runs are compared by, and their metrics."""

from typing import Any

import lightning as L
from omegaconf import DictConfig, OmegaConf

from bloodcell.data.datamodule import BloodCells
from bloodcell.results import name_of


def log_hparams(trainer: L.Trainer, cfg: DictConfig, data: BloodCells, metrics: dict[str, float]) -> None:
    """One entry in TensorBoard's HPARAMS tab, with the metrics of ``metrics.json``."""
    shown = {
        f"reported/{name}" if name.startswith("val/") else name: value
        for name, value in metrics.items()
        if name.count("/") == 1
    }
    for logger in trainer.loggers:
        logger.log_hyperparams({**flat_hparams(cfg), "data.source": name_of(data)}, shown, step=trainer.current_epoch)
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
            flat[name.removesuffix("._target_")] = value if isinstance(value, int | float | bool | str) else str(value)
    return flat
