"""Copies among images whose lineage nobody knows: the same bytes, the same picture flipped, or registered."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from bloodcell.data.decode import open_picture
from bloodcell.data.groups import groups
from bloodcell.data.index import Index, IntArray, StrArray
from bloodcell.studies.audit.inspection import Look

# Bits of 64 that may differ between the perceptual hashes of one picture saved twice. Blood smears are alike: where
# pixels can be registered, they decide.
MOST_BITS = 4
# Images compared by their pixels: the nearest in colour. A rotated, shifted copy keeps its colours.
NEIGHBOURS = 3
# Points an image; as bytes, 12,000 images with 150 points of 128 are 230 MB.
POINTS = 150
# Height that images are reduced to before they are registered.
HEIGHT = 240
LEAST_COVERAGE = 0.5
LEAST_CORRELATION = 0.9
CHUNK = 512

Pair = tuple[int, int]
# Points of an image, float32, shape (n, 2), and their RootSIFT descriptors in steps of 1/255, uint8, shape (n, 128).
Packed = tuple[npt.NDArray[np.float32], npt.NDArray[np.uint8]]
# Told what comes next and how many steps it has; gives what is to be called after each step.
Steps = Callable[[str, int], Callable[[], None]]


def same_bytes(looks: Sequence[Look]) -> list[list[int]]:
    """List the positions of files with the same bytes, where there are at least two."""
    found: dict[str, list[int]] = defaultdict(list)
    for position, look in enumerate(looks):
        found[look.sha256].append(position)
    return [same for same in found.values() if len(same) > 1]


def same_picture(looks: Sequence[Look], asked: IntArray) -> list[Pair]:
    """Find pairs whose perceptual hashes nearly agree, one as it is, flipped or turned by quarters.

    Args:
        looks: Of all images; those that cannot be decoded are left out.
        asked: Positions, int64; one of each pair is among them.

    Returns:
        Positions, the smaller first, sorted; without pairs of the same bytes.
    """
    whole, asked = _whole(looks, asked)
    if not len(asked):
        return []
    turned = np.stack([looks[position].hashes for position in whole])
    found: set[Pair] = set()
    for start in range(0, len(asked), CHUNK):
        part = asked[start : start + CHUNK]
        plain = np.array([looks[position].hashes[0] for position in part])
        for turn in range(turned.shape[1]):
            apart = np.bitwise_count(plain[:, None] ^ turned[None, :, turn])
            for one, other in zip(*np.nonzero(apart <= MOST_BITS), strict=True):
                first, second = sorted((int(part[one]), int(whole[other])))
                if looks[first].sha256 != looks[second].sha256:
                    found.add((first, second))
    return sorted(found)


def nearest(looks: Sequence[Look], asked: IntArray, number: int, group: StrArray) -> list[Pair]:
    """Pair images with those nearest in colour that are not in their group.

    Args:
        looks: Of all images; those that cannot be decoded are left out.
        asked: Positions, int64.
        number: How many for each.
        group: Group of each image.

    Returns:
        Pairs of positions, the smaller first, each once, sorted.
    """
    whole, asked = _whole(looks, asked)
    names = group[whole]
    blocks = [whole[start : start + CHUNK] for start in range(0, len(whole), CHUNK)]
    found: set[Pair] = set()
    for start in range(0, len(asked), CHUNK):
        part = asked[start : start + CHUNK]
        mine = _colours(looks, part)
        near = np.concatenate([mine @ _colours(looks, block).T for block in blocks], axis=1)
        near[names[None] == group[part][:, None]] = -1
        best = (
            np.argsort(-near, axis=1)[:, :number]
            if near.shape[1] <= number
            else (np.argpartition(-near, number - 1, axis=1)[:, :number])
        )
        for row, others in enumerate(best):
            first = int(part[row])
            found |= {(min(first, int(whole[o])), max(first, int(whole[o]))) for o in others if near[row, o] >= 0}
    return sorted(found)


def _whole(looks: Sequence[Look], asked: IntArray) -> tuple[IntArray, IntArray]:
    """Positions of the images that can be decoded, and those of them that are asked about."""
    whole = np.array([position for position, look in enumerate(looks) if not look.error], dtype=np.int64)
    return whole, np.intersect1d(asked, whole)


def _colours(looks: Sequence[Look], positions: IntArray) -> npt.NDArray[np.float32]:
    return np.stack([looks[position].histogram for position in positions]).astype(np.float32)


def can_register() -> bool:
    """Tell whether OpenCV is there, which finds rotated and sheared copies."""
    return find_spec("cv2") is not None


def joined(named: StrArray, looks: Sequence[Look], pairs: Sequence[Pair]) -> StrArray:
    """Group images that have one name, the same bytes, or were found to be copies, directly or through others.

    Args:
        named: Group of each image that is known beforehand; ``""`` where none is.
        looks: Of all images.
        pairs: Positions of copies.

    Returns:
        Group of each image: ``named NAME`` if a name is known, else the position of its first image.
    """
    first: dict[str, int] = {}
    links = [(first.setdefault(str(name), number), number) for number, name in enumerate(named) if name]
    links += [(same[0], other) for same in same_bytes(looks) for other in same[1:]]
    names = [str(number) for number in range(len(looks))]
    found = groups(names, [(str(one), str(other)) for one, other in (*links, *pairs)])
    known = {found[str(number)]: f"named {name}" for number, name in enumerate(named) if name}
    return np.array([known.get(found[name], found[name]) for name in names], dtype=str)


def copies(
    index: Index, rows: IntArray, looks: Sequence[Look], asked: IntArray, workers: int, steps: Steps
) -> list[Pair]:
    """Find pairs of images that are copies of one picture though their bytes differ.

    With OpenCV the pixels decide: each image is registered to those nearest in colour and in perceptual hash, and
    once more to the nearest outside the group that was found, which joins the parts of a group. Without, only
    flips and quarter turns are found, by their hashes.

    Args:
        index: The table of images.
        rows: The rows that were looked at.
        looks: Of each.
        asked: Positions whose copies are not known; one of each pair is among them.
        workers: Threads.
        steps: Progress.

    Returns:
        Positions, the smaller first, sorted.
    """
    near = same_picture(looks, asked)
    if not can_register():
        return near
    known: dict[int, Packed] = {}
    nameless = np.full(len(looks), "")
    alone = joined(nameless, looks, [])
    near = sorted({*near, *nearest(looks, asked, NEIGHBOURS, alone)})
    found = _registered(index, rows, near, known, workers, steps)
    again = set(nearest(looks, asked, 1, joined(nameless, looks, found))) - set(near)
    return sorted({*found, *_registered(index, rows, sorted(again), known, workers, steps)})


def _registered(
    index: Index, rows: IntArray, pairs: Sequence[Pair], known: dict[int, Packed], workers: int, steps: Steps
) -> list[Pair]:
    """Those pairs whose pixels agree once one is rotated, sheared, shifted or mirrored onto the other."""
    from bloodcell.studies.lineage import registration as reg

    def read(position: int) -> npt.NDArray[np.uint8]:
        return _reduced(index.where(int(rows[position])))

    def features(image: npt.NDArray[np.uint8]) -> reg.Features:
        return reg.features(image, reg.content_mask(image), POINTS)

    def packed(position: int) -> Packed:
        found = features(read(position))
        return found.points, np.round(found.descriptors * 255).astype(np.uint8)

    def unpacked(position: int) -> reg.Features:
        points, descriptors = known[position]
        return reg.Features(points, descriptors.astype(np.float32) / np.float32(255), np.zeros_like(points))

    def agree(one: npt.NDArray[np.uint8], transform: npt.NDArray[np.float64], other: npt.NDArray[np.uint8]) -> bool:
        grey, mask = reg.smooth_grey(other), reg.content_mask(other)
        correlation, coverage = reg.agreement(reg.smooth_grey(one), grey, mask, transform)
        return coverage >= LEAST_COVERAGE and correlation >= LEAST_CORRELATION

    def fits(side: npt.NDArray[np.uint8], mine: reg.Features, second: int) -> bool:
        inliers, transform = reg.match(mine, unpacked(second))
        return transform is not None and inliers >= reg.LEAST_INLIERS and agree(side, transform, read(second))

    def confirm(first: int) -> list[Pair]:
        image = read(first)
        mirrored = np.ascontiguousarray(image[:, ::-1])
        sides = ((image, unpacked(first)), (mirrored, features(mirrored)))
        return [(first, second) for second in partners[first] if any(fits(*side, second) for side in sides)]

    partners: dict[int, list[int]] = defaultdict(list)
    for first, second in pairs:
        partners[first].append(second)
    new = sorted({position for pair in pairs for position in pair} - known.keys())
    seen = steps("finding points", len(new))
    known.update(zip(new, reg.in_threads(packed, new, workers, seen), strict=True))
    done = reg.in_threads(confirm, list(partners), workers, steps("registering", len(partners)))
    return [pair for found in done for pair in found]


def _reduced(path: Path) -> npt.NDArray[np.uint8]:
    """An image, RGB, of the height that images are registered at."""
    rgb = open_picture(path)
    return np.asarray(rgb.resize((max(16, round(rgb.width * HEIGHT / rgb.height)), HEIGHT), Image.Resampling.BOX))
