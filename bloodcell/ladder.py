"""The ladder from the published number to the honest one: ``python -m bloodcell.ladder [KEY=VALUE]``."""

import argparse
from pathlib import Path

from bloodcell.common.errors import InputError
from bloodcell.config.command import run_command
from bloodcell.studies.ladder.run import run_ladder

HELP = """\
Trains one net with one recipe on one number of images under every protocol, with three seeds, and tests each on
held-out copies and on held-out originals, beside controls that cannot see the cell. Takes about an hour on two cores.
Run the same command again to resume.

  make ladder
  make ladder ARGS="trainer.max_epochs=2 --seeds 0"     a quick look
"""


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(
        prog="python -m bloodcell.ladder",
        description="Measure what the split is worth, all else equal.",
        epilog=HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="Hydra overrides for every training")
    parser.add_argument("--seeds", default="0,1,2", help="seeds of the trainings (default: 0,1,2)")
    parser.add_argument("--out", type=Path, default=Path("runs/ladder"), help="folder (default: runs/ladder)")
    args = parser.parse_intermixed_args()  # overrides and options in any order
    run_command(lambda: run_ladder(args.overrides, _seeds(args.seeds), args.out))


def _seeds(text: str) -> list[int]:
    try:
        return [int(word) for word in text.split(",")]
    except ValueError as error:
        raise InputError("--seeds", expected="whole numbers, as 0,1,2", got=text, fix="correct it") from error


if __name__ == "__main__":
    main()
