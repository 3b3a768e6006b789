"""Get the real images, or check those that are there: ``python -m bloodcell.download [SOURCE]``."""

import argparse
import os
import sys

from rich.console import Console
from rich.table import Table

from bloodcell.common.env import DATA, cache_dir
from bloodcell.data.fetch import Report, _real_folder, check, fetch
from bloodcell.data.kaggle import KAGGLE, NAME, PAGE, Known, find_images, locate

HELP = f"""\
Without SOURCE: what BLOODCELL_DATA names or the cache holds is checked; else the set is downloaded
(about 110 MB, no Kaggle account needed) into $BLOODCELL_CACHE, by default ~/.cache/bloodcell.

  python -m bloodcell.download                           download, or check what is there
  python -m bloodcell.download ~/Downloads/archive.zip   extract an archive into the cache
  python -m bloodcell.download /data/blood-cells         use a folder where it is (linked, not copied)

The archive is at {PAGE}
"""


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(
        prog="python -m bloodcell.data.download",
        description="Get the Kaggle set of blood cells and check that it is complete.",
        epilog=HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("source", nargs="?", metavar="SOURCE", help="archive.zip or a folder")
    parser.add_argument(
        "--timeout",
        type=float,
        default=10.0,
        metavar="SECONDS",
        help="how long to wait for an answer (default: 10)",
    )
    words = parser.parse_args()
    if not 0 < words.timeout <= 86_400:
        parser.error(f"--timeout: expected seconds, at most a day, got {words.timeout}")
    from bloodcell.config.command import run_command  # here, so that reading data does not need the commands

    try:
        run_command(lambda: _get_and_check(words.source, words.timeout))
    except KeyboardInterrupt:
        print("interrupted; nothing half-finished was kept", file=sys.stderr)
        raise SystemExit(130) from None


def _get_and_check(source: str | None, timeout_s: float, known: Known = KAGGLE) -> None:
    target = cache_dir() / NAME
    kept = source is not None and _real_folder(target)
    variable = os.environ.get(DATA)
    root = locate(None) if source is None and variable else fetch(source, timeout_s, known)
    assert root is not None  # a named place is there, or an error
    report = check(find_images(root), known)
    _print_report(report, known)
    if kept:
        print(f"note: the cache had the set already, so {source} was not used; remove {target} to use it")
    if source is not None and variable:
        print(f"note: training reads BLOODCELL_DATA={variable}, not the cache; unset it to use the cache")
    print('next: make train ARGS="data=blood_cells"')


def _print_report(report: Report, known: Known) -> None:
    classes = list(dict.fromkeys(folder.partition("/")[2] for folder in report.counts))
    table = Table("", *classes, "all")
    for subset in dict.fromkeys(folder.partition("/")[0] for folder in report.counts):
        numbers = [report.counts[f"{subset}/{name}"] for name in classes]
        table.add_row(subset, *(f"{number:,}" for number in (*numbers, sum(numbers))))
    Console().print(table)
    originals = "not there (training does not need them)" if report.originals is None else f"{report.originals}"
    print(f"original micrographs: {originals}")
    verdict = "as expected" if report.as_known else f"another one than the expected {known.fingerprint[:12]}..."
    print(f"fingerprint: {report.fingerprint[:12]}..., {verdict} ({report.images_per_s:,.0f} images/s)")
    if not report.as_known:
        print(
            "note: the counts are right, but some bytes or names differ from the copy that the results here "
            "were made with; that may be another packing of the same set, so training goes ahead"
        )
    print(f"images: {report.images}")


if __name__ == "__main__":
    main()
