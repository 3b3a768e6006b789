"""The space of a search, read from the command line or from a file of ``conf/sweep``."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from bloodcell.common.env import CONF
from bloodcell.common.errors import InputError
from bloodcell.config.compose import as_typed, direction
from bloodcell.sweeps.names import slug

if TYPE_CHECKING:
    from hydra.core.override_parser.types import Override
    from optuna.distributions import BaseDistribution


class Space(NamedTuple):
    """What is searched.

    Attributes:
        fixed: Overrides that all trials share.
        axes: What Optuna chooses from, by key.
        metric: What is optimized.
        mode: ``max`` or ``min``.
        folder: Where the study and its runs are.
    """

    fixed: list[str]
    axes: dict[str, "BaseDistribution"]
    metric: str
    mode: str
    folder: Path


def read_space(words: Sequence[str]) -> Space:
    """Split the command line into fixed overrides and searched ones.

    Raises:
        InputError: If nothing is left to search, or a space is invalid.
        HydraException: If there is no such key.
    """
    from hydra import compose, initialize_config_dir
    from hydra.core.override_parser.overrides_parser import OverridesParser

    if not any(word.startswith("sweep=") for word in words) and not any(map(_is_sweep, words)):
        words = [*words, "sweep=search"]
    words = [as_typed(word, sweep=True) for word in words]
    # The last override of a key wins, as in Hydra. A search chooses a setting, so it must not see the test images.
    last = {"test": "test=false", **{word.partition("=")[0]: word for word in words}}
    fixed = [word for word in last.values() if not _is_sweep(word)]
    with initialize_config_dir(str(CONF), version_base="1.3"):
        cfg = compose("train", fixed, return_hydra_config=True)
    params = [f"{key}={value}" for key, value in (cfg.hydra.sweeper.params or {}).items()]
    typed = {word.partition("=")[0] for word in fixed}
    parsed = OverridesParser.create().parse_overrides([*params, *(word for word in last.values() if _is_sweep(word))])
    axes = {one.get_key_element(): _distribution(one) for one in parsed if one.get_key_element() not in typed}
    if not axes:
        raise InputError(" ".join(words), expected="a key with a space", got="fixed values alone", fix="see --help")
    folder = (
        Path("runs")
        / f"{cfg.name}-search"
        / (slug([word for word in fixed if not word.startswith(("name=", "test="))]) or "defaults")
    )
    return Space(fixed, axes, cfg.monitor.metric, cfg.monitor.mode or direction(cfg.monitor.metric), folder)


def _is_sweep(word: str) -> bool:
    from hydra.core.override_parser.overrides_parser import OverridesParser

    return OverridesParser.create().parse_override(word).is_sweep_override()


def _distribution(word: "Override") -> "BaseDistribution":
    from hydra.core.override_parser.types import IntervalSweep, RangeSweep
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    space = word.value()
    try:
        if isinstance(space, IntervalSweep):
            log = "log" in space.tags
            if isinstance(space.start, int) and isinstance(space.end, int):
                return IntDistribution(space.start, space.end, log=log)
            return FloatDistribution(float(space.start or 0), float(space.end or 0), log=log)
        if isinstance(space, RangeSweep) and all(isinstance(one, int) for one in (space.start, space.stop, space.step)):
            values = range(int(space.start or 0), int(space.stop or 0), int(space.step))
            return IntDistribution(values[0], values[-1], step=values.step)
        return CategoricalDistribution(list(word.sweep_string_iterator()))
    except (ValueError, IndexError) as error:
        raise InputError(str(word.input_line), expected="a space", got=str(error), fix="see --help") from error
