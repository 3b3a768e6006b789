"""TODO training/run.py."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from omegaconf import DictConfig

from bloodcell.tracking.status import write_status
from bloodcell.training.restore import keep_config

if TYPE_CHECKING:
    import lightning as L
    from lightning.pytorch.callbacks import Callback

    from bloodcell.data.datamodule import BloodCells
    from bloodcell.model.classifier import CellClassifier


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

    from bloodcell.common.files import write_json
    from bloodcell.data.describe import describe_data
    from bloodcell.tracking.manifest import manifest
    from bloodcell.training import assemble, checks, devices
    from bloodcell.training.hparams import log_hparams
    from bloodcell.training.measure import measure, write_metrics
    from bloodcell.training.printout import Result
    from bloodcell.training.restore import find_checkpoint

    started = time.perf_counter()
    composed, cfg = cfg, cfg.copy()  # what is left to the machine is settled in the copy
    assemble.quiet()
    checks.check_values(cfg)
    arithmetic = assemble.settle(cfg)
    L.seed_everything(cfg.seed, workers=True, verbose=False)
    data = assemble.make_data(cfg)
    checks.check_choice(cfg, data)
    classifier = assemble.make_classifier(cfg, data)
    recorder = assemble.make_recorder(cfg, data, run_dir, graph=varied is None)
    trainer = assemble.make_trainer(cfg, data, run_dir, recorder, callbacks)
    devices.check_processes(trainer, data)
    if cfg.ckpt_path is not None:
        checks.check_trained_on(Path(cfg.ckpt_path), data)
    seeds = {"seed": cfg.seed, "data.split_seed": data.split_seed, "data.fold_seed": data.fold_seed}
    record = manifest(seeds, describe_data(data)) | {"precision": cfg.trainer.precision}
    if trainer.world_size > 1:
        record["processes"] = trainer.world_size
    checks.check_same_data(run_dir, record)
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
    from bloodcell.data.describe import SYNTHETIC, warning_of

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
