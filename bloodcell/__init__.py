"""White blood cells under the microscope: training, honest evaluation, reproduction, answers for new pictures."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bloodcell.prediction.predictor import Predictor

__version__ = "0.2.0.dev0"


def load(source: str | Path | None = None) -> "Predictor":
    """Open a trained net: ``bloodcell.load("runs/...").predict("cell.png")``.

    Args:
        source: A run directory, a checkpoint in one, or a published net; ``None`` for the one of the package.

    Raises:
        InputError: If it is none of these.
    """
    from bloodcell.prediction import predictor  # here: torch takes seconds to import

    return predictor.load_net(source)
