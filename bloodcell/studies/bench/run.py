"""The whole bench: every row in turn, several rounds, then the parts of an epoch; the table and its JSON."""

import os
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from bloodcell.common.console import progress_bar
from bloodcell.common.env import CACHE
from bloodcell.common.files import read_json, write_json
from bloodcell.data.kaggle import find_images, locate
from bloodcell.studies.bench import programs
from bloodcell.studies.bench.speeds import (
    BARE,
    KERAS,
    KERAS_BF16,
    OURS,
    OURS_FLOAT,
    OURS_TWO,
    PYTORCH,
    Row,
    answer_lines,
    pipeline_costs,
    print_bench,
    ratio,
    speed_rows,
)
from bloodcell.studies.bench.work import lay_out
from bloodcell.tracking.manifest import manifest

# Images of an epoch of the published TRAIN.
WHOLE_EPOCH = 9957


def run_bench(images: int, rounds: int, epochs: int, out: Path) -> None:
    """Measure everything, print the table, write the JSON.

    Args:
        images: Training images of an epoch.
        rounds: Times that every row is run.
        epochs: Epochs of each run; the first is left out.
        out: The JSON file.
    """
    rows, (files, source) = _rows(), _images()
    classes = [file.parent.name for file in files]
    with tempfile.TemporaryDirectory() as folder, progress_bar() as progress:
        place = Path(folder)
        os.environ[CACHE] = str(place / "cache")
        root = place / "images"
        lay_out(files, classes, images, root)
        ceilings = [programs.output_of("ceiling")]
        first, later = (programs.output_of("pipeline", str(root)) for _ in range(2))
        found = _speeds(progress.track(rows * rounds, description="rows"), root, images, epochs, place)
        task = progress.add_task("evaluation, start-up, memory, a whole epoch", total=5)
        ceilings.append(programs.output_of("ceiling"))
        progress.advance(task)
        evaluation = programs.output_of("evaluation", str(root))
        progress.advance(task)
        waits = programs.startup(root, place)
        progress.advance(task)
        private = programs.memory(files, classes, place / "memory")
        progress.advance(task)
        beside = _overhead(files, classes, min(rounds, 2), place)
    best = {kind: max(one[kind] for one in ceilings) for kind in ceilings[0]}
    flops = programs.flops()
    table = speed_rows(rows, found, best, flops)
    content = {
        "ratio_vs_pytorch": ratio(found, OURS, PYTORCH),
        "ratio_vs_keras_bf16": ratio(found, OURS, KERAS_BF16),
        "ratio_side_by_side": ratio(found, OURS_TWO, OURS),
        "rows": table,
        "ceiling_flops_per_s": best,
        "pipeline": pipeline_costs(first, later, table[0]["images_per_s"], images),
        "evaluation_images_per_s": round(evaluation, 1),
        "startup_seconds": {name: round(seconds, 2) for name, seconds in waits.items()},
        "private_memory_bytes": private,
        "overhead": beside,
        "answers": answers_measured(),
        "work": {"images": images, "source": source, "rounds": rounds, "epochs": epochs, "flops_per_image": flops},
        "manifest": manifest({}, {"source": source}),
    }
    print_bench(content)
    write_json(out, content)
    print(f"numbers: {out}")


def run_overhead(rounds: int, out: Path) -> None:
    """Measure the cost of the Trainer alone, and put it into the JSON of an earlier bench."""
    content = read_json(out)
    files, _ = _images()
    with tempfile.TemporaryDirectory() as folder:
        os.environ[CACHE] = str(Path(folder) / "cache")
        content["overhead"] = _overhead(files, [file.parent.name for file in files], rounds, Path(folder))
    print_bench(content)
    write_json(out, content)


def run_answers(out: Path) -> None:
    """Measure how fast the net of the package answers, and put it into the JSON of an earlier bench."""
    content = read_json(out)
    content["answers"] = answers_measured()
    print("\n".join(answer_lines(content["answers"])))
    write_json(out, content)


def answers_measured() -> dict[str, Any]:
    """Measure on the published pictures, or on rendered ones where they are not at hand."""
    from bloodcell.studies.bench.answers import FIRST, answer_speeds

    files, source = _images()
    found = locate(None)
    simple = sorted((find_images(found) / "TEST_SIMPLE").rglob("*.jpeg")) if found is not None else []
    return {**answer_speeds(files, simple or files[:FIRST]), "source": source, "manifest": manifest({}, {})}


def _rows() -> list[Row]:
    """What is timed; Keras only where it is installed."""
    rows = [
        Row(OURS, "train", True),
        Row(OURS_FLOAT, "train", False),
        Row(OURS_TWO, "train", True),
        Row(BARE, "bare_loop", True),
        Row(PYTORCH, "plain_pytorch", False),
    ]
    if find_spec("keras") is None:
        print("Keras is not installed and left out; pip install -e '.[bench]' (make bench does)")
        return rows
    return [*rows, Row(KERAS, "keras_fit", False), Row(KERAS_BF16, "keras_fit", True)]


def _speeds(rows: Iterable[Row], root: Path, images: int, epochs: int, place: Path) -> dict[str, list[list[float]]]:
    """Images a second of each row, a list of epochs for each time that it is run."""
    found: dict[str, list[list[float]]] = defaultdict(list)
    for row in rows:
        found[row.name].append(programs.epoch_speeds(row, root, images, epochs, place))
    return dict(found)


def _overhead(files: Sequence[Path], classes: Sequence[str], rounds: int, place: Path) -> dict[str, Any]:
    """What Trainer, metrics, logging and checkpoints cost over a bare loop, on an epoch as long as the real one."""
    root = place / "whole"
    lay_out(files, classes, WHOLE_EPOCH, root)
    rows = [Row(OURS, "train", True), Row(BARE, "bare_loop", True)]
    found = _speeds(rows * rounds, root, WHOLE_EPOCH, 2, place)
    return {
        "images": WHOLE_EPOCH,
        "images_per_s": found,
        "ratio": ratio(found, OURS, BARE),
        "manifest": manifest({}, {}),
    }


def _images() -> tuple[list[Path], str]:
    """Real training images if there are any, else rendered ones; and which they are."""
    found = locate(None)
    if found is not None:
        return sorted((find_images(found) / "TRAIN").rglob("*.jpeg")), "blood_cells"
    from bloodcell.data.sources.synthetic import Smears

    data = Smears()
    data.look_up()
    return [data.index.where(row) for row in range(len(data.index))], "synthetic"
