"""Recover which photograph each published image was made from: ``python -m bloodcell.lineage [ROOT]``."""

import argparse
import os
from pathlib import Path

from bloodcell.common.errors import InputError
from bloodcell.config.command import run_command
from bloodcell.studies.lineage.outcome import check_images
from bloodcell.studies.lineage.run import published_images, recover_and_write

HELP = """\
Registers every image of dataset2-master to the 367 photographs of dataset-master with SIFT and RANSAC, whatever its
class or split, and finds the photographs that overlap, by points and by correlation. Takes a few minutes on two cores.

  python -m bloodcell.lineage --check                 compare the images with the shipped table, by SHA-256
  python -m bloodcell.lineage                         recover the table again, into runs/lineage
  python -m bloodcell.lineage /data/blood-cells --out bloodcell/data   another copy; into the package

Write the tables elsewhere and train with data.lineage=FOLDER to use them for another copy of the set.
"""


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(
        prog="python -m bloodcell.lineage",
        description="Recover which photograph each published image was made from, or check the shipped table.",
        epilog=HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("root", nargs="?", help="the Kaggle set (default: BLOODCELL_DATA, else the cache)")
    parser.add_argument("--check", action="store_true", help="only compare the images with the table")
    parser.add_argument("--out", type=Path, default=Path("runs/lineage"), help="folder for the tables")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="threads (default: all cores)")
    args = parser.parse_args()

    def command() -> None:
        if args.check:
            copies, originals = check_images(published_images(args.root))
            beside = f"and {originals:,} originals" if originals else "(the originals are not there)"
            print(f"all {copies:,} images {beside} are those of the lineage tables")
            return
        if args.workers < 1:
            got = str(args.workers)
            raise InputError(f"--workers {got}", expected="a whole number from 1", got=got, fix="correct it")
        recover_and_write(args.root, args.out, args.workers)

    run_command(command)


if __name__ == "__main__":
    main()
