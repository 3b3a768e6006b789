"""The checkpoints of a run: ``last``, what it is resumed from, and ``best``; each written whole or not at all."""

from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins import TorchCheckpointIO
from lightning.pytorch.callbacks import ModelCheckpoint
from omegaconf import DictConfig

from bloodcell.common.files import replacing


class WholeCheckpoints(TorchCheckpointIO):
    """Writes a checkpoint beside its place and moves it there.

    Lightning writes it in the temporary folder; if that is on another file system it then copies it over the last one,
    and whoever is killed meanwhile has neither.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Write a checkpoint."""
        with replacing(Path(path)) as file:
            torch.save(checkpoint, file)


class Kept(ModelCheckpoint):
    """Keeps one checkpoint under one name: the epoch that the monitor likes best, or without one the last."""

    @property
    def state_key(self) -> str:
        """Name of its state in a checkpoint: as in those that were written before it had a class of its own."""
        return super().state_key.replace(type(self).__qualname__, ModelCheckpoint.__qualname__, 1)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up how good the kept one is, if it is there, and nothing else.

        Lightning removes what a better one replaces. It is told no place by a checkpoint, which may be a stranger's,
        and the run may have been moved.
        """
        own = Path(str(self.dirpath)) / f"{self.filename}.ckpt"
        if not own.is_file():
            return
        scores = state_dict["best_k_models"] if self.monitor else {}
        score = scores.get(state_dict["best_model_path"])
        if score is not None and not (isinstance(score, torch.Tensor) and score.shape == () and score.isfinite()):
            raise ValueError(f"{score} as the best {self.monitor}")
        self.best_model_path = str(own)
        if score is not None:
            self.best_k_models, self.kth_best_model_path = {str(own): score}, str(own)
            self.best_model_score = self.kth_value = score


def make_checkpoints(cfg: DictConfig, run_dir: Path, choice: bool) -> list[ModelCheckpoint]:
    """Make the callbacks that write checkpoints, in the order in which they have to write.

    Args:
        cfg: The composed config.
        run_dir: The run directory.
        choice: Whether an epoch may be chosen by validation.
    """
    folder = run_dir / "checkpoints"
    # Last comes last, and at the end of the epoch, when all state has settled, that of `best` too: with the record of
    # an epoch before, a resumed run would take a worse one for the best.
    last = Kept(folder, "last", save_on_train_epoch_end=True, enable_version_counter=False)
    best = Kept(folder, "best", cfg.monitor.metric, mode=cfg.monitor.mode, enable_version_counter=False)
    return [best, last] if choice else [last]
