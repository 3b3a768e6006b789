"""Hand a trained net on: ``python -m bloodcell.export RUN --to net``."""

import argparse
from pathlib import Path

from bloodcell.config.command import run_command

HELP = """  --to net           one safetensors file with weights, learnt cells and card, and the card once more as JSON

A net can doubt: it keeps where the cells that it has learnt lie in its feature space. Its temperature, the threshold of
its doubt and the limits of its prediction sets are fitted on held-out images: on those of the folds with --folds, a
folder with the runs of a cross-validation of the same recipe (make sweep SWEEP=folds), else on the run's validation."""


def export(run_dir: Path, folds: Path | None, out: Path) -> None:
    """Write a run as a published net.

    Args:
        run_dir: The run.
        folds: A folder with the runs of its folds, or ``None``.
        out: Where to; ends in ``.safetensors``.
    """
    from bloodcell.training.publish import publish
    from bloodcell.training.published import write_published

    net = publish(run_dir, folds)
    write_published(out, net)
    print(f"net:  {out} ({out.stat().st_size / 1e6:.2f} MB), {', '.join(net.card.classes)}")
    print(f"card: {out.with_suffix('.json')}")


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(
        prog="python -m bloodcell.export",
        description="Hand a trained net on, as one file.",
        epilog=HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("run_dir", type=Path, metavar="RUN", help="a run directory, as runs/quickstart/2026-...")
    parser.add_argument("--to", choices=["net"], default="net", help="default: net")
    parser.add_argument("--folds", type=Path, metavar="FOLDER", help="runs of a cross-validation of the same recipe")
    parser.add_argument("--out", type=Path, help="default: RUN/net.safetensors")
    words = parser.parse_args()
    run_command(lambda: export(words.run_dir, words.folds, words.out or words.run_dir / "net.safetensors"))


if __name__ == "__main__":
    main()
