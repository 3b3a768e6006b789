"""A folder of smears that is there completely or not at all."""

import multiprocessing
import shutil
import tempfile
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image
from rich.progress import track

from bloodcell.data.synthetic.cells import CLASSES
from bloodcell.data.synthetic.field import render_smear

Job = tuple[Path, str, tuple[int, ...]]
FEW = 100  # images that take less than two seconds: no progress bar, no processes


def write_smears(root: Path, per_class: dict[str, int], seed: int, workers: int = 1) -> None:
    """Write an ImageFolder tree of smears: ``root/train/EOSINOPHIL/smear_0000.jpg`` and so on.

    The bytes of a file depend on the seed and on its place in the tree alone. The tree appears at once when
    all of it is there; if another process has made the same one meanwhile, that one stays.

    Args:
        root: Folder to make.
        per_class: Images of each class for each subset, as ``{"train": 200, "test": 50}``.
        seed: Seeds all pictures.
        workers: Processes.
    """
    root.parent.mkdir(parents=True, exist_ok=True)
    private = Path(tempfile.mkdtemp(prefix=f".{root.name}.", dir=root.parent))
    # The private folder is closed to others and would stay so under its new name; one inside it is not.
    partial = private / root.name
    try:
        _run(_jobs(partial, per_class, seed), workers)
        try:
            partial.rename(root)
        except OSError:
            if not root.is_dir():
                raise
    finally:
        shutil.rmtree(private, ignore_errors=True)


def _jobs(root: Path, per_class: dict[str, int], seed: int) -> list[Job]:
    jobs: list[Job] = []
    for s, (subset, number) in enumerate(per_class.items()):
        for c, kind in enumerate(CLASSES):
            folder = root / subset / kind
            folder.mkdir(parents=True)
            jobs += [(folder / f"smear_{i:04d}.jpg", kind, (seed, s, c, i)) for i in range(number)]
    return jobs


def _run(jobs: list[Job], workers: int) -> None:
    what, few = "rendering smears (not real cells)", len(jobs) < FEW
    if workers == 1 or few:
        for job in track(jobs, what, transient=True, disable=few):
            _write(job)
        return
    # torch may be loaded and running threads: a forked child could hang.
    with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn")) as pool:
        for _ in track(pool.map(_write, jobs, chunksize=16), what, total=len(jobs), transient=True):
            pass


def _write(job: Job) -> None:
    path, kind, entropy = job
    rng = np.random.default_rng(np.random.SeedSequence(entropy))
    Image.fromarray(render_smear(kind, rng)).save(path, quality=int(rng.integers(86, 96)))
