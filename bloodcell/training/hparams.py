"""The HPARAMS tab of TensorBoard: what runs are compared by, and their metrics."""

from collections.abc import Collection
from typing import Any

import lightning as L
from lightning.pytorch.loggers import TensorBoardLogger
from omegaconf import DictConfig, OmegaConf
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData
from torch.utils.tensorboard.summary import hparams as hparams_summary

from bloodcell.data.describe import DataDescription


def log_hparams(
    trainer: L.Trainer,
    cfg: DictConfig,
    about: DataDescription,
    metrics: dict[str, float],
    varied: dict[str, str] | None,
) -> None:
    """Write one entry in TensorBoard's HPARAMS tab, with the metrics of ``metrics.json``.

    Args:
        trainer: Whose loggers get it.
        cfg: The config of the run.
        about: Its data.
        metrics: Its metrics.
        varied: What distinguishes a job of a sweep, as typed: the first columns. The other keys follow, for the tab
            has the columns of one run alone, and another sweep may stand beside it.
    """
    # A tag of its own: val/... of the curves is a point an epoch, and the tab shows the last point of a tag.
    shown = {
        f"reported/{name}" if name.startswith("val/") else name: value
        for name, value in metrics.items()
        if name.count("/") == 1
    }
    first = {key: _value(cfg, key, word) for key, word in (varied or {}).items()}
    hparams = {**first, **{key: value for key, value in flat_hparams(cfg).items() if key not in first}}
    hparams["data.source"] = about.source
    for logger in trainer.loggers:
        if isinstance(logger, TensorBoardLogger):
            # Before Lightning's own, which marks none: the tab has the keys that differ first, and shows five.
            logger.experiment._get_file_writer().add_summary(_experiment(hparams, shown, set(first)))
            logger.log_hyperparams(hparams, shown, step=trainer.current_epoch)
        else:
            logger.log_hyperparams(hparams)
            logger.log_metrics(shown, step=trainer.current_epoch)
        logger.save()
        logger.finalize("success")


def _experiment(hparams: dict[str, Any], metrics: dict[str, float], varied: Collection[str]) -> Summary:
    """What the tab is to show: TensorBoard takes it from whichever run it reads first."""
    experiment, _, _ = hparams_summary(hparams, metrics)  # type: ignore[no-untyped-call]  # torch has no types here
    plugin = experiment.value[0].metadata.plugin_data
    content = HParamsPluginData.FromString(plugin.content)
    for info in content.experiment.hparam_infos:
        info.differs = info.name in varied
    plugin.content = content.SerializeToString()
    return experiment


def flat_hparams(cfg: DictConfig) -> dict[str, Any]:
    """Flatten the keys that runs are compared by; lists become text."""
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


def _value(cfg: DictConfig, key: str, typed: str) -> int | float | bool | str:
    """A key's value; of a group, which has none, the choice that was typed."""
    value = OmegaConf.select(cfg, key.lstrip("+"))
    return typed if value is None or isinstance(value, DictConfig) else _shown(value)


def _shown(value: Any) -> int | float | bool | str:
    return value if isinstance(value, int | float | bool | str) else str(value)
