"""Hydra's errors as one line that says what to type."""

import re
from collections.abc import Iterable, Iterator, Sequence
from difflib import SequenceMatcher
from typing import Any

import yaml
from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from bloodcell.common.env import CONF
from bloodcell.common.errors import InputError

YAML_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # ten times as fast where there is libyaml
NEAR = 0.75  # of difflib's ratio: what is less alike is no slip of the fingers
# Hydra's own keys that a user may want; the others are internal.
OF_HYDRA = ("hydra.run.dir", "hydra.sweep.dir", "hydra.mode", "hydra/launcher", "hydra/job_logging")


def hydra_line(error: Exception, typed: Sequence[str]) -> str:
    """Say in one line what is wrong with a command line and what to type instead.

    Args:
        error: Raised by Hydra or OmegaConf.
        typed: The command line.
    """
    known = _missing(error) or _unknown(error, typed) or _unreadable(error) or _grid(error) or _lost(error)
    known = known or _misfit(error)
    if known is not None:
        return str(known)
    text, cause = str(error), error.__cause__
    whole = f"{text} ({cause})" if cause is not None and str(cause) not in text else text
    return " ".join(whole.split())


def check_choices(words: Iterable[str]) -> None:
    """Refuse a group that was given anything but names of its choices.

    Raises:
        InputError: Naming the word.
    """
    from bloodcell.config.compose import parsed

    for word in words:
        key, _, typed = word.partition("=")
        if key not in config_groups():
            continue
        try:
            value: Any = parsed(word).value()
        except HydraException:
            continue  # Hydra says so in a moment
        chosen = getattr(value, "list", value)
        if not all(isinstance(one, str) for one in (chosen if isinstance(chosen, list) else [chosen])):
            fix = f"write ~{key} to go without" if "null" in typed else "choose one"
            raise InputError(key, expected=f"a choice of the group: {choices(key)}", got=typed, fix=fix)


def config_groups() -> list[str]:
    """List the groups of ``conf``: ``data``, ``optim/scheduler``, ..."""
    return sorted(str(path.relative_to(CONF)) for path in CONF.glob("[!h]*/**") if path.is_dir())


def choices(group: str) -> str:
    """List the choices of a group, separated by commas."""
    names = sorted(path.stem for path in (CONF / group).glob("*.yaml"))
    return ", ".join(name for name in names if not name.startswith("_"))


def _misfit(error: Exception) -> InputError | None:
    """Word the error for a value of another kind than the key holds, as a list for a group of keys."""
    text = str(error).split("\n", 1)[0]
    if found := re.search(r"Error merging override (\S+)", text):
        key, _, value = found[1].partition("=")
        return InputError(key, expected="a value of the kind that it has", got=value, fix="see --cfg job for its kind")
    if found := re.search(r"force-add of config groups is not supported: '(.*)'", text):
        return InputError(found[1], expected="KEY=VALUE", got="no key", fix="write +GROUP=CHOICE to add one")
    return None


def _missing(error: Exception) -> InputError | None:
    """Word the error for a choice, config or folder of configs that does not exist."""
    text = str(error)
    if found := re.search(r"Could not find '([^']+)'", text):
        group, _, name = found[1].rpartition("/")
        options = [line.strip() for line in text.split("\n") if line.startswith("\t") and "provider=" not in line]
        options = [one for one in options if not one.startswith("_")]
        near = _near(name, options)
        return InputError(
            f"{group}={name}" if group else name,
            expected=f"one of {', '.join(options)}" if options else "a config file",
            got="no such choice",
            fix=f"did you mean {group}={near[0]}?" if near else "choose one",
        )
    if isinstance(error, MissingConfigException):
        name = str(error.missing_cfg_file)
        return InputError(f"--config-name {name}", expected="a config", got="no such file", fix="check the name")
    if found := re.search(r"Additional config directory '(.+)' not found", text):
        return InputError(f"--config-dir {found[1]}", expected="a folder", got="no such folder", fix="check the path")
    return None


def _unknown(error: Exception, typed: Sequence[str]) -> InputError | None:
    """Word the error for a key that the config lacks, or that ``+`` would add although it exists."""
    text = str(error)
    if found := re.search(r"Could not (?:override '([^']+)'|delete from config. '([^']+)' does not exist)", text):
        key = found[1] or found[2]
        return InputError(key, expected="a key of the config", got="an unknown one", fix=_hint(key, typed))
    if found := re.search(r"An item is already at '([^']+)'", text):
        key = found[1]
        return InputError(f"+{key}", expected="a key to add", got="one of the config", fix=f"write {key}=... without +")
    return None


