"""Show every run below a folder, by setting or each, and compare them: ``python -m bloodcell.runs [DIR ...]``."""

import argparse
import math
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from rich.console import Console
from rich.progress import track

from bloodcell.common.env import CHECKOUT, RESULTS
from bloodcell.common.errors import InputError
from bloodcell.common.files import write_text
from bloodcell.config.command import run_command
from bloodcell.tracking.pairs import paired_comparisons
from bloodcell.tracking.query import check_known, choose_metrics, choose_order, filter_runs, sort_runs, sort_settings
from bloodcell.tracking.reader import Run, find_runs, read_run, read_runs
from bloodcell.tracking.save import save_evidence
from bloodcell.tracking.settings import REPEATED, split_settings
from bloodcell.tracking.sheet_files import sheets_as_latex, sheets_as_markdown, write_sheet, write_sheets_page
from bloodcell.tracking.sheets import pairs_sheet, runs_sheet, settings_sheet
from bloodcell.tracking.terminal import print_runs, print_sheet

__all__ = ["main", "print_runs", "read_runs"]

HELP = """\
A row is a setting: runs that differ in nothing but seed and fold. Settings are sorted by the validation metric, never
by a test metric unless you ask; choose by validation, then read the test.

  python -m bloodcell.runs runs/lr-sweep                          settings, best first
  python -m bloodcell.runs runs/lr-sweep --each --where state=failed
  python -m bloodcell.runs runs --where data.source=blood_cells --where 'val/balanced_acc>0.8'
  python -m bloodcell.runs runs/lr-sweep --compare optim.lr=0.002    that setting against every other
  python -m bloodcell.runs runs/precision --compare --metric test/balanced_acc --margin 0.02    are they as good?
  python -m bloodcell.runs runs/lr-sweep --compare --html runs/lr.html
  python -m bloodcell.runs runs/lr-sweep --latex table.tex
  python -m bloodcell.runs runs/train/A --pdf figures
  python -m bloodcell.runs --diff runs/train/A runs/train/B
"""


def main() -> None:
    """Run the command."""
    args = _parser().parse_args(_joined(sys.argv[1:]))
    run_command(lambda: _run(args))


def _run(args: argparse.Namespace) -> None:
    if args.readme:
        from bloodcell.studies.paper.readme import write_readme  # loads matplotlib, which no table of runs waits for

        write_readme(CHECKOUT / "README.md", RESULTS)
    elif args.diff:
        from bloodcell.tracking.difference import differences

        for sheet in differences(*args.diff):
            print_sheet(sheet)
    else:
        _show_table(read_all(args.root), args)


def _show_table(everything: Sequence[Run], args: argparse.Namespace) -> None:
    """Filter, group, sort and compare; print the tables, and write them where asked to."""
    runs = filter_runs(everything, args.where)
    order = choose_order(runs, args.sort)
    metrics = choose_metrics(runs, args.metric, order)
    further = [key for key in args.over.split(",") if key]
    for key in further:
        check_known(runs, key, f"--over {key}")
    settings = sort_settings(split_settings(runs, (*REPEATED, *further)), order)
    each = runs_sheet(sort_runs(runs, order), metrics, order)
    tables = [each if args.each else settings_sheet(settings, metrics, order)]
    if args.compare is not None:
        compared = next(iter([*args.metric, *metrics]), "")
        tables.append(
            pairs_sheet(paired_comparisons(settings, compared, args.compare), settings, compared, args.margin)
        )
    for sheet in tables:
        print_sheet(sheet)
    if args.csv:
        write_sheet(args.csv, tables[0])
    if args.markdown:
        write_text(args.markdown, sheets_as_markdown(tables))
    if args.html:
        drawn = order.by if any(order.by in run.metrics for run in runs) else next(iter(metrics), "")
        write_sheets_page(args.html, tables if args.each else [*tables, each], settings, drawn)
    if args.latex:
        write_text(args.latex, sheets_as_latex(tables))
    if args.save:
        save_evidence(runs, args.save)
    if args.pdf:
        _draw_again(runs, args.pdf)


def _draw_again(runs: Sequence[Run], out: Path) -> None:
    from bloodcell.tracking.redraw import redraw  # loads matplotlib

    if len(runs) != 1:
        raise InputError("--pdf", expected="one run", got=str(len(runs)), fix="name its directory")
    for file in redraw(runs[0], out):
        print(file)


def read_all(roots: Sequence[Path]) -> list[Run]:
    """Read every run below some folders, each once, with a bar on the terminal while it takes time."""
    paths = list(dict.fromkeys(path for root in roots for path in find_runs(root)))
    screen = Console(stderr=True)
    shown = track(paths, "reading runs", console=screen, transient=True, disable=not screen.is_terminal)
    return [read_run(path) for path in shown]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m bloodcell.runs",
        description="Show the runs below a folder as a table.",
        epilog=HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("root", nargs="*", default=[Path("runs")], metavar="DIR", type=Path, help="folders with runs (default: runs)")
    add("--each", action="store_true", help="a row per run instead of a row per setting")
    add("--metric", action="append", default=[], metavar="NAME", help="show this metric; may be given several times")
    add("--sort", metavar="NAME", help="sort by a metric or key, lowest first; -NAME: highest first")
    add("--where", action="append", default=[], metavar="KEY=VALUE", help="keep runs that meet it; also != > < >= <=")
    add("--over", default="", metavar="KEY,...", help="average over these keys as well as seed and data.fold")
    add(
        "--compare",
        nargs="?",
        const="",
        metavar="KEY=VALUE",
        help="test that setting against the others; alone: all pairs",
    )
    add("--margin", type=_margin, metavar="M", help="with --compare: test too whether the difference is below M")
    add("--diff", nargs=2, metavar=("RUN_A", "RUN_B"), type=Path, help="two runs side by side, and nothing else")
    add("--csv", metavar="FILE", type=Path, help="write the table with every digit")
    add("--markdown", metavar="FILE", type=Path, help="write the tables as Markdown")
    add("--latex", metavar="FILE", type=Path, help="write the tables for LaTeX (booktabs)")
    add("--pdf", metavar="OUT", type=Path, help="draw the figures of one run again for print, into this folder")
    add("--html", metavar="FILE", type=Path, help="write one page: tables, every run, and what each key did")
    add("--save", metavar="OUT", type=Path, help="write evidence to commit, such as results/readings")
    add("--readme", action="store_true", help="rewrite the tables of README.md and results/README.md, and nothing else")
    return parser


def _margin(text: str) -> float:
    with suppress(ValueError):
        if 0 < float(text) < math.inf:
            return float(text)
    raise argparse.ArgumentTypeError(f"expected a number above 0, got {text}")


def _joined(args: Sequence[str]) -> list[str]:
    """``--sort -NAME`` as one argument, which argparse would take for an unknown option."""
    joined = list(args)
    for place in range(len(joined) - 2, -1, -1):
        if joined[place] == "--sort":
            joined[place : place + 2] = [f"--sort={joined[place + 1]}"]
    return joined


if __name__ == "__main__":
    main()
