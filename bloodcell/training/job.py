"""A run in its directory: claimed by one process, told in ``status.json`` however it ends."""

import logging
import shutil
import signal
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from omegaconf import DictConfig

from bloodcell.common.errors import Diverged, InputError, Pruned
from bloodcell.config.command import fail
from bloodcell.tracking.status import DONE, LOCK, claim, is_inside, read_status, write_status
from bloodcell.training.restore import keep_config
from bloodcell.training.run import train

if TYPE_CHECKING:
    from lightning.pytorch.callbacks import Callback


log = logging.getLogger(__name__)


def run_alone(cfg: DictConfig, run_dir: Path, overrides: Sequence[str]) -> dict[str, float]:
    """Train in a new directory, or go on in that of ``ckpt_path=RUN_DIR``.

    Raises:
        SystemExit: After one line, if the config, the data or the directory cannot be used.
    """
    try:
        with claim(run_dir) as ours:
            check_place(cfg, run_dir, ours)
            try:
                return train(cfg, run_dir, overrides)
            except Diverged as why:
                record_divergence(run_dir, why)
                raise
            except InputError:
                raise
            except BaseException as error:
                record_failure(run_dir, error)
                raise
            finally:
                release()
    except InputError as error:
        remove_untouched(run_dir)
        fail(error)


def run_beside(cfg: DictConfig, run_dir: Path, overrides: Sequence[str], rank: int) -> dict[str, float]:
    """Train as one of several processes, in a directory that the first of them has claimed and alone writes to.

    If this one is the first to fail it writes why, as the others fail then because it is gone, and Lightning kills
    the one that has started it.
    """
    try:
        return train(cfg, run_dir, overrides)
    except BaseException as error:
        if read_status(run_dir)["state"] == "running":
            if isinstance(error, Diverged):
                record_divergence(run_dir, error, rank)
            else:
                record_failure(run_dir, error, rank)
        if isinstance(error, InputError):
            fail(error)
        raise
    finally:
        release()


def check_place(cfg: DictConfig, run_dir: Path, ours: bool) -> None:
    """Refuse a directory in which a run would overwrite another one."""
    if not ours:
        raise InputError(str(run_dir), expected="a run directory", got="one that another process writes to", fix="wait")
    inside = cfg.ckpt_path is not None and is_inside(run_dir, Path(cfg.ckpt_path))
    if (run_dir / "status.json").is_file() and not inside:
        raise InputError(
            str(run_dir),
            expected="a new directory",
            got="one that holds a run",
            fix=f"go on with it by ckpt_path={run_dir}, or give another hydra.run.dir",
        )


def run_once(
    cfg: DictConfig,
    run_dir: Path,
    overrides: Sequence[str],
    varied: dict[str, str],
    callbacks: Sequence["Callback"] = (),
) -> dict[str, float]:
    """Run one job of a sweep unless it is finished or another process holds it; resume it if it was interrupted.

    Args:
        cfg: The composed config.
        run_dir: The job's directory, named by its content: whatever is there already is of this very config.
        overrides: What was typed to compose it.
        varied: What distinguishes it from other jobs, by key: what TensorBoard's HPARAMS shows.
        callbacks: Further ones for the Trainer.

    Returns:
        Its metrics; none if it failed, which is then in its ``status.json``, or if another process is at it.
    """
    with claim(run_dir) as ours:
        state = read_status(run_dir, ours=True)["state"] if ours else "running"
        if state == "running":
            print(f"left to another process: {run_dir.name}", flush=True)  # the log there is that process's
            return {}
        if state in DONE:
            print(f"finished before: {run_dir.name}", flush=True)
            return {}
        if state == "interrupted" and (run_dir / "checkpoints" / "last.ckpt").is_file():
            cfg.ckpt_path = str(run_dir / "checkpoints" / "last.ckpt")
            print(f"going on with {run_dir.name}", flush=True)
        else:
            clear(run_dir)
        try:
            return train(cfg, run_dir, overrides, callbacks, varied)
        except Pruned as why:
            write_status(run_dir, "pruned", error=str(why))
            log.info("pruned: %s", why)
            return {}
        except Diverged as why:
            record_divergence(run_dir, why)
            log.error("diverged: %s", why)
            return {}
        except BaseException as error:
            keep_config(run_dir, cfg, overrides)
            record_failure(run_dir, error)
            if not isinstance(error, Exception):
                raise
            return {}
        finally:
            release()


def record_divergence(run_dir: Path, why: Diverged, rank: int = 0) -> None:
    """Write that a run diverged, when, and where the last good weights are."""
    which = {"process": rank} if rank else {}
    write_status(run_dir, "diverged", **which, epoch=why.epoch, checkpoint=why.checkpoint, error=str(why))


def record_failure(run_dir: Path, error: BaseException, rank: int = 0) -> None:
    """Write why a run ended into its own directory, unless another of its processes has failed before this one."""
    if "process" in read_status(run_dir, ours=True):
        return
    interrupted = isinstance(error, KeyboardInterrupt | SystemExit)
    state = "interrupted" if interrupted else "failed"
    said = str(error) if isinstance(error, InputError) else f"{type(error).__name__}: {error}"
    if interrupted:
        said = "Ctrl-C"  # of which Lightning makes a SystemExit(1)
        if isinstance(error, SystemExit) and not error.code:
            said = "SIGTERM"
            error.code = 128 + signal.SIGTERM  # Lightning would have it exit with 0
    which = {"process": rank} if rank else {}
    write_status(run_dir, state, **which, error=said, traceback=traceback.format_exc())
    if not interrupted and not rank:  # the log is the first process's
        log.error("failed: %s", said, exc_info=not isinstance(error, InputError))


def remove_untouched(run_dir: Path) -> None:
    """Remove a run directory that holds nothing of a run."""
    if {entry.name for entry in run_dir.iterdir()} <= {LOCK, "train.log", "mlflow.db"}:
        root = logging.getLogger()
        for handler in [one for one in root.handlers if isinstance(one, logging.FileHandler)]:
            if is_inside(run_dir, Path(handler.baseFilename)):
                root.removeHandler(handler)  # it would look for its file at the next word
        shutil.rmtree(run_dir, ignore_errors=True)  # processes that share it may do so at once


def clear(run_dir: Path) -> None:
    """Remove what a failed attempt left, except its log."""
    for entry in run_dir.iterdir():
        if entry.is_dir():
            shutil.rmtree(entry)
        elif entry.name not in (LOCK, "train.log"):
            entry.unlink()


def release() -> None:
    """Leave nothing behind for the next job of a sweep in the same process."""
    import gc

    if "torch" not in sys.modules:
        return  # nothing was begun
    import torch

    if wandb := sys.modules.get("wandb"):
        wandb.finish()  # the logger of the next job would go on with this run
    torch.use_deterministic_algorithms(False)
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
