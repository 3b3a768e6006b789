"""The ladder from the published number to the honest one: ``python -m bloodcell.ladder [KEY=VALUE]``."""

from pathlib import Path

from bloodcell.config.arguments import command_parser, seeds_of
from bloodcell.config.command import run_command
from bloodcell.studies.ladder.run import run_ladder, write_ladder
from bloodcell.studies.ladder.trainings import BACKGROUND, CNN, GEOMETRY, MASKS, PAPER, WIDE

NETS = {"small": [CNN, BACKGROUND, GEOMETRY], "paper": [PAPER], "wide": [WIDE]}

HELP = """\
Trains a net with one recipe on one number of images under every protocol, with three seeds, and tests each on held-out
copies, on held-out originals, and on copies of learnt photographs that were left out of the training, beside controls
that cannot see the cell. The small net takes over an hour on two cores; the paper's takes hours, under its own split
and with fields held out. Run the same command again to resume.

  make ladder
  make ladder ARGS="--net small --net paper --net wide" the paper's net as well, as we read it and wider
  make ladder ARGS="trainer.max_epochs=2 --seeds 0"     a quick look
  make ladder ARGS="--again results/ladder"             its numbers again, from the predictions
"""


def main() -> None:
    """Run the command."""
    parser = command_parser("ladder", "Measure what the split is worth, all else equal.", HELP)
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="Hydra overrides for every training")
    parser.add_argument("--seeds", default="0,1,2", help="seeds of the trainings (default: 0,1,2)")
    parser.add_argument("--net", action="append", choices=NETS, help="which nets; may be given twice (default: small)")
    parser.add_argument("--out", type=Path, default=Path("runs/ladder"), help="folder (default: runs/ladder)")
    parser.add_argument("--again", type=Path, metavar="DIR", help="compute all of a folder from its predictions alone")
    args = parser.parse_intermixed_args()  # overrides and options in any order
    if args.again:
        run_command(lambda: write_ladder(args.again))
        return
    models = [model for net in dict.fromkeys(args.net or ["small"]) for model in NETS[net]]
    models.sort(key=lambda model: model in MASKS)  # nets first, then the controls
    run_command(lambda: run_ladder(args.overrides, seeds_of(args.seeds), models, args.out))


if __name__ == "__main__":
    main()
