"""A run in its directory: claimed by one process, told in ``status.json`` however it ends."""

import logging
import shlex
import sys
import traceback
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from omegaconf import DictConfig

from bloodcell.common.errors import Diverged, InputError, Pruned, limit_of
from bloodcell.config.command import INTERRUPTED, TERMINATED, ended_by_sigterm, fail, stop_kept
from bloodcell.tracking.status import DONE, claim, read_status, write_status
from bloodcell.training.place import (
    check_begun,
    check_job_place,
    check_place,
    clear,
    is_finished,
    names_in,
    remove_halves,
    remove_untouched,
)
from bloodcell.training.restore import keep_config
from bloodcell.training.reuse import check_same_images
from bloodcell.training.run import train

if TYPE_CHECKING:
    from lightning.pytorch.callbacks import Callback


log = logging.getLogger(__name__)


def run_alone(cfg: DictConfig, run_dir: Path, overrides: Sequence[str], *, goes_on: bool = False) -> dict[str, float]:
    """Train in a new directory, or go on with the run in it.

    Raises:
        SystemExit: After one line, if the config, the data or the directory cannot be used.
    """
    before = names_in(run_dir)
    try:
        check_begun(run_dir, before)
        with claim(run_dir) as ours, ended_by_sigterm():
            check_place(cfg, run_dir, ours, goes_on=goes_on)
            if is_finished(cfg, run_dir):
                print(f"finished before: {run_dir}; more epochs by trainer.max_epochs=...", flush=True)
                return {}
            status = status_bytes(run_dir)
            remove_halves(run_dir)
            try:
                with stop_kept():
                    return train(cfg, run_dir, overrides)
            except Diverged as why:
                record_divergence(run_dir, why)
                raise
            except BaseException as error:
                # What had been there when this attempt had not begun to write keeps its status.
                begun = status_bytes(run_dir) != status
                if begun or (status is None and not isinstance(error, InputError)):
                    if not (run_dir / ".hydra" / "overrides.yaml").is_file():
                        keep_config(run_dir, cfg, overrides)
                    record_failure(run_dir, error)
                    if isinstance(error, KeyboardInterrupt | SystemExit):
                        word = shlex.quote(f"ckpt_path={run_dir}")
                        print(f"stopped; to go on: python -m bloodcell.train {word}", file=sys.stderr)
                if limit := limit_of(error):
                    raise limit from error
                raise
            finally:
                release(others_follow=False)
    except InputError as error:
        remove_untouched(run_dir, before)
        fail(error)
    except OSError:  # the machine lacks something, perhaps before a status could be written
        remove_untouched(run_dir, before)
        raise


def status_bytes(run_dir: Path) -> bytes | None:
    """``status.json`` as it is; ``None`` if there is none."""
    path = run_dir / "status.json"
    return path.read_bytes() if path.is_file() else None


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
        release(others_follow=False)


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
        run_dir: The job's directory.
        overrides: What was typed to compose it.
        varied: What distinguishes it from other jobs, by key: what TensorBoard's HPARAMS shows.
        callbacks: Further ones for the Trainer.

    Returns:
        Its metrics; none if it failed, which is then in its ``status.json``, or if another process is at it.

    Raises:
        InputError: If its directory holds a run of another config or on other images, or what is no run's.
    """
    with claim(run_dir) as ours, ended_by_sigterm():
        state = read_status(run_dir, ours=True)["state"] if ours else "running"
        if state == "running":
            print(f"left to another process: {run_dir.name}", flush=True)  # the log there is that process's
            return {}
        check_job_place(run_dir, cfg, state)
        if state in (*DONE, "interrupted"):
            check_same_images(run_dir, cfg)
        if state in DONE:
            print(f"finished before: {run_dir.name}", flush=True)
            return {}
        if state == "interrupted" and (run_dir / "checkpoints" / "last.ckpt").is_file():
            cfg.ckpt_path = str(run_dir / "checkpoints" / "last.ckpt")
            remove_halves(run_dir)
            print(f"going on with {run_dir.name}", flush=True)
        else:
            clear(run_dir)
        try:
            with stop_kept():
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
            release(others_follow=True)


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
    known = error if isinstance(error, InputError) else limit_of(error)
    said = str(known) if known else f"{type(error).__name__}: {error}"
    if interrupted:
        said = "Ctrl-C"
        if isinstance(error, SystemExit):  # Lightning makes 0 of SIGTERM, 1 of Ctrl-C
            terminated = error.code in (None, 0, TERMINATED)
            said, error.code = ("SIGTERM", TERMINATED) if terminated else ("Ctrl-C", INTERRUPTED)
    which = {"process": rank} if rank else {}
    write_status(run_dir, state, **which, error=said, traceback=traceback.format_exc())
    if not interrupted and not rank:  # the log is the first process's
        log.error("failed: %s", said, exc_info=known is None)


def release(*, others_follow: bool) -> None:
    """Leave nothing behind in this process.

    Args:
        others_follow: Whether more jobs of a sweep may: what a run has held is then collected, which takes a moment.
    """
    if "torch" not in sys.modules:
        return  # nothing was begun
    import torch

    if wandb := sys.modules.get("wandb"):
        wandb.finish()  # the logger of the next job would go on with this run
    torch.use_deterministic_algorithms(False)
    if others_follow:
        import gc

        gc.collect()
        _leave_libraries_out()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


@cache
def _leave_libraries_out() -> None:
    """Let later collections pass over what is loaded by now: the half a million objects of the libraries."""
    import gc

    gc.freeze()
