"""Crops of all sets at one scale, on disk, with a table: what the nets of this study learn from and are tested on."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from PIL import Image

from bloodcell.common.console import progress_bar
from bloodcell.common.errors import InputError, holding, printable
from bloodcell.common.files import read_csv, read_json, replacing, write_csv, write_json
from bloodcell.data.micrographs import Pixels
from bloodcell.evidence.intervals import Ints, Strings
from bloodcell.studies.transfer.scale import red_cell_width
from bloodcell.studies.transfer.sets import FoundSet, check_name
from bloodcell.studies.transfer.stain import COLOURS

if TYPE_CHECKING:
    from bloodcell.data.index import Index

ACROSS = 3.0  # red cells side by side in a crop: 280 pixels of the photographs
SIDE = 128  # pixels of a crop on disk; a net may take fewer
VERSION = 1  # to be raised whenever the same images may give other crops
HEADER = ["crop", "file", "photograph", "class", "group", "fold"]


class CutSet(NamedTuple):
    """The crops of a set.

    Attributes:
        name: What it is called.
        classes: The shared classes.
        crop: Path of each crop below the folder of its colours, as all columns shape (N,).
        file: Path of its image below the root of its data.
        photograph: Name of its photograph; ``""`` where it is not known.
        label: Class numbers, int64.
        group: What belongs together, ``SET GROUP``; the cell itself where groups are not known.
        fold: Fold that each is tested in, int64.
        digest: Hash of all that its crops depend on.
        red_cell: How wide its red cells are, in pixels of its images.
        said: What is left out of it, or read under another name.
    """

    name: str
    classes: tuple[str, ...]
    crop: Strings
    file: Strings
    photograph: Strings
    label: Ints
    group: Strings
    fold: Ints
    digest: str
    red_cell: float
    said: str

    def __len__(self) -> int:
        """Count its cells."""
        return len(self.crop)


def cut_crops(sets: Sequence[FoundSet], widths: Mapping[str, float], out: Path) -> None:
    """Cut out every cell of every set, three red cells wide, unless that was done before.

    Args:
        sets: The sets.
        widths: How wide red cells are, in pixels, by set; measured where it is not said.
        out: Folder for ``COLOURS/SET/CLASS/NUMBER.jpg``, and of each set ``SET.csv`` and ``SET.json``.
    """
    with progress_bar() as progress:
        task = progress.add_task("cutting out cells", total=sum(len(one.index) for one in sets))
        for one in sets:
            about = out / f"{one.name}.json"
            wanted = _digest(one, widths.get(one.name))
            if about.is_file() and read_json(about).get("of") == wanted:
                progress.advance(task, len(one.index))
                continue
            width = widths.get(one.name) or red_cell_width(_spread(one.index), one.name)
            with ThreadPoolExecutor() as pool:
                jobs = [pool.submit(_cut, one, row, width, out) for row in range(len(one.index))]
                for job in jobs:
                    job.result()
                    progress.advance(task)
            write_csv(out / f"{one.name}.csv", HEADER, _lines(one))
            write_json(about, {"of": wanted, "classes": list(one.index.classes), "red_cell": width, "said": one.said})


def read_crops(folder: Path) -> list[CutSet]:
    """Read what was cut out; the images that it was cut from need not be there.

    Raises:
        InputError: If that is not two sets or more of the same classes.
    """
    names = sorted(path.stem for path in folder.glob("*.json"))
    sets = [_read(folder, check_name(name)) for name in names]
    if len(sets) < 2 or len({one.classes for one in sets}) > 1:
        raise InputError(
            str(folder),
            expected="crops of two sets or more, of the same classes",
            got=f"{len(sets)} sets",
            fix="check it",
        )
    return sets


def _read(folder: Path, name: str) -> CutSet:
    about, rows = read_json(folder / f"{name}.json"), read_csv(folder / f"{name}.csv")
    if not rows:
        raise InputError(str(folder / f"{name}.csv"), expected="cells", got="none", fix="cut the set again")
    with holding(str(folder / f"{name}.csv"), "what make transfer has cut out", "cut the set again"):
        crop, source, photograph, kind, group, fold = (np.array([row[key] for row in rows]) for key in HEADER)
        classes = tuple(str(one) for one in about["classes"])
        label = np.array([classes.index(one) for one in kind], dtype=np.int64)
        columns = (crop, source, photograph, label, group, fold.astype(np.int64))
        if any(PurePosixPath(one).is_absolute() or ".." in PurePosixPath(one).parts for one in crop.tolist()):
            raise ValueError("a crop that lies elsewhere")
        said = printable(str(about["said"]))
        return CutSet(name, classes, *columns, str(about["of"]), float(about["red_cell"]), said)


def _lines(one: FoundSet) -> Iterator[list[str]]:
    index = one.index
    columns = (index.file, index.micrograph, index.group, one.fold, index.label)
    for row, (file, photograph, group, fold, label) in enumerate(
        zip(*(part.tolist() for part in columns), strict=True)
    ):
        yield [_crop_file(one, row), file, photograph, index.classes[label], f"{one.name} {group}", str(fold)]


def _crop_file(one: FoundSet, row: int) -> str:
    return f"{one.name}/{one.index.classes[one.index.label[row]]}/{row:05d}.jpg"


def _digest(one: FoundSet, width: float | None) -> str:
    """Hash all that the crops of a set depend on."""
    digests = one.index.digests
    known = zip(one.index.file.tolist(), one.index.label.tolist(), one.index.group.tolist(), strict=True)
    lines = [f"{digests[file]} {file} {label} {group}" for file, label, group in known]
    return hashlib.sha256(
        "\n".join([*lines, str(one.crop), *one.index.classes, f"{VERSION} {ACROSS} {SIDE} {width}"]).encode()
    ).hexdigest()


def _spread(index: "Index") -> Iterator[Pixels]:
    """The images in an order that takes some of each part of the set first."""
    rows = np.random.default_rng(0).permutation(len(index))
    return (_field(index, row) for row in rows.tolist())


def _cut(one: FoundSet, row: int, width: float, out: Path) -> None:
    from bloodcell.data.crops.cut import background_of, crop_cell

    field = _field(one.index, row)
    crop = crop_cell(field, one.crop.place(field, one.index.cell[row].tolist()), max(1, round(ACROSS * width)))
    small = np.asarray(Image.fromarray(crop).resize((SIDE, SIDE), Image.Resampling.LANCZOS))
    for name, colours in COLOURS.items():
        with replacing(out / name / _crop_file(one, row)) as file:
            picture = Image.fromarray(colours(small, background_of(field)))
            picture.save(file, "jpeg", quality=90, subsampling=0)


def _field(index: "Index", row: int) -> Pixels:
    from bloodcell.data.decode import open_picture

    return np.asarray(open_picture(index.where(row)))
