"""The one place where a trained net answers for new pictures, however they come: a path, an array, a thousand files."""

import hashlib
import io
import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor

from bloodcell.common.env import PACKAGE
from bloodcell.common.errors import InputError
from bloodcell.data.crops.cut import Crop, crop_cell, is_crop
from bloodcell.data.crops.finder import find_cells
from bloodcell.data.decode import decoded, reason
from bloodcell.data.micrographs import PHOTOGRAPH_SIZE, as_copy, brightened
from bloodcell.data.scaling import squeezed as pixels_of
from bloodcell.data.seen import Recogniser
from bloodcell.evidence.doubt import classes_left
from bloodcell.evidence.intervals import Floats
from bloodcell.prediction.inputs import Picture, find_pictures
from bloodcell.training.restore import open_net
from bloodcell.training.trained import TrainedNet

# The net that comes with the package.
SHIPPED = PACKAGE / "nets" / "cells.safetensors"
# Pictures that are decoded before the net answers: keeps all threads busy and takes little memory.
BATCH = 64
UNREADABLE, UNLIKE = "cannot be read: ", "unlike the learnt cells"

Pixels = npt.NDArray[np.uint8]
Box = tuple[int, int, int, int]
View = Literal["auto", "field", "crop"]


class CellAnswer(NamedTuple):
    """What a net says of one cell; a list of them is a table (``pandas.DataFrame(net.predict(...))``).

    Attributes:
        file: The picture, as it was named; ``""`` for an array.
        box: Left, top, right and bottom of the cell, or of the whole picture where the net looks at that, in pixels of
            the picture; ``None`` where there is no cell, or the picture could not be read.
        name: The most probable class; ``""`` where there is none.
        probabilities: Of each class, calibrated as the card says.
        doubt: How unlike the learnt cells it is: 1 at the threshold, more beyond; ``None`` where the net cannot tell.
        reason: Why the answer is not to be trusted; ``""`` where nothing speaks against it.
        possible: The prediction set: the classes that are possible at the card's level.
        learnt: ``yes`` where the weights have learnt this very file, ``same field`` for another picture of a field
            group that they have learnt.
        group: Field group, where the file is a published one.
    """

    file: str
    box: Box | None
    name: str
    probabilities: dict[str, float]
    doubt: float | None
    reason: str
    possible: tuple[str, ...]
    learnt: str
    group: str

    @property
    def unreadable(self) -> bool:
        """Whether the picture could not be read."""
        return self.reason.startswith(UNREADABLE)


class _Opened(NamedTuple):
    """A picture on its way to the net: its cells, or why there are none."""

    name: str
    digest: str
    boxes: list[Box]
    pixels: list[Tensor]
    problem: str


