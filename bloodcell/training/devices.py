"""Training with several processes, one a device: what is allowed, and what one of them does alone."""

from collections.abc import Iterator
from typing import NamedTuple

import lightning as L
import torch.distributed as dist
from lightning.pytorch.strategies import ParallelStrategy
from omegaconf import DictConfig, OmegaConf

from bloodcell.common.errors import InputError
from bloodcell.config.compose import Start, start_of
from bloodcell.config.instantiate import build
from bloodcell.data.datamodule import CellImages
from bloodcell.training.assemble import quiet
from bloodcell.training.collect import Collector


class Rule(NamedTuple):
    """What is not possible: the key, whether it is asked for, and the words of the error."""

    key: str
    broken: bool
    expected: str
    got: str
    fix: str


def check_devices(cfg: DictConfig, start: Start) -> int:
    """Stop in one line if processes are asked for that could not train together.

    Args:
        cfg: The composed config.
        start: How the command was started.

    Returns:
        Rank of this process (0 if it trains alone).

    Raises:
        InputError: Naming the key.
    """
    quiet()
    asked = {key: cfg.trainer[key] for key in ("accelerator", "devices", "num_nodes", "strategy") if key in cfg.trainer}
    # Only Lightning knows how many processes "2", [0, 1], -1 or auto are: it is asked, and starts none before fit().
    plan: L.Trainer = build(
        OmegaConf.create({"_target_": cfg.trainer._target_, **asked}),
        "trainer",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    strategy = plan.strategy
    if not isinstance(strategy, ParallelStrategy):
        return 0
    for rule in _rules(cfg, start, strategy, plan.world_size):
        if rule.broken:
            raise InputError(rule.key, expected=rule.expected, got=rule.got, fix=rule.fix)
    return plan.global_rank


def _rules(cfg: DictConfig, start: Start, strategy: ParallelStrategy, world: int) -> Iterator[Rule]:
    name = str(cfg.trainer.get("strategy", "auto"))
    yield Rule(
        "trainer.devices",
        start.multirun,
        "one device a job in a sweep: the processes of a job would each start the sweep again",
        f"{world} process{'es' if world > 1 else ''} (trainer.strategy={name})",
        "train these runs one by one, or sweep with trainer=cpu or trainer=gpu",
    )
    yield Rule(
        "trainer.strategy",
        name not in ("auto", "ddp"),
        "ddp where several processes train",
        name,
        "set trainer.strategy=ddp",
    )
    environment = strategy.cluster_environment
    yield Rule(
        "hydra.run.dir",
        environment is not None and environment.creates_processes_externally and not start.run_dir_typed,
        "one directory for all processes that torchrun or srun starts",
        "one by the clock of each",
        "set hydra.run.dir=runs/...",
    )
    yield Rule(
        "lr_find",
        bool(cfg.lr_find),
        "false where several processes train",
        "true",
        "find it with one process, then set optim.lr=...",
    )
    size = cfg.data.batch_size
    yield Rule(
        "data.batch_size",
        isinstance(size, int) and size < world,
        f"an image for each of {world} processes: it is shared by them",
        str(size),
        f"set data.batch_size={world} or more",
    )


def check_processes(trainer: L.Trainer, data: CellImages) -> None:
    """Stop if there are fewer images than processes, or a command that cannot start any.

    Raises:
        InputError: Naming what there are too few of.
    """
    if trainer.world_size > 1 and start_of() is None:
        raise InputError(
            "trainer.devices",
            expected="one device: Lightning starts a process by the command line, which has to be bloodcell.train's",
            got=str(trainer.world_size),
            fix="train it by make train",
        )
    for name, rows in (("training", data.split.train), ("validation", data.split.val)):
        if 0 < len(rows) < trainer.world_size:
            raise InputError(
                "trainer.devices",
                expected=f"at most as many processes as {name} images, {len(rows)}",
                got=str(trainer.world_size),
                fix="lower it",
            )


def alone(cfg: DictConfig, trainer: L.Trainer, collector: Collector) -> L.Trainer:
    """Return a trainer for what one process does alone after training: a new one where several have trained.

    Args:
        cfg: The composed config; limits on the batches of a test hold here too.
        trainer: What has trained; its loggers are kept.
        collector: Keeps the predictions.
    """
    if trainer.world_size == 1:
        return trainer
    dist.destroy_process_group()  # metrics would wait for the counts of processes that are gone
    device = trainer.strategy.root_device
    one = {"devices": 1 if device.index is None else [device.index], "num_nodes": 1, "strategy": "auto"}
    single: L.Trainer = build(
        OmegaConf.create({**cfg.trainer, **one}),
        "trainer",
        callbacks=[collector],
        logger=trainer.loggers,
        default_root_dir=trainer.default_root_dir,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    return single
