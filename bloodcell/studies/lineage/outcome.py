"""What a lineage says, and whether images on disk are those of it."""

from collections.abc import Mapping
from pathlib import Path

from bloodcell.common.errors import InputError
from bloodcell.data.fingerprint import digests
from bloodcell.data.kaggle import originals_of
from bloodcell.data.lineage_table import (
    SHIPPED,
    FieldPair,
    Lineage,
    across_split,
    check_hashes,
    conflicts,
    read_lineage,
)
from bloodcell.data.micrographs import micrograph_files


def lineage_outcome(lineage: Lineage) -> dict[str, object]:
    """Count what the recovered tables say, and how they agree with what they were not told.

    Classes and splits were not used to place an image, so both are independent checks.
    """
    rows, published = list(lineage.images.values()), lineage.published
    placed = [row for row in rows if row.micrograph]
    label = {name: row.label for name, row in lineage.micrographs.items()}
    subset = {name: row.subset for name, row in lineage.micrographs.items()}
    simple = [row for row in placed if row.subset == "TEST_SIMPLE"]
    return {
        "images": len(rows),
        "placed": len(placed),
        "unplaced": [row.file for row in rows if not row.micrograph],
        "other class than its micrograph": [row.file for row in placed if label[row.micrograph] != row.label],
        "other side than its micrograph": [
            row.file for row in placed if subset[row.micrograph] != row.subset.removesuffix("_SIMPLE")
        ],
        "TEST_SIMPLE": {"files": len(simple), "micrographs": len({row.micrograph for row in simple})},
        "micrographs with copies": {
            side: len({row.micrograph for row in placed if row.subset == side}) for side in ("TRAIN", "TEST")
        },
        "least inliers": min((row.inliers for row in placed), default=0),
        "least correlation": min((row.correlation for row in placed), default=0.0),
        "white cell less than half inside": sum(row.cell_inside < 0.5 for row in rows),
        "field pairs": len(lineage.pairs),
        "found by both searches": sum(bool(pair.points and pair.evidence) for pair in lineage.pairs),
        "found by points alone": [_name(pair) for pair in lineage.pairs if not pair.evidence],
        "found by correlation alone": [_name(pair) for pair in lineage.pairs if not pair.points],
        "groups of all micrographs": len({row.group for row in lineage.micrographs.values()}),
        "groups of micrographs with copies": len({row.group for row in published.values()}),
        "pairs across TRAIN and TEST": [_name(pair) for pair in across_split(lineage)],
        "one cell with two labels": [_name(pair) for pair in conflicts(lineage)],
    }


def _name(pair: FieldPair) -> str:
    return f"{pair.first}/{pair.second}"


def print_outcome(said: Mapping[str, object]) -> None:
    """Print what ``lineage_outcome`` counted, a line each."""
    width = max(map(len, said))
    for name, value in said.items():
        text = (
            (f"{len(value)}: " if value else "none") + " ".join(value[:12]) if isinstance(value, list) else str(value)
        )
        print(f"{name:{width}}  {text}")


def check_images(images: Path, tables: Path = SHIPPED) -> tuple[int, int]:
    """Compare the images on disk with the table, by name and SHA-256.

    Returns:
        Number of images and number of originals compared; no originals if their folder is missing.

    Raises:
        InputError: If an image is missing, or its bytes differ.
    """
    lineage = read_lineage(tables)
    missing = [file for file in lineage.images if not (images / file).is_file()]
    if missing:
        raise InputError(
            str(images / missing[0]),
            expected="an image of the lineage table",
            got="no such file" + (f" ({len(missing):,} are missing)" if len(missing) > 1 else ""),
            fix="get the complete set again (`make data`)",
        )
    found = digests(lineage.images, images)
    folder = originals_of(images)
    originals: dict[str, str] = {}
    if folder.is_dir():  # training on copies does not need them, so they may be missing altogether
        originals = digests([path.name for path in micrograph_files(folder).values()], folder)
    check_hashes(found | {f"ORIGINAL/{name}": digest for name, digest in originals.items()}, lineage)
    return len(found), len(originals)
