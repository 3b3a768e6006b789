"""What ``python -m bloodcell.export`` makes of a run or a net: a file to hand on, checked before it is kept."""

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bloodcell.common.errors import InputError
from bloodcell.common.files import check_file_place, write_bytes, write_json
from bloodcell.data.decode import open_picture
from bloodcell.data.micrographs import Pixels
from bloodcell.prediction.graph import Parity, check_parity, compare_graph, opened_graph, write_graph
from bloodcell.prediction.inputs import check_words, find_pictures
from bloodcell.prediction.predictor import Predictor
from bloodcell.training.assemble import find_data
from bloodcell.training.publish import fold_runs, publish
from bloodcell.training.published import SUFFIX, write_published
from bloodcell.training.restore import open_net, read_config

SUFFIXES = {"net": SUFFIX, "onnx": ".onnx", "torch_export": ".pt2"}


def export_net(run_dir: Path, folds: Path | None, doubts: Path | None, out: Path) -> None:
    """Write a run as a published net; see :func:`bloodcell.training.publish.publish`."""
    if out.suffix != SUFFIX:
        raise InputError(f"--out {out}", expected=f"a name that ends in {SUFFIX}", got=out.suffix, fix="correct it")
    write_published(out, publish(run_dir, folds, doubts))


def export_graph(source: Path, to: str, check: Sequence[str], out: Path) -> Parity:
    """Write a run or a net as one graph, and compare it with the net on every picture.

    Args:
        source: The run or net.
        to: ``onnx`` or ``torch_export``.
        check: Pictures to compare on; none for the test images of the run.
        out: Where to. A file whose answers differ is not left there.

    Raises:
        InputError: If it cannot be opened, there is nothing to compare on, or answers differ.
    """
    if out.suffix != SUFFIXES[to]:
        expected = f"a name that ends in {SUFFIXES[to]}"
        raise InputError(f"--out {out}", expected=expected, got=out.suffix or "none", fix="correct it")
    if check:
        check_words(check)
    elif source.suffix == SUFFIX:
        raise InputError("--check", expected="pictures to compare the file on", got="none", fix="give --check IMAGES")
    check_file_place(out)
    trained = open_net(source)
    with tempfile.TemporaryDirectory() as place:
        graph = Path(place) / out.name
        write_graph(trained, to, graph)
        parity = compare_graph(Predictor(trained), opened_graph(graph), _named(check) if check else _tested(source))
        check_parity(parity, out)
        write_bytes(out, graph.read_bytes())
    return parity


def compare_folds(folder: Path, to: str, out: Path) -> dict[str, Any]:
    """Compare the graph of each run of a cross-validation with its net on all that it left out.

    Args:
        folder: The runs.
        to: ``onnx`` or ``torch_export``.
        out: Where the numbers go, as JSON; the graphs are not kept.

    Returns:
        ``pictures``, ``other_classes`` and ``largest``, the largest difference of a probability; and each of ``folds``.
    """
    folds = []
    with tempfile.TemporaryDirectory() as place:
        for number, run_dir in enumerate(fold_runs(folder)):
            trained, path = open_net(run_dir), Path(place) / f"{number}{SUFFIXES[to]}"
            write_graph(trained, to, path)
            folds.append(compare_graph(Predictor(trained), opened_graph(path), _tested(run_dir)))
    found = {
        "to": to,
        "pictures": sum(one.pictures for one in folds),
        "other_classes": sum(one.other_classes for one in folds),
        "largest": max(one.largest for one in folds),
        "folds": [one._asdict() for one in folds],
    }
    write_json(out, found)
    return found


def _named(words: Sequence[str]) -> Iterator[Pixels]:
    for picture in find_pictures(words):
        yield np.asarray(open_picture(picture.name))


def _tested(source: Path) -> Iterator[Pixels]:
    """Every held-out image of a run, in each view."""
    data = find_data(read_config(source.parent.parent if source.is_file() else source, []))
    for row in [*data.split.test.tolist(), *data.split.test_beside.tolist()]:
        yield np.asarray(open_picture(data.index.where(row)))
