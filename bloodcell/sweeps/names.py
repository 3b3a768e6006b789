"""What a job of a sweep is called: readable by what differs, unique by its whole config."""

import hashlib
import json
import re
from collections.abc import Sequence
from pathlib import Path

from hydra.conf import HydraConf
from omegaconf import DictConfig, OmegaConf

from bloodcell.common.env import SWEPT
from bloodcell.config.compose import resolve

SLUG = 100  # letters; with the hash a file name stays well below the 255 that file systems take


REPEATED = ("seed", "data.fold")  # never what jobs share, though it be typed once: other ones may follow


# What they choose needs no further word.
GROUPS = ("data", "experiment", "logger", "model", "optim", "sweep", "trainer")


def varied_in(overrides: Sequence[str], settings: HydraConf) -> dict[str, str]:
    """What distinguishes a job from the others of its sweep.

    Args:
        overrides: The job's.
        settings: Hydra's own part of the job's config.

    Returns:
        Values as typed, by key.
    """
    keys = settings.job.env_set.get(SWEPT, "").split()
    return {key: word for key, _, word in (one.partition("=") for one in overrides) if key in keys}


def slug(words: Sequence[str]) -> str:
    """Overrides as a readable name: ``["optim=sgd", "optim.lr=0.01", "seed=1"]`` is ``sgd-lr_0.01-seed_1``."""
    parts = []
    for key, _, value in (word.lstrip("+~").partition("=") for word in words):
        short = value.rstrip("/'\"").rpartition("/")[2]
        if re.fullmatch(r"-?\d*\.\d+(e-?\d+)?", short):
            short = f"{float(short):.4g}"
        name = short if key in GROUPS else f"{re.split('[./]', key)[-1]}_{short}"
        parts.append(re.sub(r"_+", "_", re.sub(r"[^\w.+-]+", "_", name)).strip("_"))
    return "-".join(parts)[:SLUG]


def job_name(words: Sequence[str], varied: str, *, _root_: DictConfig) -> str:
    """The directory of a job: readable by what distinguishes it, and unique by its whole config.

    Args:
        words: The job's overrides.
        varied: Keys that differ between the jobs of the sweep, separated by spaces.
        _root_: The composed config, given by OmegaConf.

    Returns:
        For example ``lr_0.01-seed_1-5f3a90c1``: the same config, interpolations resolved, has the same name, however
        it was typed, and another default in ``conf`` makes another name. If the folder of the sweep has the config by
        another readable part, that one.
    """
    whole = _root_.copy()
    resolve(whole)
    content = OmegaConf.to_container(OmegaConf.masked_copy(whole, [str(key) for key in whole if key != "hydra"]))
    digest = hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()[:8]
    folder = OmegaConf.select(_root_, "hydra.sweep.dir")
    if folder and (known := sorted(Path(folder).glob(f"*{digest}"))):
        return known[0].name
    chosen = [word for word in words if word.lstrip("+~").partition("=")[0] in varied.split()]
    readable = slug([resolved(word, _root_) for word in chosen])
    return f"{readable}-{digest}" if readable else digest


def resolved(word: str, config: DictConfig) -> str:
    """An override with the value that it has in the config, if it was typed as an interpolation."""
    key, _, value = word.partition("=")
    return f"{key}={OmegaConf.select(config, key.lstrip('+~'))}" if "$" in value else word
