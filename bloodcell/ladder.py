"""The ladder from the published number to the honest one: ``python -m bloodcell.ladder [KEY=VALUE]``."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from bloodcell.common.errors import InputError
from bloodcell.config.command import run_command
from bloodcell.studies.ladder.run import run_ladder

if TYPE_CHECKING:  # --help must not wait for torch
    pass

HELP = """\
Trains one net with one recipe and one number of images under every protocol, three times, and scores each on
held-out copies and on held-out originals; beside them controls that cannot see the cell. It takes about an hour
on two cores; launched again, it goes on where it was.

  make ladder
  make ladder ARGS="trainer.max_epochs=2 --seeds 0"     a quick look
"""


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(
        prog="python -m bloodcell.ladder",
        description="Measure what the split is worth, all else equal.",
        epilog=HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="Hydra overrides for every training")
    parser.add_argument("--seeds", default="0,1,2", help="seeds of the trainings (default: 0,1,2)")
    parser.add_argument("--out", type=Path, default=Path("runs/ladder"), help="folder (default: runs/ladder)")
    words = parser.parse_intermixed_args()  # overrides and options in any order
    run_command(lambda: run_ladder(words.overrides, _seeds(words.seeds), words.out))


def _seeds(text: str) -> list[int]:
    try:
        return [int(word) for word in text.split(",")]
    except ValueError as error:
        raise InputError("--seeds", expected="whole numbers, as 0,1,2", got=text, fix="correct it") from error


if __name__ == "__main__":
    main()
