"""A sweep: which jobs it has, where each of them lives, and how they fared."""

import hashlib
import re
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.conf import HydraConf
from hydra.core.config_loader import ConfigLoader
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf, open_dict, read_write

from bloodcell.cli import quoted
from bloodcell.files import read_json
from bloodcell.rundir import DONE, read_status

SLUG = 100  # letters; with the hash a file name stays well below the 255 that file systems take
REPEATED = ("seed", "data.fold")  # never what jobs share, though it be typed once: other ones may follow
GROUPS = ("data", "experiment", "model", "optim", "sweep", "trainer")  # what they choose needs no further word
SWEPT = "BLOODCELL_SWEPT"  # in a job's environment: the keys that its sweep varies, wherever a launcher runs it
POLL = 1.0  # seconds


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
    """Hydra's callback that settles the directory of a sweep and notes its jobs, before any of them runs."""

    # Hydra makes the callback by itself and shows it to nobody: what it noted stays here for `reported`.
    jobs: tuple[Job, ...] = ()
    metric = ""
    tested = True

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        """Compose every job, for its directory; and settle in ``config`` where all of them are."""
        if config.hydra.sweeper._target_ != f"{BasicSweeper.__module__}.{BasicSweeper.__name__}":
            return  # another sweeper tells its jobs as it goes
        params = config.hydra.sweeper.params or {}
        loader = GlobalHydra.instance().config_loader()
        typed = [*(f"{key}={value}" for key, value in params.items()), *config.hydra.overrides.task]
        try:
            words = OverridesParser.create(loader).parse_overrides(typed)
            (batch,) = BasicSweeper.split_arguments(words, None)
            typed_keys = [word.get_key_element() for word in words]
            swept = [word.get_key_element() for word in words if word.is_sweep_override()]
            varied = list(dict.fromkeys([*params, *swept, *(key for key in REPEATED if key in typed_keys)]))
            _settle_directory(
                config, [word for word in batch[0] if word.partition("=")[0] not in (*varied, "name")], varied
            )
            Launch.jobs = tuple(_jobs(config, loader, batch, varied))
        except (HydraException, ValueError):
            return  # the sweeper says the same in a moment
        Launch.metric, Launch.tested = config.monitor.metric, config.test
        done = sum(read_status(job.run_dir)["state"] in DONE for job in Launch.jobs)
        before = f", {done} done before" if done else ""
        print(f"sweep: {len(Launch.jobs)} jobs in {config.hydra.sweep.dir}{before}", flush=True)


def _jobs(config: DictConfig, loader: ConfigLoader, batch: Sequence[Sequence[str]], varied: Sequence[str]) -> list[Job]:
    from rich.console import Console
    from rich.progress import track

    jobs: dict[Path, Job] = {}
    shown = Console(stderr=True)
    for overrides in track(batch, "composing the jobs", console=shown, transient=True, disable=len(batch) < 20):
        cfg = loader.load_sweep_config(config, list(overrides))
        run_dir = Path(cfg.hydra.sweep.dir) / cfg.hydra.sweep.subdir
        values = dict(word.split("=", 1) for word in overrides if "=" in word)
        jobs[run_dir] = Job(run_dir, {key: values[key] for key in varied if key in values})
    return list(jobs.values())


def _settle_directory(config: DictConfig, fixed: Sequence[str], varied: Sequence[str]) -> None:
    """Name the sweep by what its jobs share, unless the user named it; and tell the jobs what they do not share."""
    with read_write(config), open_dict(config):
        if not any(word.startswith("hydra.sweep.dir=") for word in config.hydra.overrides.hydra):
            config.hydra.sweep.dir = f"{config.hydra.sweep.dir}/{slug(fixed) or 'defaults'}"
            config.hydra.overrides.hydra.append(f"hydra.sweep.dir={quoted(config.hydra.sweep.dir)}")
        config.hydra.overrides.hydra.append(f"+hydra.job.env_set.{SWEPT}={quoted(' '.join(varied))}")


def varied_in(overrides: Sequence[str], settings: HydraConf) -> dict[str, str]:
    """What distinguishes a job from the others of its sweep.

    Args:
        overrides: The job's.
        settings: Hydra's own part of the job's config.

    Returns:
        Values as typed, by key.
    """
    keys = settings.job.env_set.get(SWEPT, "").split()
    return {key: word for key, _, word in (one.partition("=") for one in overrides) if key in keys}


