"""TODO tracking/predictions.py."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from bloodcell.common.errors import InputError
from bloodcell.common.files import read_csv


class Answers(NamedTuple):
    """What a model says of each test image, by file.

    Attributes:
        truth: Class of each file.
        said: Predicted class of each file.
        group: Field group of each file.
        micrograph: Photograph of each file; ``""`` where it is not known.
    """

    truth: dict[str, str]
    said: dict[str, str]
    group: dict[str, str]
    micrograph: dict[str, str]


def read_answers(folder: Path) -> Answers:
    """Read the predictions of a run, or of all runs below a folder.

    Raises:
        InputError: If there are none, or two runs tested the same image.
    """
    paths = sorted(path for path in folder.rglob("predictions.csv") if "evaluations" not in path.parts)
    rows = [row for path in paths for row in read_csv(path)]
    if not rows:
        raise InputError(
            str(folder), expected="a run, or a folder of runs, with predictions.csv", got="none", fix="check the path"
        )
    views = {row["view"] for row in rows}
    rows = [row for row in rows if row["view"] == ("original" if "original" in views else rows[0]["view"])]
    if len({row["file"] for row in rows}) < len(rows):
        raise InputError(
            str(folder),
            expected="each image tested once, as the folds of one model are",
            got=f"{len(rows):,} answers from {len(paths)} runs, some on the same image",
            fix="give the folds of one seed",
        )
    columns = ("class", "predicted", "group", "micrograph")
    return Answers(*({row["file"]: row[column] for row in rows} for column in columns))


class Predictions(NamedTuple):
    """What a net says of some images.

    Attributes:
        rows: Rows of the index, int64, shape (N,).
        probabilities: float64, shape (N, classes).
    """

    rows: npt.NDArray[np.int64]
    probabilities: npt.NDArray[np.float64]
