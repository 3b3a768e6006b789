"""The recovery as a whole: the tables, their pictures, what they say and what it cost."""

import sys
import time
from importlib.util import find_spec
from pathlib import Path

from bloodcell.common.errors import InputError
from bloodcell.common.files import write_json
from bloodcell.data.fingerprint import fingerprint_of
from bloodcell.data.kaggle import KAGGLE, count_images, find_images, locate, originals_of
from bloodcell.data.lineage_table import write_lineage
from bloodcell.studies.lineage.outcome import lineage_outcome, print_outcome
from bloodcell.studies.lineage.pictures import write_pictures
from bloodcell.studies.lineage.recover import recover
from bloodcell.tracking.manifest import manifest, now
from bloodcell.tracking.save import portable


def recover_and_write(root: str | None, out: Path, workers: int) -> None:
    """Recover the lineage of the Kaggle set, write its tables and pictures, print what they say.

    Args:
        root: The set; ``None`` for ``BLOODCELL_DATA`` or the cache.
        out: Folder for the tables.
        workers: Threads.

    Raises:
        InputError: If the set is not there or not complete, or OpenCV is missing.
    """
    import resource

    begun, started = now(), time.perf_counter()
    images = published_images(root)
    if find_spec("cv2") is None:
        raise InputError(
            "python -m bloodcell.lineage", expected="OpenCV", got="none", fix="pip install opencv-python-headless"
        )
    count_images(images, KAGGLE, str(images))
    lineage = recover(images, workers)
    took = time.perf_counter() - started
    write_lineage(lineage, out)
    write_pictures(lineage, originals_of(images), out)
    outcome = lineage_outcome(lineage)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    cost = {"started": begun, "wall_seconds": round(took), "threads": workers, "peak_memory_bytes": memory}
    fingerprint = fingerprint_of({row.file: row.sha256 for row in lineage.images.values()})
    write_json(out / "lineage.json", outcome)
    write_json(out / "manifest.json", {**portable(manifest({}, {"fingerprint": fingerprint})), **cost})
    print_outcome(outcome)
    print(f"took {took:.0f} s on {workers} threads, {memory / 1e9:.2f} GB")
    print(f"tables: {out}")


def published_images(root: str | None) -> Path:
    """Find the folder that holds ``TRAIN`` and ``TEST``.

    Raises:
        InputError: If the set is not there.
    """
    found = locate(root)
    if found is None:
        raise InputError(
            "ROOT", expected="the Kaggle set, given or in BLOODCELL_DATA", got="none", fix="type `make data`"
        )
    return find_images(found)
