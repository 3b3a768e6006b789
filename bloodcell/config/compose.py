"""The command line in a form that Hydra reads as meant, and the config composed from it."""

import os
import re
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

from omegaconf import DictConfig, ListConfig, OmegaConf

from bloodcell.common.env import CONF, path_of

if TYPE_CHECKING:
    from hydra.core.override_parser.types import Override

# Keys whose values are text whatever they look like: Hydra would read a folder called 2024 as a number and one called
# `a,b` as a grid, and stop at `#`, `~`, `=` or an accent.
PATHS = (
    "data.root",
    "data.table",
    "data.lineage",
    "model.weights",
    "ckpt_path",
    "init_from",
    "hydra.run.dir",
    "hydra.sweep.dir",
)
TEXTS = (*PATHS, "name", "data.group_pattern")
# A value that stands in an environment variable, where it is text: `0.1` is to be a number.
VARIABLE = re.compile(r"\$\{oc\.env:[^{}]*\}")
# Hydra's options that a value of their own follows.
VALUED = (
    *("-c", "--cfg", "-p", "--package", "-i", "--info", "-cp", "--config-path", "-cn", "--config-name"),
    *("-cd", "--config-dir", "--experimental-rerun"),
)


def direction(metric: str) -> str:
    """Tell which way a metric improves: ``min`` for losses and errors, else ``max``."""
    return "min" if re.match(r"(\w+/)?(loss|log_loss|brier|ece)", metric) else "max"


def arranged(words: Sequence[str]) -> list[str]:
    """Arrange a command line so that Hydra reads it as it is meant: options anywhere, paths as they are.

    Hydra's own parser takes the overrides in one piece only.
    """
    options = options_of(words)
    overrides = [word for word in words if word not in options]
    sweep = bool({"-m", "--multirun"} & set(options)) or any(
        word.startswith(("sweep=", "hydra.mode=MULTIRUN")) for word in overrides
    )
    return [*(as_typed(word, sweep=sweep) for word in overrides), *options]


def options_of(words: Sequence[str]) -> list[str]:
    """The options on a command line, with their values."""
    return [word for before, word in zip(["", *words], words, strict=False) if word.startswith("-") or before in VALUED]


def as_typed(word: str, *, sweep: bool = False) -> str:
    """Quote the value of an override if it is text that Hydra would not read as it is.

    Args:
        word: ``KEY=VALUE``; it comes back unchanged if the key holds no text, and if Hydra reads ``null``, an
            interpolation or the text itself.
        sweep: Whether commas separate the values of a grid.
    """
    from hydra.core.override_parser.types import Sweep
    from hydra.errors import HydraException

    key, _, typed = word.partition("=")
    if key.lstrip("+") not in TEXTS or not typed:
        return word
    read: object = ...
    with suppress(HydraException):
        read = parsed(word).value()
    exists = os.path.lexists(typed)
    if sweep and not exists and not key.startswith("hydra."):
        if "," in typed and not re.search(r"[\"'(]", typed):
            return f"{key}={','.join(as_typed(f'{key}={one}').partition('=')[2] for one in typed.split(','))}"
        if isinstance(read, Sweep):
            return word
    if read is None:
        return word
    text = read if isinstance(read, str) and not exists else typed
    if key.lstrip("+") in PATHS and not exists:
        text = str(path_of(text)) if text.startswith("~") else text
    return word if text == read else f"{key}={quoted(text)}"


def words_of(overrides: Any) -> list[str]:
    """Read the overrides in an OmegaConf list as typed; plain indexing would resolve their interpolations."""
    words = OmegaConf.to_container(overrides)
    assert isinstance(words, list)
    return [str(word) for word in words]


def parsed(word: str) -> "Override":
    """Parse an override as Hydra does.

    Raises:
        HydraException: If it is none.
    """
    from hydra.core.override_parser.overrides_parser import OverridesParser

    return OverridesParser.create().parse_override(word)


class Start(NamedTuple):
    """The way Hydra started a command.

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
    """Compose the overrides of an earlier run; print a note and return ``None`` if ``conf`` no longer knows one."""
    from hydra.errors import HydraException

    try:
        return composed(overrides)
    except HydraException as error:
        print(f"note: its overrides cannot be composed any more ({str(error).splitlines()[0]}); its own config is used")
        return None


def quoted(value: object) -> str:
    r"""Quote a value of an override, so that Hydra reads it as it is, whatever it holds.

    In Hydra's quotes a backslash is a letter like any other, but for those before a quote.
    """
    return "'" + re.sub(r"(\\*)('|$)", lambda end: end[1] * 2 + ("\\'" if end[2] else ""), str(value)) + "'"


def composed(overrides: Sequence[str], root: str = "train") -> DictConfig:
    """Compose ``conf/train.yaml`` with some overrides, without a command line or in the middle of one.

    Args:
        overrides: As typed.
        root: Another file to compose instead of ``train``.

    Raises:
        HydraException: If they cannot be composed.
    """
    from hydra import compose, initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra

    running, GlobalHydra.instance().hydra = GlobalHydra.instance().hydra, None
    try:
        with initialize_config_dir(str(CONF), version_base="1.3"):
            return compose(root, list(overrides))
    finally:
        GlobalHydra.instance().hydra = running


def resolve(cfg: DictConfig) -> None:
    """Replace every interpolation in a config by its value, and relative paths by absolute ones.

    Also fill in which way the monitored metric improves.

    Args:
        cfg: The config; Hydra's own part of it stays.

    Raises:
        OmegaConfBaseException: If an interpolation leads nowhere.
    """
    metric = OmegaConf.select(cfg, "monitor.metric")
    if metric is not None and OmegaConf.select(cfg, "monitor.mode") is None:
        cfg.monitor.mode = direction(str(metric))
    _resolve(cfg, "")
    make_absolute(cfg)


def make_absolute(cfg: DictConfig) -> None:
    """Make every relative path in a config absolute: a run is opened from anywhere.

    Args:
        cfg: The config. A name that leads to nothing here stays: it is a word (``model.weights=download``), lies below
            another folder (``data.table``), or is refused.
    """
    for key in PATHS:
        value = None if key.startswith("hydra.") else OmegaConf.select(cfg, key)
        if isinstance(value, str) and value and os.path.lexists(value):
            OmegaConf.update(cfg, key, os.path.abspath(value))  # noqa: PTH100 (leads where links lead, as typed)


def _resolve(node: Any, head: str) -> None:
    raw: Any = OmegaConf.to_container(node, resolve=False)
    for key in range(len(node)) if isinstance(node, ListConfig) else list(node):
        where = f"{head}{key}"
        if where == "hydra":
            continue
        if OmegaConf.is_interpolation(node, key):
            value = node[key]
            if VARIABLE.fullmatch(raw[key]) and where not in TEXTS:
                value = _as_hydra_reads(value)
            node[key] = value
        if not OmegaConf.is_missing(node, key) and OmegaConf.is_config(node[key]):
            _resolve(node[key], f"{where}.")


def _as_hydra_reads(text: str) -> Any:
    from hydra.errors import HydraException

    with suppress(HydraException):
        value = parsed(f"variable={text}").value()
        return value if isinstance(value, int | float | list | dict | None) else text
    return text
