"""Train the paper's recipe in Keras, whose words it speaks: ``python -m bloodcell.keras``."""

import argparse
from importlib.util import find_spec
from pathlib import Path

from bloodcell.common.errors import InputError
from bloodcell.config.arguments import command_parser
from bloodcell.config.command import run_command

PROTOCOLS = ("random", "grouped")

HELP = """\
Table 1 of the paper with Keras's defaults, under the paper's split (three seeds) and with fields held out (five folds),
on the images of experiment=paper_literal. A training takes about two hours on two cores (KERAS_BACKEND=torch uses a GPU
that TensorFlow does not see). The table is written after each training, of all that are done. Run the command again to
go on.

  make keras
  make keras ARGS="--epochs 3 --protocol random"       does it train at all (the rule of make readings: 1,000 steps)
  make keras ARGS="--again results/keras"              its numbers again, from the predictions
"""


def main() -> None:
    """Run the command."""
    parser = command_parser("keras", "Train the paper's recipe in Keras under both splits.", HELP)
    parser.add_argument("--epochs", type=int, default=50, help="epochs of each training (default: 50)")
    parser.add_argument(
        "--protocol", action="append", choices=PROTOCOLS, help="which splits; may be given twice (default: both)"
    )
    parser.add_argument("--runs", type=Path, default=Path("runs/keras"), help="folder of the trainings")
    parser.add_argument("--out", type=Path, default=Path("runs/keras"), help="folder of the results")
    parser.add_argument("--again", type=Path, metavar="DIR", help="compute all of a folder from its predictions alone")
    args = parser.parse_args()
    run_command(lambda: _again(args.again) if args.again else _train(args))


def _train(args: argparse.Namespace) -> None:
    from bloodcell.studies.keras.run import run_keras

    if args.epochs < 1:
        raise InputError("--epochs", expected="a whole number from 1", got=str(args.epochs), fix="correct it")
    if find_spec("keras") is None:
        raise InputError("python -m bloodcell.keras", expected="Keras", got="none", fix="pip install -e '.[bench]'")
    run_keras(args.epochs, args.protocol or PROTOCOLS, args.runs, args.out)
    print((args.out / "keras.md").read_text(encoding="utf-8"))


def _again(folder: Path) -> None:
    from bloodcell.studies.keras.run import write_keras

    write_keras(folder)


if __name__ == "__main__":
    main()
