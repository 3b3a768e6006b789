"""A net as one graph: the bytes of the resize are the same, and so are the answers, for pictures of any size."""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms.v2 import functional as F

from bloodcell.common.errors import InputError
from bloodcell.data.micrographs import as_copy
from bloodcell.model.resize import resize_like_torchvision
from bloodcell.prediction import graph
from bloodcell.prediction.predictor import load_net

Export = Callable[..., Path]


@pytest.fixture
def export(finished: Path, monkeypatch: pytest.MonkeyPatch) -> Export:
    """``export("onnx")`` types ``python -m bloodcell.export``; the file comes back."""

    def run(to: str, *words: str, source: Path = finished) -> Path:
        from bloodcell.export import main

        out = Path.cwd() / f"tiny.{to}{'.pt2' if to == 'torch_export' else ''}"
        monkeypatch.setattr(sys, "argv", ["export", str(source), "--to", to, "--out", str(out), *words])
        main()
        return out

    return run


@pytest.mark.parametrize("size", [(240, 320), (36, 48), (363, 360), (48, 64), (20, 30), (241, 333), (48, 200)])
def test_the_resize_gives_the_bytes_of_torchvision(size: tuple[int, int]) -> None:
    pictures = torch.randint(0, 256, (2, 3, *size), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    expected = torch.stack([F.resize(picture, [48, 64], antialias=True) for picture in pictures])
    if torch.backends.cpu.get_cpu_capability() == "DEFAULT":  # torchvision then resizes in floating point
        pytest.skip("no processor that torchvision resizes bytes on")
    assert torch.equal(resize_like_torchvision(pictures.double(), 48, 64), expected.double())


def test_a_photograph_is_reduced_to_the_bytes_of_the_copies() -> None:
    picture = np.random.default_rng(0).integers(0, 231, (480, 640, 3), dtype=np.uint8)
    expected = np.asarray(as_copy(Image.fromarray(picture)))
    values = torch.from_numpy(picture).permute(2, 0, 1)[None].double()
    found = graph._as_copy(values)[0].permute(1, 2, 0).numpy()
    assert (found == expected).all()


def test_what_is_exported_answers_as_the_net_does(finished: Path) -> None:
    net = load_net(finished)
    rng = np.random.default_rng(0)
    for height, width in ((36, 48), (100, 70), (480, 640)):
        pictures = rng.integers(0, 256, (3, height, width, 3), dtype=np.uint8)
        expected, _ = net.outputs(list(pictures))
        found = graph.PictureNet(net.trained).eval()(torch.from_numpy(pictures))
        assert found.numpy() == pytest.approx(expected, abs=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("to", ["torch_export", "onnx"])
def test_a_graph_answers_as_the_net_does(
    to: str, export: Export, finished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if to == "onnx":
        pytest.importorskip("onnxruntime")
        pytest.importorskip("onnxscript")
    path = export(to)
    assert "compared on 24 pictures: the same classes" in capsys.readouterr().out
    answer, net = graph.opened_graph(path), load_net(finished)
    rng = np.random.default_rng(0)
    for count, height, width in ((1, 36, 48), (5, 36, 48), (3, 100, 70), (1, 480, 640)):
        pictures = rng.integers(0, 256, (count, height, width, 3), dtype=np.uint8)
        expected, _ = net.outputs(list(pictures))
        assert answer(pictures) == pytest.approx(expected, abs=1e-5)
    if to == "onnx":
        import onnx

        card = {one.key: one.value for one in onnx.load(path).metadata_props}["card"]
    else:
        extra = {"card.json": ""}
        torch.export.load(path, extra_files=extra)
        card = extra["card.json"]
    assert json.loads(card)["classes"] == list(net.classes)


@pytest.mark.slow
def test_a_graph_that_answers_otherwise_is_not_kept(
    export: Export, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(graph, "TOLERANCE", -1.0)  # no answers agree so well
    with pytest.raises(SystemExit):
        export("torch_export")
    assert "expected the net's classes" in capsys.readouterr().err
    assert not list(Path.cwd().glob("tiny*"))


@pytest.mark.slow
def test_a_net_is_compared_on_pictures_that_are_named(export: Export, net: Path, cells: Path) -> None:
    with pytest.raises(SystemExit):
        export("torch_export", source=net)
    assert export("torch_export", "--check", str(cells / "val"), source=net).is_file()


def test_pictures_of_many_sizes_are_compared_by_size() -> None:
    sizes = [(8, 8), (8, 8), (9, 8), (8, 8)]
    batches = list(graph._batches(np.zeros((*size, 3), np.uint8) for size in sizes))
    assert [len(batch) for batch in batches] == [2, 1, 1]


def test_no_pictures_are_no_parity() -> None:
    with pytest.raises(InputError):
        graph.check_parity(graph.Parity(0, 0, 0.0), Path("x.onnx"))
