"""What is known of the data of a run: made once, and told in every place where a result is read."""

from dataclasses import asdict, dataclass
from typing import Any

from bloodcell.data.datamodule import CellImages
from bloodcell.data.fingerprint import fingerprint_of
from bloodcell.data.lineage_table import check_hashes


@dataclass(frozen=True)
class DataDescription:
    """Data and split of a run.

    Attributes:
        source: Name of the data set; for rendered images it says that they are no real cells.
        synthetic: Whether the images are rendered.
        root: Folder of the images.
        fingerprint: SHA-256 over the published images, which names and bytes settle.
        fingerprint_beside: The same of the originals and reductions beside them; ``None`` without any.
        protocol: Name of the split.
        caveat: What the numbers under this split are not; empty if there is nothing to say.
        images: Number of images to train, validate and test on.
        training_images: Number of training images by class.
        shared_groups: Field groups of the test images that are learnt from as well; ``None`` if groups are not known.
        test_groups: Field groups of the test images; ``None`` if not known.
    """

    source: str
    synthetic: bool
    root: str
    fingerprint: str
    fingerprint_beside: str | None
    protocol: str
    caveat: str
    images: dict[str, int]
    training_images: dict[str, int]
    shared_groups: int | None
    test_groups: int | None

    @property
    def label(self) -> str:
        """Prefix of every title: empty for real images."""
        return f"{self.source}: " if self.synthetic else ""

    @property
    def warning(self) -> str:
        """What a split that leaks does, in one line; empty for one that does not."""
        if not self.shared_groups:
            return ""
        return (
            f"WARNING: protocol {self.protocol} leaks: {self.shared_groups} of the {self.test_groups} field "
            "groups in the test images are in the training images too"
        )

    @property
    def leakage(self) -> dict[str, int]:
        """``shared_groups`` and ``test_groups``; empty if groups are not known."""
        both = {"shared_groups": self.shared_groups, "test_groups": self.test_groups}
        return {name: number for name, number in both.items() if number is not None}

    def entries(self) -> dict[str, Any]:
        """Return what ``manifest.json`` says of the data; what is not known is left out."""
        return {name: value for name, value in asdict(self).items() if name != "synthetic" and value is not None}


def describe(data: CellImages) -> DataDescription:
    """Describe data that are set up.

    Raises:
        InputError: If the split rests on a lineage table and an image is another one than in the table.
    """
    split, index = data.split, data.index
    found = index.digests()
    beside = {name: found[name] for name in index.file[~index.published].tolist()}
    if split.protocol in ("grouped", "official_strict") and data.lineage is not None:
        check_hashes(found, data.lineage)
    shared, groups = split.shared_groups(index, split.test)
    return DataDescription(
        source=data.source,
        synthetic=data.synthetic,
        root=str(index.root),
        fingerprint=fingerprint_of({name: found[name] for name in index.file[index.published].tolist()}),
        fingerprint_beside=fingerprint_of(beside) if beside else None,
        protocol=split.protocol,
        caveat=split.caveat,
        images={"train": len(split.train), "val": len(split.val), "test": len(split.test)},
        training_images={name: int(n) for name, n in zip(index.classes, index.counts(split.train), strict=True)},
        shared_groups=shared if groups else None,
        test_groups=groups or None,
    )
