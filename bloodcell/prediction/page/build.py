"""Put a net, ONNX Runtime Web and what shows their answers into one HTML file."""

import base64
import gzip
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jinja2 import Environment, StrictUndefined
from markupsafe import Markup
from PIL import Image
from torch import Tensor, nn

from bloodcell.common.errors import InputError, is_number
from bloodcell.common.files import write_text
from bloodcell.data.crops import cut, finder
from bloodcell.data.decode import open_picture
from bloodcell.data.kaggle import find_images, originals_of
from bloodcell.data.lineage_table import read_lineage
from bloodcell.data.micrographs import PHOTOGRAPH_SIZE, brightened
from bloodcell.data.seen import Recogniser, number_of_digest
from bloodcell.evidence.doubt import LearntCells
from bloodcell.model.attribution import PATCHES
from bloodcell.model.features import logits_and_features
from bloodcell.prediction.graph import PictureNet, any_pictures, onnx_graph
from bloodcell.prediction.nearest import photograph_of
from bloodcell.prediction.page.runtime import VERSION, Runtime
from bloodcell.training.trained import TrainedNet

HERE = Path(__file__).parent
SCRIPTS = ("finder.js", "net.js", "show.js")
FINDER = (
    *("SHORT_SIDE", "NUCLEUS", "BODY", "LOBES_APART", "SMALLEST_LOBE", "SMALLEST_NUCLEUS", "OVERLAP", "REACH"),
    *("MARGIN", "BLACK"),
)
CROPS = ("PHOTOGRAPH", "SQUARE", "MIDDLE", "FILLS")
NEAR = 50  # learnt cells that are looked up: several of them may be of one photograph
SHOWN = 64  # side of the picture of a learnt cell, in pixels


class Preparing(PictureNet):
    """The first graph: from pictures to what the net takes."""

    def forward(self, pictures: Tensor) -> Tensor:
        """Prepare pictures, uint8, shape (N, H, W, 3)."""
        return self.images(pictures)


