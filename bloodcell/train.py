"""Train a net and write its run directory: ``python -m bloodcell.train [GROUP=CHOICE] [KEY=VALUE] [-m]``."""

import logging
import shutil
import sys
import time
import traceback
from pathlib import Path
from typing import TYPE_CHECKING

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from bloodcell.cli import CONF, fail, resume_arguments, run_command
from bloodcell.errors import InputError

if TYPE_CHECKING:  # torch takes seconds to import: --help and config errors must not wait for it
    import lightning as L

    from bloodcell.data.datamodule import BloodCells
    from bloodcell.model.classifier import CellClassifier

log = logging.getLogger(__name__)


def train(cfg: DictConfig, run_dir: Path) -> dict[str, float]:
    """Train, test the checkpoint that the config names, and write the run directory.

    Args:
        cfg: The composed config (``conf/train.yaml``).
        run_dir: Where everything is written.

    Returns:
        The metrics of the reported checkpoint, as in ``metrics.json``.

    Raises:
        InputError: If the config or the data cannot be used; before anything but Hydra's files is written.
    """
    import lightning as L

    from bloodcell import assemble
    from bloodcell.files import write_json
    from bloodcell.hparams import log_hparams
    from bloodcell.results import Result, describe_data, measure, write_metrics
    from bloodcell.rundir import find_checkpoint, manifest, write_status

    started = time.perf_counter()
    assemble.quiet()
    assemble.check_values(cfg)
    arithmetic = assemble.settle(cfg)
    L.seed_everything(cfg.seed, workers=True, verbose=False)
    data = assemble.make_data(cfg)
    assemble.check_choice(cfg, data)
    classifier = assemble.make_classifier(cfg, data)
    recorder = assemble.make_recorder(cfg, data, run_dir)
    trainer = assemble.make_trainer(cfg, data, run_dir, recorder)
    if cfg.ckpt_path is not None:
        assemble.check_trained_on(Path(cfg.ckpt_path), data)
    seeds = {"seed": cfg.seed, "data.split_seed": data.split_seed, "data.fold_seed": data.fold_seed}
    record = manifest(seeds, describe_data(data)) | {"precision": cfg.trainer.precision}
    assemble.check_same_data(run_dir, record)
    write_json(run_dir / "manifest.json", record)
    write_status(run_dir, "running", epoch=0, epochs=trainer.max_epochs)
    announce(data, run_dir, arithmetic)

    if cfg.lr_find:
        record["lr_found"] = find_lr(trainer, classifier, data)
    trainer.fit(classifier, data, ckpt_path=cfg.ckpt_path, weights_only=True)
    probed = {name: float(value) for name, value in trainer.callback_metrics.items() if name.startswith("probe/")}
    result = Result(probed, {})
    checkpoint = find_checkpoint(run_dir, cfg.report or "last")
    if cfg.report is not None:
        result = measure(trainer, classifier, data, recorder, checkpoint, validate=data.split.choice)
    write_metrics(run_dir / "metrics.json", data, checkpoint, result)
    log_hparams(trainer, cfg, data, result.metrics)

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
def job(cfg: DictConfig) -> float:
    """One run, alone or as a job of a sweep; returns the monitored metric."""
    settings = HydraConfig.get()
    run_dir = Path(settings.runtime.output_dir)
    try:
        metrics = train(cfg, run_dir)
        return next((metrics[name] for name in (cfg.monitor.metric, "test/balanced_acc") if name in metrics), 0.0)
    except BaseException as error:
        if isinstance(error, InputError) and settings.mode == RunMode.RUN:
            remove_untouched(run_dir)
            fail(error)
        record_failure(run_dir, error)
        raise
    finally:
        release()


def record_failure(run_dir: Path, error: BaseException) -> None:
    """Write why a run ended into its own directory."""
    from bloodcell.rundir import write_status

    interrupted = isinstance(error, KeyboardInterrupt | SystemExit)
    state = "interrupted" if interrupted else "failed"
    write_status(run_dir, state, error=f"{type(error).__name__}: {error}", traceback=traceback.format_exc())
    if not interrupted and not isinstance(error, InputError):
        log.exception("failed")


def remove_untouched(run_dir: Path) -> None:
    """Remove a run directory that holds nothing but what Hydra wrote."""
    names = {entry.name for entry in run_dir.iterdir()}
    if names <= {".hydra", "train.log"}:
        shutil.rmtree(run_dir)


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
        job()

    run_command(command)


if __name__ == "__main__":
    main()