def _unreadable(error: Exception) -> InputError | None:
    """Word the error for an argument that is no override."""
    if not isinstance(error, OverrideParseException):
        return None
    word = str(getattr(error, "override", "override"))
    key, equals, value = word.partition("=")
    if not equals:
        return InputError(word, expected="KEY=VALUE", got="a word without =", fix="write both without a space between")
    fix = f"put text in quotes, as {key}=\"'...'\"" if key else "write a key before ="
    return InputError(word, expected="KEY=VALUE", got=f"a value that cannot be parsed ({value})", fix=fix)


def _grid(error: Exception) -> InputError | None:
    """Word the error for several values where one is expected, or for a grid that only a search can use."""
    text = str(error)
    if found := re.search(r"Ambiguous value for argument '(.+)'|Sweep parameters '(.+)' requires", text):
        word = found[1] or found[2]
        return InputError(word, expected="one value", got="several", fix="add -m to try each, or write a list as [1,2]")
    if found := re.search(r"configuration is not supported : '(.+)'", text):
        return InputError(found[1], expected="one value for all jobs of a sweep", got="several", fix="give one")
    if "does not support sweep type" in text:
        return InputError("-m", expected="values to try, as 1,2,3", got="an interval", fix="search it by make search")
    return None


def _lost(error: Exception) -> InputError | None:
    """Word the error for an interpolation without a target."""
    if not (isinstance(error, OmegaConfBaseException) and error.full_key):
        return None
    first = (error.msg or str(error)).split("\n", 1)[0]
    return InputError(error.full_key, expected="a resolvable value", got=first, fix=f"set {error.full_key}=...")


def _hint(key: str, typed: Sequence[str]) -> str:
    """Suggest what to type instead of a key that the config lacks."""
    if key.startswith("hydra"):
        near = _near(key, OF_HYDRA)
        return f"did you mean {' or '.join(near)}?" if near else "see --hydra-help"
    chosen, anywhere = _keys_ofchoices(typed), _keys_of_files()
    if key in anywhere and key not in chosen:
        return f"write +{key}=... to add it, what is chosen has none"
    if near := _near(key, [*chosen, *config_groups()]):
        return f"did you mean {' or '.join(near)}?"
    if near := _near(key, anywhere - chosen):
        return f"did you mean {' or '.join(f'+{one}' for one in near)}?"
    return f"see --cfg job for all keys, or write +{key}=... to add it"


def _near(word: str, known: Iterable[str]) -> list[str]:
    """Find the known keys closest to one: by the part after the section if the section matches or none was typed."""

    def parts(name: str) -> tuple[str, str]:
        section, dot, last = re.sub("/", ".", name.lower()).rpartition(".")
        return section + dot, last

    def alike(one: str) -> float:
        (section, last), (other, end) = parts(word), parts(one)
        both = (last, end) if section in ("", other) else (section + last, other + end)
        return SequenceMatcher(None, *both).ratio()

    scores = {one: alike(one) for one in known if one != word}
    best = sorted((one for one in scores if scores[one] >= NEAR), key=lambda one: -scores[one])
    return [one for one in best if scores[one] > scores[best[0]] - 0.1][:3]


def _keys_ofchoices(typed: Sequence[str]) -> set[str]:
    """List the keys of the config that the typed choices compose."""
    from bloodcell.config.compose import composed

    try:
        return set(_keys(composed([word for word in typed if word.partition("=")[0] in config_groups()])))
    except (HydraException, OmegaConfBaseException):
        return _keys_of_files()


def _keys_of_files() -> set[str]:
    """List the keys of all files in ``conf``."""
    keys = set[str]()
    for path in CONF.rglob("*.yaml"):
        group = path.relative_to(CONF).parent.parts
        head = "" if not group or group[0] in {"experiment", "sweep"} else ".".join(group) + "."
        keys |= set(_keys(yaml.load(path.read_text(encoding="utf-8"), Loader=YAML_LOADER), head))
    return {key for key in keys if not key.startswith("hydra")}


def _keys(config: Any, head: str = "") -> Iterator[str]:
    """List dotted keys that hold a value, without those that only Hydra reads."""
    plain: Any = OmegaConf.to_container(config) if OmegaConf.is_config(config) else config
    for name, value in plain.items():
        if isinstance(value, dict):
            yield from _keys(value, f"{head}{name}.")
        elif not str(name).startswith("_") and name != "defaults":
            yield f"{head}{name}"
