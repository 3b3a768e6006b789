"""Copies among images whose lineage nobody knows: the same bytes, the same picture flipped, or registered."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from importlib.util import find_spec

import numpy as np
import numpy.typing as npt
from PIL import Image

from bloodcell.data.index import Index, IntArray
from bloodcell.data.inspection import Look

# Bits of 64 that may differ between the perceptual hashes of one picture saved twice. Blood smears are alike: where
# pixels can be registered, they decide.
MOST_BITS = 4
# Images compared by their pixels: the nearest in colour. A rotated, shifted copy keeps its colours.
NEIGHBOURS = 3
# Points an image; 12,000 images with 150 points of 128 bytes are 230 MB.
POINTS = 150
# Height that images are reduced to before they are registered.
HEIGHT = 240
LEAST_COVERAGE = 0.5
LEAST_CORRELATION = 0.9
CHUNK = 512

Pair = tuple[int, int]


def same_bytes(looks: Sequence[Look]) -> list[list[int]]:
    """Positions of files with the same bytes, where there are at least two."""
    found: dict[str, list[int]] = defaultdict(list)
    for position, look in enumerate(looks):
        found[look.sha256].append(position)
    return [same for same in found.values() if len(same) > 1]


def same_picture(looks: Sequence[Look]) -> list[Pair]:
    """Pairs whose perceptual hashes nearly agree, one of them flipped or turned by quarters or as it is.

    Args:
        looks: Of all images; those that cannot be decoded are left out.

    Returns:
        Positions, the smaller first; without pairs of the same bytes.
    """
    whole = np.array([position for position, look in enumerate(looks) if not look.error], dtype=np.int64)
    if not len(whole):
        return []
    plain = np.array([looks[position].hashes[0] for position in whole])
    turned = np.stack([looks[position].hashes for position in whole])
    found: set[Pair] = set()
    for start in range(0, len(whole), CHUNK):
        for turn in range(turned.shape[1]):
            apart = np.bitwise_count(plain[start : start + CHUNK, None] ^ turned[None, :, turn])
            for one, other in zip(*np.nonzero(apart <= MOST_BITS), strict=True):
                first, second = int(whole[start + one]), int(whole[other])
                if first < second and looks[first].sha256 != looks[second].sha256:
                    found.add((first, second))
    return sorted(found)


def can_register() -> bool:
    """Whether OpenCV is there, which rotated and sheared copies are found with."""
    return find_spec("cv2") is not None


def registered(
    index: Index, rows: IntArray, pairs: Sequence[Pair], workers: int, seen: Callable[[], None]
) -> list[Pair]:
    """Those pairs whose pixels agree once one is rotated, sheared, shifted or mirrored onto the other.

    Args:
        index: The table of images.
        rows: The rows that were looked at.
        pairs: Positions, from :func:`same_picture` and :func:`candidates`.
        workers: Threads.
        seen: Called once for each position in the pairs, and once for each that is first in one.

    Returns:
        The pairs that agree.
    """
    from bloodcell.data import registration as reg

    def read(position: int) -> npt.NDArray[np.uint8]:
        with Image.open(index.path(int(rows[position]))) as image:
            rgb = image.convert("RGB")
        return np.asarray(rgb.resize((max(16, round(rgb.width * HEIGHT / rgb.height)), HEIGHT), Image.Resampling.BOX))

    def features(image: npt.NDArray[np.uint8]) -> reg.Features:
        found = reg.features(image, reg.content_mask(image), POINTS)
        return found._replace(descriptors=found.descriptors.astype(np.float16))  # half the memory, the same matches

    def agree(one: npt.NDArray[np.uint8], transform: npt.NDArray[np.float64], other: npt.NDArray[np.uint8]) -> bool:
        grey, mask = reg.smooth_grey(other), reg.content_mask(other)
        correlation, coverage = reg.agreement(reg.smooth_grey(one), grey, mask, transform)
        return coverage >= LEAST_COVERAGE and correlation >= LEAST_CORRELATION

    def confirm(first: int) -> list[Pair]:
        image = read(first)
        mirrored = np.ascontiguousarray(image[:, ::-1])
        sides = ((image, known[first]), (mirrored, features(mirrored)))
        found = []
        for second in partners[first]:
            for side, mine in sides:
                inliers, transform = reg.match(_single(mine), _single(known[second]))
                if transform is not None and inliers >= reg.LEAST_INLIERS and agree(side, transform, read(second)):
                    found.append((first, second))
                    break
        return found

    def _single(one: reg.Features) -> reg.Features:
        return one._replace(descriptors=one.descriptors.astype(np.float32))

    partners: dict[int, list[int]] = defaultdict(list)
    for first, second in pairs:
        partners[first].append(second)
    every = sorted({position for pair in pairs for position in pair})
    known = dict(zip(every, reg.in_threads(lambda one: features(read(one)), every, workers, seen), strict=True))
    done = reg.in_threads(confirm, list(partners), workers, seen)
    return [pair for found in done for pair in found]


def candidates(looks: Sequence[Look]) -> list[Pair]:
    """Each image with its nearest in colour.

    Args:
        looks: Of all images; those that cannot be decoded are left out.

    Returns:
        Pairs of positions, the smaller first, each once, sorted.
    """
    whole = np.array([position for position, look in enumerate(looks) if not look.error], dtype=np.int64)
    if len(whole) < 2:
        return []
    colours = np.stack([looks[position].histogram for position in whole])
    found: set[Pair] = set()
    for start in range(0, len(whole), CHUNK):
        nearness = colours[start : start + CHUNK] @ colours.T
        nearness[np.arange(len(nearness)), start + np.arange(len(nearness))] = -1
        nearest = np.argpartition(-nearness, min(NEIGHBOURS, len(whole) - 2), axis=1)[:, :NEIGHBOURS]
        for one, others in enumerate(nearest):
            first = int(whole[start + one])
            found |= {(min(first, int(whole[other])), max(first, int(whole[other]))) for other in others}
    return sorted(found)
