"""Make a page to try a net on: ``python -m bloodcell.demo``."""

from pathlib import Path

from bloodcell.config.arguments import command_parser
from bloodcell.config.command import run_command

HELP = """One HTML file that needs no server and no network and sends nothing: open it in a browser, drop pictures
on it, and see the cells with their class, probabilities, doubt, the nearest learnt cells and what the answer rests on.
It may be put anywhere, also on a phone. The answers are those of bloodcell.predict.

ONNX Runtime Web (33 MB) is downloaded once from the npm registry, into the cache, and checked by its hash.
Where the published images are at hand (BLOODCELL_DATA or make data) it shows pictures of the learnt cells.

Needs pip install "bloodcell[export]"."""


def main() -> None:
    """The command."""
    parser = command_parser("demo", "Make a page to try a net on.", HELP)
    parser.add_argument("--model", type=Path, metavar="FILE", help="default: the net that comes with bloodcell")
    parser.add_argument("--runtime", type=Path, metavar="FILE", help="package of onnxruntime-web that is there already")
    parser.add_argument("--out", type=Path, default=Path("runs/demo.html"), help="default: runs/demo.html")
    words = parser.parse_args()

    def make_page() -> None:
        from bloodcell.data.kaggle import locate
        from bloodcell.prediction.page.build import write_page
        from bloodcell.prediction.page.runtime import find_runtime
        from bloodcell.prediction.predictor import load_net

        net = load_net(words.model)
        write_page(net.trained, find_runtime(words.runtime), locate(None), words.out)
        print(f"page: {words.out} ({words.out.stat().st_size / 1e6:.1f} MB); open it in a browser")

    run_command(make_page)


if __name__ == "__main__":
    main()
