"""Limits on the config and overrides kept in a run directory, which may be a stranger's."""

import re
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from bloodcell.common.env import CONF, allowed_packages
from bloodcell.common.errors import InputError
from bloodcell.common.files import read_yaml

# Where a config has objects, and which of them a stranger may choose, besides those that conf/ names there. `build`
# looks at them once more: of torchvision.models, say, it takes nets and no loader.
_PLACES = re.compile(r"data|logger|model|optim\.(optimizer|scheduler)|trainer|trainer\.callbacks\.\d+")
_CALLBACKS = (
    "DeviceStatsMonitor|EarlyStopping|GradientAccumulationScheduler|LearningRateMonitor|StochasticWeightAveraging"
)
_HARMLESS = {
    "data": re.compile(r"(?!)"),
    "logger": re.compile(r"(?!)"),
    "model": re.compile(r"(bloodcell\.model\.nets|torchvision\.models)\.[a-z]\w*"),
    "optim": re.compile(r"torch\.optim\.(lr_scheduler\.)?[A-Z]\w*"),
    "trainer": re.compile(rf"lightning\.pytorch\.callbacks\.({_CALLBACKS}|Timer|Rich\w+|TQDM\w+)"),
}
ALL_PARTS = tuple(_HARMLESS)
WORDS, LETTERS = 100, 2_000  # of kept words, and of each
CHAIN = 8  # interpolations that lead to each other
_KEY = re.compile(r"(?:\+{0,2}|~)(?P<key>\w[\w-]*(?:[./]\w[\w-]*)*)(?:=|$)")
_NAME = re.compile(r"\w[\w-]*")
_FORBIDDEN = re.compile(r"\b(_args_|_recursive_|_convert_)\b")
_REFERENCE = re.compile(r"\$\{(\w+(?:\.\w+)*)\}")
_ENVIRONMENT = re.compile(r"\$\{oc\.env:\w+(?:,[^${}]*)?\}")


def read_kept_config(path: Path, parts: Sequence[str], upgrade: Callable[[DictConfig], None]) -> DictConfig:
    """Read the config of a run, and refuse it unless the given parts are safe to build.

    Args:
        path: Its ``config.yaml``.
        parts: What is going to be built, as ``data`` and ``model``.
        upgrade: Brings the config of an earlier version up to date; nothing is built by it.

    Raises:
        InputError: If it cannot be read, or asks for more than a run needs.
    """
    content = read_yaml(path)
    if not isinstance(content, dict):
        raise InputError(str(path), expected="a config", got=type(content).__name__, fix="check the path")
    try:
        cfg = OmegaConf.create(content)
    except OmegaConfBaseException as error:
        raise _refused(path, "the config of a run", str(error).split("\n", 1)[0]) from error
    assert isinstance(cfg, DictConfig)
    try:
        upgrade(cfg)
    except (OmegaConfBaseException, AttributeError, KeyError) as error:
        raise _refused(path, "the config of a run", str(error).split("\n", 1)[0]) from error
    for part in parts:
        held = OmegaConf.select(cfg, part)
        if not isinstance(held, DictConfig) and not (part == "logger" and held is None):  # a run may log nowhere
            raise _refused(path, f"a config with the part {part}", "none, or one without keys")
    check_config(cfg, path, parts)
    return cfg


def read_kept_words(path: Path) -> list[str]:
    """Read the overrides that a run was composed from, and refuse them unless they only choose what to train.

    Raises:
        InputError: If the file cannot be read, or a word reaches further: into Hydra's own part of the config
            (callbacks, launchers, logging, search paths, the environment), to files, to options of the command.
    """
    words = read_yaml(path)
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        raise _refused(path, "a list of words", type(words).__name__)
    if len(words) > WORDS or any(len(word) > LETTERS for word in words):
        raise _refused(path, f"at most {WORDS} words of {LETTERS:,} letters", "more")
    for word in words:
        _check_word(path, word)
    return words


def _check_word(path: Path, word: str) -> None:
    found = _KEY.match(word)
    if found is None:
        raise _refused(path, "words KEY=VALUE or GROUP=CHOICE", word)
    key = found["key"]
    if re.split("[./]", key)[0] == "hydra":
        raise _refused(path, "no word for Hydra itself", word)
    try:
        parsed = OverridesParser.create().parse_override(word)
        value = parsed.value()
    except (HydraException, RecursionError) as error:
        raise _refused(path, "words KEY=VALUE or GROUP=CHOICE", word) from error
    if parsed.key_or_group != key or parsed.package is not None:
        raise _refused(path, "words KEY=VALUE or GROUP=CHOICE", word)
    if "/" in key or (CONF / key).is_dir():  # a group, whose choice is a file: one of ours, not one beside the run
        choices = value if isinstance(value, list) else [value]
        if not all(one is None or (isinstance(one, str) and _NAME.fullmatch(one)) for one in choices):
            raise _refused(path, "the name of a choice", word)