def slug(words: Sequence[str]) -> str:
    """Overrides as a readable name: ``["optim=sgd", "optim.lr=0.01", "seed=1"]`` is ``sgd-lr_0.01-seed_1``."""
    parts = []
    for key, _, value in (word.lstrip("+~").partition("=") for word in words):
        short = value.rstrip("/'\"").rpartition("/")[2]
        if re.fullmatch(r"-?\d*\.\d+(e-?\d+)?", short):
            short = f"{float(short):.4g}"
        name = short if key in GROUPS else f"{re.split('[./]', key)[-1]}_{short}"
        parts.append(re.sub(r"_+", "_", re.sub(r"[^\w.+-]+", "_", name)).strip("_"))
    return "-".join(parts)[:SLUG]


def job_name(words: Sequence[str], varied: str, *, _root_: DictConfig) -> str:
    """The directory of a job: readable by what distinguishes it, and unique by its whole config.

    Args:
        words: The job's overrides.
        varied: Keys that differ between the jobs of the sweep, separated by spaces.
        _root_: The composed config, given by OmegaConf.

    Returns:
        For example ``lr_0.01-seed_1-5f3a90c1``: the same config has the same name, however it was typed, and another
        default in ``conf`` makes another name. If the folder of the sweep has the config by another readable part,
        that one.
    """
    content = OmegaConf.masked_copy(_root_, [str(key) for key in _root_ if key != "hydra"])
    digest = hashlib.sha256(OmegaConf.to_yaml(content, sort_keys=True).encode()).hexdigest()[:8]
    folder = OmegaConf.select(_root_, "hydra.sweep.dir")
    if folder and (known := sorted(Path(folder).glob(f"*{digest}"))):
        return known[0].name
    readable = slug([word for word in words if word.lstrip("+~").partition("=")[0] in varied.split()])
    return f"{readable}-{digest}" if readable else digest


OmegaConf.register_new_resolver("job_name", job_name, replace=True)


@contextmanager
def reported() -> Iterator[None]:
    """Say how the jobs of a sweep fare while they run, and end with a table of all of them.

    Raises:
        SystemExit: With 1, if a job failed or was not done.
    """
    Launch.jobs = tuple[Job, ...]()
    ended = threading.Event()
    watch = threading.Thread(target=_watch, args=(ended,), daemon=True)
    watch.start()
    try:
        yield
    except HydraException:
        raise  # nothing was launched
    except BaseException:
        if any(read_status(one.run_dir)["state"] != "not started" for one in Launch.jobs):
            _report(Launch.jobs, Launch.metric)
        raise
    finally:
        ended.set()
        watch.join()
    if not _report(Launch.jobs, Launch.metric):
        raise SystemExit(1)


def _watch(ended: threading.Event) -> None:
    """Print a line whenever jobs have ended, with the time that is left at their pace."""
    while not Launch.jobs:
        if ended.wait(POLL):
            return
    started = time.time()
    waiting = [job for job in Launch.jobs if read_status(job.run_dir)["state"] not in DONE]
    total = len(waiting)
    while not ended.wait(POLL):
        before = len(waiting)
        waiting = [job for job in waiting if not _ended_since(job.run_dir / "status.json", started)]
        if len(waiting) < before and waiting:
            gone = total - len(waiting)
            left = timedelta(seconds=round((time.time() - started) / gone * len(waiting)))
            print(f"sweep: {gone} of {total} jobs ended, about {left} left", flush=True)


def _ended_since(status: Path, started: float) -> bool:
    return status.is_file() and status.stat().st_mtime > started and read_json(status)["state"] != "running"


def _report(jobs: Sequence[Job], metric: str) -> bool:
    """Print a table of all jobs.

    Returns:
        Whether none failed and none is left to do; a job that another process is at is that one's to report.
    """
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table(*(jobs[0].setting if jobs else ()), metric, "state", "time", "why", title_justify="left")
    counts: Counter[str] = Counter()
    for job in jobs:
        status = read_status(job.run_dir)
        counts[status["state"]] += 1
        value, seconds = _outcome(job.run_dir, metric) if status["state"] == "ok" else ("", "")
        why = str(status.get("error", ""))
        table.add_row(*map(escape, job.setting.values()), value, status["state"], seconds, escape(why))
    if jobs:
        table.title = f"sweep: {', '.join(f'{number} {state}' for state, number in counts.items())}"
        Console().print(table)
        if not Launch.tested:
            print("the test images were not looked at; to test a chosen job once: make evaluate RUN=DIR")
        print(f"settings over seeds and folds: make runs ARGS={jobs[0].run_dir.parent}", flush=True)
    return set(counts) <= {*DONE, "running"}


def _outcome(run_dir: Path, metric: str) -> tuple[str, str]:
    """The metric of a finished job and how long it took, for the table."""
    metrics, record = read_json(run_dir / "metrics.json"), read_json(run_dir / "manifest.json")
    value = f"{metrics[metric]:.4f}" if metric in metrics else ""
    return value, str(timedelta(seconds=round(record.get("wall_seconds", 0))))
