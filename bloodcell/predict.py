"""Answer for new pictures with a trained net: ``python -m bloodcell.predict IMAGES...``."""

import argparse
from pathlib import Path

from bloodcell.config.command import run_command

HELP = """A row a cell: file, box, class, calibrated probabilities, doubt (above 1 is too much), the reason of
the doubt, the classes that are possible, and whether the weights have learnt the picture or its field group.

  python -m bloodcell.predict slides/                        all pictures below a folder
  python -m bloodcell.predict a.png b.zip 'c/*/*.tif'        files, zips, globs
  find /data -name '*.png' | python -m bloodcell.predict -   a list on stdin
  python -m bloodcell.predict slides/ --model runs/quickstart/2026-...

A picture that cannot be read has a row that says why, and the exit code is 1. Stopped and typed again, it goes on.
Where the pictures are in folders called like the classes, the answers are compared with them.
Research only: this is not a medical device."""


def answer(images: list[str], model: Path | None, out: Path) -> int:
    """Answer for pictures, and print what the table holds.

    Args:
        images: As typed.
        model: A run directory, a checkpoint in one or a published net; ``None`` for the one of the package.
        out: The table.

    Returns:
        Pictures that could not be read.
    """
    from bloodcell.prediction.answering import answer_pictures, summary
    from bloodcell.prediction.predictor import load_net

    net = load_net(model)
    outcome = answer_pictures(net, images, out)
    for line in summary(outcome, net, out):
        print(line)
    return outcome.unreadable


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(
        prog="python -m bloodcell.predict",
        description="Answer for new pictures with a trained net.",
        epilog=HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("images", nargs="+", metavar="IMAGES", help="pictures, folders, zips, globs, or - for stdin")
    parser.add_argument("--model", type=Path, metavar="RUN_OR_FILE", help="default: the net that comes with bloodcell")
    parser.add_argument("--out", type=Path, default=Path("predictions.csv"), help="default: predictions.csv")
    words = parser.parse_args()
    unreadable: list[int] = []
    run_command(lambda: unreadable.append(answer(words.images, words.model, words.out)))
    raise SystemExit(1 if unreadable[0] else 0)


if __name__ == "__main__":
    main()
