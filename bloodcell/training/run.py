"""One run, from its composed config to its directory."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig

from bloodcell.common.errors import InputError
from bloodcell.common.files import read_json, write_json
from bloodcell.config.compose import resolve
from bloodcell.tracking.manifest import manifest
from bloodcell.tracking.status import write_status
from bloodcell.training import rules
from bloodcell.training.place import begins, clear
from bloodcell.training.restore import find_checkpoint, keep_config, seen_before
from bloodcell.training.reuse import remember_images

if TYPE_CHECKING:  # torch takes seconds to import: what is refused by its words must not wait for it
    import lightning as L
    from lightning.pytorch.callbacks import Callback

    from bloodcell.data.datamodule import CellImages
    from bloodcell.data.describe import DataDescription
    from bloodcell.model.classifier import CellClassifier
    from bloodcell.training.collect import Collector
    from bloodcell.training.measure import Result


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
    resolve(cfg)
    rules.check_values(cfg)  # before torch is imported, which takes seconds

    import lightning as L

    from bloodcell.data.describe import describe
    from bloodcell.training import checks
    from bloodcell.training.artefacts import write_artefacts
    from bloodcell.training.assemble import make_classifier, make_data, make_trainer, quiet, settle
    from bloodcell.training.budget import settle_epochs
    from bloodcell.training.collect import Collector
    from bloodcell.training.hparams import log_hparams
    from bloodcell.training.printout import announce, show
    from bloodcell.training.sharing import ShareProcessor

    started = time.perf_counter()
    quiet()
    composed, cfg = cfg, cfg.copy()  # what is left to the machine is settled in the copy
    arithmetic = settle(cfg, begun_with(run_dir) if cfg.ckpt_path is not None else None)
    L.seed_everything(cfg.seed, workers=True, verbose=False)
    looked, data = time.time_ns(), make_data(cfg)
    about = describe(data, seen_before(cfg, run_dir))
    classifier = make_classifier(cfg, data)
    classifier.seen = about.seen.tensors()
    budget = settle_epochs(cfg, composed, classifier, data) if varied is None else {}
    collector, sharing = Collector(), ShareProcessor()
    trainer = make_trainer(cfg, data, about, run_dir, [collector, sharing, *callbacks], graph=varied is None)
    checks.check_before_fit(cfg, trainer, classifier, data, about, run_dir)
    record = record_of(cfg, data, about, trainer) | budget
    if cfg.lr_find and cfg.ckpt_path is not None:
        record["lr_found"] = found_before(run_dir)
    if varied is not None:
        remember_images(composed, data.index, about.source, about.fingerprint, looked)
    with begun(run_dir, composed, overrides, record, trainer, started):
        if trainer.is_global_zero:
            announce(about, run_dir, arithmetic, job=varied is not None)
        if cfg.lr_find and cfg.ckpt_path is None:
            record["lr_found"] = find_lr(trainer, classifier, data)
        fit(trainer, classifier, data, cfg.ckpt_path)
        if not trainer.is_global_zero:
            return {}  # one process tests, so that each image counts once
        record["crowded"] = sharing.crowded
        result = result_of(cfg, run_dir, trainer, classifier, data, collector)
        write_artefacts(run_dir, result, data, about, trainer)
        log_hparams(trainer, cfg, about, result.metrics, varied)
        show(result, data, about, run_dir, job=varied is not None)
    return result.metrics


def fit(trainer: "L.Trainer", classifier: "CellClassifier", data: "CellImages", checkpoint: str | None) -> None:
    """Train, from a checkpoint or anew.

    Raises:
        InputError: If Lightning cannot go on from the checkpoint, whose weights were looked at before.
    """
    try:
        trainer.fit(classifier, data, ckpt_path=checkpoint, weights_only=True)
    except Exception as error:  # Lightning and torch raise whatever they trip over in a checkpoint
        if checkpoint is None or isinstance(error, InputError) or trainer.train_dataloader is not None:
            raise
        reason = f"{type(error).__name__}: {error}".split("\n", 1)[0][:120]
        raise InputError(
            f"ckpt_path={checkpoint}",
            expected="a checkpoint that a training can go on from",
            got=f"one that cannot be taken up ({reason})",
            fix=f"start from its weights alone with init_from={checkpoint}",
        ) from error


def record_of(cfg: DictConfig, data: "CellImages", about: "DataDescription", trainer: "L.Trainer") -> dict[str, Any]:
    """Return the manifest of a run that is about to begin."""
    seeds = {"seed": cfg.seed, "data.split_seed": data.split_seed, "data.fold_seed": data.fold_seed}
    record = manifest(seeds, about.entries()) | {"precision": cfg.trainer.precision}
    return record | ({"processes": trainer.world_size} if trainer.world_size > 1 else {})


def begun_with(run_dir: Path) -> str | None:
    """Return the precision that a run was begun with; ``None`` if the directory holds none."""
    path = run_dir / "manifest.json"
    precision = read_json(path).get("precision") if path.is_file() else None
    return precision if isinstance(precision, str) else None


@contextmanager
def begun(
    run_dir: Path, cfg: DictConfig, overrides: Sequence[str], record: dict[str, Any], trainer: "L.Trainer", start: float
) -> Iterator[None]:
    """Write config, manifest and status of a run that begins; at its end the wall time, and that it is ``ok``.

    Args:
        run_dir: The run directory.
        cfg: The config as composed.
        overrides: What was typed.
        record: The manifest; what is added to it meanwhile is written at the end.
        trainer: Trains it; the first of several processes alone writes.
        start: When the run was started, by ``time.perf_counter``.
    """
    if trainer.is_global_zero:
        if begins(cfg, run_dir):
            clear(run_dir)  # what an earlier attempt left
        keep_config(run_dir, cfg, overrides)
        write_json(run_dir / "manifest.json", record)
        write_status(run_dir, "running", epoch=0, epochs=trainer.max_epochs)
    yield
    if trainer.is_global_zero:
        write_json(run_dir / "manifest.json", {**record, "wall_seconds": round(time.perf_counter() - start, 1)})
        write_status(run_dir, "ok", epoch=trainer.current_epoch, epochs=trainer.max_epochs)


def result_of(
    cfg: DictConfig,
    run_dir: Path,
    trainer: "L.Trainer",
    classifier: "CellClassifier",
    data: "CellImages",
    collector: "Collector",
) -> "Result":
    """Measure the checkpoint that the config wants reported; without one, what callbacks found in training."""
    from bloodcell.training.devices import alone
    from bloodcell.training.measure import measure, not_measured

    checkpoint = find_checkpoint(run_dir, cfg.report or "last")
    if cfg.report is None:
        probed = {name: float(value) for name, value in trainer.callback_metrics.items() if name.startswith("probe/")}
        return not_measured(checkpoint, probed)
    tester = alone(cfg, trainer, collector)
    return measure(tester, classifier, data, collector, checkpoint, validate=data.split.choice, test=cfg.test)


def found_before(run_dir: Path) -> float | None:
    """Return the learning rate that a run which is resumed had found."""
    path = run_dir / "manifest.json"
    found: float | None = read_json(path).get("lr_found") if path.is_file() else None
    return found


def find_lr(trainer: "L.Trainer", classifier: "CellClassifier", data: "CellImages") -> float | None:
    """Search a learning rate by Lightning's range test and set it; none may be found."""
    from lightning.pytorch.tuner.tuning import Tuner

    found = Tuner(trainer).lr_find(classifier, data, attr_name="lr", update_attr=False)
    rate = found.suggestion() if found is not None else None
    if rate is None:
        print(f"lr_find: none found, too few finite losses; optim.lr={classifier.lr:.2g} is used")
        return None
    print(f"learning rate found: {rate:.2g}")
    classifier.lr = rate
    return rate
