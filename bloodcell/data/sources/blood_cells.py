"""TODO data/sources/blood_cells.py."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from bloodcell.common.errors import InputError
from bloodcell.data.index import Index, index_folders
from bloodcell.data.kaggle import originals_of
from bloodcell.data.lineage_table import Lineage
from bloodcell.data.micrographs import COPY_SIZE


def index_blood_cells(images: Path, lineage: Lineage) -> Index:
    """Index the Kaggle set with a row per view: the copies of TRAIN and TEST, TEST_SIMPLE, and the originals.

    Args:
        images: The folder that holds ``TRAIN`` and ``TEST``.
        lineage: Which photograph and field group each image belongs to; files that it does not know stay without.

    Returns:
        The index; first the copies, then the reductions if they are there, then the micrographs that the copies
        were made from if ``dataset-master`` is there.

    Raises:
        InputError: As ``index_folders``, and if some but not all of these micrographs are there.
    """
    twins = index_folders(images, ["TRAIN", "TEST"])
    parts = [_with_lineage(replace(twins, view=np.full(len(twins), "twin")), lineage)]
    if (images / "TEST_SIMPLE").is_dir():
        simple = index_folders(images, ["TEST_SIMPLE"])
        if simple.classes == twins.classes:
            parts.append(_with_lineage(replace(simple, view=np.full(len(simple), "simple")), lineage))
    if originals_of(images).is_dir():
        parts.append(_originals(parts[0], lineage))
    columns = ("file", "label", "subset", "micrograph", "group", "view", "cell")
    return Index(images, twins.classes, *(np.concatenate([getattr(one, name) for one in parts]) for name in columns))


def _with_lineage(index: Index, lineage: Lineage) -> Index:
    rows = [lineage.images.get(str(file)) for file in index.file]
    height, width = COPY_SIZE
    return replace(
        index,
        micrograph=np.array([row.micrograph if row else "" for row in rows]),
        group=np.array([row.group if row else "" for row in rows]),
        cell=np.array([(row.cell_x / width, row.cell_y / height) if row else (np.nan, np.nan) for row in rows]),
    )


def _originals(twins: Index, lineage: Lineage) -> Index:
    """The micrographs that the copies were made from, in numerical order."""
    found = sorted(set(twins.micrograph.tolist()) - {""}, key=int)
    rows = [lineage.micrographs[name] for name in found]
    height, width = COPY_SIZE
    originals = Index(
        twins.root,
        twins.classes,
        np.array([f"ORIGINAL/{row.label}/BloodImage_{int(row.micrograph):05d}.jpg" for row in rows], dtype=str),
        np.array([twins.classes.index(row.label) for row in rows], dtype=np.int64),
        np.array([row.subset for row in rows], dtype=str),
        np.array(found, dtype=str),
        np.array([row.group for row in rows], dtype=str),
        np.full(len(rows), "original"),
        np.array([(row.cell_x / width, row.cell_y / height) for row in rows]).reshape(-1, 2),
    )
    for row in range(len(originals)):
        if not originals.path(row).is_file():
            raise InputError(
                str(originals.path(row)),
                expected="the original micrograph that published copies were made from",
                got="no such file",
                fix="get the complete set again (`make data`)",
            )
    return originals
