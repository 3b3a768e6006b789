"""Whether a run that is there was made on the images of today: it is known by its config and by what it saw."""

from functools import cache
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from bloodcell.common.errors import InputError
from bloodcell.tracking.manifest import read_manifest

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
    settled = OmegaConf.to_container(cfg.data, resolve=True)
    assert isinstance(settled, dict)
    which = {key: value for key, value in settled.items() if key not in NOT_WHICH}
    try:
        source, fingerprint = images_of(OmegaConf.to_yaml(OmegaConf.create(which)))
    except InputError as error:
        print(f"note: {run_dir.name} is taken as it is, its images cannot be compared: {error}", flush=True)
        return
    check_made_on(
        run_dir, source, fingerprint, "give those again, or train in another place (name=..., hydra.sweep.dir=...)"
    )


@cache
def images_of(data: str) -> tuple[str, str]:
    """Find the images that a config leads to.

    Args:
        data: The part of the config, as YAML, so that the jobs of a sweep ask once.

    Returns:
        The name and the fingerprint of the set.
    """
    from bloodcell.data.describe import fingerprint_of_images
    from bloodcell.training.assemble import find_data

    found = find_data(OmegaConf.create({"data": OmegaConf.create(data)}))
    return found.source, fingerprint_of_images(found.index)


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