class Predictor:
    """A trained net that answers for pictures.

    Args:
        trained: As :func:`bloodcell.training.restore.open_net` opens it.

    Attributes:
        trained: The same.
    """

    def __init__(self, trained: TrainedNet) -> None:
        self.trained = trained
        self._recogniser = Recogniser(trained.seen)

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names in the order of the probabilities."""
        return self.trained.card.classes

    def predict(
        self, pictures: str | Path | Pixels | Sequence[str | Path | Pixels], view: View = "auto"
    ) -> list[CellAnswer]:
        """Answer for pictures at hand.

        Args:
            pictures: A path (of a picture, a folder, a zip, or a glob), an RGB array (uint8, shape (H, W, 3)), or a
                list of either.
            view: What they show, to a net of crops: see :meth:`views`.

        Returns:
            A row a cell, in the order of the pictures. A picture that cannot be read has a row that says why.

        Raises:
            InputError: If an array is none of a picture.
        """
        given = [pictures] if isinstance(pictures, str | Path | np.ndarray) else list(pictures)
        return [cell for cells in self.answers(_each(given), view) for cell in cells]

    def answers(self, pictures: Iterable[Picture | Pixels], view: View = "auto") -> Iterator[list[CellAnswer]]:
        """Answer for pictures as they come.

        Args:
            pictures: Any number of them; no more than ``BATCH`` are in memory.
            view: What they show: see :meth:`views`.

        Yields:
            The cells of one picture after the other, in the same order.
        """
        waiting = iter(pictures)
        with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
            while part := list(islice(waiting, min(BATCH, self.trained.at_once))):
                yield from self._answer(list(pool.map(partial(self._open, view=view), part)))

    def _open(self, picture: Picture | Pixels, view: View) -> _Opened:
        if not isinstance(picture, Picture):
            return self._cells("", "", Image.fromarray(picture), view)
        try:
            content = picture.read()
            digest = hashlib.sha256(content).hexdigest()
            with decoded(io.BytesIO(content)) as (image, _):
                return self._cells(picture.name, digest, image, view)
        except Exception as error:  # decoders raise what they like
            return _Opened(picture.name, "", [], [], f"{UNREADABLE}{reason(error, Path(picture.name))}")

    def views(self, image: Image.Image, view: View = "auto") -> list[tuple[Box, Image.Image]]:
        """Give what the net looks at in a picture: the whole of it, or a crop around each white cell that is found.

        Args:
            image: The picture.
            view: To a net of crops, whether it is a ``field`` with cells to find or the ``crop`` of one cell already;
                ``auto`` goes by :func:`bloodcell.data.crops.cut.is_crop`. A net of fields looks at the whole picture.
        """
        preparation, whole = self.trained.card.preparation, ((0, 0, image.width, image.height), image)
        if preparation.view == "field" or view == "crop":
            return [whole]
        photograph = preparation.reduce and (image.height, image.width) == PHOTOGRAPH_SIZE
        field = np.asarray(brightened(image) if photograph else image)
        cells = find_cells(field)
        if view == "auto" and is_crop(field, cells):
            return [whole]
        side = Crop("found", preparation.crop_side, preparation.field_side).side_in(field)
        found = [(tuple(map(round, box[:4])), crop_cell(field, box, side)) for box in cells]
        return [((left, top, right, bottom), Image.fromarray(crop)) for (left, top, right, bottom), crop in found]

    def outputs(self, looked_at: Sequence[Pixels]) -> tuple[Floats, Floats]:
        """Give probabilities, shape (N, classes), and features, shape (N, D), of what the net looks at, a cell each."""
        return self.outputs_of([self.squeezed(Image.fromarray(one)) for one in looked_at])

    def outputs_of(self, pixels: Sequence[Tensor]) -> tuple[Floats, Floats]:
        """Give the same of what was :meth:`squeezed` before."""
        parts = [pixels[first : first + BATCH] for first in range(0, len(pixels), BATCH)]
        found = [self.trained.outputs(torch.stack(list(part))) for part in parts]
        probabilities, features = (np.concatenate(each) for each in zip(*found, strict=True))
        return probabilities, features

    def _cells(self, name: str, digest: str, image: Image.Image, view: View) -> _Opened:
        views = self.views(image, view)
        pixels = [self.squeezed(looked_at) for _, looked_at in views]
        return _Opened(name, digest, [box for box, _ in views], pixels, "" if views else "no white cell found")

    def squeezed(self, view: Image.Image) -> Tensor:
        """Resize what the net looks at to its size; uint8, shape (3, H, W)."""
        preparation = self.trained.card.preparation
        whole = preparation.view == "field" and preparation.reduce and (view.height, view.width) == PHOTOGRAPH_SIZE
        return pixels_of(as_copy(view) if whole else view, preparation.image_size)

    def _answer(self, opened: list[_Opened]) -> Iterator[list[CellAnswer]]:
        pixels = [one for picture in opened for one in picture.pixels]
        probabilities, features = self.trained.outputs(torch.stack(pixels)) if pixels else (np.zeros((0, 0)),) * 2
        known = self.trained.learnt
        doubts = known.doubts(features) if known is not None and pixels else None
        first = 0
        for picture in opened:
            if not picture.boxes:
                yield [CellAnswer(picture.name, None, "", {}, None, picture.problem, (), "", "")]
                continue
            rows = range(first, first + len(picture.boxes))
            first = rows.stop
            yield [
                self._cell(picture, box, probabilities[row], None if doubts is None else float(doubts[row]))
                for row, box in zip(rows, picture.boxes, strict=True)
            ]

    def _cell(self, picture: _Opened, box: Box, probabilities: Floats, doubt: float | None) -> CellAnswer:
        limits = self.trained.card.limits
        left = classes_left(probabilities, limits) if limits is not None else None
        possible = tuple(self.classes[k] for k in left) if left is not None else ()
        learnt, group = (self._recogniser.learnt(picture.digest), self._recogniser.group(picture.digest))
        return CellAnswer(
            file=picture.name,
            box=box,
            name=self.classes[int(probabilities.argmax())],
            probabilities=dict(zip(self.classes, probabilities.tolist(), strict=True)),
            doubt=doubt,
            reason=_why(doubt, left, possible),
            possible=possible,
            learnt=learnt,
            group=group,
        )


def _why(doubt: float | None, left: Sequence[int] | None, possible: Sequence[str]) -> str:
    """Say why an answer is not to be trusted; ``""`` where nothing speaks against it."""
    if doubt is not None and doubt > 1:
        return UNLIKE
    if left is None or len(left) == 1:
        return ""
    return f"could be {' or '.join(possible)}" if left else "no class is probable enough"


def _each(given: Sequence[str | Path | Pixels]) -> Iterator[Picture | Pixels]:
    for one in given:
        if isinstance(one, np.ndarray):
            if one.dtype != np.uint8 or one.ndim != 3 or one.shape[2] != 3 or not one.size:
                raise InputError(
                    "predict",
                    expected="an array of RGB bytes (uint8, shape (height, width, 3))",
                    got=f"{one.dtype}, shape {one.shape}",
                    fix="convert it, as np.asarray(image.convert('RGB'))",
                )
            yield one
        else:
            yield from find_pictures([str(one)])


def load_net(source: str | Path | None = None) -> Predictor:
    """Open a trained net.

    Args:
        source: A run directory, a checkpoint in one, or a published net; ``None`` for the one of the package.

    Raises:
        InputError: If it is none of these.
    """
    return Predictor(open_net(SHIPPED if source is None else Path(source)))
