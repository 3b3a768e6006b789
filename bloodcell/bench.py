"""Compare a training epoch with plain PyTorch, Keras and the machine's ceiling: ``python -m bloodcell.bench``."""

import argparse
from pathlib import Path

from bloodcell.config.command import run_command
from bloodcell.studies.bench.run import run_answers, run_bench, run_beside_others, run_overhead

HELP = """\
Every row is a process of its own; rows take turns, for several rounds, and the first epoch of each is left out. All
train the paper's net (32/64/128 + dense 128) on the same images at 128x128 in batches of 32, with rotation, zoom, shift
and flips. The images are the real ones where they can be found, else rendered smears. Let nothing else run meanwhile: a
machine that others use is refused. Takes half an hour to an hour.

  make bench
  python -m bloodcell.bench --images 640 --rounds 1      a first look, in under ten minutes
"""


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(
        prog="python -m bloodcell.bench",
        description="Time a training epoch here, in plain PyTorch and in Keras, and what the machine could do.",
        epilog=HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--images", type=int, default=1280, help="training images of an epoch (default: 1280)")
    parser.add_argument(
        "--rounds", type=int, default=3, help="times that every row is run at least, more if they differ (default: 3)"
    )
    parser.add_argument("--epochs", type=int, default=2, help="epochs of a run; the first is left out (default: 2)")
    parser.add_argument("--out", type=Path, default=Path("results/bench.json"), help="default: results/bench.json")
    parser.add_argument(
        "--overhead", action="store_true", help="measure the cost of the Trainer alone again, into the same file"
    )
    parser.add_argument("--answers", action="store_true", help="measure how fast a net answers alone, likewise")
    parser.add_argument("--beside", action="store_true", help="measure runs beside other processes alone, likewise")
    parser.add_argument("--anyway", action="store_true", help="measure although others use the machine")
    args = parser.parse_args()
    for name in ("images", "rounds", "epochs"):
        least = 2 if name == "epochs" else 1
        if getattr(args, name) < least:
            parser.error(f"--{name}: expected a number from {least}, got {getattr(args, name)}")
    if args.overhead:
        run_command(lambda: run_overhead(args.rounds, args.out))
        return
    if args.answers:
        run_command(lambda: run_answers(args.out))
        return
    if args.beside:
        run_command(lambda: run_beside_others(args.rounds, args.out))
        return
    run_command(lambda: run_bench(args.images, args.rounds, args.epochs, args.out, anyway=args.anyway))


if __name__ == "__main__":
    main()