class Answering(nn.Module):
    """The second graph: from what the net takes to all that is said of it.

    Args:
        trained: The net.
        known: The cells that it has learnt.
    """

    def __init__(self, trained: TrainedNet, known: LearntCells) -> None:
        super().__init__()
        self.net, self.temperature, self.near = trained.net, trained.card.temperature, min(NEAR, len(known.points))
        self.points = nn.Buffer(torch.from_numpy(known.points).float())
        self.centre, self.scale = (nn.Buffer(torch.from_numpy(one)) for one in (known.centre, known.scale))

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Answer.

        Args:
            images: float32, shape (N, 3, height, width).

        Returns:
            Calibrated probabilities and logits, shape (N, classes); distances to the nearest learnt cells, nearest
            first, and their numbers, shape (N, near).
        """
        logits, features = logits_and_features(self.net, images)
        places, points = (features.double() - self.centre) / self.scale, self.points.double()
        squares = (places**2).sum(dim=1, keepdim=True) + (points**2).sum(dim=1) - 2 * places @ points.T
        distances, nearest = squares.clamp(min=0).sqrt().topk(self.near, dim=1, largest=False)
        return (logits / self.temperature).softmax(dim=1), logits, distances.float(), nearest


def write_page(trained: TrainedNet, runtime: Runtime, images: Path | None, out: Path) -> None:
    """Write the page.

    Args:
        trained: The net.
        runtime: What runs it.
        images: The published set, for pictures of the learnt cells; ``None`` where it is not at hand.
        out: The page.

    Raises:
        InputError: If the net keeps no learnt cells, or the extra that graphs need is not installed.
    """
    known = trained.learnt
    if known is None:
        raise InputError(
            trained.name,
            expected="a net that can doubt",
            got="a run",
            fix="type python -m bloodcell.export RUN, and give the file that it writes",
        )
    height, width = trained.card.preparation.image_size
    example, any_number = torch.zeros(2, 3, height, width), {0: torch.export.Dim("batch")}
    outputs = ["probabilities", "logits", "distances", "nearest"]
    parts = {
        "runtime-script": runtime.script,
        "runtime": runtime.binary,
        "prepare": onnx_graph(Preparing(trained).eval(), *any_pictures(), ["pictures"], ["images"], {}),
        "answer": onnx_graph(Answering(trained, known).eval(), example, any_number, ["images"], outputs, {}),
        "learnt": _learnt(trained),
    }
    environment = Environment(undefined=StrictUndefined, autoescape=True)
    page = environment.from_string((HERE / "page.html").read_text(encoding="utf-8")).render(
        packed={name: base64.b64encode(gzip.compress(one, 9, mtime=0)).decode() for name, one in parts.items()},
        # The names in it may be anybody's: none of them ends the element that they stand in.
        data=Markup(json.dumps(_data(trained, known, images), allow_nan=False).replace("<", "\\u003c")),
        script=Markup("\n".join((HERE / name).read_text(encoding="utf-8") for name in SCRIPTS)),
        name=Path(trained.name).name,
        version=VERSION,
        worth=_worth(trained),
        not_for="; ".join(_texts(trained.card.about.get("not_for"))) or "anything but research",
    )
    write_text(out, page)


def _data(trained: TrainedNet, known: LearntCells, images: Path | None) -> dict[str, Any]:
    card = trained.card
    values = {name: getattr(finder, name) for name in FINDER}
    pictures = _pictures(known, images, card.preparation.crop_side)
    cells = [
        {"photograph": photograph_of(file), "label": card.classes[int(label)]} | picture
        for file, label, picture in zip(known.files.tolist(), known.labels, pictures, strict=True)
    ]
    preparation = {name: getattr(card.preparation, name) for name in ("view", "reduce", "crop_side", "field_side")}
    return {
        "classes": card.classes,
        "limits": card.limits,
        "preparation": preparation,
        "photograph": PHOTOGRAPH_SIZE,
        "finder": values | {name: getattr(cut, name) for name in CROPS},
        "patches": PATCHES,
        "known": {"threshold": known.threshold, "neighbours": known.neighbours, "cells": cells},
    }


def _pictures(known: LearntCells, images: Path | None, side: int) -> list[dict[str, str]]:
    """Small crops of the learnt photographs, as addresses; of a copy, of the photograph that it was made from."""
    if images is None:
        return [{}] * len(known.files)
    folder, made = originals_of(find_images(images)), dict[str, dict[str, str]]()
    for name in {photograph_of(file) for file in known.files.tolist()}:
        path = folder / f"BloodImage_{name:0>5}.jpg"
        if not path.is_file():
            made[name] = {}
            continue
        crop = cut.Crop("found", side).cut(np.asarray(brightened(open_picture(path))), (np.nan, np.nan))
        content = io.BytesIO()
        Image.fromarray(crop).resize((SHOWN, SHOWN), Image.Resampling.BICUBIC).save(content, "JPEG", quality=80)
        made[name] = {"picture": f"data:image/jpeg;base64,{base64.b64encode(content.getvalue()).decode()}"}
    return [made[photograph_of(file)] for file in known.files.tolist()]


def _learnt(trained: TrainedNet) -> bytes:
    """Numbers of all pictures that the net has learnt, or others of their field groups; int64, little-endian."""
    lineage, recogniser = read_lineage(), Recogniser(trained.seen)
    digests = [row.sha256 for row in lineage.images.values()] + [row.sha256 for row in lineage.micrographs.values()]
    published = [number_of_digest(digest) for digest in digests if digest and recogniser.learnt(digest)]
    own = trained.seen.images.tolist() if trained.seen is not None else []
    return np.array(sorted({*published, *own}), dtype="<i8").tobytes()


def _worth(trained: TrainedNet) -> str:
    metrics = trained.card.about.get("metrics")
    balanced = metrics.get("balanced_acc") if isinstance(metrics, dict) else None
    if not isinstance(balanced, list) or len(balanced) != 4 or not all(is_number(one, 0, 1) for one in balanced[:3]):
        return "What this net is worth on held-out photographs was not measured."
    value, low, high = (f"{100 * share:.0f} %" for share in balanced[:3])
    return f"On held-out photographs this recipe reaches a balanced accuracy of {value} ({low} to {high})."


def _texts(value: object) -> Sequence[str]:
    return [str(one) for one in value] if isinstance(value, list) else []
