"""The data pipeline alone: filling the cache, mapping it, and batches of later epochs; and the memory it takes."""

import argparse
import json
import time
from itertools import pairwise
from pathlib import Path

from bloodcell.data.sources.folder import Folder
from bloodcell.studies.bench.work import BATCH, MEAN, ROTATION, SHIFT, SIZE, STD, ZOOM
from bloodcell.training.machine import keep_freed_memory


def pipeline_times(root: Path, side: int) -> dict[str, float]:
    """Time set-up and two epochs over the training images, and measure the memory of this process.

    Args:
        root: Folder with ``train``, ``val`` and ``test``.
        side: Height and width to decode to, in pixels.

    Returns:
        ``images`` in all, those to ``train`` on; ``setup`` from the folder to the first batch (which fills the cache if
        it does not hold the images), ``gather`` of an epoch of batches, ``prepare`` of one that is augmented too,
        in seconds; ``private`` memory in bytes, which leaves out what is mapped from files.
    """
    keep_freed_memory()
    data = Folder(
        str(root),
        image_size=(side, side),
        batch_size=BATCH,
        augment={"rotation": ROTATION, "zoom": ZOOM, "shift": SHIFT, "flip": True},
        mean=[MEAN] * 3,
        std=[STD] * 3,
    )
    laps = [time.perf_counter()]
    data.setup()
    laps.append(time.perf_counter())
    for chosen in data.train_dataloader():
        data.gather(chosen.rows)
    laps.append(time.perf_counter())
    for chosen in data.train_dataloader():
        data.prepare(chosen, epoch=0, training=True)
    laps.append(time.perf_counter())
    setup, gather, prepare = (after - before for before, after in pairwise(laps))
    counts = {"images": len(data.index), "train": len(data.split.train)}
    return {**counts, "setup": setup, "gather": gather, "prepare": prepare, "private": private_memory()}


def private_memory() -> int:
    """Return the bytes of this process's memory that are not pages of files; 0 where the system does not say."""
    try:
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon:")), 0)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("root", type=Path)
    parser.add_argument("--side", type=int, default=SIZE[0])
    words = parser.parse_args()
    print(json.dumps(pipeline_times(words.root, words.side)))
