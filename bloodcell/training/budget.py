"""A training as long as the user has time (``minutes=3``): how many epochs that is on this machine."""

import time
import warnings
from copy import deepcopy

import lightning as L
import torch
from omegaconf import DictConfig

from bloodcell.common.console import counted
from bloodcell.data.datamodule import CellImages
from bloodcell.model.classifier import CellClassifier

# Batches that are trained on to see how long one takes, after some in which memory is laid out and kernels are chosen.
WARM, TIMED = 4, 12


class _Clock(L.Callback):
    def __init__(self) -> None:
        self.ends: list[float] = []

    def on_train_batch_end(self, *_: object) -> None:
        self.ends.append(time.perf_counter())


def settle_epochs(
    cfg: DictConfig, composed: DictConfig, classifier: CellClassifier, data: CellImages
) -> dict[str, float]:
    """Replace ``minutes`` by the number of epochs, in the config that is run and in the one that is kept.

    Args:
        cfg: What is run, settled.
        composed: What is kept, and so holds on any machine.
        classifier: What will be trained.
        data: Set up.

    Returns:
        ``minutes`` and ``epochs`` for the manifest; nothing if no time was given, or the run is resumed.
    """
    if cfg.minutes is None or cfg.ckpt_path is not None:
        return {}
    minutes, epochs = cfg.minutes, epochs_within(cfg, classifier, data)
    for one in (cfg, composed):
        one.trainer.max_epochs, one.minutes = epochs, None
    verb = "fits" if epochs == 1 else "fit"
    print(f"time: {counted(epochs, 'epoch')} {verb} into {minutes:g} minutes", flush=True)
    return {"minutes": minutes, "epochs": epochs}


def epochs_within(cfg: DictConfig, classifier: CellClassifier, data: CellImages) -> int:
    """Tell how many whole epochs fit into ``minutes``, by training a copy on a few batches.

    The run itself is the same bits as if the number had been typed: nothing of the copy stays, and every draw of an
    epoch depends on the seed and the epoch alone.

    Args:
        cfg: The composed config, settled.
        classifier: What will be trained; left as it is.
        data: Set up.

    Returns:
        At least 1, at most ``trainer.max_epochs``.
    """
    clock = _Clock()
    probe = L.Trainer(
        accelerator=cfg.trainer.accelerator,
        devices=1,
        precision=cfg.trainer.precision,
        deterministic=cfg.trainer.deterministic,
        max_epochs=1,
        limit_train_batches=WARM + TIMED,
        limit_val_batches=0,
        callbacks=[clock],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    with torch.random.fork_rng(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that nothing is logged
        probe.fit(deepcopy(classifier), data)
    timed = clock.ends[WARM - 1 :]
    if len(timed) < 2:
        return int(cfg.trainer.max_epochs)  # an epoch is over before it can be timed
    batch = (timed[-1] - timed[0]) / (len(timed) - 1)
    # The way forward is a third of a step, and all that validation takes.
    learnt, looked_at = (
        limited(len(rows) / data.batch_size, cfg.trainer.get(f"limit_{name}_batches"))
        for name, rows in (("train", data.split.train), ("val", data.split.val))
    )
    epoch = batch * (learnt + looked_at / 3)
    return max(1, min(int(cfg.trainer.max_epochs), int(60 * cfg.minutes / epoch)))


def limited(batches: float, limit: float | None) -> float:
    """Apply a limit of Lightning's to a number of batches: a whole number of them, or a share as a fraction."""
    if limit is None:
        return batches
    return min(batches, limit) if isinstance(limit, int) else batches * limit
