"""TODO data/describe.py."""

from typing import Any

from bloodcell.data.datamodule import BloodCells
from bloodcell.data.fingerprint import fingerprint_of
from bloodcell.data.lineage_table import check_hashes, read_lineage

SYNTHETIC = "SYNTHETIC smears, not real cells"


def name_of(data: BloodCells) -> str:
    """What the images are, in every place where a result is read."""
    return SYNTHETIC if data.synthetic else data.source


def describe_data(data: BloodCells) -> dict[str, Any]:
    """What the manifest says of the data: source, fingerprint, protocol, caveat, counts, leakage.

    Raises:
        InputError: If the split rests on the lineage table and an image is another one than in the table.
    """
    split, index = data.split, data.index
    found = index.digests()
    beside = {name: found[name] for name in index.file[~index.published].tolist()}
    if split.protocol in ("grouped", "official_strict") and data.source == "blood_cells":
        check_hashes(found, read_lineage(data.tables))
    return {
        "source": name_of(data),
        "root": str(index.root),
        # Of the images as they are published; the originals and reductions beside them have one of their own.
        "fingerprint": fingerprint_of({name: found[name] for name in index.file[index.published].tolist()}),
        **({"fingerprint_beside": fingerprint_of(beside)} if beside else {}),
        "protocol": split.protocol,
        "caveat": split.caveat,
        "images": {"train": len(split.train), "val": len(split.val), "test": len(split.test)},
        "training_images": {name: int(n) for name, n in zip(index.classes, index.counts(split.train), strict=True)},
        **leakage(data),
    }


def leakage(data: BloodCells) -> dict[str, int]:
    """Field groups of the test images, and how many of them are learnt from as well; nothing if not known."""
    shared, groups = data.split.shared_groups(data.index, data.split.test)
    return {"shared_groups": shared, "test_groups": groups} if groups else {}


def warning_of(data: BloodCells) -> str:
    """What a split that leaks is said to do, in one line; empty for one that does not."""
    found = leakage(data)
    if not found.get("shared_groups"):
        return ""
    return (
        f"WARNING: protocol {data.split.protocol} leaks: {found['shared_groups']} of the {found['test_groups']} field "
        "groups in the test images are in the training images too"
    )
