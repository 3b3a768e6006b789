"""TODO studies/bench/measure.py."""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from bloodcell.common.console import progress_bar
from bloodcell.common.env import CACHE
from bloodcell.common.errors import InputError
from bloodcell.common.files import read_csv, read_json, write_json
from bloodcell.data.kaggle import find_images, locate
from bloodcell.studies.bench.table import (
    BARE,
    KERAS,
    KERAS_BF16,
    OURS,
    OURS_FLOAT,
    OURS_TWO,
    PYTORCH,
    Row,
    pipeline,
    ratio,
    show,
    summary,
)
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
from bloodcell.tracking.manifest import manifest

# Images of an epoch of the published TRAIN.
PLACE = "bloodcell.studies.bench"  # each row of the table is a program of its own in there
WHOLE_EPOCH = 9957


# Images that memory is shown at, and the side that they are decoded to.
MEMORY_AT, MEMORY_SIDE = (1_000, 10_000, 100_000), 64


def training_words(root: Path, epochs: int, precision: str, out: Path) -> list[str]:
    """The command line of this project's own training of the same work."""
    augment = f"{{rotation: {ROTATION}, zoom: {ZOOM}, shift: {SHIFT}, flip: true}}"
    return [
        *("data=folder", "model=paper_cnn", "optim=adam", "report=null", "name=bench"),
        *(f"data.root='{root}'", f"data.image_size=[{SIZE[0]},{SIZE[1]}]", f"data.batch_size={BATCH}"),
        *(f"data.mean=[{MEAN},{MEAN},{MEAN}]", f"data.std=[{STD},{STD},{STD}]", f"data.augment={augment}"),
        *(f"model.widths=[{','.join(map(str, WIDTHS))}]", f"model.dense={DENSE}", f"optim.lr={LEARNING_RATE}"),
        *(f"trainer.max_epochs={epochs}", f"trainer.precision={precision}", f"hydra.run.dir='{out}'"),
    ]


def run(words: Sequence[str]) -> str:
    """Run a program of this package to its end; its output.

    Raises:
        InputError: If it fails, with its last line.
    """
    done = subprocess.run([sys.executable, "-m", *words], capture_output=True, text=True, check=False)
    if done.returncode:
        said = (done.stderr.strip() or "nothing said").splitlines()[-1]
        raise InputError(words[0], expected="a run to its end", got=said, fix="mend that")
    return done.stdout


def last_json(text: str) -> Any:
    """The JSON in the last line of an output."""
    return json.loads(text.strip().splitlines()[-1])


