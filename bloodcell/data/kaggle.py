"""The Kaggle set as it lies on disk: its folders, its counts, and where it is looked for."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from bloodcell.common.env import DATA, cache_dir, path_of
from bloodcell.common.errors import InputError

HANDLE = "paultimothymooney/blood-cells"


PAGE = f"https://www.kaggle.com/datasets/{HANDLE}"


BY_HAND = (
    f"download it by hand from {PAGE}, then type `make data FROM=/path/to/archive.zip` "
    "or set BLOODCELL_DATA=/path/to/folder"
)


NAME = "blood-cells"


IMAGES = "dataset2-master/dataset2-master/images"


ORIGINALS = "dataset-master/dataset-master/JPEGImages"


SUBSETS = ("TRAIN", "TEST", "TEST_SIMPLE")


CLASSES = ("EOSINOPHIL", "LYMPHOCYTE", "MONOCYTE", "NEUTROPHIL")


SUFFIXES = frozenset({".jpeg", ".jpg", ".png"})


@dataclass(frozen=True)
class Known:
    """What a complete set is known to hold.

    Attributes:
        counts: Images in each ``SUBSET/CLASS``.
        originals: Micrographs in ``dataset-master/dataset-master/JPEGImages``.
        fingerprint: :func:`fingerprint` of all images in ``counts``.
    """

    counts: Mapping[str, int]
    originals: int
    fingerprint: str


# The fingerprint is of the files in the two upstream repositories that the Kaggle set was made from.
# Nobody has compared Kaggle's own files byte by byte, so another fingerprint is a note and no error.
KAGGLE = Known(
    counts={
        f"{subset}/{name}": number
        for subset, numbers in zip(
            SUBSETS, ((2497, 2483, 2478, 2499), (623, 620, 620, 624), (13, 6, 4, 48)), strict=True
        )
        for name, number in zip(CLASSES, numbers, strict=True)
    },
    originals=367,
    fingerprint="c77b3c043a09aa5647509232a18f7aa3252b4282eef43faca9943e6b965e1d40",
)


def find_images(root: Path) -> Path:
    """Find the folder that holds ``TRAIN`` and ``TEST``.

    Args:
        root: The Kaggle root, ``dataset2-master`` (either one), or ``images`` itself.

    Returns:
        The ``images`` folder.

    Raises:
        InputError: If it is at none of these places.
    """
    return _require_images(root, str(root))


def locate(root: str | Path | None) -> Path | None:
    """Look for the real set: the given root, else ``BLOODCELL_DATA``, else the cache.

    Args:
        root: What the user named, any folder that :func:`find_images` takes; ``None`` for nothing.

    Returns:
        The first of them that is there; ``None`` if nothing was named and the cache has no set.

    Raises:
        InputError: If a named place, or what stands in the cache, does not hold the images: a set that
            the user believes to be in use is never silently passed over.
    """
    variable = os.environ.get(DATA)
    cached = cache_dir() / NAME
    if root:
        place, where = path_of(root), f"data.root={root}"
    elif variable:
        place, where = path_of(variable), f"BLOODCELL_DATA={variable}"
    elif cached.exists() or cached.is_symlink():  # a dangling link does not "exist"
        place, where = cached, str(cached)
    else:
        return None
    _require_images(place, where)
    return place


def count_images(images: Path, known: Known, where: str) -> dict[str, int]:
    """Count the images of each ``SUBSET/CLASS``.

    Args:
        images: The folder from :func:`find_images`.
        known: What a complete set holds.
        where: How to name the set in an error.

    Returns:
        The counts; they are the known ones.

    Raises:
        InputError: Naming each folder with another count, and the originals if some but not all are there.
    """
    places = {folder: images / folder for folder in known.counts}
    wanted = dict(known.counts)
    originals = originals_of(images)
    if originals.is_dir():  # training does not need them, so they may be missing altogether
        places["JPEGImages"], wanted["JPEGImages"] = originals, known.originals
    counts = {folder: len(images_in(place)) for folder, place in places.items()}
    wrong = [folder for folder in wanted if counts[folder] != wanted[folder]]
    if wrong:
        raise InputError(
            where,
            expected=", ".join(f"{wanted[folder]} images in {folder}" for folder in wrong),
            got=", ".join(_amount(counts[folder], places[folder]) for folder in wrong),
            fix=f"get the complete set: {BY_HAND}",
        )
    return {folder: counts[folder] for folder in known.counts}


def _images_below(root: Path) -> Path | None:
    for below in ("", "images", "dataset2-master/images", IMAGES):
        images = root / below
        if (images / "TRAIN").is_dir() and (images / "TEST").is_dir():
            return images
    return None


def _require_images(root: Path, where: str) -> Path:
    images = _images_below(root)
    if images is None:
        looked = "no TRAIN and TEST there, in images, in dataset2-master/images or in " + IMAGES
        missing = f"a link to {root.readlink()}, which is gone" if root.is_symlink() else "no such folder"
        raise InputError(
            where,
            expected=f"the folder of the Kaggle set {HANDLE}",
            got=looked if root.is_dir() else "a file" if root.is_file() else missing,
            fix=f"correct the path, or {BY_HAND}",
        )
    return images


def images_in(folder: Path) -> list[Path]:
    """List the images of one folder, without the ``._name`` companions that macOS leaves in archives."""
    if not folder.is_dir():
        return []
    return [path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES and path.name[0] != "."]


def originals_of(images: Path) -> Path:
    """Return the folder of the photographs, if ``images`` stands where Kaggle's tree has it."""
    above = images.absolute().parents
    return above[min(2, len(above) - 1)] / ORIGINALS


def _amount(number: int, folder: Path) -> str:
    return str(number) if folder.is_dir() else "no such folder"
