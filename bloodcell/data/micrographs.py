"""The 640x480 photographs that the copies were made from: files, labels, boxes, and how they were reduced."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import numpy.typing as npt
from PIL import Image

from bloodcell.common.errors import InputError, holding
from bloodcell.common.files import read_csv, read_text
from bloodcell.data.decode import open_picture
from bloodcell.data.kaggle import CLASSES

Pixels = npt.NDArray[np.uint8]

# Height and width of the published copies.
COPY_SIZE = (240, 320)
# And of the photographs.
PHOTOGRAPH_SIZE = (480, 640)
_NUMBERED = re.compile(r"BloodImage_[0-9]{1,9}\.jpg")
# Labels that the authors of the copies kept; the three basophils went into their split and no further.
LABELS = (*CLASSES, "BASOPHIL")
# How dhruvp/wbc-classification cut the micrographs into TRAIN and TEST; found by reproducing its counts.
SPLIT = {"test_size": 0.2, "random_state": 10}


@dataclass(frozen=True)
class Cell:
    """Box of a white cell in pixels of the copies (320x240).

    Attributes:
        x: Centre, from the left.
        y: Centre, from above.
        width: Width.
        height: Height.
    """

    x: float
    y: float
    width: float
    height: float


def number_of(path: Path) -> str:
    """Return the number of a photograph: ``93`` for ``BloodImage_00093.jpg``."""
    return str(int(path.stem.rpartition("_")[2]))


def micrograph_files(folder: Path) -> dict[str, Path]:
    """List the photographs of a ``JPEGImages`` folder by number, in numerical order.

    Raises:
        InputError: If there is no such folder or nothing in it.
    """
    files = sorted(path for path in folder.glob("BloodImage_*.jpg") if _NUMBERED.fullmatch(path.name))
    if not files:
        raise InputError(
            str(folder),
            expected="the original micrographs BloodImage_*.jpg of dataset-master",
            got="none" if folder.is_dir() else "no such folder",
            fix="give the root of the complete Kaggle set",
        )
    return {number_of(path): path for path in files}


def read_labels(table: Path) -> dict[str, str]:
    """Read what ``labels.csv`` says of each photograph: one class, several with commas, or nothing.

    Raises:
        InputError: If it cannot be read, or has other columns.
    """
    if not table.exists():
        fix = "give the root of the complete Kaggle set"
        raise InputError(str(table), expected="the labels of the micrographs", got="no such file", fix=fix)
    with holding(str(table), "a table with the columns Image, a number, and Category", "put it back as published"):
        return {str(int(row["Image"])): row["Category"].strip() for row in read_csv(table)}


def official_subsets(labels: Mapping[str, str], on_disk: Mapping[str, Path]) -> dict[str, str]:
    """Tell which photographs the published copies of TRAIN and TEST were made from.

    It does not look at any pixel: the authors cut the micrographs that have a single label and a file with
    scikit-learn's ``train_test_split`` and a known seed, which gives exactly the published class counts.

    Args:
        labels: From :func:`read_labels`, in the order of the file.
        on_disk: From :func:`micrograph_files`.

    Returns:
        ``TRAIN`` or ``TEST`` by micrograph; the others are left out.
    """
    from sklearn.model_selection import train_test_split  # here: scikit-learn takes a second to import

    names = [name for name, label in labels.items() if label in LABELS and name in on_disk]
    train, test = train_test_split(names, **SPLIT)
    subsets = dict.fromkeys(train, "TRAIN") | dict.fromkeys(test, "TEST")
    return {name: subset for name, subset in subsets.items() if labels[name] in CLASSES}


def read_cell(annotation: Path) -> Cell | None:
    """Read the largest box of a white cell in a Pascal VOC file; ``None`` if there is no file or no such box."""
    return max(read_cells(annotation), key=lambda cell: cell.width * cell.height, default=None)


def read_cells(annotation: Path) -> list[Cell]:
    """Read all boxes called ``WBC`` in a Pascal VOC file.

    Args:
        annotation: ``Annotations/BloodImage_NNNNN.xml``, boxes in pixels of the 640x480 micrograph.

    Returns:
        The boxes in pixels of the copies; none if there is no file.

    Raises:
        InputError: If it is no such file, or a box has no area.
    """
    if not annotation.is_file():
        return []
    boxes = []
    with holding(str(annotation), "boxes of cells, as Pascal VOC writes them", "put it back as published"):
        for found in _parsed(annotation).iter("object"):
            if found.findtext("name") == "WBC" and (box := found.find("bndbox")) is not None:
                edges = [float(box.findtext(key) or "nan") / 2 for key in ("xmin", "ymin", "xmax", "ymax")]
                left, top, right, bottom = edges
                if not (left < right < math.inf and top < bottom < math.inf):
                    raise ValueError(f"edges {edges}")
                boxes.append(Cell((left + right) / 2, (top + bottom) / 2, right - left, bottom - top))
    return boxes


def _parsed(annotation: Path) -> ElementTree.Element:
    try:
        return ElementTree.fromstring(read_text(annotation))
    except ElementTree.ParseError as error:
        raise ValueError(str(error)) from error


def as_copy(image: Image.Image) -> Image.Image:
    """Reduce a photograph as the published copies were reduced.

    Of the reductions that were compared with TEST_SIMPLE (71 micrographs that were only reduced), Pillow's
    bilinear one followed by ``x * 255 / max(x)``, which Keras' ``array_to_img`` does, comes closest: 2.6 grey
    values of mean difference, JPEG's noise included.

    Args:
        image: RGB, 640x480.

    Returns:
        RGB, 320x240, its brightest value 255.
    """
    height, width = COPY_SIZE
    return brightened(image.convert("RGB").resize((width, height), Image.Resampling.BILINEAR))


def brightened(image: Image.Image) -> Image.Image:
    """Scale an image so that its brightest value is 255, as those of the published copies are."""
    values = np.asarray(image, dtype=np.float32)
    return Image.fromarray((values * (255.0 / max(values.max(), 1.0))).astype(np.uint8))


def open_micrograph(path: Path) -> Pixels:
    """Read a photograph and reduce it; uint8, shape (240, 320, 3).

    Raises:
        InputError: If it cannot be decoded.
    """
    return np.asarray(as_copy(open_picture(path)))
