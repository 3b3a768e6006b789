"""The work that every row of the bench does: the paper's net, its batches, its augmentation."""

import argparse
import json
import random
import time
from collections.abc import Callable, Sequence
from pathlib import Path

SIZE = (128, 128)
BATCH = 32
WIDTHS = (32, 64, 128)
DENSE = 128
LEARNING_RATE = 1e-3
MEAN, STD = 0.5, 0.25
# Largest rotation in degrees, relative zoom and shift, either way; and flips along both sides.
ROTATION, ZOOM, SHIFT = 20, 0.2, 0.1


def lay_out(files: Sequence[Path], classes: Sequence[str], images: int, root: Path) -> None:
    """Make an ImageFolder tree of links: training images, and a batch each to validate and to test on.

    Args:
        files: Images to choose from; they repeat if there are fewer than asked for.
        classes: Class name of each.
        images: Number of training images.
        root: Folder for ``train``, ``val`` and ``test``.
    """
    order = list(range(len(files)))
    random.Random(0).shuffle(order)
    wanted = [("train", images), ("val", BATCH), ("test", BATCH)]
    place = 0
    for subset, count in wanted:
        for name in set(classes):
            (root / subset / name).mkdir(parents=True)
        for _ in range(count):
            one = order[place % len(order)]
            file = files[one]
            (root / subset / classes[one] / f"{place}{file.suffix}").symlink_to(file.resolve())
            place += 1


def run_row(description: str | None, epochs: Callable[[Path, int, bool], tuple[int, list[float]]]) -> None:
    """Read the arguments that all rows share, train, and print the seconds of each epoch as JSON.

    Args:
        description: For ``--help``.
        epochs: Trains on a root for a number of epochs, in bfloat16 or not; returns images and seconds of each epoch.
    """
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("root", type=Path, help="folder with train/CLASS/*")
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--bf16", action="store_true", help="mixed precision instead of float32")
    words = parser.parse_args()
    images, seconds = epochs(words.root, words.epochs, words.bf16)
    print(json.dumps({"images": images, "seconds": seconds}))


def timed(epochs: int, epoch: Callable[[int], object]) -> list[float]:
    """Time each of some epochs, in seconds."""
    found = []
    for number in range(epochs):
        begun = time.perf_counter()
        epoch(number)
        found.append(time.perf_counter() - begun)
    return found
