"""Answer for new pictures with a trained net: ``python -m bloodcell.predict IMAGES...``."""

from pathlib import Path
from typing import TYPE_CHECKING

from bloodcell.config.arguments import add_pictures, command_parser
from bloodcell.config.command import run_command

if TYPE_CHECKING:
    from bloodcell.prediction.predictor import View

HELP = """A row a cell: file, box, class, calibrated probabilities, doubt (above 1 is too much), the reason of
the doubt, the classes that are possible, and whether the weights have learnt the picture or its field group.

  python -m bloodcell.predict slides/                        all pictures below a folder
  python -m bloodcell.predict a.png b.zip 'c/*/*.tif'        files, zips, globs
  find /data -name '*.png' | python -m bloodcell.predict -   a list on stdin
  python -m bloodcell.predict slides/ --model runs/quickstart/2026-...
  python -m bloodcell.predict cells/ --view crop             pictures of one cell each, cut out already

A picture that cannot be read has a row that says why, and the exit code is 1. Stopped and typed again, it goes on.
Where the pictures are in folders called like the classes, the answers are compared with them.
Research only: this is not a medical device."""


def answer(images: list[str], model: Path | None, out: Path, view: "View") -> int:
    """Answer for pictures, and print what the table holds.

    Args:
        images: As typed.
        model: A run directory, a checkpoint in one or a published net; ``None`` for the one of the package.
        out: The table.
        view: What the pictures show.

    Returns:
        Pictures that could not be read.
    """
    from bloodcell.prediction.answering import answer_pictures, summary
    from bloodcell.prediction.predictor import load_net

    net = load_net(model)
    outcome = answer_pictures(net, images, out, view)
    for line in summary(outcome, net, out):
        print(line)
    return outcome.unreadable


def main() -> None:
    """The command."""
    parser = command_parser("predict", "Answer for new pictures with a trained net.", HELP)
    add_pictures(parser, "predictions.csv")
    words = parser.parse_args()
    unreadable: list[int] = []
    run_command(lambda: unreadable.append(answer(words.images, words.model, words.out, words.view)))
    raise SystemExit(1 if unreadable[0] else 0)


if __name__ == "__main__":
    main()
