"""Measure what nets doubt that were held out of something: ``python -m bloodcell.doubts FOLDS``."""

from pathlib import Path

from bloodcell.common.errors import InputError
from bloodcell.config.arguments import command_parser
from bloodcell.config.command import run_command

HELP = """Takes the runs of a cross-validation (make sweep SWEEP=folds). Each net is shown text pages, noise, flat
colours and the pictures of every --set; its threshold is settled by the cells that the other nets left out. Written are
the shares that are flagged, areas under ROC curves beside those of other scores, how often sets hold the true
class, the accuracy of the surest answers alone, and, of a set whose name holds that of a class, how many are called so;
all with intervals. python -m bloodcell.export RUN --folds FOLDS --doubts doubt.json puts it on the card of a net.

  python -m bloodcell.doubts runs/shipped-sweep --set "red cells"=/path/to/chula --set basophils=/path/to/basophils"""


def main() -> None:
    """The command."""
    parser = command_parser("doubts", "Measure what nets doubt that were held out of something.", HELP)
    parser.add_argument("folds", type=Path, metavar="FOLDS", help="a folder with the runs of a cross-validation")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=FOLDER", help="pictures of something else")
    parser.add_argument("--out", type=Path, default=Path("runs/doubt"), help="folder (default: runs/doubt)")
    words = parser.parse_args()

    def measure_doubts() -> None:
        sets = {}
        for word in words.set:
            name, equals, folder = word.partition("=")
            if not equals or not Path(folder).is_dir():
                raise InputError(f"--set {word}", expected="NAME=FOLDER", got="no such folder", fix="check the path")
            sets[name] = Path(folder)
        from bloodcell.studies.doubt.run import run

        run(words.folds, sets, words.out)

    run_command(measure_doubts)


if __name__ == "__main__":
    main()
