"""Compose the root config from what is typed."""

from collections.abc import Sequence

from omegaconf import DictConfig

from bloodcell.common.env import CONF


def quoted(value: object) -> str:
    """A value of a Hydra override, in quotes that keep ``=``, spaces and commas from being parsed."""
    return "'" + str(value).replace("\\", "\\\\").replace("'", "\\'") + "'"


def composed(overrides: Sequence[str]) -> DictConfig:
    """Compose ``conf/train.yaml`` with some overrides, without a command line.

    Raises:
        HydraException: If they cannot be composed.
    """
    from hydra import compose, initialize_config_dir

    with initialize_config_dir(str(CONF), version_base="1.3"):
        return compose("train", list(overrides))
