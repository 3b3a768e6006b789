"""Show what an answer rests on: ``python -m bloodcell.explain IMAGES... [--method METHOD]``."""

from pathlib import Path
from typing import TYPE_CHECKING

from bloodcell.config.arguments import add_pictures, command_parser
from bloodcell.config.command import run_command

if TYPE_CHECKING:
    from bloodcell.prediction.predictor import View

HELP = """Writes --out/NAME.png (the picture, and the map over it with the box of the cell), explained.csv and
explained.json; and for TensorBoard the surest answers of each class and, where the pictures are in folders called like
the classes, the worst mistakes.

With each map come the two numbers that say whether to believe it: the share of the attribution that lies in the box of
the white cell, against the share of the area that the box has; and how alike the map is to that of the same net with
random weights (a rank correlation; near 1 it shows the picture, and nothing that was learnt). And, in the table, the
learnt cells that the net finds most like it: photograph, class and distance.

With --folds FOLDS (make sweep SWEEP=folds) the maps of all methods are measured on every held-out photograph instead:
both numbers, layer by layer, and a gallery.

Needs pip install "bloodcell[explain]"."""


def explain(images: list[str], model: Path | None, method: str, out: Path, view: "View") -> None:
    """Explain the answers for pictures, and print the means of the two numbers."""
    from bloodcell.model.attribution import METHODS
    from bloodcell.prediction.explaining import explain_pictures
    from bloodcell.prediction.predictor import load_net

    chosen = next(one for one in METHODS if one == method)
    for name, value in explain_pictures(load_net(model), images, chosen, out, view).items():
        print(f"{name}: {value:.3f}" if isinstance(value, float) else f"{name}: {value}")
    print(f"pictures: {out}; likewise for make tensorboard LOGDIR={out}")


def main() -> None:
    """The command."""
    parser = command_parser("explain", "Show what the answers for pictures rest on.", HELP)
    add_pictures(parser, "explained", required=False)
    parser.add_argument("--folds", type=Path, metavar="FOLDS", help="runs of a cross-validation: measure the methods")
    methods = ["gradcam", "integrated_gradients", "occlusion"]
    parser.add_argument("--method", choices=methods, default="gradcam", help="default: gradcam")
    words = parser.parse_args()
    if bool(words.images) == (words.folds is not None):
        parser.error("give IMAGES, or --folds FOLDS")

    def run() -> None:
        if words.folds is None:
            explain(words.images, words.model, words.method, words.out, words.view)
            return
        from bloodcell.studies.maps.run import run as measure

        measure(words.folds, words.out)

    run_command(run)


if __name__ == "__main__":
    main()
