"""The logger of ``logger=tensorboard|csv|wandb|mlflow``, which writes below the run directory."""

import logging
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import Logger
from lightning.pytorch.utilities import rank_zero_only
from omegaconf import DictConfig

from bloodcell.common.errors import InputError
from bloodcell.config.instantiate import build

NEEDS = {"WandbLogger": "wandb", "MLFlowLogger": "mlflow"}


def make_logger(cfg: DictConfig, run_dir: Path, synthetic: bool) -> Logger | None:
    """Build the logger; where it writes is decided here and by no config.

    Args:
        cfg: The composed config.
        run_dir: The run directory.
        synthetic: Whether the cells are not real, which the name of the logged run then says.

    Returns:
        The logger, or ``None`` in a process that must not log beside the first one.

    Raises:
        InputError: If its package is not installed.
    """
    kind = str(cfg.logger.get("_target_")).rpartition(".")[2]
    needs = NEEDS.get(kind)
    if needs is not None and find_spec(needs) is None:
        raise InputError(
            f"logger={needs}",
            expected=f"the package {needs}",
            got="none installed",
            fix=f"type {sys.executable} -m pip install {needs}",
        )
    mark = "-SYNTHETIC-not-real-cells" if synthetic else ""
    place: dict[str, Any] = {}
    if kind == "TensorBoardLogger":
        place = {"save_dir": run_dir, "name": f"tensorboard{mark}", "version": ""}  # a version stands on the bar
    elif kind == "CSVLogger":
        before = len(list(run_dir.glob(f"csv{mark}*")))  # it would delete what a resumed run has logged before
        place = {"save_dir": run_dir, "name": "", "version": f"csv{mark}" + (f"-{before + 1}" if before else "")}
    elif kind == "WandbLogger":
        place = {"save_dir": run_dir, "name": run_dir.name + mark}
    elif kind == "MLFlowLogger":
        if getattr(rank_zero_only, "rank", 0):
            return None  # several processes would make the same database
        # Not worth a line of the log: that a new database has no experiment of this name yet.
        logging.getLogger("lightning.pytorch.loggers.mlflow").setLevel(logging.ERROR)
        place = {"run_name": run_dir.name + mark}
        if cfg.logger.get("tracking_uri") is None:
            home = run_dir.resolve()
            place |= {"tracking_uri": f"sqlite:///{home}/mlflow.db", "artifact_location": (home / "mlflow").as_uri()}
    logger: Logger = build(cfg.logger, "logger", **place)
    return logger
