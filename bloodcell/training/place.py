"""The directory of a run before it is one: whether it may be written to, started over, removed."""

import logging
import os
import re
from collections.abc import Collection, Iterator
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from bloodcell.common.errors import InputError
from bloodcell.common.files import is_inside, read_yaml
from bloodcell.tracking.reader import flat
from bloodcell.tracking.status import DONE, LOCK, read_status

BEGUN = {LOCK, "train.log", "mlflow.db"}  # what a process leaves that had nothing to write yet
# Every file that a training writes, first those that it begins with: a directory is cleared of these, and left alone
# if it holds another. A half-written one has a name of its own.
FIRST = re.compile(r"\.hydra/(config|overrides)\.yaml|manifest\.json")
WRITTEN = re.compile(
    rf"{FIRST.pattern}|(status|metrics)\.json|(metrics|predictions)\.csv|checkpoints/[^/]+\.ckpt|figures/\w+\.png"
    r"|tensorboard[\w-]*/(events\.out\.tfevents\.[^/]+|hparams\.yaml)|csv[\w-]*/(metrics\.csv|hparams\.yaml)"
    r"|(wandb|mlflow)/.+|mlflow\.db"
)
HALF = re.compile(r"\.(?P<name>[^/]+)\.\w{8}")
FIRST_STATUS = re.compile(r"\.status\.json\.\w{8}")


def check_place(cfg: DictConfig, run_dir: Path, ours: bool, *, goes_on: bool) -> None:
    """Stop if a run would write over another one, or among files that are no run's.

    Args:
        cfg: The config.
        run_dir: The run directory.
        ours: Whether this process has claimed it.
        goes_on: Whether the run in it is to be resumed.

    Raises:
        InputError: Saying what is there.
    """
    if not ours:
        raise InputError(str(run_dir), expected="a run directory", got="one that another process writes to", fix="wait")
    if not goes_on and (run_dir / "status.json").is_file():
        raise InputError(
            str(run_dir),
            expected="a new directory",
            got="one that holds a run",
            fix=f"go on with it by ckpt_path={run_dir}, or give another hydra.run.dir",
        )
    if begins(cfg, run_dir):
        check_clearable(run_dir)


def begins(cfg: DictConfig, run_dir: Path) -> bool:
    """Whether a run begins with its first epoch, or from a checkpoint of another run; not from its own."""
    return cfg.ckpt_path is None or not is_inside(run_dir, Path(cfg.ckpt_path))


def check_clearable(run_dir: Path) -> None:
    """Stop if a directory holds a file that no training writes; or, without a status, more than its first files.

    Raises:
        InputError: Naming the file.
    """
    written = WRITTEN if (run_dir / "status.json").is_file() and (run_dir / ".hydra").is_dir() else FIRST
    for name in _files(run_dir):
        # A process that was killed at its first status has not left any, but half of it.
        if name not in BEGUN and not _is_of(written, name) and not FIRST_STATUS.fullmatch(name):
            raise InputError(
                str(run_dir),
                expected="a new directory, or one with a run in it and nothing else",
                got=f"one that holds {name}",
                fix="give another place, or move that file",
            )


def check_begun(run_dir: Path, before: Collection[str]) -> None:
    """Stop at a folder that is no run's before anything is left in it, a lock included.

    Args:
        run_dir: The folder.
        before: What is in it.

    Raises:
        InputError: Naming a file in it.
    """
    if before and "status.json" not in before:
        check_clearable(run_dir)


def check_same_setting(run_dir: Path, cfg: DictConfig) -> None:
    """Stop if a directory holds a run of another config: its results would pass for those of this one.

    Raises:
        InputError: Naming a key that differs.
    """
    path = run_dir / ".hydra" / "config.yaml"
    content = read_yaml(path) if path.is_file() else None
    kept = dict(flat(content)) if isinstance(content, dict) else {}
    plain = OmegaConf.to_container(kept_part(run_dir, cfg), resolve=False)
    assert isinstance(plain, dict)
    new = dict(flat({str(key): value for key, value in plain.items()}))
    differing = [key for key in {**kept, **new} if kept.get(key) != new.get(key)]
    if differing:
        raise InputError(
            str(run_dir),
            expected="a run of the same config",
            got=f"one with {differing[0]}={kept.get(differing[0])}, not {new.get(differing[0])}",
            fix="give another hydra.sweep.dir, or leave hydra.sweep.subdir to name the jobs by their content",
        )


