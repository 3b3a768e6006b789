"""A trained net as one graph: decoded pictures in, calibrated probabilities out, checked against the net itself."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from bloodcell.common.errors import InputError
from bloodcell.common.files import replacing
from bloodcell.data.micrographs import COPY_SIZE, PHOTOGRAPH_SIZE, Pixels
from bloodcell.evidence.intervals import Floats
from bloodcell.model.resize import resize_like_pillow, resize_like_torchvision
from bloodcell.prediction.predictor import BATCH, Predictor
from bloodcell.training.trained import TrainedNet

TOLERANCE = 1e-4
BATCH_BYTES = 2**26  # of pictures that are compared at once: 64 photographs
INPUT, OUTPUT = "pictures", "probabilities"
OPSET = 20
LOOKED_AT = {"field": "the picture as it is decoded", "crop": "crops as bloodcell.data.crops cuts them"}

Answer = Callable[[Pixels], Floats]
Sizes = dict[int, Any]  # of an input, by its axis: what may vary


class PictureNet(nn.Module):
    """A net with all that comes before and after it.

    Args:
        trained: The net.
    """

    def __init__(self, trained: TrainedNet) -> None:
        super().__init__()
        self.net, self.preparation = trained.net, trained.card.preparation
        self.temperature = trained.card.temperature
        mean, std = self.preparation.mean or (0.0,) * 3, self.preparation.std or (1.0,) * 3
        self.mean, self.std = (nn.Buffer(torch.tensor(values).reshape(1, 3, 1, 1)) for values in (mean, std))

    def forward(self, pictures: Tensor) -> Tensor:
        """Answer.

        Args:
            pictures: RGB, uint8, shape (N, H, W, 3), of one size, whichever it is.

        Returns:
            Calibrated probabilities, float32, shape (N, classes).
        """
        logits: Tensor = self.net(self.images(pictures))
        return (logits / self.temperature).softmax(dim=1)

    def images(self, pictures: Tensor) -> Tensor:
        """Prepare pictures as the net takes them; float32, shape (N, 3, height, width)."""
        values = pictures.permute(0, 3, 1, 2).double()
        small = resize_like_torchvision(values, *self.preparation.image_size)
        if self.preparation.reduce and self.preparation.view == "field":
            reduced = resize_like_torchvision(_as_copy(values), *self.preparation.image_size)
            height, width = (torch.ones_like(line).sum() for line in (values[0, 0, :, 0], values[0, 0, 0, :]))
            photograph = (height == PHOTOGRAPH_SIZE[0]) & (width == PHOTOGRAPH_SIZE[1])
            small = torch.where(photograph, reduced, small)
        scaled: Tensor = (small.float() / 255 - self.mean) / self.std
        return scaled


def _as_copy(values: Tensor) -> Tensor:
    """Reduce as :func:`bloodcell.data.micrographs.as_copy` does."""
    small = resize_like_pillow(values, *COPY_SIZE).float()
    brightest = small.amax(dim=(1, 2, 3), keepdim=True).clamp(min=1)
    return torch.floor(small * (255.0 / brightest)).double()


class Parity(NamedTuple):
    """How a graph and the net agree: pictures compared, other classes, and the largest difference of a probability."""

    pictures: int
    other_classes: int
    largest: float


def write_graph(trained: TrainedNet, to: str, path: Path) -> None:
    """Write a net as one graph, with its card.

    Args:
        trained: The net.
        to: ``onnx`` or ``torch_export``.
        path: Where to.

    Raises:
        InputError: If the extra that this needs is not installed.
    """
    module = PictureNet(trained).eval()
    card = json.dumps(graph_card(trained), allow_nan=False)
    if to == "torch_export":
        exported = torch_graph(module, *any_pictures())
        with replacing(path) as file:
            torch.export.save(exported, file, extra_files={"card.json": card})
        return
    content = onnx_graph(module, *any_pictures(), [INPUT], [OUTPUT], {"card": card})
    with replacing(path) as file:
        file.write(content)


def any_pictures() -> tuple[Tensor, Sizes]:
    """Give two pictures of other sides than anything else here, so that no size is taken for a constant."""
    sizes = {0: torch.export.Dim("batch"), 1: torch.export.Dim("height", min=8), 2: torch.export.Dim("width", min=8)}
    return torch.zeros(2, 203, 301, 3, dtype=torch.uint8), sizes


def torch_graph(module: nn.Module, example: Tensor, sizes: Sizes) -> torch.export.ExportedProgram:
    """Write a module of one input as a graph of PyTorch's."""
    with torch.no_grad():
        return torch.export.export(module, (example,), dynamic_shapes=(sizes,))


