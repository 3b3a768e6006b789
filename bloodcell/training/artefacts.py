"""TODO training/artefacts.py."""

import lightning as L
from lightning.pytorch.loggers import TensorBoardLogger

MISTAKES_SHOWN = 12


def _tensorboards(trainer: L.Trainer) -> list[TensorBoardLogger]:
    return [logger for logger in trainer.loggers if isinstance(logger, TensorBoardLogger)]
