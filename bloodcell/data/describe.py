"""What is known of the data of a run: made once, and told in every place where a result is read."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from bloodcell.data.datamodule import CellImages
from bloodcell.data.fingerprint import fingerprint_of
from bloodcell.data.index import Index, IntArray
from bloodcell.data.lineage_table import check_hashes
from bloodcell.data.seen import NOTHING, Seen, identities


@dataclass(frozen=True)
class DataDescription:
    """Data and split of a run.

    Attributes:
        source: Name of the data set; for rendered images it says that they are no real cells.
        synthetic: Whether the images are rendered.
        picture: What of an image a net sees, where it is not the whole field: how it is cropped.
        root: Folder of the images.
        fingerprint: SHA-256 over the published images, which names and bytes settle.
        fingerprint_beside: The same of the originals and reductions beside them; ``None`` without any.
        protocol: Name of the split.
        caveat: What the numbers under this split are not; empty if there is nothing to say.
        images: Number of images to train, validate and test on.
        classes: Number of images by class, in all that the split uses.
        training_images: Number of training images by class.
        passed_over: Files and folders below ``root`` that are not in use, in few words.
        shared_groups: Field groups of the test images that the weights have seen; ``None`` if groups are not known.
        test_groups: Field groups of the test images; ``None`` if not known.
        learnt_images: Test images whose very bytes the weights have seen; ``None`` for none.
        inherited: Whether some of that was seen before, by the weights that this starts from.
        seen: All that the weights have seen when training is over.
    """

    source: str
    synthetic: bool
    picture: str | None
    root: str
    fingerprint: str
    fingerprint_beside: str | None
    protocol: str
    caveat: str
    images: dict[str, int]
    classes: dict[str, int]
    training_images: dict[str, int]
    passed_over: tuple[str, ...]
    shared_groups: int | None
    test_groups: int | None
    learnt_images: int | None
    inherited: bool
    seen: Seen

    @property
    def label(self) -> str:
        """Prefix of every title: empty for real images."""
        return f"{self.source}: " if self.synthetic else ""

    @property
    def warning(self) -> str:
        """What the weights know of the test images beforehand, in one line; empty if nothing."""
        if not self.shared_groups and not self.learnt_images:
            return ""
        what = f"{self.shared_groups} of the {self.test_groups} field groups in the test images"
        if not self.shared_groups or self.learnt_images == self.images["test"]:
            what = f"{self.learnt_images:,} of the {self.images['test']:,} test images"
        if self.inherited:
            return f"WARNING: the weights have seen {what} before"
        return f"WARNING: protocol {self.protocol} leaks: {what} are in the training images too"

    @property
    def nothing_clean(self) -> bool:
        """Whether the weights have seen something of every test image."""
        return self.learnt_images == self.images["test"] or (
            self.test_groups is not None and self.shared_groups == self.test_groups
        )

    @property
    def leakage(self) -> dict[str, int]:
        """``shared_groups``, ``test_groups`` and ``learnt_images``, as far as they are known."""
        found = {name: getattr(self, name) for name in ("shared_groups", "test_groups", "learnt_images")}
        return {name: number for name, number in found.items() if number is not None}

    def entries(self) -> dict[str, Any]:
        """Return what ``manifest.json`` says of the data; what is not known is left out."""
        ours = ("synthetic", "inherited", "seen")
        return {name: value for name, value in vars(self).items() if name not in ours and value is not None}


def describe(data: CellImages, before: Seen = NOTHING, *, training: bool = True) -> DataDescription:
    """Describe data that are looked up.

    Args:
        data: Index and split.
        before: What the weights have seen that a run starts from, or that are tested.
        training: Whether they are about to see the training and validation images of the split as well.

    Raises:
        InputError: If the split rests on a lineage table and an image is another one than in the table.
    """
    split, index = data.split, data.index
    found = index.digests
    beside = {name: found[name] for name in index.file[~index.published].tolist()}
    if split.protocol in ("grouped", "blocked", "official_strict") and data.lineage is not None:
        check_hashes(found, data.lineage)
    published = fingerprint_of_images(index, found)
    known = identities(data, found, published)
    own = known.seen(split.learnt) if training else NOTHING
    seen, test = own | before, known.seen(split.test)
    shared = int(np.isin(test.groups, seen.groups).sum())
    learnt = int(np.isin(known.image[split.test], seen.images).sum())
    inherited = shared > np.isin(test.groups, own.groups).sum() or learnt > np.isin(test.images, own.images).sum()
    used = np.unique(np.concatenate([split.train, split.val, split.test]))
    return DataDescription(
        source=data.source,
        synthetic=data.synthetic,
        picture=str(data.crop) if data.crop else None,
        root=str(index.root),
        fingerprint=published,
        fingerprint_beside=fingerprint_of(beside) if beside else None,
        protocol=split.protocol,
        caveat=split.caveat,
        images={"train": len(split.train), "val": len(split.val), "test": len(split.test)},
        classes=_by_class(index, used),
        training_images=_by_class(index, split.train),
        passed_over=index.passed_over,
        shared_groups=shared if len(test.groups) else None,
        test_groups=len(test.groups) or None,
        learnt_images=learnt or None,
        inherited=bool(inherited),
        seen=seen,
    )


def fingerprint_of_images(index: Index, digests: Mapping[str, str] | None = None) -> str:
    """SHA-256 over the published images of an index, which names and bytes settle.

    Args:
        index: The table of images.
        digests: Of each file; ``None`` to look.
    """
    found = index.digests if digests is None else digests
    return fingerprint_of({name: found[name] for name in index.file[index.published].tolist()})


def _by_class(index: Index, rows: IntArray) -> dict[str, int]:
    return {name: int(number) for name, number in zip(index.classes, index.counts(rows), strict=True)}
