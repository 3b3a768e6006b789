"""Words laid over a config that has been composed before, as Hydra would have laid them."""

from collections.abc import Sequence
from typing import Any

from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import ConfigCompositionException, HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from bloodcell.common.errors import InputError
from bloodcell.config.command import fail
from bloodcell.config.compose import composed, direction
from bloodcell.config.messages import config_groups

# They name values all over the config: of a config that is settled nothing says which of them were theirs.
WHOLE = ("experiment", "sweep")


def lay_over(cfg: DictConfig, words: Sequence[str], before: Sequence[str]) -> None:
    """Lay overrides over a config.

    Args:
        cfg: Composed before; changed in place.
        words: What is typed now.
        before: What it was composed from: a part that is chosen anew is given what they say of it.

    Raises:
        InputError: If a word asks for another experiment.
        SystemExit: After one line, if a word does not fit the config.
    """
    try:
        _lay_over(cfg, words, before)
    except (HydraException, OmegaConfBaseException) as error:
        fail(error, [*before, *words])


def _lay_over(cfg: DictConfig, words: Sequence[str], before: Sequence[str]) -> None:
    groups = config_groups()
    chosen_before = {_key(word): word for word in before if _key(word) in groups}
    chosen = [word for word in words if _key(word) in groups and chosen_before.get(_key(word)) != word]
    for word in chosen:
        if _key(word) in WHOLE:
            fix = "type the keys to change, or start a new run"
            raise InputError(word, expected=f"the {_key(word)} that the run was started with", got="another", fix=fix)
    OmegaConf.set_struct(cfg, False)
    if chosen:
        today = composed([*before, *chosen])
        for path in (_key(word).replace("/", ".") for word in chosen):
            section, _, name = path.rpartition(".")
            old, new = (OmegaConf.select(one, section) if section else one for one in (cfg, today))
            old.pop(name, None)
            if name in new:
                plain: Any = OmegaConf.to_container(new)
                old[name] = plain[name]
    values = OverridesParser.create().parse_overrides([word for word in words if _key(word) not in groups])
    for one in values:
        if one.is_sweep_override():
            raise ConfigCompositionException(f"Sweep parameters '{one.input_line}' requires --multirun")
    OmegaConf.set_struct(cfg, True)
    ConfigLoaderImpl._apply_overrides_to_config(values, cfg)
    OmegaConf.set_struct(cfg, False)


def let_follow(cfg: DictConfig, today: DictConfig) -> None:
    """Let keys that follow another one by default follow it again, where they have its value.

    A run keeps what such a key led to: ``data.seed`` would stay as it was when ``seed`` is typed anew.

    Args:
        cfg: The config that a run has kept; changed in place.
        today: What composes today from the same words.
    """
    for path, follows in _interpolations(OmegaConf.to_container(today), ""):
        before = OmegaConf.select(cfg, path, default=...)
        if before is ... or OmegaConf.is_dict(before):
            continue
        OmegaConf.update(cfg, path, follows)
        if OmegaConf.select(cfg, path, default=...) != before:
            OmegaConf.update(cfg, path, before)
    if cfg.monitor.mode == direction(str(cfg.monitor.metric)):
        cfg.monitor.mode = None  # known from the metric, of whatever metric


def _interpolations(node: Any, path: str) -> list[tuple[str, str]]:
    if isinstance(node, dict):
        return [found for key, value in node.items() for found in _interpolations(value, f"{path}.{key}".lstrip("."))]
    return [(path, node)] if isinstance(node, str) and node.startswith("${") else []


def _key(word: str) -> str:
    return word.lstrip("+~").partition("=")[0]
