"""Resuming: a run goes on with the config that it has kept, and with the user's new words laid over it."""

from collections.abc import Sequence
from pathlib import Path

from omegaconf import DictConfig

from bloodcell.common.errors import InputError
from bloodcell.config.compose import options_of, parsed, quoted, still_composed
from bloodcell.config.kept import ALL_PARTS, check_config, read_kept_config, read_kept_words
from bloodcell.config.overlay import lay_over, let_follow
from bloodcell.tracking.status import DONE, read_status
from bloodcell.training.restore import bring_up_to_date, find_checkpoint, with_todays_keys

# The key by which Hydra, which composes today's config, hands on the words for that of the run.
WORDS = "resumed_with"


def resume_arguments(arguments: Sequence[str]) -> list[str]:
    """Replace ``ckpt_path=RUN_DIR`` by what starts Hydra in the directory of that run.

    Args:
        arguments: The command line without the program.

    Returns:
        The directory, and in one list the words that are to be laid over its config; the arguments as they came if
        ``ckpt_path`` names no directory.

    Raises:
        InputError: If the directory is no run, or a finished one whose checkpoint is gone.
    """
    named = [word for word in arguments if word.startswith("ckpt_path=")]
    run_dir = Path(str(parsed(named[-1]).value())) if named else None
    if run_dir is None or not run_dir.is_dir():
        return list(arguments)
    if {"-m", "--multirun"} & set(arguments) or any(word.startswith("sweep=") for word in arguments):
        raise InputError(
            f"ckpt_path={run_dir}",
            expected="a checkpoint file, from which every job of a sweep would start",
            got="a run directory",
            fix="to go on with a sweep type it again as it was",
        )
    if not (run_dir / ".hydra" / "overrides.yaml").is_file():
        find_checkpoint(run_dir, "last")
        raise InputError(str(run_dir), expected="a run directory", got="no .hydra/overrides.yaml", fix="check the path")
    if read_status(run_dir)["state"] in DONE:
        find_checkpoint(run_dir, "last")
    options = options_of(arguments)
    words = [word for word in arguments if word not in named and word not in options]
    of_hydra = [word for word in words if word.lstrip("+~").startswith("hydra")]
    held = ",".join(quoted(word) for word in words if word not in of_hydra)
    # A job of a sweep may have been told its grid by name (sweep=lr): what goes on is this job alone.
    return [f"+{WORDS}=[{held}]", *of_hydra, "hydra.mode=RUN", f"hydra.run.dir={quoted(run_dir.resolve())}", *options]


def resumed(run_dir: Path, words: Sequence[str]) -> tuple[DictConfig, list[str]]:
    """Make the config by which a run goes on.

    Args:
        run_dir: Its directory.
        words: What is typed now; it wins.

    Returns:
        The config, from the last checkpoint or, where there is none yet, from what the run was started from; and what
        it was composed from.

    Raises:
        InputError: If it is not safe to build, or a word does not fit it.
    """
    path = run_dir / ".hydra" / "config.yaml"
    before = read_kept_words(path.parent / "overrides.yaml")
    kept = read_kept_config(path, (), bring_up_to_date)
    today = still_composed(before)
    cfg = with_todays_keys(kept, today)
    if today is not None:
        check_config(today, path.parent / "overrides.yaml", ALL_PARTS, words)
        let_follow(cfg, today)
    lay_over(cfg, words, before)
    check_config(cfg, path, ALL_PARTS, words)
    last = run_dir / "checkpoints" / "last.ckpt"
    if last.is_file():
        cfg.ckpt_path = str(last)
    return cfg, [*before, *words]
