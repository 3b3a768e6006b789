"""From what is typed to a config; and how the command was started."""

from collections.abc import Sequence
from typing import NamedTuple

from omegaconf import DictConfig

from bloodcell.common.env import CONF


class Start(NamedTuple):
    """How Hydra started a command.

    Attributes:
        multirun: Whether it is a job of a sweep.
        run_dir_typed: Whether the user named the run directory.
    """

    multirun: bool
    run_dir_typed: bool


def start_of() -> Start | None:
    """Tell how the command was started; ``None`` where Hydra did not start it."""
    from hydra.core.hydra_config import HydraConfig
    from hydra.types import RunMode

    if not HydraConfig.initialized():
        return None
    settings = HydraConfig.get()
    typed = any(word.startswith("hydra.run.dir=") for word in settings.overrides.hydra)
    return Start(settings.mode == RunMode.MULTIRUN, typed)


def still_composed(overrides: Sequence[str]) -> DictConfig | None:
    """Compose what was typed for an earlier run; ``None``, after a note, if ``conf`` does not know it any more."""
    from hydra.errors import HydraException

    try:
        return composed(overrides)
    except HydraException as error:
        print(f"note: its overrides cannot be composed any more ({str(error).splitlines()[0]}); its own config is used")
        return None


def quoted(value: object) -> str:
    """Quote a value of a Hydra override, so that ``=``, spaces and commas in it are not parsed."""
    return "'" + str(value).replace("\\", "\\\\").replace("'", "\\'") + "'"


def composed(overrides: Sequence[str]) -> DictConfig:
    """Compose ``conf/train.yaml`` with some overrides, without a command line.

    Raises:
        HydraException: If they cannot be composed.
    """
    from hydra import compose, initialize_config_dir

    with initialize_config_dir(str(CONF), version_base="1.3"):
        return compose("train", list(overrides))
