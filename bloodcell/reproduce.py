"""Run an experiment, or one run, again and compare: ``python -m bloodcell.reproduce EXP`` or ``--run DIR``."""

import argparse
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from omegaconf import DictConfig
from rich.console import Console

from bloodcell.common.console import number_table
from bloodcell.common.env import RESULTS
from bloodcell.common.errors import InputError, is_whole
from bloodcell.common.files import read_json
from bloodcell.config.command import run_command
from bloodcell.config.compose import composed, still_composed
from bloodcell.config.kept import ALL_PARTS, check_config, read_kept_config, read_kept_words
from bloodcell.tracking.difference import TOLERANCE, metrics_agreement, reasons
from bloodcell.tracking.manifest import read_manifest
from bloodcell.tracking.status import read_status
from bloodcell.training.restore import bring_up_to_date, with_todays_keys

MOST_THREADS = 1024  # of a manifest that anybody may have written


def reproduce_experiment(experiment: str, overrides: list[str]) -> None:
    """Run an experiment and print how it compares with the committed result.

    Args:
        experiment: A name in ``conf/experiment`` with a folder in ``results``.
        overrides: Further Hydra overrides.

    Raises:
        InputError: If there is no committed result to compare with, or the results differ.
    """
    kept = RESULTS / experiment
    if not (kept / "metrics.json").is_file():
        names = sorted(path.parent.name for path in RESULTS.glob("*/metrics.json"))
        raise InputError(
            f"EXP={experiment}",
            expected=f"an experiment with a committed result ({', '.join(names)})",
            got="none",
            fix=f"run it with make train ARGS=experiment={experiment}",
        )
    run_dir = _place(experiment)
    words = [f"experiment={experiment}", *overrides]
    cfg = still_composed(words)
    threads, precision = (None, None) if cfg is None else conditions(read_manifest(kept), cfg)
    words += [f"trainer.precision={precision}"] if precision else []
    if cfg is not None and cfg.minutes is not None:
        epochs = read_json(kept / "manifest.json").get("epochs", cfg.trainer.max_epochs)
        words += ["minutes=null", f"trainer.max_epochs={int(epochs)}"]
    threaded = {"OMP_NUM_THREADS": str(threads)} if threads else {}
    command = [sys.executable, "-m", "bloodcell.train", *words, f"hydra.run.dir={run_dir}"]
    if subprocess.run(command, check=False, env={**os.environ, **threaded}).returncode:
        raise SystemExit(1)
    print_comparison(f"EXP={experiment}", kept, run_dir)


def reproduce_run(before: Path) -> None:
    """Make a run again from its own directory and print how it compares.

    Args:
        before: The directory of a finished run; it is only read.

    Raises:
        InputError: If it is none, or the results differ.
    """
    from bloodcell.training.job import run_alone

    kept = before / ".hydra"
    if not (kept / "config.yaml").is_file() or read_status(before)["state"] != "ok":
        raise InputError(
            f"RUN={before}",
            expected="the directory of a finished run",
            got=f"one that is {read_status(before)['state']}" if before.is_dir() else "no such directory",
            fix="give what a training printed, as runs/quickstart/2026-...",
        )
    cfg = read_kept_config(kept / "config.yaml", ALL_PARTS, bring_up_to_date)
    overrides = read_kept_words(kept / "overrides.yaml")
    whole = with_todays_keys(cfg, still_composed(overrides))
    check_config(whole, kept / "config.yaml", ALL_PARTS)
    strategy = whole.trainer.get("strategy", "auto")
    if strategy not in ("auto", "ddp"):
        where, fix = f"{kept / 'config.yaml'}: trainer.strategy", "train it again by its own command"
        raise InputError(where, expected="auto or ddp", got=str(strategy)[:40], fix=fix)
    threads, precision = conditions(read_manifest(before), whole)
    if precision:
        whole.trainer.precision = precision
    run_dir = _place(before.resolve().name)
    whole.logger = composed([]).logger  # that of a run from elsewhere may send what it logs to a server
    import torch

    mine = torch.get_num_threads()
    torch.set_num_threads(threads or mine)
    try:
        run_alone(whole, run_dir, overrides)
    finally:
        torch.set_num_threads(mine)
    print_comparison(f"RUN={before}", before, run_dir)


def conditions(before: dict[str, Any], cfg: DictConfig) -> tuple[int | None, str | None]:
    """Tell under which conditions a run was made that are not those of this process, as far as they can be had here.

    Args:
        before: Its manifest.
        cfg: Its config.

    Returns:
        The number of threads, and the precision; ``None`` for what is the same here by itself.
    """
    import torch

    from bloodcell.training.machine import TRAINS, choose_precision, find_device

    threads, precision = before.get("hardware", {}).get("threads"), before.get("precision")
    threads = threads if is_whole(threads, 1, MOST_THREADS) and threads != torch.get_num_threads() else None
    device = find_device(str(cfg.trainer.accelerator))
    by_itself = str(cfg.trainer.precision) != "auto" or choose_precision(device)[0] == precision
    precision = None if by_itself or precision not in TRAINS[device] else str(precision)
    said = [f"{threads} threads"] if threads else []
    if said := said + ([precision] if precision else []):
        print(f"as it was made then: {', '.join(said)}", flush=True)
    return threads, precision


def _place(name: str) -> Path:
    return Path("runs") / "reproduce" / name / datetime.now(UTC).strftime("%Y-%m-%d_%H-%M-%S_%f")


def print_comparison(what: str, kept: Path, run_dir: Path) -> None:
    """Print two runs' metrics side by side, and why they differ.

    Args:
        what: What was reproduced, as it was typed.
        kept: Folder with ``metrics.json`` and ``manifest.json`` of before.
        run_dir: The new run.

    Raises:
        InputError: If they differ by more than the tolerance.
    """
    verdict, rows = metrics_agreement(read_json(kept / "metrics.json"), read_json(run_dir / "metrics.json"))
    title = f"{Path(what.partition('=')[2]).name}: {verdict}"
    shown = number_table(title, ["metric", "before", "now", "difference"])
    for name, before, after in rows:
        shown.add_row(name, f"{before:.4f}", f"{after:.4f}", f"{after - before:+.4f}")
    Console(markup=False).print(shown)
    why = reasons(read_manifest(kept), read_manifest(run_dir))
    if verdict != "identical":
        print("what differs: " + ("; ".join(why) if why else "nothing that the manifests record"))
    if verdict == "different":
        raise InputError(what, expected=f"every share within {TOLERANCE}", got="more", fix="see what differs above")


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(
        prog="python -m bloodcell.reproduce",
        description="Run an experiment again and compare it with the committed result in results/; or make one run "
        "again from its directory (config, seed) and compare it with that.",
    )
    parser.add_argument("experiment", nargs="?", help="a name in conf/experiment, as quickstart")
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="further Hydra overrides of the experiment")
    parser.add_argument("--run", metavar="DIR", type=Path, help="instead: the directory of a finished run")
    words = parser.parse_intermixed_args()
    if (words.experiment is None) == (words.run is None):
        parser.error("expected either an experiment (EXP=quickstart) or --run DIR (RUN=runs/...)")

    def command() -> None:
        if words.run is not None:
            reproduce_run(words.run)
        else:
            reproduce_experiment(words.experiment, words.overrides)

    run_command(command)


if __name__ == "__main__":
    main()
