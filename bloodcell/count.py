"""Count the cells of each class in a set of pictures: ``python -m bloodcell.count IMAGES...``."""

from pathlib import Path
from typing import TYPE_CHECKING

from bloodcell.config.arguments import add_pictures, command_parser
from bloodcell.config.command import run_command

if TYPE_CHECKING:
    from bloodcell.prediction.predictor import View

HELP = """Answers for every picture (see python -m bloodcell.predict), then counts: each class with its share and the
95 % interval that a sample of so many cells leaves (nine of a hundred may be five to sixteen). Cells unlike the learnt
ones are not among them; those that could be of other classes too are, and are said. The intervals leave out that a net
errs: its card says how often (bloodcell/nets/cells.json).

  python -m bloodcell.count slides/                          count.csv, count.json and count.html
  python -m bloodcell.count a.zip --out results/a.csv        likewise, with other names

Written are --out with a row a cell and, beside it, the counts as JSON and as a page that needs no other file: the
counts, and cells of each class to look at. Research only: this is not a medical device."""


def count(images: list[str], model: Path | None, out: Path, view: "View") -> int:
    """Answer for pictures, count, and print the counts.

    Args:
        images: As typed.
        model: A run or published net; ``None`` for the one of the package.
        out: The table of answers; counts and page are put beside it.
        view: What the pictures show.

    Returns:
        Pictures that could not be read.
    """
    from rich.console import Console

    from bloodcell.common.errors import InputError
    from bloodcell.common.files import write_json, write_text
    from bloodcell.prediction.answering import answer_pictures, summary
    from bloodcell.prediction.answers_file import table_rows
    from bloodcell.prediction.count_page import count_page, pick_cells
    from bloodcell.prediction.counting import differential, differential_table
    from bloodcell.prediction.predictor import load_net

    if out.suffix in (".json", ".html"):
        raise InputError(f"--out {out}", expected="a name for the table", got=out.suffix, fix="end it in .csv")
    net = load_net(model)
    outcome = answer_pictures(net, images, out, view)
    found = differential(table_rows(out), net.classes)
    write_json(out.with_suffix(".json"), found)
    said, page = list(summary(outcome, net, out)), out.with_suffix(".html")
    write_text(page, count_page(found, pick_cells(table_rows(out), net.classes), said[1:-1]))
    print("\n".join(said))
    Console(markup=False).print(differential_table(found))
    print(f"page: {page}")
    return outcome.unreadable


def main() -> None:
    """The command."""
    parser = command_parser("count", "Count the cells of each class in a set of pictures.", HELP)
    add_pictures(parser, "count.csv")
    words = parser.parse_args()
    unreadable: list[int] = []
    run_command(lambda: unreadable.append(count(words.images, words.model, words.out, words.view)))
    raise SystemExit(1 if unreadable[0] else 0)


if __name__ == "__main__":
    main()
