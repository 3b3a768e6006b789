"""Names of the jobs of a sweep: readable by what differs, unique by the whole config."""

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


# A sweep is not named by these, even if only one value was given: others may follow.
REPEATED = ("seed", "data.fold")
# A choice in one of these groups is readable without its key.
GROUPS = ("data", "experiment", "logger", "model", "optim", "sweep", "trainer")


def varied_in(overrides: Sequence[str], settings: HydraConf) -> dict[str, str]:
    """Pick the overrides that distinguish a job from the others of its sweep.

    Args:
        overrides: The job's.
        settings: Hydra's own part of the job's config.

    Returns:
        Values as typed, by key.
    """
    keys = settings.job.env_set.get(SWEPT, "").split()
    return {key: word for key, _, word in (one.partition("=") for one in overrides) if key in keys}


def slug(words: Sequence[str]) -> str:
    """Turn overrides into a readable name: ``["optim=sgd", "optim.lr=0.01", "seed=1"]`` is ``sgd-lr_0.01-seed_1``."""
    parts = []
    for key, _, value in (word.lstrip("+~").partition("=") for word in words):
        short = value.rstrip("/'\"").rpartition("/")[2]
        if re.fullmatch(r"-?\d*\.\d+(e-?\d+)?", short):
            short = f"{float(short):.4g}"
        name = short if key in GROUPS else f"{re.split('[./]', key)[-1]}_{short}"
        parts.append(re.sub(r"_+", "_", re.sub(r"[^\w.+-]+", "_", name)).strip("_"))
    return "-".join(parts)[:SLUG]


def job_name(words: Sequence[str], varied: str, *, _root_: DictConfig) -> str:
    """Name the directory of a job: readable by what distinguishes it, unique by its whole config.

    Args:
        words: The job's overrides.
        varied: Keys that differ between the jobs of the sweep, separated by spaces.
        _root_: The composed config, given by OmegaConf.

    Returns:
        For example ``lr_0.01-seed_1-5f3a90c1``. The same resolved config has the same name, however it was typed, and
        a changed default in ``conf`` gives another name. If the folder of the sweep already holds this config under
        another readable part, that name.
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
    """Replace an interpolation in an override by the value that it has in the config."""
    key, _, value = word.partition("=")
    return f"{key}={OmegaConf.select(config, key.lstrip('+~'))}" if "$" in value else word
