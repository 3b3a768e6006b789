"""What is timed, each in a process of its own: the rows of the table, whole commands, the memory of the pipeline."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bloodcell.common.errors import InputError
from bloodcell.common.files import read_csv
from bloodcell.studies.bench.speeds import OURS_TWO, Row
from bloodcell.studies.bench.work import (
    BATCH,
    DENSE,
    LEARNING_RATE,
    MEAN,
    ROTATION,
    SHIFT,
    SIZE,
    STD,
    WIDTHS,
    ZOOM,
    lay_out,
)

TRAIN = (sys.executable, "-m", "bloodcell.train")
# Images that memory is shown at, and the side that they are decoded to.
MEMORY_AT, MEMORY_SIDE = (1_000, 10_000, 100_000), 64
JOBS = 4  # of a small sweep


def output_of(program: str, *words: str) -> Any:
    """Run a program of this folder to its end; what it prints is JSON, in its last line.

    Raises:
        InputError: If it fails, with its last line.
    """
    done = subprocess.run(
        [sys.executable, "-m", f"bloodcell.studies.bench.{program}", *words],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise failed(program, done.stderr)
    return json.loads(done.stdout.strip().splitlines()[-1])


def epoch_speeds(row: Row, root: Path, images: int, epochs: int, out: Path) -> list[float]:
    """Time the epochs of a row.

    Args:
        row: What is timed.
        root: Folder with ``train``, ``val`` and ``test``.
        images: Training images in there.
        epochs: At least 2.
        out: Where trainings may write.

    Returns:
        Images a second of every epoch but the first; of several jobs side by side, of all together.

    Raises:
        InputError: If a program fails, with its last line.
    """
    if row.program != "train":
        found = output_of(row.program, str(root), f"--epochs={epochs}", *(["--bf16"] if row.bf16 else []))
        return [found["images"] / seconds for seconds in found["seconds"][1:]]
    jobs = 2 if row.name == OURS_TWO else 1
    threads = {"OMP_NUM_THREADS": str(max(1, (os.cpu_count() or 1) // jobs))} if jobs > 1 else {}
    places = [out / f"{row.name.replace(' ', '_')}_{job}_{time.time_ns()}" for job in range(jobs)]
    started = [
        subprocess.Popen(
            [*TRAIN, *_training_words(root, epochs, "auto" if row.bf16 else "32-true"), f"hydra.run.dir='{place}'"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, **threads},
        )
        for place in places
    ]
    for job in started:
        _, error = job.communicate()
        if job.returncode:
            raise failed("bloodcell.train", error)
    seconds = [[float(line["seconds"]) for line in read_csv(place / "metrics.csv")][1:] for place in places]
    return [sum(images / one for one in together) for together in zip(*seconds, strict=True)]


def startup(root: Path, out: Path) -> dict[str, float]:
    """Time whole commands, in seconds.

    Returns:
        Of help, a mistyped key, a training that stops after one step, a sweep of such trainings (of which one job
        more takes so long), and the same sweep typed again.
    """
    step = [*_training_words(root, 1, "auto"), "trainer.max_steps=1"]
    sweep = [*step, "-m", f"seed={','.join(map(str, range(JOBS)))}", f"hydra.sweep.dir='{out / 'sweep'}'"]
    found = {}
    for name, words, ends in (
        ("help", ["--help"], 0),
        ("config error", ["optim.lrr=1"], 1),
        ("one step", [*step, f"hydra.run.dir='{out / 'step'}'"], 0),
        ("a sweep of steps", sweep, 0),
        (f"{JOBS} finished jobs again", sweep, 0),
    ):
        begun = time.perf_counter()
        done = subprocess.run([*TRAIN, *words], capture_output=True, text=True, check=False)
        found[name] = time.perf_counter() - begun
        if done.returncode != ends:
            raise failed(f"start-up, {name}", done.stderr)
    found["one job more in a sweep"] = (found.pop("a sweep of steps") - found["one step"]) / (JOBS - 1)
    return found


def memory(files: Sequence[Path], classes: Sequence[str], place: Path) -> dict[str, int]:
    """Measure bytes of private memory by number of images, which repeat the files given."""
    found = {}
    for images in MEMORY_AT:
        lay_out(files, classes, images, place / str(images))
        words = (str(place / str(images)), f"--side={MEMORY_SIDE}")
        output_of("pipeline", *words)  # fills the cache
        found[str(images)] = int(output_of("pipeline", *words)["private"])
    return found


def flops() -> int:
    """Count the floating-point operations of forward and backward pass per image, as torch counts them."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from bloodcell.model.nets import paper_cnn

    net = paper_cnn(4, SIZE, WIDTHS, DENSE)
    with FlopCounterMode(display=False) as counter:
        net(torch.zeros(1, 3, *SIZE)).sum().backward()
    return int(counter.get_total_flops())


def _training_words(root: Path, epochs: int, precision: str) -> list[str]:
    """The arguments of this project's own training of the same work."""
    augment = f"{{rotation: {ROTATION}, zoom: {ZOOM}, shift: {SHIFT}, flip: true}}"
    return [
        *("data=folder", "model=paper_cnn", "optim=adam", "report=null", "name=bench"),
        *(f"data.root='{root}'", f"data.image_size=[{SIZE[0]},{SIZE[1]}]", f"data.batch_size={BATCH}"),
        *(f"data.mean=[{MEAN},{MEAN},{MEAN}]", f"data.std=[{STD},{STD},{STD}]", f"data.augment={augment}"),
        *(f"model.widths=[{','.join(map(str, WIDTHS))}]", f"model.dense={DENSE}", f"optim.lr={LEARNING_RATE}"),
        *(f"trainer.max_epochs={epochs}", f"trainer.precision={precision}"),
    ]


def failed(what: str, error: str) -> InputError:
    """Say which program failed, with the last line of what it said."""
    last = (error.strip() or "nothing said").splitlines()[-1]
    return InputError(what, expected="a run to its end", got=last, fix="fix that and type it again")
