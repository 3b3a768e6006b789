"""Train a net and write its run directory: ``python -m bloodcell.train [GROUP=CHOICE] [KEY=VALUE] [-m]``."""

import sys
from collections.abc import Collection
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from bloodcell.common.env import CONF
from bloodcell.common.errors import InputError
from bloodcell.config.command import fail, run_command
from bloodcell.config.compose import arranged, resolve, start_of, words_of
from bloodcell.config.help import helped
from bloodcell.config.instantiate import trust
from bloodcell.config.messages import check_choices
from bloodcell.sweeps.names import varied_in
from bloodcell.sweeps.progress import reported
from bloodcell.training.job import run_alone, run_beside, run_once
from bloodcell.training.place import names_in, remove_untouched
from bloodcell.training.resume import WORDS, resume_arguments, resumed


@hydra.main(version_base="1.3", config_path=str(CONF), config_name="train")
def job(cfg: DictConfig) -> float | None:
    """One run, alone or as a job of a sweep; returns the monitored metric."""
    settings = HydraConfig.get()
    run_dir, overrides = Path(settings.runtime.output_dir), words_of(settings.overrides.task)
    before = names_in(run_dir)
    words = cfg.get(WORDS)
    try:
        trust([*overrides, *(words or [])])
        if words is not None:
            cfg, overrides = resumed(run_dir, list(words))
        resolve(cfg)  # what is kept of a run holds for whoever opens it, wherever
    except (InputError, OmegaConfBaseException) as error:
        remove_untouched(run_dir, before)
        fail(error)
    rank = rank_of(cfg, run_dir, before)
    if settings.mode == RunMode.MULTIRUN:
        metrics = run_once(cfg, run_dir, overrides, varied_in(overrides, settings))
    elif rank:
        metrics = run_beside(cfg, run_dir, overrides, rank)
    else:
        metrics = run_alone(cfg, run_dir, overrides, goes_on=words is not None)
    return next((metrics[name] for name in (cfg.monitor.metric, "test/balanced_acc") if name in metrics), None)


def rank_of(cfg: DictConfig, run_dir: Path, before: Collection[str]) -> int:
    """Which of the processes that train together this is, 0 for the first or the only one.

    Args:
        cfg: The composed config.
        run_dir: The run directory.
        before: What is in it.

    Raises:
        SystemExit: After one line, if they could not train together: the jobs of a sweep are then not done either.
    """
    trainer = cfg.trainer
    if trainer.devices == 1 and trainer.get("num_nodes", 1) == 1 and "strategy" not in trainer:
        return 0  # without torch: a sweep that was done before is looked through at once
    from bloodcell.training.devices import check_devices

    try:
        start = start_of()
        assert start is not None
        return check_devices(cfg, start)
    except InputError as error:
        remove_untouched(run_dir, before)
        fail(error)


def main() -> None:
    """The command."""

    def command() -> None:
        sys.argv[1:] = resume_arguments(arranged(sys.argv[1:]))
        check_choices(sys.argv[1:])
        if not helped("train", sys.argv[1:]):
            with reported():
                job()

    run_command(command)


if __name__ == "__main__":
    main()
