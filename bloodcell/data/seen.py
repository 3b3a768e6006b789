"""What weights have seen: images and groups that they were trained or chosen on, known by content wherever they lie."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch

from bloodcell.data.lineage_table import Lineage, read_lineage

if TYPE_CHECKING:
    from bloodcell.data.datamodule import CellImages

IntArray = npt.NDArray[np.int64]

UNKNOWN = 0  # of the group of an image


@dataclass(frozen=True)
class Seen:
    """Identities of images and of groups, int64, sorted, each once: the first 64 bits of SHA-256.

    Attributes:
        images: Of the bytes of the files.
        groups: Of the field groups, or of the groups that a user named.
    """

    images: IntArray
    groups: IntArray

    def __or__(self, other: "Seen") -> "Seen":
        """Join what two have seen."""
        return Seen(np.union1d(self.images, other.images), np.union1d(self.groups, other.groups))

    def __eq__(self, other: object) -> bool:
        """Whether both have seen the same."""
        both = isinstance(other, Seen) and np.array_equal(self.images, other.images)
        return both and isinstance(other, Seen) and np.array_equal(self.groups, other.groups)

    def tensors(self) -> dict[str, torch.Tensor]:
        """Give what a checkpoint carries."""
        return {"images": torch.from_numpy(self.images), "groups": torch.from_numpy(self.groups)}


NOTHING = Seen(np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64))


def seen_in(checkpoint: Mapping[str, Any]) -> Seen | None:
    """Read what the weights in a checkpoint have seen; ``None`` where it does not say (before version 0.2)."""
    found = checkpoint.get("seen")
    if not isinstance(found, dict):
        return None
    return remembered(*(found[name].numpy().astype(np.int64) for name in ("images", "groups")))


def remembered(images: IntArray, groups: IntArray) -> Seen:
    """Read what weights carry, with the field groups of today.

    A group is called after its first member. Where two have been joined since, because another overlap was found, the
    old name of either is one of the members of the new group: it was seen too.

    Args:
        images: Identities, in any order.
        groups: The same of groups, maybe of an earlier lineage table.
    """
    joined = [now for group in groups.tolist() if (now := _group_of_member().get(group)) is not None]
    return Seen(np.unique(images), np.union1d(groups, np.array(joined, dtype=np.int64)))


@cache
def _group_of_member() -> dict[int, int]:
    """The identity of the field group by that of a group which were called after any of its members."""
    rows = read_lineage().micrographs.values()
    return {_number_of_name(f"lineage/{row.micrograph}"): _number_of_name(f"lineage/{row.group}") for row in rows}


@dataclass(frozen=True)
class Identities:
    """Of each row of an index, int64, shape (N,): its image, and its group or ``UNKNOWN``."""

    image: IntArray
    group: IntArray

    def seen(self, rows: IntArray) -> Seen:
        """Give what is seen by looking at some rows."""
        groups = np.unique(self.group[rows])
        return Seen(np.unique(self.image[rows]), groups[groups != UNKNOWN])


def identities(data: "CellImages", digests: Mapping[str, str], fingerprint: str) -> Identities:
    """Identify the images and groups of a data set.

    The groups of photographs that the lineage table knows are the same wherever a copy of them lies, under whatever
    name. Groups that a user named are those of this very set of files.

    Args:
        data: Indexed.
        digests: SHA-256 of each file, by ``index.file``.
        fingerprint: Of the set.
    """
    index = data.index
    files, named = index.file.tolist(), index.group.tolist()
    if data.lineage is not None:
        known = [f"lineage/{group}" if group else "" for group in named]
    else:
        fields = _fields(read_lineage())
        known = [
            f"lineage/{fields[digests[file]]}"
            if digests[file] in fields
            else (f"{fingerprint}/{group}" if group else "")
            for file, group in zip(files, named, strict=True)
        ]
    names = {name: _number_of_name(name) if name else UNKNOWN for name in set(known)}
    return Identities(_numbers(digests[file] for file in files), np.array([names[name] for name in known], np.int64))


class Recogniser:
    """Tells pictures that weights have seen by their bytes, wherever they lie and whatever they are called.

    Args:
        seen: What the weights have seen; ``None`` where that is not known.
    """

    def __init__(self, seen: Seen | None) -> None:
        self._seen = NOTHING if seen is None else seen
        self._fields = _fields(read_lineage())

    def group(self, digest: str) -> str:
        """Return the field group of a published file by its SHA-256; ``""`` for every other file."""
        return self._fields.get(digest, "")

    def learnt(self, digest: str) -> str:
        """Say of a file, by its SHA-256, that it was learnt (``yes``), or another of its field group; else ``""``."""
        if number_of_digest(digest) in self._images:
            return "yes"
        field = self.group(digest)
        return "same field" if field and _number_of_name(f"lineage/{field}") in self._groups else ""

    @cached_property
    def _images(self) -> frozenset[int]:
        return frozenset(self._seen.images.tolist())

    @cached_property
    def _groups(self) -> frozenset[int]:
        return frozenset(self._seen.groups.tolist())


def _fields(lineage: Lineage) -> dict[str, str]:
    """Field group by the SHA-256 of every published file."""
    copies = {row.sha256: row.group for row in lineage.images.values() if row.group}
    return copies | {row.sha256: row.group for row in lineage.micrographs.values() if row.sha256 and row.group}


def _numbers(digests: Iterable[str]) -> IntArray:
    return np.array([number_of_digest(digest) for digest in digests], dtype=np.int64)


def _number_of_name(name: str) -> int:
    return number_of_digest(hashlib.sha256(name.encode()).hexdigest())


def number_of_digest(digest: str) -> int:
    """Give the first 64 bits of a SHA-256 as a whole number with a sign, as weights carry them."""
    return int.from_bytes(bytes.fromhex(digest[:16]), "big", signed=True)
