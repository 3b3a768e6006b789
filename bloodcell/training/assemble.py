"""From a config to objects: the data, the classifier, the trainer."""

import copy
import logging
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback, EarlyStopping, RichProgressBar
from omegaconf import DictConfig
from torch import nn

from bloodcell.common.env import waiting
from bloodcell.common.errors import InputError
from bloodcell.config.instantiate import build
from bloodcell.data.datamodule import CellImages
from bloodcell.data.describe import DataDescription
from bloodcell.model.classifier import CellClassifier
from bloodcell.model.weights import load_matching
from bloodcell.training.checkpoints import WholeCheckpoints, make_checkpoints
from bloodcell.training.continuing import ChecksCheckpoint
from bloodcell.training.divergence import StopsWhenDiverged
from bloodcell.training.loggers import make_logger
from bloodcell.training.machine import TRAINS, choose_precision, find_device, keep_freed_memory
from bloodcell.training.recorder import RunRecorder
from bloodcell.training.rules import precision_of, unvalidated


def quiet() -> None:
    """Suppress known, non-actionable warnings."""
    # Where TensorFlow is installed, TensorBoard would write its events with it: seconds to import, lines on stderr.
    # This name, if it can be imported, tells it not to (tensorboard/compat/__init__.py).
    sys.modules.setdefault("tensorboard.compat.notf", ModuleType("notf"))
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    for text in (
        ".*does not have many workers.*",  # pixels are in memory: there is nothing for workers to do
        ".*smaller than the logging interval.*",  # everything is logged by epoch
        ".*treespec, LeafSpec.*",  # Lightning's own use of a deprecated name
        ".*requested to overfit.*",  # trainer=debug asks for just that
        ".*exists and is not empty.*",  # a resumed run goes on in its directory
        ".*The dirpath has changed.*",  # a checkpoint file of another run starts a run of its own
        ".*callbacks used to create the checkpoint.*",  # testing a checkpoint needs no checkpoints
        ".*recommended to use .*sync_dist=True.*",  # what is logged by epoch is counted over all processes already
    ):
        warnings.filterwarnings("ignore", text)


def settle(cfg: DictConfig, before: str | None = None) -> str:
    """Set up the process, and settle in the config what it leaves to the machine (``trainer.precision=auto``).

    Args:
        cfg: The composed config.
        before: The precision with which another machine began this run; on one that has it, too, it goes on so.

    Returns:
        What was chosen and why, in one line.

    Raises:
        InputError: If the machine has no such device, or it does not train so.
    """
    keep_freed_memory()
    torch.backends.cudnn.allow_tf32 = False  # float32 is float32: torch lets a GPU round it to 10 bits in convolutions
    device = find_device(cfg.trainer.accelerator)
    precision, why = precision_of(cfg.trainer.precision), "as the config says"
    if precision == "auto":
        precision, why = (before, "as it was begun") if before in TRAINS[device] else choose_precision(device)
    if precision not in TRAINS[device]:
        raise InputError(
            "trainer.precision",
            expected=f"auto, {' or '.join(TRAINS[device])} on a device of type {device}",
            got=precision,
            fix="choose one",
        )
    cfg.trainer.precision = precision
    if cfg.trainer.gradient_clip_val is not None and "fused" in cfg.optim.optimizer:
        cfg.optim.optimizer.fused = False  # Lightning clips no gradients that a fused optimizer may scale by itself
    chosen = "".join(f", {name}={value}" for name, value in waiting().items())
    return f"{precision} ({why}), {torch.get_num_threads()} threads{chosen}"


def find_data(cfg: DictConfig) -> CellImages:
    """Find, index and split the data."""
    data: CellImages = build(cfg.data, "data")
    data.look_up()
    return data


def make_data(cfg: DictConfig, trained_on: Sequence[str] | None = None) -> CellImages:
    """Find, index, split and decode the data; an external set is given the classes that a net was trained on."""
    data: CellImages = build(cfg.data, "data")
    data.trained_on = trained_on
    data.setup()
    return data


