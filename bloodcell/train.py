"""Train a net and write its run directory: ``python -m bloodcell.train [GROUP=CHOICE] [KEY=VALUE] [-m]``."""

import logging
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from bloodcell import sweep
from bloodcell.cli import CONF, fail, resume_arguments, run_command
from bloodcell.errors import InputError, Pruned
from bloodcell.rundir import (
    DONE,
    LOCK,
    claim,
    is_inside,
    keep_config,
    read_status,
    write_status,
)

if TYPE_CHECKING:  # torch takes seconds to import: --help and config errors must not wait for it
    import lightning as L
    from lightning.pytorch.callbacks import Callback

    from bloodcell.data.datamodule import BloodCells
    from bloodcell.model.classifier import CellClassifier

log = logging.getLogger(__name__)


def train(
    cfg: DictConfig,
    run_dir: Path,
    overrides: Sequence[str] = (),
    callbacks: Sequence["Callback"] = (),
    varied: dict[str, str] | None = None,
) -> dict[str, float]:
    """Train, test the checkpoint that the config names, and write the run directory.

    Args:
        cfg: The composed config (``conf/train.yaml``).
        run_dir: Where everything is written; claimed by the caller.
        overrides: What was typed to compose it.
        callbacks: Further ones for the Trainer.
        varied: What distinguishes a job of a sweep, as typed; ``None`` for a run of its own.

    Returns:
        The metrics of the reported checkpoint, as in ``metrics.json``.

    Raises:
        InputError: If the config or the data cannot be used; before anything is written.
    """
    import lightning as L

    from bloodcell import assemble, devices
    from bloodcell.files import write_json
    from bloodcell.hparams import log_hparams
    from bloodcell.results import Result, describe_data, measure, write_metrics
    from bloodcell.rundir import find_checkpoint, manifest

    started = time.perf_counter()
    composed, cfg = cfg, cfg.copy()  # what is left to the machine is settled in the copy
    assemble.quiet()
    assemble.check_values(cfg)
    arithmetic = assemble.settle(cfg)
    L.seed_everything(cfg.seed, workers=True, verbose=False)
    data = assemble.make_data(cfg)
    assemble.check_choice(cfg, data)
    classifier = assemble.make_classifier(cfg, data)
    recorder = assemble.make_recorder(cfg, data, run_dir, graph=varied is None)
    trainer = assemble.make_trainer(cfg, data, run_dir, recorder, callbacks)
    devices.check_processes(trainer, data)
    if cfg.ckpt_path is not None:
        assemble.check_trained_on(Path(cfg.ckpt_path), data)
    seeds = {"seed": cfg.seed, "data.split_seed": data.split_seed, "data.fold_seed": data.fold_seed}
    record = manifest(seeds, describe_data(data)) | {"precision": cfg.trainer.precision}
    if trainer.world_size > 1:
        record["processes"] = trainer.world_size
    assemble.check_same_data(run_dir, record)
    if trainer.is_global_zero:
        keep_config(run_dir, composed, overrides)
        write_json(run_dir / "manifest.json", record)
        write_status(run_dir, "running", epoch=0, epochs=trainer.max_epochs)
        announce(data, run_dir, arithmetic)

    if cfg.lr_find:
        record["lr_found"] = find_lr(trainer, classifier, data)
    trainer.fit(classifier, data, ckpt_path=cfg.ckpt_path, weights_only=True)
    if not trainer.is_global_zero:
        return {}  # one process tests, so that each image counts once
    probed = {name: float(value) for name, value in trainer.callback_metrics.items() if name.startswith("probe/")}
    result = Result(probed, {})
    checkpoint = find_checkpoint(run_dir, cfg.report or "last")
    if cfg.report is not None:
        tester = devices.alone(cfg, trainer, recorder)
        result = measure(tester, classifier, data, recorder, checkpoint, validate=data.split.choice, test=cfg.test)
    write_metrics(run_dir / "metrics.json", data, checkpoint, result)
    log_hparams(trainer, cfg, data, result.metrics, varied)

    write_json(run_dir / "manifest.json", {**record, "wall_seconds": round(time.perf_counter() - started, 1)})
    write_status(run_dir, "ok", epoch=trainer.current_epoch, epochs=trainer.max_epochs)
    return result.metrics


