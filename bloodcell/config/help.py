"""The page that ``--help`` prints. Hydra's own takes half a second more, and lists files that are no choices."""

from collections.abc import Sequence
from string import Template
from typing import Any

import yaml
from omegaconf import OmegaConf

from bloodcell.common.env import CONF
from bloodcell.config.compose import composed, options_of
from bloodcell.config.messages import YAML_LOADER, choices, config_groups


def helped(root: str, words: Sequence[str]) -> bool:
    """Print the help of a command if that is what was typed.

    Args:
        root: The config of the command, ``train`` for ``conf/train.yaml``; its ``hydra.help.template`` is the page.
        words: The command line. Overrides on it show in the values; with further options the page is left to Hydra.

    Returns:
        Whether it was.

    Raises:
        HydraException: If the overrides cannot be composed.
    """
    options = options_of(words)
    if not options or not set(options) <= {"-h", "--help"}:
        return False
    file: Any = yaml.load((CONF / f"{root}.yaml").read_text(encoding="utf-8"), Loader=YAML_LOADER)
    chosen = {name for one in file["defaults"] if isinstance(one, dict) for name in one}
    groups = [one for one in config_groups() if one.partition("/")[0] in chosen]
    print(
        Template(file["hydra"]["help"]["template"]).substitute(
            APP_CONFIG_GROUPS="".join(f"{one}: {choices(one)}\n" for one in groups),
            CONFIG=OmegaConf.to_yaml(composed([word for word in words if word not in options], root)),
        ),
        end="",
    )
    return True
