"""Hand a trained net on: ``python -m bloodcell.export RUN --to net|onnx|torch_export``."""

from pathlib import Path

from bloodcell.common.files import write_json
from bloodcell.config.arguments import command_parser
from bloodcell.config.command import run_command
from bloodcell.tracking.manifest import manifest
from bloodcell.tracking.save import portable

HELP = """  --to net           one safetensors file with weights, learnt cells and card, and the card once more as JSON
  --to onnx          one graph from decoded pictures (uint8, N x height x width x 3, any size) to calibrated
                     probabilities, with the card in its metadata; needs pip install "bloodcell[export]"
  --to torch_export  the same graph for torch.export.load (card.json among its extra files)

A net can doubt: it keeps where the cells that it has learnt lie in its feature space. Its temperature, the threshold of
its doubt and the limits of its prediction sets are fitted on held-out images: on those of the folds with --folds, a
folder with the runs of a cross-validation of the same recipe (make sweep SWEEP=folds), else on the run's validation.

A graph is compared with the net on every test image of the run, or on --check IMAGES: if a class differs, or a
probability by more than 1e-4, it is not kept. Graphs give no doubt. Of a folder with the runs of a cross-validation no
graph is kept: each is compared on all that its run left out, and --out is a JSON file with the numbers."""


def export(source: Path, to: str, folds: Path | None, doubts: Path | None, check: list[str], out: Path | None) -> None:
    """Write the file, and print what it is.

    Args:
        source: A run; for a graph also a published net.
        to: ``net``, ``onnx`` or ``torch_export``.
        folds: A folder with the runs of the folds, or ``None``.
        doubts: What their nets doubt, or ``None``.
        check: Pictures to compare a graph on.
        out: Where to; ``None`` for beside the source.
    """
    from bloodcell.prediction.handing_on import SUFFIXES, compare_folds, export_graph, export_net
    from bloodcell.training.publish import fold_runs

    if to != "net" and source.is_dir() and not (source / "manifest.json").is_file() and fold_runs(source):
        path = out or source / f"{to}.json"
        found = compare_folds(source, to, path)
        write_json(path.with_name("manifest.json"), portable(manifest({}, {})))
        compared = f"{found['pictures']:,} held-out pictures of {len(found['folds'])} nets"
        print(f"{compared}: {found['other_classes']:,} other classes, probabilities to {found['largest']:.1e}")
        print(f"numbers: {path}")
        return
    beside = source / "net" if source.is_dir() else source.with_suffix("")
    path = out or beside.with_name(f"{beside.name}{SUFFIXES[to]}")
    if to == "net":
        export_net(source, folds, doubts, path)
        print(f"card: {path.with_suffix('.json')}")
    else:
        parity = export_graph(source, to, check, path)
        print(f"compared on {parity.pictures:,} pictures: the same classes, probabilities to {parity.largest:.1e}")
    print(f"file: {path} ({path.stat().st_size / 1e6:.2f} MB)")


def main() -> None:
    """The command."""
    parser = command_parser("export", "Hand a trained net on, as one file.", HELP)
    parser.add_argument("source", type=Path, metavar="RUN_OR_FILE", help="a run; for a graph also a published net")
    parser.add_argument("--to", choices=["net", "onnx", "torch_export"], default="net", help="default: net")
    parser.add_argument("--folds", type=Path, metavar="FOLDER", help="runs of a cross-validation of the same recipe")
    parser.add_argument(
        "--doubts", type=Path, metavar="JSON", help="doubt.json of these runs (make doubts), for the card"
    )
    parser.add_argument("--check", nargs="+", default=[], metavar="IMAGES", help="pictures to compare a graph on")
    parser.add_argument("--out", type=Path, help="default: RUN/net.safetensors, .onnx or .pt2")
    words = parser.parse_args()
    run_command(lambda: export(words.source, words.to, words.folds, words.doubts, words.check, words.out))


if __name__ == "__main__":
    main()