def speeds(row: Row, root: Path, images: int, epochs: int, out: Path) -> list[float]:
    """Images a second of every epoch of a row but the first."""
    if row.module != "bloodcell.train":
        words = [row.module, str(root), f"--epochs={epochs}", *(["--bf16"] if row.bf16 else [])]
        found = last_json(run(words))
        return [found["images"] / seconds for seconds in found["seconds"][1:]]
    jobs = 2 if row.name == OURS_TWO else 1
    threads = {"OMP_NUM_THREADS": str(max(1, (os.cpu_count() or 1) // jobs))} if jobs > 1 else {}
    precision = "auto" if row.bf16 else "32-true"
    places = [out / f"{row.name.replace(' ', '_')}_{job}_{time.time_ns()}" for job in range(jobs)]
    started = [
        subprocess.Popen(
            [sys.executable, "-m", "bloodcell.train", *training_words(root, epochs, precision, place)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, **threads},
        )
        for place in places
    ]
    for job in started:
        _, said = job.communicate()
        if job.returncode:
            raise InputError("bloodcell.train", expected="a run to its end", got=said.strip()[-200:], fix="mend that")
    seconds = [[float(line["seconds"]) for line in read_csv(place / "metrics.csv")][1:] for place in places]
    return [sum(images / one for one in together) for together in zip(*seconds, strict=True)]


def startup(root: Path, out: Path) -> dict[str, float]:
    """Seconds of a whole command: help, a mistyped key, and a training that stops after one step."""
    words = training_words(root, 1, "auto", out / "startup")
    found = {}
    for name, given, ends in (
        ("help", ["--help"], 0),
        ("config error", ["optim.lrr=1"], 1),
        ("one step", [*words, "trainer.max_steps=1"], 0),
    ):
        begun = time.perf_counter()
        done = subprocess.run([sys.executable, "-m", "bloodcell.train", *given], capture_output=True, check=False)
        found[name] = time.perf_counter() - begun
        if done.returncode != ends:
            raise InputError(
                f"start-up, {name}", expected=f"exit code {ends}", got=f"{done.returncode}", fix="mend that"
            )
    return found


def memory(files: Sequence[Path], classes: Sequence[str], place: Path) -> dict[str, int]:
    """Bytes of private memory by number of images, which repeat the files given."""
    found = {}
    for images in MEMORY_AT:
        lay_out(files, classes, images, place / str(images))
        words = [f"{PLACE}.pipeline", str(place / str(images)), f"--side={MEMORY_SIDE}"]
        run(words)  # fills the cache
        found[str(images)] = int(last_json(run(words))["private"])
    return found


def flops() -> int:
    """Floating-point operations of forward and backward pass per image, as torch counts them."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from bloodcell.model.nets import paper_cnn

    net = paper_cnn(4, SIZE, WIDTHS, DENSE)
    with FlopCounterMode(display=False) as counter:
        net(torch.zeros(1, 3, *SIZE)).sum().backward()
    return int(counter.get_total_flops())


def overhead(files: Sequence[Path], classes: Sequence[str], rounds: int, place: Path) -> dict[str, Any]:
    """What Trainer, metrics, logging and checkpoints cost over a bare loop, on an epoch as long as the real one.

    Returns:
        Speeds of both in images a second by round, and the ratio.
    """
    root = place / "whole"
    lay_out(files, classes, WHOLE_EPOCH, root)
    rows = [Row(OURS, "bloodcell.train", True), Row(BARE, f"{PLACE}.bare_loop", True)]
    found: dict[str, list[list[float]]] = {row.name: [] for row in rows}
    for _ in range(rounds):
        for row in rows:
            found[row.name].append(speeds(row, root, WHOLE_EPOCH, 2, place))
    return {
        "images": WHOLE_EPOCH,
        "images_per_s": found,
        "ratio": ratio(found, OURS, BARE),
        "manifest": manifest({}, {}),
    }


def bench_overhead(rounds: int, out: Path) -> None:
    """Measure that part alone, and put it into the JSON of an earlier bench."""
    content = read_json(out)
    files, _ = _images()
    with tempfile.TemporaryDirectory() as folder:
        os.environ[CACHE] = str(Path(folder) / "cache")
        content["overhead"] = overhead(files, [file.parent.name for file in files], rounds, Path(folder))
    show(content)
    write_json(out, content)


def bench(images: int, rounds: int, epochs: int, out: Path) -> None:
    """Measure everything, print the table, write the JSON."""
    rows = [Row(OURS, "bloodcell.train", True), Row(OURS_FLOAT, "bloodcell.train", False)]
    rows += [Row(OURS_TWO, "bloodcell.train", True), Row(BARE, f"{PLACE}.bare_loop", True)]
    rows += [Row(PYTORCH, f"{PLACE}.plain_pytorch", False)]
    if find_spec("keras") is None:
        print("Keras is not installed and left out; pip install -e '.[bench]' (make bench does)")
    else:
        rows += [
            Row(KERAS, f"{PLACE}.keras_fit", False),
            Row(KERAS_BF16, f"{PLACE}.keras_fit", True),
        ]
    files, source = _images()
    classes = [file.parent.name for file in files]
    with tempfile.TemporaryDirectory() as folder, progress_bar() as progress:
        place = Path(folder)
        os.environ[CACHE] = str(place / "cache")
        root = place / "images"
        lay_out(files, classes, images, root)
        task = progress.add_task("measuring", total=rounds * len(rows) + 7)
        ceiling = [last_json(run([f"{PLACE}.ceiling"]))]
        first = last_json(run([f"{PLACE}.pipeline", str(root)]))
        later = last_json(run([f"{PLACE}.pipeline", str(root)]))
        progress.advance(task, 2)
        found: dict[str, list[list[float]]] = {row.name: [] for row in rows}
        for _ in range(rounds):
            for row in rows:
                progress.update(task, description=row.name)
                found[row.name].append(speeds(row, root, images, epochs, place))
                progress.advance(task)
        progress.update(task, description="evaluation, start-up, memory")
        ceiling.append(last_json(run([f"{PLACE}.ceiling"])))
        evaluation = last_json(run([f"{PLACE}.evaluation", str(root)]))
        progress.advance(task, 2)
        waits = startup(root, place)
        progress.advance(task)
        private = memory(files, classes, place / "memory")
        progress.update(task, advance=1, description="a whole epoch beside a bare loop")
        beside = overhead(files, classes, min(rounds, 2), place)
    best = {kind: max(one[kind] for one in ceiling) for kind in ceiling[0]}
    table = summary(rows, found, best, flops())
    content = {
        "ratio_vs_pytorch": ratio(found, OURS, PYTORCH),
        "ratio_vs_keras_bf16": ratio(found, OURS, KERAS_BF16),
        "ratio_side_by_side": ratio(found, OURS_TWO, OURS),
        "rows": table,
        "ceiling_flops_per_s": best,
        "pipeline": pipeline(first, later, table[0]["images_per_s"], images),
        "evaluation_images_per_s": round(evaluation, 1),
        "startup_seconds": {name: round(seconds, 2) for name, seconds in waits.items()},
        "private_memory_bytes": private,
        "overhead": beside,
        "work": {"images": images, "source": source, "rounds": rounds, "epochs": epochs, "flops_per_image": flops()},
        "manifest": manifest({}, {"source": source}),
    }
    show(content)
    write_json(out, content)
    print(f"numbers: {out}")


def _images() -> tuple[list[Path], str]:
    """Real training images if there are any, else rendered ones; and which they are."""
    found = locate(None)
    if found is not None:
        return sorted((find_images(found) / "TRAIN").rglob("*.jpeg")), "blood_cells"
    from bloodcell.data.sources.synthetic import Smears

    data = Smears()
    data.look_up()
    return [data.index.where(row) for row in range(len(data.index))], "synthetic"
