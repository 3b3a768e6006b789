"""Tiny data for tests, and what a run says of itself."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from bloodcell.data.index import Index, IntArray
from bloodcell.data.splits import Split

CLASSES = ("EOSINOPHIL", "LYMPHOCYTE", "MONOCYTE")
KAGGLE_CLASSES = (*CLASSES, "NEUTROPHIL")
# Small enough for a test, and what every tiny run shares.
TINY = (
    "data=folder",
    "data.image_size=[32,32]",
    "data.batch_size=8",
    "trainer.max_epochs=2",
    "model.widths=[4,8,8,8]",
    "name=tiny",
)


def write_cells(
    root: Path, subsets: tuple[str, ...], each: int, classes: tuple[str, ...] = CLASSES, seed: int = 3
) -> Path:
    """A folder of noisy discs whose size and hue tell the class."""
    rng = np.random.default_rng(seed)
    yy, xx = np.mgrid[:36, :48]
    for subset in subsets:
        for k, name in enumerate(classes):
            folder = root / subset / name
            folder.mkdir(parents=True)
            for i in range(each):
                image = rng.normal(200, 12, (36, 48, 3))
                centre = rng.uniform(12, 24), rng.uniform(14, 34)
                inside = (yy - centre[0]) ** 2 + (xx - centre[1]) ** 2 < (5 + 4 * k) ** 2
                image[inside] = rng.normal((120, 40 + 50 * k, 160), 12, (inside.sum(), 3))
                Image.fromarray(image.clip(0, 255).astype(np.uint8)).save(folder / f"_{k}_{i}.png")
    return root


def write_groups(root: Path, group: Callable[[int], str]) -> Path:
    """Beside such a folder ``groups.csv``: the group of each image, by its number in the class."""
    images = sorted(root.rglob("*.png"))
    lines = [f"{path.relative_to(root).as_posix()},{group(int(path.stem.split('_')[2]))}" for path in images]
    (root / "groups.csv").write_text("\n".join(["file,group", *lines]) + "\n")
    return root


def copy_some(real: Path, to: Path, train: int, test: int, copies: int) -> Path:
    """A small Kaggle tree of real files, so that the shipped lineage holds for it.

    Args:
        real: The whole set.
        to: Where the small one goes.
        train: Photographs of each class that TRAIN copies were made from, all with a white-cell box.
        test: Likewise for TEST.
        copies: Copies of each photograph.

    Returns:
        The root of the small tree.
    """
    from bloodcell.data.kaggle import IMAGES, ORIGINALS, find_images, originals_of
    from bloodcell.data.lineage_table import read_lineage

    lineage, images = read_lineage(), find_images(real)
    left = {(name, subset): n for name in KAGGLE_CLASSES for subset, n in (("TRAIN", train), ("TEST", test))}
    for number, row in lineage.published.items():
        if np.isnan(row.cell_x) or not left[row.label, row.subset]:
            continue
        left[row.label, row.subset] -= 1
        twins = [one.file for one in lineage.images.values() if one.micrograph == number and one.subset == row.subset]
        original = originals_of(images) / f"BloodImage_{int(number):05d}.jpg"
        for source, target in (
            *((images / file, to / IMAGES / file) for file in sorted(twins)[:copies]),
            (original, to / ORIGINALS / original.name),
        ):
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)
    assert not any(left.values())
    return to


def metrics_of(run_dir: Path) -> dict[str, Any]:
    """``metrics.json`` of a run."""
    content: dict[str, Any] = json.loads((run_dir / "metrics.json").read_text())
    return content


def lasting(run: Path) -> dict[str, object]:
    """What a run leaves but times."""
    rows = [row.split(",") for row in (run / "metrics.csv").read_text().splitlines()]
    timed = rows[0].index("seconds")
    return {
        "rows": [row[:timed] + row[timed + 1 :] for row in rows],
        "metrics": metrics_of(run),
        **{name: (run / name).read_bytes() for name in ("predictions.csv", "figures/loss.png", "figures/accuracy.png")},
    }


def timeless(path: Path) -> bytes:
    """A file without the moments in it."""
    return re.sub(rb"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d", b"", path.read_bytes())


def weights(run: Path, which: str = "last") -> dict[str, torch.Tensor]:
    """Weights in a checkpoint of a run."""
    content = torch.load(run / "checkpoints" / f"{which}.ckpt", weights_only=True)
    return content["state_dict"]


def same(one: Path, two: Path) -> bool:
    """Whether two runs ended with the same weights, bit for bit."""
    first, second = weights(one), weights(two)
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def shared_groups(split: Split, index: Index, rows: IntArray) -> tuple[int, int]:
    """Field groups of some test rows that are learnt from as well, by their names; and all of theirs."""
    tested = np.setdiff1d(index.group[rows], [""])
    return int(np.isin(tested, index.group[split.learnt]).sum()), len(tested)
