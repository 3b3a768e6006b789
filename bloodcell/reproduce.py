"""Run an experiment, or one run, again and compare: ``python -m bloodcell.reproduce EXP`` or ``--run DIR``."""

import argparse
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from rich.console import Console
from rich.table import Table

from bloodcell.cli import CONF, run_command
from bloodcell.errors import InputError
from bloodcell.files import read_json
from bloodcell.rundir import read_status

RESULTS = Path(__file__).parent.parent / "results"
# Other hardware or versions round otherwise, and training amplifies it: a difference up to this size in a
# share of images is what another seed gives as well.
TOLERANCE = 0.05
COMPARED = ("acc", "balanced_acc", "macro_f1", "macro_precision", "macro_recall")


def compare(before: dict[str, Any], after: dict[str, Any]) -> tuple[str, list[tuple[str, float, float]]]:
    """Compare the metrics of two runs.

    Args:
        before: The first ``metrics.json``.
        after: The new one.

    Returns:
        ``identical`` if every number is, else ``within tolerance`` or ``different`` by the shares that are compared;
        and (name, before, after) of each of those.
    """
    numbers = [name for name, value in before.items() if "/" in name and isinstance(value, int | float)]
    missing = [name for name in numbers if name not in after]
    shares = [name for name in numbers if name.partition("/")[2] in COMPARED and name in after]
    rows = [(name, float(before[name]), float(after[name])) for name in shares]
    if not missing and all(before[name] == after[name] for name in numbers):
        return "identical", rows
    widest = max((abs(one - two) for _, one, two in rows), default=float("inf"))
    return "within tolerance" if widest <= TOLERANCE and not missing else "different", rows


def reasons(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    """What differs between two manifests and may explain other numbers."""
    found = []
    if before["data"]["fingerprint"] != after["data"]["fingerprint"]:
        found.append("other data (fingerprint)")
    if before["seeds"] != after["seeds"]:
        found.append(f"other seeds ({after['seeds']}, before {before['seeds']})")
    for name, version in before["versions"].items():
        if after["versions"].get(name) != version:
            found.append(f"{name} {after['versions'].get(name)}, before {version}")
    if before.get("precision", "32-true") != after.get("precision", "32-true"):
        found.append(f"precision {after.get('precision')}, before {before.get('precision', '32-true')}")
    for name in ("processor", "threads", "cpu_capability", "gpu"):
        if before["hardware"].get(name) != after["hardware"].get(name):
            found.append(f"{name} {after['hardware'].get(name)}, before {before['hardware'].get(name)}")
    if before["git"] != after["git"] or before["git"]["dirty"]:
        found.append(f"code {_code(after)}, before {_code(before)}")
    return found


def _code(manifest: dict[str, Any]) -> str:
    git = manifest["git"]
    return str(git["commit"])[:10] + (" with changes that were not committed" if git["dirty"] else "")


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
    words = [f"experiment={experiment}", *overrides, f"hydra.run.dir={run_dir}"]
    if subprocess.run([sys.executable, "-m", "bloodcell.train", *words], check=False).returncode:
        raise SystemExit(1)
    report(f"EXP={experiment}", kept, run_dir)


def reproduce_run(before: Path) -> None:
    """Make a run again from its own directory and print how it compares.

    Args:
        before: The directory of a finished run; it is only read.

    Raises:
        InputError: If it is none, or the results differ.
    """
    from bloodcell.train import run_alone

    kept = before / ".hydra"
    if not (kept / "config.yaml").is_file() or read_status(before)["state"] != "ok":
        raise InputError(
            f"RUN={before}",
            expected="the directory of a finished run",
            got=f"one that is {read_status(before)['state']}" if before.is_dir() else "no such directory",
            fix="give what a training printed, as runs/quickstart/2026-...",
        )
    cfg, overrides = OmegaConf.load(kept / "config.yaml"), list(OmegaConf.load(kept / "overrides.yaml"))
    assert isinstance(cfg, DictConfig)
    run_dir = _place(before.resolve().name)
    run_alone(with_todays_keys(cfg, overrides), run_dir, overrides)
    report(f"RUN={before}", before, run_dir)


def with_todays_keys(cfg: DictConfig, overrides: list[str]) -> DictConfig:
    """A run's config with the keys that the code has come to need since, at their defaults.

    Args:
        cfg: The config of a run; every value of it stays.
        overrides: What it was composed from.

    Returns:
        The config to run; what ``conf`` has come to say otherwise since is printed and not used.
    """
    from hydra import compose, initialize_config_dir
    from hydra.errors import HydraException

    try:
        with initialize_config_dir(str(CONF), version_base="1.3"):
            today = compose("train", overrides)
    except HydraException as error:
        print(f"note: its overrides cannot be composed any more ({str(error).splitlines()[0]}); its own config is used")
        return cfg
    whole = OmegaConf.merge(today, cfg)
    assert isinstance(whole, DictConfig)
    if (now := OmegaConf.to_yaml(today, sort_keys=True)) != OmegaConf.to_yaml(whole, sort_keys=True):
        then = OmegaConf.to_yaml(whole, sort_keys=True).splitlines()
        changed = [line.strip() for line in then if line not in now.splitlines()]
        print(f"note: conf says otherwise today; used as it was then: {'; '.join(changed)}")
    return whole


def _place(name: str) -> Path:
    return Path("runs") / "reproduce" / name / datetime.now(UTC).strftime("%Y-%m-%d_%H-%M-%S_%f")


def report(what: str, kept: Path, run_dir: Path) -> None:
    """Print two runs' metrics side by side, and why they differ.

    Args:
        what: What was reproduced, as it was typed.
        kept: Folder with ``metrics.json`` and ``manifest.json`` of before.
        run_dir: The new run.

    Raises:
        InputError: If they differ by more than the tolerance.
    """
    verdict, rows = compare(read_json(kept / "metrics.json"), read_json(run_dir / "metrics.json"))
    shown = Table(title=f"{Path(what.partition('=')[2]).name}: {verdict}", title_justify="left")
    for column in ("metric", "before", "now", "difference"):
        shown.add_column(column, justify="left" if column == "metric" else "right")
    for name, before, after in rows:
        shown.add_row(name, f"{before:.4f}", f"{after:.4f}", f"{after - before:+.4f}")
    Console().print(shown)
    why = reasons(read_json(kept / "manifest.json"), read_json(run_dir / "manifest.json"))
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
    words = parser.parse_args()
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
