"""The one place where a config becomes an object, and only of the classes and functions allowed here."""

import logging
import os
import re
from collections.abc import Iterator, Sequence
from types import FunctionType
from typing import Any

from hydra.errors import InstantiationException
from hydra.utils import get_object, instantiate
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from bloodcell.common.env import ALLOW, allowed_packages
from bloodcell.common.errors import InputError
from bloodcell.config.compose import parsed

# Packages in which a target may be defined, and what it must then be a subclass of. Not their functions, and no
# method: `load_from_checkpoint` unpickles, others open files or start programs.
CLASSES = {
    "bloodcell.data.": ("lightning.pytorch.LightningDataModule",),
    "bloodcell.model.": ("torch.nn.Module", "lightning.pytorch.Callback"),
    "torch.nn.": ("torch.nn.Module",),
    "torch.optim.": ("torch.optim.Optimizer", "torch.optim.lr_scheduler.LRScheduler"),
    "torchvision.models.": ("torch.nn.Module",),
    "torchvision.transforms.": ("torch.nn.Module",),
    "lightning.pytorch.": (
        "lightning.pytorch.Trainer",
        "lightning.pytorch.Callback",
        "lightning.pytorch.accelerators.Accelerator",
        "lightning.pytorch.loggers.Logger",
        "lightning.pytorch.plugins.Precision",
        "lightning.pytorch.profilers.Profiler",
        "lightning.pytorch.strategies.Strategy",
    ),
    "torchmetrics.": ("torch.nn.Module",),
}
# Modules whose own functions may be targets too; and of torchvision.models those that make a net.
FUNCTIONS = (
    "bloodcell.data.sources.blood_cells",
    "bloodcell.model.nets",
    "bloodcell.model.pretrained",
    "bloodcell.model.schedules",
    "torch.nn.functional",
)
# What the classes of a package that the user trusts must be.
OF_THE_USER = (
    "torch.nn.Module",
    "torch.optim.Optimizer",
    "torch.optim.lr_scheduler.LRScheduler",
    "lightning.pytorch.Callback",
)
logging.getLogger(get_object.__module__).addFilter(lambda _: False)  # a wrong name is said below, in one line


def trust(words: Sequence[str]) -> None:
    """Let configs name nets of further packages, if the user says so by ``allow=[my_package.]``.

    It goes into the environment, from which the jobs of a sweep and the other commands take it, and from no config: one
    that came with a run must not widen what it may do.

    Args:
        words: What the user typed himself.

    Raises:
        InputError: If it names no packages.
    """
    for word in words:
        key, _, _ = word.partition("=")
        if key.lstrip("+") == "allow":
            value = parsed(word).value()
            names = value if isinstance(value, list) else [value]
            os.environ[ALLOW] = ",".join(str(name) for name in names if name is not None)
            allowed_packages()


def build(config: DictConfig, key: str, **extra: Any) -> Any:
    """Instantiate a config node (``_target_`` and arguments) after checking every target in it.

    Args:
        config: The node; ListConfig and DictConfig arguments become plain lists and dicts.
        key: Its name in the config, for messages.
        **extra: Further arguments, known only at run time.

    Returns:
        Whatever the target returns, or a partial of it.

    Raises:
        InputError: If a target is not allowed or its arguments are refused.
    """
    try:
        # What was checked is what is built: no interpolation is left to change it.
        settled = OmegaConf.to_container(config, resolve=True) if OmegaConf.is_config(config) else None
        if not isinstance(settled, dict) or "_target_" not in settled:
            raise InputError(key, expected="a choice with a _target_", got="one without", fix="see --help for them")
        for where, node in _targets(settled, key):
            _check_target(where, str(node["_target_"]))
            _check_fetches_nothing(where, node)
        return instantiate(settled, _convert_="all", **extra)
    except InstantiationException as error:
        cause = error.__cause__ or error
        if isinstance(cause, InputError):
            raise cause from None
        raise _unknown_key(config, key, str(cause)) or _refused(key, cause) from error
    except (OmegaConfBaseException, RecursionError) as error:
        raise _refused(key, error) from error


def _unknown_key(config: DictConfig, key: str, said: str) -> InputError | None:
    """List the keys that a target accepts, where it refused one."""
    found = re.search(r"unexpected keyword argument '(\w+)'", said)
    if found is None:
        return None
    keys = ", ".join(f"{key}.{name}" for name in map(str, config) if name not in ("_target_", found[1]))
    return InputError(f"{key}.{found[1]}", expected=f"one of {keys}", got="an unknown key", fix="leave it out")


def _refused(key: str, cause: BaseException) -> InputError:
    reason = str(cause).strip().split("\n", 1)[0]
    return InputError(
        key,
        expected="values that its target accepts",
        got=f"{type(cause).__name__}: {reason}",
        fix="correct the override",
    )


def _targets(node: object, key: str) -> Iterator[tuple[str, dict[str, Any]]]:
    if isinstance(node, dict):
        if "_target_" in node:
            yield key, node
        for name, value in node.items():
            yield from _targets(value, f"{key}.{name}")
    elif isinstance(node, list):
        for number, item in enumerate(node):
            yield from _targets(item, f"{key}.{number}")
    elif node == "???":
        raise InputError(key, expected="a value", got="none", fix=f"give one with {key}=...")
    elif isinstance(node, str) and "${" in node:
        raise InputError(key, expected="a value", got=repr(node), fix="use ${ for interpolations only")


def _check_target(key: str, target: str) -> None:
    own = allowed_packages()
    prefix = next((allowed for allowed in (*CLASSES, *own) if target.startswith(allowed)), None)
    problem = None
    if prefix is None:
        problem = target
    else:
        try:
            found = get_object(target)
        except Exception as error:  # Hydra wraps whatever the import of a wrong name raises
            problem = f"{target} ({type(error).__name__})"
        else:
            home = getattr(found, "__module__", None) or ""
            if not f"{home}.".startswith(prefix):
                problem = f"{target}, which is defined in {home or 'no module'}"
            elif not _may_be_built(found, prefix):
                problem = f"{target}, which no config may call"
    if problem is not None:
        raise InputError(
            f"{key}._target_",
            expected=f"a class or function of {', '.join(name.rstrip('.') for name in (*CLASSES, *own))}",
            got=problem,
            fix="correct the name, or trust a package of your own by allow=[my_package.]",
        )


def _check_fetches_nothing(key: str, node: dict[str, Any]) -> None:
    """Stop at a net of torchvision that would fetch its weights: the config may come with a run."""
    if not str(node["_target_"]).startswith("torchvision.models."):
        return
    for name, value in node.items():
        if str(name).startswith(("weights", "pretrained")) and value:
            fix = "leave it out, or type model=torchvision model.weights=download"
            raise InputError(f"{key}.{name}", expected="no weights, which a server would give", got=str(value), fix=fix)


def _may_be_built(found: Any, prefix: str) -> bool:
    if isinstance(found, type):
        return issubclass(found, tuple(get_object(name) for name in CLASSES.get(prefix, OF_THE_USER)))
    if not isinstance(found, FunctionType) or found.__name__ != found.__qualname__ or found.__name__.startswith("_"):
        return False  # a method, or something that is called but is no function
    return (
        prefix not in CLASSES
        or found.__module__ in FUNCTIONS
        or (prefix == "torchvision.models." and _makes_a_net(found.__name__))
    )


def _makes_a_net(name: str) -> bool:
    from torchvision.models import list_models

    return name in list_models()