def announce(data: "BloodCells", run_dir: Path, arithmetic: str) -> None:
    """Say what is about to be done, on which data, in which arithmetic, and where it goes."""
    from bloodcell.results import SYNTHETIC, warning_of

    split = data.split
    if data.synthetic:
        print(f"*** {SYNTHETIC} ***")
    print(f"data: {data.index.root}, protocol {split.protocol}")
    print(f"      {len(split.train):,} train, {len(split.val):,} validation, {len(split.test):,} test images")
    if split.caveat:
        print(f"note: {split.caveat}")
    if warning_of(data):
        print(warning_of(data))
    print(f"math: {arithmetic}")
    print(f"run:  {run_dir}", flush=True)


def find_lr(trainer: "L.Trainer", classifier: "CellClassifier", data: "BloodCells") -> float:
    """Search a learning rate by Lightning's range test and set it."""
    from lightning.pytorch.tuner.tuning import Tuner

    Tuner(trainer).lr_find(classifier, data, attr_name="lr")
    print(f"learning rate found: {classifier.lr:.2g}")
    return classifier.lr


@hydra.main(version_base="1.3", config_path=str(CONF), config_name="train")
def job(cfg: DictConfig) -> float | None:
    """One run, alone or as a job of a sweep; returns the monitored metric."""
    settings = HydraConfig.get()
    run_dir, overrides = Path(settings.runtime.output_dir), list(settings.overrides.task)
    rank = rank_of(cfg, run_dir)
    if settings.mode == RunMode.MULTIRUN:
        metrics = run_once(cfg, run_dir, overrides, sweep.varied_in(overrides, settings))
    elif rank:
        metrics = run_beside(cfg, run_dir, overrides, rank)
    else:
        metrics = run_alone(cfg, run_dir, overrides)
    return next((metrics[name] for name in (cfg.monitor.metric, "test/balanced_acc") if name in metrics), None)


def rank_of(cfg: DictConfig, run_dir: Path) -> int:
    """Which of the processes that train together this is, 0 for the first or the only one.

    Raises:
        SystemExit: After one line, if they could not train together: the jobs of a sweep are then not done either.
    """
    trainer = cfg.trainer
    if trainer.devices == 1 and trainer.get("num_nodes", 1) == 1 and "strategy" not in trainer:
        return 0  # without torch: a sweep that was done before is looked through at once
    from bloodcell.devices import check_devices

    try:
        return check_devices(cfg, HydraConfig.get())
    except InputError as error:
        remove_untouched(run_dir)
        fail(error)


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
            record_failure(run_dir, error, rank)
        if isinstance(error, InputError):
            fail(error)
        raise
    finally:
        release()


def check_place(cfg: DictConfig, run_dir: Path, ours: bool) -> None:
    """Stop if a run would write over another one."""
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
    """Do a job of a sweep, if nobody has done it or is at it: from its start, or from where it was interrupted.

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
        except BaseException as error:
            keep_config(run_dir, cfg, overrides)
            record_failure(run_dir, error)
            if not isinstance(error, Exception):
                raise
            return {}
        finally:
            release()


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
    if {entry.name for entry in run_dir.iterdir()} <= {LOCK, "train.log"}:
        root = logging.getLogger()
        for handler in [one for one in root.handlers if isinstance(one, logging.FileHandler)]:
            if is_inside(run_dir, Path(handler.baseFilename)):
                root.removeHandler(handler)  # it would look for its file at the next word
        shutil.rmtree(run_dir, ignore_errors=True)  # processes that share it may do so at once


def clear(run_dir: Path) -> None:
    """Remove what a failed attempt left; its log stays."""
    for entry in run_dir.iterdir():
        if entry.is_dir():
            shutil.rmtree(entry)
        elif entry.name not in (LOCK, "train.log"):
            entry.unlink()


def release() -> None:
    """Leave nothing behind for the next job of a sweep in the same process."""
    import gc

    import torch

    torch.use_deterministic_algorithms(False)
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def main() -> None:
    """The command."""

    def command() -> None:
        sys.argv[1:] = resume_arguments(sys.argv[1:])
        with sweep.reported():
            job()

    run_command(command)


if __name__ == "__main__":
    main()
