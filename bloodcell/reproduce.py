"""Run an experiment again and compare it with the committed result: ``python -m bloodcell.reproduce EXP``."""

import argparse
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from bloodcell.cli import run_command
from bloodcell.errors import InputError
from bloodcell.files import read_json

RESULTS = Path(__file__).parent.parent / "results"
# Other hardware or versions round otherwise, and training amplifies it: a difference up to this size in a
# share of test images is what another seed gives as well.
TOLERANCE = 0.05
COMPARED = ("test/acc", "test/balanced_acc", "test/macro_f1", "test/macro_precision", "test/macro_recall")


def compare(before: dict[str, Any], after: dict[str, Any]) -> tuple[str, list[tuple[str, float, float]]]:
    """Compare the metrics of two runs.

    Args:
        before: The committed ``metrics.json``.
        after: The new one.

    Returns:
        ``identical``, ``within tolerance`` or ``different``, and (name, before, after) of each metric.
    """
    rows = [(name, float(before[name]), float(after[name])) for name in COMPARED]
    widest = max(abs(one - two) for _, one, two in rows)
    return "identical" if widest == 0 else "within tolerance" if widest <= TOLERANCE else "different", rows


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
    return found


def reproduce(experiment: str, overrides: list[str]) -> None:
    """Run an experiment and print how it compares.

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
    run_dir = Path("runs") / "reproduce" / experiment / datetime.now(UTC).strftime("%Y-%m-%d_%H-%M-%S_%f")
    words = [f"experiment={experiment}", *overrides, f"hydra.run.dir={run_dir}"]
    if subprocess.run([sys.executable, "-m", "bloodcell.train", *words], check=False).returncode:
        raise SystemExit(1)
    verdict, rows = compare(read_json(kept / "metrics.json"), read_json(run_dir / "metrics.json"))
    shown = Table(title=f"{experiment}: {verdict}", title_justify="left")
    for column in ("metric", "committed", "now", "difference"):
        shown.add_column(column, justify="left" if column == "metric" else "right")
    for name, before, after in rows:
        shown.add_row(name, f"{before:.4f}", f"{after:.4f}", f"{after - before:+.4f}")
    Console().print(shown)
    why = reasons(read_json(kept / "manifest.json"), read_json(run_dir / "manifest.json"))
    if verdict != "identical":
        print("what differs: " + ("; ".join(why) if why else "nothing that the manifests record"))
    if verdict == "different":
        raise InputError(
            f"EXP={experiment}",
            expected=f"every metric within {TOLERANCE} of results/{experiment}",
            got="more",
            fix="see what differs above",
        )


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(
        prog="python -m bloodcell.reproduce",
        description="Run an experiment again and compare it with the committed result in results/.",
    )
    parser.add_argument("experiment", help="a name in conf/experiment, as quickstart")
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="further Hydra overrides")
    words = parser.parse_args()
    run_command(lambda: reproduce(words.experiment, words.overrides))


if __name__ == "__main__":
    main()
