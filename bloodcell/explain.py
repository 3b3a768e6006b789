"""Show what an answer rests on: ``python -m bloodcell.explain IMAGES... [--method METHOD]``."""

import argparse
from pathlib import Path

from bloodcell.config.command import run_command

HELP = """Writes --out/NAME.png (the picture, and the map over it with the box of the cell), explained.csv and
explained.json.

With each map come the two numbers that say whether to believe it: the share of the attribution that lies in the box of
the white cell, against the share of the area that the box has; and how alike the map is to that of the same net with
random weights (a rank correlation; near 1 it shows the picture, and nothing that was learnt). And, in the table, the
learnt cells that the net finds most like it: photograph, class and distance.

Needs pip install "bloodcell[explain]"."""


def explain(images: list[str], model: Path | None, method: str, out: Path) -> None:
    """Explain the answers for pictures, and print the means of the two numbers."""
    from bloodcell.model.attribution import METHODS
    from bloodcell.prediction.explaining import explain_pictures
    from bloodcell.prediction.predictor import load_net

    chosen = next(one for one in METHODS if one == method)
    for name, value in explain_pictures(load_net(model), images, chosen, out).items():
        print(f"{name}: {value:.3f}" if isinstance(value, float) else f"{name}: {value}")
    print(f"pictures: {out}")


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(
        prog="python -m bloodcell.explain",
        description="Show what the answers for pictures rest on.",
        epilog=HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("images", nargs="+", metavar="IMAGES", help="pictures, folders or globs")
    parser.add_argument("--model", type=Path, metavar="RUN_OR_FILE", help="default: the net that comes with bloodcell")
    methods = ["gradcam", "integrated_gradients", "occlusion"]
    parser.add_argument("--method", choices=methods, default="gradcam", help="default: gradcam")
    parser.add_argument("--out", type=Path, default=Path("explained"), help="folder (default: explained)")
    words = parser.parse_args()
    run_command(lambda: explain(words.images, words.model, words.method, words.out))


if __name__ == "__main__":
    main()
