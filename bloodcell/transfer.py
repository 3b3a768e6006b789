"""What a net of one laboratory is worth in another: ``python -m bloodcell.transfer [KEY=VALUE]``."""

import argparse
import re
from collections.abc import Sequence
from pathlib import Path

from bloodcell.common.errors import InputError
from bloodcell.config.arguments import command_parser, seeds_of
from bloodcell.config.command import run_command

HELP = """\
Trains on each set and tests on the others, over the classes that all have, in crops that are three red cells wide:
without a look at the target, with its unlabelled cells (their colours), and with 5, 20 and 100 labelled cells a class,
always of other folds than the one that is tested; as it is and recalibrated. Run the same command again to resume.

  make transfer
  make transfer ARGS="trainer=gpu"
  make transfer ARGS="trainer.max_epochs=1 --most 40 --seeds 0"         a quick look
  make transfer ARGS="--set blood_cells --set pbc --set ours=/folder"   with class folders of your own
  make transfer ARGS="--crops crops trainer=gpu"                        where the crops of a run are, and no images
  make transfer ARGS="--again results/transfer"                         its numbers again, from the predictions
"""
STAINS = ("off", "white", "varied")


def main() -> None:
    """Run the command."""
    parser = command_parser("transfer", "Measure what a net of one laboratory is worth in another.", HELP)
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="Hydra overrides for every training")
    parser.add_argument(
        "--set",
        action="append",
        dest="sets",
        metavar="NAME[=FOLDER]",
        help="blood_cells, pbc, or any name with its folder of class folders (default: the first two)",
    )
    parser.add_argument(
        "--stain",
        action="append",
        choices=STAINS,
        help="colours as they are (off), with empty slide made the same grey everywhere (white), or that with optical "
        "densities varied in training (varied) (default: all three)",
    )
    parser.add_argument(
        "--red-cell", action="append", metavar="NAME=PIXELS", help="width of its red cells, not measured"
    )
    parser.add_argument("--crops", type=Path, metavar="DIR", help="cells that were cut out before, instead of --set")
    parser.add_argument("--most", type=int, metavar="N", help="cells of a class to keep of each set (default: all)")
    parser.add_argument("--seeds", default="0,1,2", help="seeds of the trainings (default: 0,1,2)")
    parser.add_argument("--out", type=Path, default=Path("runs/transfer"), help="folder (default: runs/transfer)")
    parser.add_argument("--again", type=Path, metavar="DIR", help="compute all of a folder from its predictions alone")
    args = parser.parse_intermixed_args()  # overrides and options in any order
    run_command(lambda: _run(args))


def _run(args: argparse.Namespace) -> None:
    from bloodcell.studies.transfer.cutouts import cut_crops
    from bloodcell.studies.transfer.run import run_transfer, write_transfer
    from bloodcell.studies.transfer.sets import find_sets

    if args.again:
        write_transfer(args.again)
        return
    if args.most is not None and args.most < 1:
        raise InputError(f"--most {args.most}", expected="a whole number from 1", got=str(args.most), fix="correct it")
    seeds, widths = seeds_of(args.seeds), _widths(args.red_cell or [])
    crops = args.crops or args.out / "crops"
    if not args.crops:
        cut_crops(find_sets(args.sets or ["blood_cells", "pbc"], args.most), widths, crops)
    run_transfer(args.overrides, list(dict.fromkeys(args.stain or STAINS)), seeds, crops, args.out)


def _widths(words: Sequence[str]) -> dict[str, float]:
    found = {}
    for word in words:
        name, _, width = word.partition("=")
        if not re.fullmatch(r"[0-9]{1,4}(\.[0-9]+)?", width) or not float(width):
            raise InputError(f"--red-cell {word}", expected="NAME=PIXELS, as pbc=69", got=word, fix="correct it")
        found[name] = float(width)
    return found


if __name__ == "__main__":
    main()