def check_job_place(run_dir: Path, cfg: DictConfig, state: str) -> None:
    """Stop if a job of a sweep would pass off another run's results as its own, or write among files of no run.

    Args:
        run_dir: Its directory.
        cfg: Its config.
        state: What the directory says of itself.

    Raises:
        InputError: Naming what is in its directory.
    """
    if state in (*DONE, "interrupted"):
        check_same_setting(run_dir, cfg)
    elif state != "running":
        check_clearable(run_dir)


def kept_part(run_dir: Path, cfg: DictConfig) -> DictConfig:
    """The part of a composed config that a run keeps: not Hydra's own, nor a checkpoint of this very run."""
    kept = OmegaConf.masked_copy(cfg, [str(key) for key in cfg if key != "hydra"])
    if not begins(kept, run_dir):
        before = run_dir / ".hydra" / "config.yaml"
        kept.ckpt_path = (read_yaml(before) or {}).get("ckpt_path") if before.is_file() else None
    return kept


def is_finished(cfg: DictConfig, run_dir: Path) -> bool:
    """Whether a run that is gone on with has been finished by the same config, so that nothing is left to do.

    Raises:
        InputError: If it has been finished by another one, which has no epoch more: its record would become untrue.
    """
    status = read_status(run_dir, ours=True)
    if status["state"] != "ok":
        return False
    try:
        check_same_setting(run_dir, cfg)
    except InputError:
        done = status.get("epoch")
        if not isinstance(done, int) or cfg.trainer.max_epochs > done:
            return False
        raise InputError(
            f"ckpt_path={run_dir}",
            expected=f"trainer.max_epochs above {done}, as its run is finished",
            got=str(cfg.trainer.max_epochs),
            fix="raise it, or start a new run with ckpt_path=.../checkpoints/last.ckpt",
        ) from None
    return True


def clear(run_dir: Path) -> None:
    """Remove what a failed attempt left; its log stays.

    Raises:
        InputError: If anything else is in there; nothing is removed then.
    """
    check_clearable(run_dir)
    for name in list(_files(run_dir)):
        if name not in BEGUN:
            (run_dir / name).unlink()


def remove_halves(run_dir: Path) -> None:
    """Remove what killed processes were writing when they died."""
    for name in list(_files(run_dir)):
        if HALF.fullmatch(Path(name).name) and _is_of(WRITTEN, name):
            (run_dir / name).unlink()


def remove_untouched(run_dir: Path, before: Collection[str]) -> None:
    """Remove a run directory that holds nothing of a run.

    Args:
        run_dir: The directory.
        before: What it held when the command began: none of it is removed.
    """
    if not run_dir.is_dir() or not names_in(run_dir) <= BEGUN:
        return
    root = logging.getLogger()
    for handler in [one for one in root.handlers if isinstance(one, logging.FileHandler)]:
        if is_inside(run_dir, Path(handler.baseFilename)):
            root.removeHandler(handler)  # it would look for its file at the next word
    for name in BEGUN - set(before):
        (run_dir / name).unlink(missing_ok=True)  # processes that share it may do so at once
    if not names_in(run_dir):
        run_dir.rmdir()


def names_in(folder: Path) -> set[str]:
    """The names in a folder; none if there is no such folder."""
    return {path.name for path in folder.iterdir()} if folder.is_dir() else set()


def _files(folder: Path) -> Iterator[str]:
    """Every file below a folder by its name in it; a link is one, wherever it leads."""
    for place, folders, names in os.walk(folder):
        for path in [Path(place) / name for name in names + folders]:
            if path.is_symlink() or not path.is_dir():
                yield path.relative_to(folder).as_posix()


def _is_of(names: re.Pattern[str], name: str) -> bool:
    path = Path(name)
    half = HALF.fullmatch(path.name)
    return names.fullmatch((path.parent / half["name"]).as_posix() if half else name) is not None
