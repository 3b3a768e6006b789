"""Whether a run that is there was made on the images of today: it is known by its config and by what it saw."""

import hashlib
import os
import time
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from omegaconf import DictConfig, OmegaConf

from bloodcell.common.env import CACHE, DATA, PACKAGE, PBC, cache_dir
from bloodcell.common.errors import InputError
from bloodcell.tracking.manifest import read_manifest

if TYPE_CHECKING:
    from bloodcell.data.index import Index

# What says how images are split and shown, not which there are; `seed` and `fold` differ from job to job.
NOT_WHICH = ("seed", "fold", "fold_seed", "augment", "batch_size", "image_size", "mean", "std", "cache")


def check_same_images(run_dir: Path, cfg: DictConfig) -> None:
    """Stop if a directory holds a run on other images than its config leads to now.

    Where the images of today cannot be had, this is said, and the run is taken as it is.

    Args:
        run_dir: The directory of a job.
        cfg: The job's config.

    Raises:
        InputError: Naming the directory.
    """
    if not (run_dir / "manifest.json").is_file():
        return
    try:
        source, fingerprint = images_of(_which(cfg))
    except InputError as error:
        print(f"note: {run_dir.name} is taken as it is, its images cannot be compared: {error}", flush=True)
        return
    check_made_on(
        run_dir, source, fingerprint, "give those again, or train in another place (name=..., hydra.sweep.dir=...)"
    )


def _which(cfg: DictConfig) -> str:
    """The part of a config that decides which images there are, as YAML."""
    settled = OmegaConf.to_container(cfg.data, resolve=True)
    assert isinstance(settled, dict)
    return OmegaConf.to_yaml(OmegaConf.create({key: value for key, value in settled.items() if key not in NOT_WHICH}))


@cache
def images_of(data: str) -> tuple[str, str]:
    """Find the images that a config leads to.

    Args:
        data: The part of the config, as YAML, so that the jobs of a sweep ask once. What it led to before is
            remembered while no file is changed: a sweep that is finished is looked through without torch.

    Returns:
        The name and the fingerprint of the set.
    """
    from bloodcell.data.fingerprint import recalled_set

    known = recalled_set(_place(data))
    if known is None:
        from bloodcell.data.describe import fingerprint_of_images
        from bloodcell.training.assemble import find_data

        begun = time.time_ns()
        cfg = OmegaConf.create({"data": OmegaConf.create(data)})
        found = find_data(cfg)
        known = found.source, fingerprint_of_images(found.index)
        _remember(data, found.index, *known, begun)
    return known


def remember_images(cfg: DictConfig, index: "Index", source: str, fingerprint: str, begun_ns: int) -> None:
    """Remember the images of a training, so that its sweep, typed again, is looked through without torch.

    Args:
        cfg: The config as composed.
        index: What it led to.
        source: Name of the set.
        fingerprint: Of the set.
        begun_ns: When it began to be looked through.
    """
    from bloodcell.data.fingerprint import recalled_set

    data = _which(cfg)
    if recalled_set(_place(data)) is None:
        _remember(data, index, source, fingerprint, begun_ns)


def _remember(data: str, index: "Index", source: str, fingerprint: str, begun_ns: int) -> None:
    from bloodcell.data.fingerprint import remember_set

    table = OmegaConf.select(OmegaConf.create(data), "table")
    files = [*map(index.where, range(len(index))), *([Path(table).absolute()] if table else [])]
    remember_set(_place(data), files, index.root, source, fingerprint, begun_ns)


def _place(data: str) -> Path:
    """Where it is kept, by all but the files that decide which images there are: words, places, the code that looks."""
    code = [f"{file} {file.stat().st_mtime_ns}" for file in sorted((PACKAGE / "data").rglob("*.*"))]
    places = [str(os.environ.get(name)) for name in (DATA, PBC, CACHE)]
    key = hashlib.sha256("\n".join([data, str(Path.cwd()), *places, *code]).encode()).hexdigest()[:32]
    return cache_dir() / "sets" / f"{key}.json"


def check_made_on(run_dir: Path, source: str, fingerprint: str, fix: str) -> None:
    """Stop if a run was made on other images.

    Args:
        run_dir: Its directory; without a manifest it is a new run.
        source: Name of today's set.
        fingerprint: Of today's set.
        fix: What to do about it.

    Raises:
        InputError: Naming both sets.
    """
    before = read_manifest(run_dir)["data"] if (run_dir / "manifest.json").is_file() else None
    if before is not None and before["fingerprint"] != fingerprint:
        raise InputError(
            str(run_dir),
            expected=f"the images that the run was started on ({before['source']}, {str(before['fingerprint'])[:12]})",
            got=f"others ({source}, {fingerprint[:12]})",
            fix=fix,
        )