def check_config(cfg: DictConfig, path: Path, parts: Sequence[str], typed: Sequence[str] = ()) -> None:
    """Refuse a config that comes with a run unless the given parts are safe to build.

    Args:
        cfg: The config.
        path: Where it comes from, for the message.
        parts: What is going to be built.
        typed: What the user typed himself: targets in it are his to choose.

    Raises:
        InputError: Naming the key.
    """
    content = OmegaConf.to_container(cfg, resolve=False)
    for where, key, value in _leaves(content, ""):
        here, part = f"{where}.{key}".lstrip("."), where.split(".")[0]
        own = any(_reaches(word, here) and str(value) in word for word in typed)
        if isinstance(value, str) and "${" in value and not own:
            _check_interpolation(content, path, here, value)
        if part not in parts:
            continue
        if part == "logger" and not own and (here, value) not in _of_loggers():
            raise _refused(path, "a logger as conf/ has it, which writes to the run alone", f"{here}={value}")
        if _FORBIDDEN.search(here) or (key == "_partial_" and part != "optim"):
            raise _refused(path, "no such key", here)
        if key == "_target_" and not own:
            if not _PLACES.fullmatch(where):
                raise _refused(path, "no object there", here)
            trusted = str(value).startswith(allowed_packages()) and part in ("model", "optim")
            if not trusted and str(value) not in _named_in_conf()[part] and not _HARMLESS[part].fullmatch(str(value)):
                raise _refused(path, f"an object for {where} that conf/ names or that only computes", str(value))


def _reaches(word: str, here: str) -> bool:
    """Tell whether a typed word sets a key of the config, or one above it."""
    key = word.partition("=")[0].lstrip("+~").replace("/", ".")
    return f"{here}.".startswith(f"{key}.")


def _leaves(node: Any, where: str) -> Iterator[tuple[str, str, Any]]:
    """Yield every leaf value with the key of its parent and its own key."""
    pairs = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, value in pairs:
        if isinstance(value, dict | list):
            yield from _leaves(value, f"{where}.{key}".lstrip("."))
        else:
            yield where, str(key), value


def _check_interpolation(content: Any, path: Path, here: str, value: str) -> None:
    """Refuse interpolations that would grow without end or call a resolver."""
    for _ in range(CHAIN):
        whole = _REFERENCE.fullmatch(value)
        if whole is None:
            if "${" in _ENVIRONMENT.sub("", value):
                break
            return
        node = content
        for part in whole[1].split("."):
            node = node.get(part) if isinstance(node, dict) else None
        if node is None:
            return  # without a value, or without such a key, which is said where it is needed
        if not isinstance(node, str):
            if isinstance(node, dict) or any("${" in str(one) for _, _, one in _leaves(node, "")):
                break
            return
        value = node
    raise _refused(path, "${KEY} alone, of a plain value, or ${oc.env:NAME}", f"{here}={value}")


@cache
def _named_in_conf() -> dict[str, set[str]]:
    """List the targets that our own configs name, by the part of the config that holds them."""
    named: dict[str, set[str]] = {part: set() for part in _HARMLESS}
    for file in CONF.rglob("*.yaml"):
        folder = file.relative_to(CONF).parts[0]
        for where, key, value in _leaves(read_yaml(file) or {}, ""):
            part = folder if folder in named else where.split(".")[0]
            if key == "_target_" and part in named:
                named[part].add(str(value))
    return named


@cache
def _of_loggers() -> set[tuple[str, Any]]:
    """List the keys and values of our own loggers; others could send what is logged elsewhere."""
    found = (_leaves(read_yaml(file), "logger") for file in (CONF / "logger").glob("*.yaml"))
    return {(f"{where}.{key}", value) for leaves in found for where, key, value in leaves}


def _refused(path: Path, expected: str, got: str) -> InputError:
    return InputError(
        str(path),
        expected=expected,
        got=got[:150],
        fix="if you know what it is for, remove it from the file and type it",
    )