def make_classifier(cfg: DictConfig, data: CellImages) -> CellClassifier:
    """Build the net, from the config or from the weights of ``init_from``, in its LightningModule."""
    net = build(cfg.model, "model", num_classes=len(data.classes))
    if cfg.init_from is not None:
        load_matching(net, Path(cfg.init_from), key=f"init_from={cfg.init_from}")
    scheduler = cfg.optim.get("scheduler")
    classifier = CellClassifier(
        net,
        data.classes,
        optimizer=build(cfg.optim.optimizer, "optim.optimizer"),
        lr=cfg.optim.lr,
        schedule=build(scheduler, "optim.scheduler") if scheduler else None,
        class_weights=class_weights(cfg.optim.class_weights, data),
        monitor=cfg.monitor.metric,
        seed=cfg.seed,
    )
    names = classifier.metric_names("val")
    if cfg.monitor.metric not in names:
        raise InputError(
            "monitor.metric",
            expected=f"one of {', '.join(names)}",
            got=str(cfg.monitor.metric),
            fix="correct it",
        )
    check_smallest_batch(net, data)
    try:
        classifier.optimizer(net.parameters(), lr=cfg.optim.lr)
    except (TypeError, ValueError) as error:
        raise InputError(
            "optim",
            expected="values that the optimizer accepts",
            got=str(error),
            fix="correct optim.lr or optim.optimizer",
        ) from error
    return classifier


def check_smallest_batch(net: nn.Module, data: CellImages) -> None:
    """Stop if the last batch of an epoch is a single image and the net cannot learn from one.

    Batch normalisation of a layer that has shrunk to one pixel has one value a channel then, and no variance.

    Raises:
        InputError: With the sizes that leave no single image.
    """
    images, size = len(data.split.train), data.batch_size
    if images == 0 or images % size != 1 % size:
        return
    try:
        copy.deepcopy(net).train()(torch.zeros(1, 3, *data.image_size))
    except ValueError as error:
        fit = next(other for other in range(size + 1, images + size + 2) if images % other != 1)
        raise InputError(
            "data.batch_size",
            expected=f"no batch of a single image: {str(error).rstrip('.')}",
            got=f"{images} training images in batches of {size}",
            fix=f"set data.batch_size={fit}",
        ) from error


def class_weights(choice: str | None, data: CellImages) -> list[float] | None:
    """Weight the classes in the loss: ``balanced`` is n / (classes * n of the class), as in scikit-learn."""
    if choice is None:
        return None
    counts = data.index.counts(data.split.train)
    return [float(counts.sum() / (len(counts) * count)) for count in counts]


class Bar(RichProgressBar):
    """Lightning's progress bar; epochs count from 1, as in all that is printed."""

    def _get_train_description(self, current_epoch: int) -> str:
        return f"epoch {current_epoch + 1}/{self.trainer.max_epochs}"


def make_trainer(
    cfg: DictConfig,
    data: CellImages,
    about: DataDescription,
    run_dir: Path,
    callbacks: Sequence[Callback],
    *,
    graph: bool,
) -> L.Trainer:
    """Build the Trainer with checkpoints, loggers, progress bar, and what the config asks for besides.

    Args:
        cfg: The composed config.
        data: The data, set up.
        about: Its description.
        run_dir: Where everything is written.
        callbacks: Further ones, before all others.
        graph: Whether TensorBoard gets the graph of the net.
    """
    val_name = "validation" if data.split.choice else "test (also the validation curve)"
    net_name = cfg.model.get("name") or cfg.model._target_.rpartition(".")[2]
    recorder = RunRecorder(run_dir, data, val_name, net_name, about.label, graph=graph)
    ours: list[Callback] = [
        *callbacks,
        recorder,
        ChecksCheckpoint(),
        StopsWhenDiverged(run_dir / "checkpoints", data.index),
        *make_checkpoints(cfg, run_dir, data.split.choice and unvalidated(cfg.trainer) is None),
    ]
    if cfg.early_stopping is not None:
        ours.append(EarlyStopping(cfg.monitor.metric, patience=cfg.early_stopping, mode=cfg.monitor.mode))
    bar = sys.stdout.isatty()
    if bar:
        ours.append(Bar(leave=False))
    trainer: L.Trainer = build(
        cfg.trainer,
        "trainer",
        callbacks=[*ours, *(build(one, "trainer.callbacks") for one in cfg.trainer.callbacks)],
        logger=make_logger(cfg, run_dir, about.synthetic) or False,
        default_root_dir=str(run_dir),
        enable_progress_bar=bar,
        enable_model_summary=False,
        use_distributed_sampler=False,  # the data shares the batches out itself: Lightning's sampler repeats images
    )
    trainer.strategy.checkpoint_io = WholeCheckpoints()
    # Lightning asks for it, and on the CPU it would only fill fresh memory, at a cost.
    setattr(torch.utils.deterministic, "fill_uninitialized_memory", False)  # noqa: B010 (mypy: set by a module property)
    return trainer
