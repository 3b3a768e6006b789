"""The one place where a config becomes an object: only from the packages named here."""

from collections.abc import Iterator
from typing import Any

from hydra.errors import InstantiationException
from hydra.utils import get_object, instantiate
from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from bloodcell.common.errors import InputError

# A target must be reached through one of these prefixes and be defined in that package,
# so that a config cannot reach, say, the `os` module or torch.load through some import of an allowed one.
ALLOWED = (
    "bloodcell.data.",
    "bloodcell.model.",
    "torch.nn.",
    "torch.optim.",
    "torchvision.models.",
    "torchvision.transforms.",
    "lightning.pytorch.",
    "torchmetrics.",
)


def build(config: DictConfig, key: str, **extra: Any) -> Any:
    """Instantiate a config node (``_target_`` and arguments) after a look at every target in it.

    Args:
        config: The node; ListConfig and DictConfig arguments become plain lists and dicts.
        key: Its name in the config, for messages.
        **extra: Further arguments, known only at run time.

    Returns:
        Whatever the target returns, or a partial of it.

    Raises:
        InputError: If a target is not allowed or its arguments are refused.
    """
    for where, target in _targets(config, key):
        _check_target(where, target)
    try:
        return instantiate(config, _convert_="all", **extra)
    except InstantiationException as error:
        cause = error.__cause__ or error
        if isinstance(cause, InputError):
            raise cause from None
        raise _refused(key, cause) from error
    except OmegaConfBaseException as error:
        raise _refused(key, error) from error


def _refused(key: str, cause: BaseException) -> InputError:
    reason = str(cause).strip().split("\n", 1)[0]
    return InputError(
        key,
        expected="values that its target accepts",
        got=f"{type(cause).__name__}: {reason}",
        fix="mend the override",
    )


def _targets(node: Any, key: str) -> Iterator[tuple[str, str]]:
    if isinstance(node, DictConfig):
        for name in map(str, node):
            if OmegaConf.is_missing(node, name):
                raise InputError(f"{key}.{name}", expected="a value", got="none", fix=f"give one with {key}.{name}=...")
            if name == "_target_":
                yield key, str(node[name])
            yield from _targets(node[name], f"{key}.{name}")
    elif isinstance(node, ListConfig):
        for number, item in enumerate(node):
            yield from _targets(item, f"{key}.{number}")


def _check_target(key: str, target: str) -> None:
    prefix = next((allowed for allowed in ALLOWED if target.startswith(allowed)), None)
    problem = None
    if prefix is None:
        problem = target
    else:
        try:
            home = getattr(get_object(target), "__module__", None) or ""
        except Exception as error:  # Hydra wraps whatever the import of a wrong name raises
            problem = f"{target} ({type(error).__name__})"
        else:
            if not f"{home}.".startswith(prefix):
                problem = f"{target}, which is defined in {home or 'no module'}"
    if problem is not None:
        raise InputError(
            f"{key}._target_",
            expected=f"a class or function of {', '.join(name.rstrip('.') for name in ALLOWED)}",
            got=problem,
            fix="correct the name",
        )
