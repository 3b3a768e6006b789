"""TODO training/restore.py."""

from collections.abc import Sequence
from pathlib import Path

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from bloodcell.common.errors import InputError
from bloodcell.common.files import write_text
from bloodcell.config.compose import composed, quoted
from bloodcell.config.kept import ALL_PARTS, check_config, read_kept_config, read_kept_words
from bloodcell.tracking.status import is_inside


def resume_arguments(arguments: Sequence[str]) -> list[str]:
    """Replace ``ckpt_path=RUN_DIR`` by what continues that run in place.

    Args:
        arguments: The command line without the program.

    Returns:
        The run's own overrides, then the user's (which win), then its directory and last checkpoint;
        the arguments as they came if ``ckpt_path`` names no directory.

    Raises:
        InputError: If the directory is no run, or has no checkpoint yet.
    """
    named = [word for word in arguments if word.startswith("ckpt_path=")]
    run_dir = Path(named[-1].partition("=")[2]) if named else None
    if run_dir is None or not run_dir.is_dir():
        return list(arguments)
    if {"-m", "--multirun"} & set(arguments):
        raise InputError(
            f"ckpt_path={run_dir}",
            expected="a checkpoint file, from which every job of a sweep would start",
            got="a run directory",
            fix="to go on with a sweep type it again as it was",
        )
    last = find_checkpoint(run_dir, "last")
    kept = run_dir / ".hydra" / "overrides.yaml"
    if not kept.is_file():
        raise InputError(str(run_dir), expected="a run directory", got="no .hydra/overrides.yaml", fix="check the path")
    before = [word for word in read_kept_words(kept) if not word.startswith("ckpt_path=")]
    new = [word for word in arguments if word not in named]
    _check_resumed(kept, before, new)
    # A job of a sweep may have been told its grid by name (sweep=lr): what goes on is this job alone.
    place = ["hydra.mode=RUN", f"hydra.run.dir={quoted(run_dir.resolve())}"]
    return [*before, *new, f"ckpt_path={quoted(last.resolve())}", *place]


def _check_resumed(kept: Path, before: Sequence[str], new: Sequence[str]) -> None:
    """Stop if a run's words, together with those typed, make a config that is not safe to build."""
    typed = [word for word in new if not word.startswith("-") and ("=" in word or word.startswith("~"))]
    words = [*before, *(word for word in typed if not word.lstrip("+~").startswith("hydra"))]
    check_config(composed(words), kept, ALL_PARTS, typed)


def read_config(run_dir: Path, overrides: list[str]) -> DictConfig:
    """A run's config with ``data.`` overrides; known keys only."""
    from bloodcell.common.files import read_json
    from bloodcell.data.describe import SYNTHETIC

    path, record = run_dir / ".hydra" / "config.yaml", run_dir / "manifest.json"
    if not path.is_file() or not record.is_file():
        raise InputError(
            str(run_dir),
            expected="a run directory with .hydra/config.yaml and manifest.json",
            got="not both there",
            fix="give the directory that a training printed, as runs/quickstart/2026-...",
        )
    cfg = read_kept_config(path, ("data", "model", "optim"))  # the trainer of a test is our own
    OmegaConf.set_struct(cfg, True)
    for word in overrides:
        if not word.startswith("data.") or "=" not in word:
            raise InputError(word, expected="data.KEY=VALUE", got="something else", fix="see --help")
        try:
            cfg.merge_with_dotlist([word])
        except OmegaConfBaseException as error:
            keys = ", ".join(f"data.{key}" for key in cfg.data)
            raise InputError(word, expected=f"one of {keys}", got="an unknown key", fix="correct it") from error
    # Weights come from the checkpoint: nothing is downloaded or initialised from elsewhere.
    cfg.init_from = None
    if "weights" in cfg.model:
        cfg.model.weights = None
    if any(word.startswith("data.root=") for word in overrides):
        _follow_root(cfg)
    elif read_json(record)["data"]["source"] == SYNTHETIC:
        cfg.data.source = "synthetic"  # a quick start that had no real images then is tested on the same smears
    return cfg


def _follow_root(cfg: DictConfig) -> None:
    """Read another root as the Kaggle set if it is one, else as a plain folder."""
    from bloodcell.data.kaggle import find_images

    OmegaConf.set_struct(cfg, False)
    root = Path(str(cfg.data.root))
    try:
        if cfg.data.source == "blood_cells":
            find_images(root)
            return
    except InputError:
        pass
    cfg.data.source, cfg.data.protocol = "folder", "all_test"
    if (root / "test").is_dir():
        cfg.data.root = str(root / "test")


def with_todays_keys(cfg: DictConfig, overrides: list[str]) -> DictConfig:
    """A run's config with the keys that the code has come to need since, at their defaults.

    Args:
        cfg: The config of a run; every value of it stays.
        overrides: What it was composed from.

    Returns:
        The config to run; what ``conf`` has come to say otherwise since is printed and not used.
    """
    from hydra.errors import HydraException

    try:
        today = composed(overrides)
    except HydraException as error:
        print(f"note: its overrides cannot be composed any more ({str(error).splitlines()[0]}); its own config is used")
        return cfg
    whole = OmegaConf.merge(today, cfg)
    assert isinstance(whole, DictConfig)
    if (now := OmegaConf.to_yaml(today, sort_keys=True)) != OmegaConf.to_yaml(whole, sort_keys=True):
        then = OmegaConf.to_yaml(whole, sort_keys=True).splitlines()
        changed = [line.strip() for line in then if line not in now.splitlines()]
        print(f"note: conf says otherwise today; used as it was then: {'; '.join(changed)}")
    return whole


def keep_config(run_dir: Path, cfg: DictConfig, overrides: Sequence[str]) -> None:
    """Write ``.hydra/config.yaml`` and ``.hydra/overrides.yaml``: what a run is made again from.

    Hydra would write them before anything is checked and before the directory is claimed, and over those of a
    run that is gone on with (its own ``hydra.output_subdir`` is therefore null).

    Args:
        run_dir: The run directory.
        cfg: The config as composed; a checkpoint of this very run is no part of it.
        overrides: What was typed.
    """

    def own(checkpoint: str | None) -> bool:
        return checkpoint is not None and is_inside(run_dir, Path(checkpoint.strip("'\"")))

    kept = cfg.copy()
    if own(kept.ckpt_path):
        kept.ckpt_path = None
    words = [word for word in overrides if not (word.startswith("ckpt_path=") and own(word.partition("=")[2]))]
    write_text(run_dir / ".hydra" / "config.yaml", OmegaConf.to_yaml(kept))
    write_text(run_dir / ".hydra" / "overrides.yaml", OmegaConf.to_yaml(OmegaConf.create(words)))


def find_checkpoint(run_dir: Path, which: str) -> Path:
    """The ``last`` or ``best`` checkpoint of a run directory.

    Raises:
        InputError: If there is none.
    """
    path = run_dir / "checkpoints" / f"{which}.ckpt"
    if not path.is_file():
        raise InputError(
            str(run_dir),
            expected=f"a run directory with checkpoints/{which}.ckpt",
            got="none there",
            fix="give the directory that a training printed, as runs/quickstart/2026-...",
        )
    return path
