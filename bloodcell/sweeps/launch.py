"""The jobs of a sweep and the directory of each, settled before the first one runs."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.config_loader import ConfigLoader
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf, open_dict, read_write
from omegaconf.errors import OmegaConfBaseException

from bloodcell.common.env import SWEPT
from bloodcell.common.errors import InputError
from bloodcell.config.command import fail
from bloodcell.config.compose import quoted, resolve, words_of
from bloodcell.sweeps.names import REPEATED, job_name, resolved, slug
from bloodcell.tracking.status import DONE, read_status
from bloodcell.training.place import check_job_place, kept_part
from bloodcell.training.reuse import check_same_images, images_of


@dataclass(frozen=True)
class Job:
    """One job of a sweep.

    Attributes:
        run_dir: Where it writes.
        setting: What distinguishes it from the other jobs, by key.
    """

    run_dir: Path
    setting: dict[str, str]


class Launch(Callback):
    """Hydra callback that names the directory of a sweep and lists its jobs before any of them runs."""

    # Hydra creates the callback itself and hands it to nobody, so `progress.reported` reads the class.
    jobs: tuple[Job, ...] = ()
    metric = ""
    tested = True

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        """Compose every job to learn its directory, and write the directory of the sweep into ``config``."""
        if config.hydra.sweeper._target_ != f"{BasicSweeper.__module__}.{BasicSweeper.__name__}":
            return  # other sweepers decide on jobs as they go
        params = config.hydra.sweeper.params or {}
        loader = GlobalHydra.instance().config_loader()
        typed = [*(f"{key}={value}" for key, value in params.items()), *words_of(config.hydra.overrides.task)]
        try:
            words = OverridesParser.create(loader).parse_overrides(typed)
            (batch,) = BasicSweeper.split_arguments(words, None)
            if not batch:
                fail(InputError("-m", expected="values to try", got="a grid without any", fix="give some, as seed=0,1"))
            typed_keys = [word.get_key_element() for word in words]
            swept = [word.get_key_element() for word in words if word.is_sweep_override()]
            varied = list(dict.fromkeys([*params, *swept, *(key for key in REPEATED if key in typed_keys)]))
            fixed = [word for word in batch[0] if word.partition("=")[0] not in (*varied, "name")]
            if any("$" in word for word in fixed):
                ends = [loader.load_sweep_config(config, list(batch[end])) for end in (0, -1)]
                both = ([resolved(word, end) for word in fixed] for end in ends)
                fixed = [one for one, other in zip(*both, strict=True) if one == other]  # the rest differs between jobs
            _settle_directory(config, fixed, varied)
            Launch.jobs = tuple(_jobs(config, loader, batch, varied))
        except InputError as error:
            fail(error)
        except (HydraException, OmegaConfBaseException, ValueError):
            return  # the sweeper is about to report the same error
        Launch.metric, Launch.tested = config.monitor.metric, config.test
        done = sum(read_status(job.run_dir)["state"] in DONE for job in Launch.jobs)
        before = f", {done} done before" if done else ""
        print(f"sweep: {len(Launch.jobs)} jobs in {config.hydra.sweep.dir}{before}", flush=True)


def _jobs(config: DictConfig, loader: ConfigLoader, batch: Sequence[Sequence[str]], varied: Sequence[str]) -> list[Job]:
    from rich.console import Console
    from rich.progress import track

    images_of.cache_clear()  # they may have changed since
    jobs: dict[Path, Job] = {}
    configs: dict[Path, DictConfig] = {}
    shown = Console(stderr=True)
    listed = track(batch, "composing the jobs", console=shown, transient=True, disable=len(batch) < 20)
    for number, overrides in enumerate(listed):
        cfg = loader.load_sweep_config(config, list(overrides))
        with read_write(cfg), open_dict(cfg):
            cfg.hydra.job.num = cfg.hydra.job.id = number  # as the launcher will: a directory may be named by it
        run_dir = Path(cfg.hydra.sweep.dir) / cfg.hydra.sweep.subdir
        resolve(cfg)
        plain = kept_part(run_dir, cfg)
        if configs.setdefault(run_dir, plain) != plain:
            raise InputError(
                f"hydra.sweep.subdir={cfg.hydra.sweep.subdir}",
                expected="a directory for each job",
                got="one for jobs of different configs",
                fix="leave hydra.sweep.subdir to name the jobs by their content",
            )
        state = read_status(run_dir)["state"]
        check_job_place(run_dir, cfg, state)
        if state in (*DONE, "interrupted"):
            check_same_images(run_dir, cfg)
        values = dict(resolved(word, cfg).split("=", 1) for word in overrides if "=" in word)
        jobs[run_dir] = Job(run_dir, {key: values[key] for key in varied if key in values})
    return list(jobs.values())


def _settle_directory(config: DictConfig, fixed: Sequence[str], varied: Sequence[str]) -> None:
    """Name the sweep by what its jobs share, unless the user named it, and tell each job which keys vary."""
    with read_write(config), open_dict(config):
        if not any(word.startswith("hydra.sweep.dir=") for word in config.hydra.overrides.hydra):
            config.hydra.sweep.dir = f"{config.hydra.sweep.dir}/{slug(fixed) or 'defaults'}"
            config.hydra.overrides.hydra.append(f"hydra.sweep.dir={quoted(config.hydra.sweep.dir)}")
        config.hydra.overrides.hydra.append(f"+hydra.job.env_set.{SWEPT}={quoted(' '.join(varied))}")


OmegaConf.register_new_resolver("job_name", job_name, replace=True)
