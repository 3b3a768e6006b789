"""Write the reproduction and the ladder as one report: ``python -m bloodcell.report``."""

import argparse
from pathlib import Path

from bloodcell.common.env import RESULTS
from bloodcell.config.command import run_command


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(
        prog="python -m bloodcell.report",
        description="Write results/report.md and one self-contained HTML page from the committed results; beside it "
        "card.html, the card of a net.",
    )
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of results (default: results)")
    parser.add_argument("--html", type=Path, default=Path("runs/report.html"), help="default: runs/report.html")
    parser.add_argument("--card", type=Path, metavar="JSON", help="write the card of this net as a page, and no report")
    args = parser.parse_args()

    def command() -> None:
        from bloodcell.common.files import check_file_place
        from bloodcell.prediction.predictor import SHIPPED
        from bloodcell.studies.net.card import write_card
        from bloodcell.studies.paper.run import write_report

        check_file_place(args.html)
        card = args.html.with_name("card.html")
        write_card(args.card or SHIPPED.with_suffix(".json"), card)
        print(f"card:     {card}")
        if args.card is not None:
            return
        write_report(args.results, args.html)
        print(f"Markdown: {args.results / 'report.md'}\nHTML:     {args.html}")

    run_command(command)


if __name__ == "__main__":
    main()