def onnx_graph(
    module: nn.Module,
    example: Tensor,
    sizes: Sizes,
    inputs: Sequence[str],
    outputs: Sequence[str],
    properties: Mapping[str, str],
) -> bytes:
    """Write a module of one input as an ONNX file.

    Raises:
        InputError: If the extra that this needs is not installed.
    """
    try:
        import onnx
        import onnxscript  # noqa: F401 (torch's exporter needs it)
    except ImportError as error:
        raise _missing("a graph of ONNX") from error
    program = torch.onnx.export(
        torch_graph(module, example, sizes),
        input_names=inputs,
        output_names=outputs,
        opset_version=OPSET,
        dynamo=True,
        verbose=False,
    )
    assert program is not None
    model = program.model_proto
    onnx.helper.set_model_props(model, dict(properties))
    onnx.checker.check_model(model)
    content: bytes = model.SerializeToString()
    return content


def graph_card(trained: TrainedNet) -> dict[str, Any]:
    """Give what a graph carries of the card."""
    card = trained.card
    return {
        "classes": list(card.classes),
        "input": f"RGB, uint8, shape (N, height, width, 3), any size: {LOOKED_AT[card.preparation.view]}",
        "preparation, inside the graph": asdict(card.preparation),
        "temperature, inside the graph": card.temperature,
        "about": dict(card.about),
    }


def opened_graph(path: Path, threads: int = 1) -> Answer:
    """Open a graph to answer with; an ONNX one by ONNX Runtime.

    Raises:
        InputError: If the extra that this needs is not installed.
    """
    if path.suffix == ".pt2":
        module = torch.export.load(path).module()
        return lambda pictures: module(torch.from_numpy(pictures)).detach().double().numpy()
    try:
        import onnxruntime
    except ImportError as error:
        raise _missing(str(path)) from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return lambda pictures: np.asarray(session.run([OUTPUT], {INPUT: pictures})[0], dtype=np.float64)


def compare_graph(predictor: Predictor, answer: Answer, pictures: Iterable[Pixels]) -> Parity:
    """Compare a graph with the net on what it looks at in pictures of any sizes."""
    count, other, largest = 0, 0, 0.0
    views = (np.asarray(view) for one in pictures for _, view in predictor.views(Image.fromarray(one)))
    for batch in _batches(views):
        expected, _ = predictor.outputs(batch)
        found = answer(np.stack(batch))
        count += len(batch)
        other += int((expected.argmax(axis=1) != found.argmax(axis=1)).sum())
        largest = max(largest, float(np.abs(expected - found).max()))
    return Parity(count, other, largest)


def check_parity(parity: Parity, path: Path) -> None:
    """Stop at a graph that answers otherwise than the net.

    Raises:
        InputError: If a class differs, or a probability by more than ``TOLERANCE``.
    """
    if not parity.pictures or parity.other_classes or not parity.largest <= TOLERANCE:
        raise InputError(
            str(path),
            expected=f"the net's classes, and its probabilities to {TOLERANCE:g}",
            got=f"{parity.other_classes} other classes of {parity.pictures:,}, differences up to {parity.largest:.1e}",
            fix="do not use this file; please report it with the versions of torch, onnx and onnxruntime",
        )


def _batches(pictures: Iterable[Pixels]) -> Iterator[Sequence[Pixels]]:
    """Put pictures of the same size together, as far as they come one after another and memory allows."""
    batch: list[Pixels] = []
    for one in pictures:
        most = min(BATCH, max(1, BATCH_BYTES // one.nbytes))
        if batch and (one.shape != batch[0].shape or len(batch) >= most):
            yield batch
            batch = []
        batch.append(one)
    if batch:
        yield batch


def _missing(where: str) -> InputError:
    return InputError(
        where,
        expected="the packages onnx, onnxscript and onnxruntime",
        got="not all of them",
        fix='type pip install "bloodcell[export]"',
    )
