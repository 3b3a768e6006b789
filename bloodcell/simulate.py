"""How often the printed intervals hold the truth: ``python -m bloodcell.simulate [--draws N]``."""

import argparse
from pathlib import Path

from bloodcell.config.command import run_command
from bloodcell.studies.coverage.run import run_coverage

HELP = """\
Draws test sets whose recalls are known, from 0.5 to 0.99, with 2 to 8 classes and with groups whose images are alike
or not, and counts how often each 95 % interval holds the true value.

  make simulate
  make simulate ARGS="--draws 100"     a quick look
"""


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(
        prog="python -m bloodcell.simulate",
        description="Measure the coverage of the intervals by simulation.",
        epilog=HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--draws", type=int, default=1000, help="test sets for each cell of the grid (default: 1000)")
    parser.add_argument("--out", type=Path, default=Path("runs/coverage"), help="folder (default: runs/coverage)")
    args = parser.parse_args()
    if args.draws < 2:
        parser.error(f"--draws: expected a whole number from 2, got {args.draws}")
    run_command(lambda: run_coverage(args.draws, args.out))


if __name__ == "__main__":
    main()
