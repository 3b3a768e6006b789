"""Count the cells of each class in a set of pictures: ``python -m bloodcell.count IMAGES...``."""

import argparse
from pathlib import Path

from bloodcell.config.command import run_command

HELP = """Answers for every picture (see python -m bloodcell.predict), then counts: each class with its share and the
95 % interval that a sample of so many cells leaves (nine of a hundred may be five to sixteen). Doubtful cells are not
among them. The intervals leave out that a net errs: its card says how often (bloodcell/nets/cells.json).

Written are --out and, beside it, the same counts as JSON. Research only: this is not a medical device."""


def count(images: list[str], model: Path | None, out: Path) -> int:
    """Answer for pictures, count, and print the counts.

    Args:
        images: As typed.
        model: A run or published net; ``None`` for the one of the package.
        out: The table of answers.

    Returns:
        Pictures that could not be read.
    """
    from rich import print as show

    from bloodcell.common.files import write_json
    from bloodcell.prediction.answering import answer_pictures, summary
    from bloodcell.prediction.answers_file import table_rows
    from bloodcell.prediction.counting import differential, differential_table
    from bloodcell.prediction.predictor import load_net

    net = load_net(model)
    outcome = answer_pictures(net, images, out)
    found = differential(table_rows(out), net.classes)
    write_json(out.with_suffix(".json"), found)
    for line in summary(outcome, net, out):
        print(line)
    show(differential_table(found))
    return outcome.unreadable


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(
        prog="python -m bloodcell.count",
        description="Count the cells of each class in a set of pictures.",
        epilog=HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("images", nargs="+", metavar="IMAGES", help="pictures, folders, zips, globs, or - for stdin")
    parser.add_argument("--model", type=Path, metavar="RUN_OR_FILE", help="default: the net that comes with bloodcell")
    parser.add_argument("--out", type=Path, default=Path("count.csv"), help="default: count.csv")
    words = parser.parse_args()
    unreadable: list[int] = []
    run_command(lambda: unreadable.append(count(words.images, words.model, words.out)))
    raise SystemExit(1 if unreadable[0] else 0)


if __name__ == "__main__":
    main()
