"""The whole bench: every row in turn, several rounds, then the parts of an epoch; the table and its JSON."""

import os
import tempfile
from collections import defaultdict
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from rich.progress import Progress

from bloodcell.common.console import progress_bar
from bloodcell.common.env import CACHE
from bloodcell.common.errors import InputError
from bloodcell.common.files import read_json, write_json
from bloodcell.data.kaggle import find_images, images_in, locate, originals_of
from bloodcell.studies.bench import programs
from bloodcell.studies.bench.beside import IMAGES, beside_others
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
    beside_lines,
    pipeline_costs,
    print_bench,
    ratio,
    speed_rows,
)
from bloodcell.studies.bench.work import lay_out
from bloodcell.tracking.manifest import manifest
from bloodcell.training.sharing import NOISE, used_by_others

# Images of an epoch of the published TRAIN.
WHOLE_EPOCH = 9957
# The most rounds, and what ends them: the medians of the ratios are known to this share of them.
MOST, WITHIN = 8, 0.1
LOOK = 3.0  # seconds


def run_bench(images: int, rounds: int, epochs: int, out: Path, *, anyway: bool) -> None:
    """Measure everything, print the table, write the JSON.

    Args:
        images: Training images of an epoch.
        rounds: Times that every row is run at least; ``MOST`` if the ratios are not known to ``WITHIN`` before.
        epochs: Epochs of each run; the first is left out.
        out: The JSON file.
        anyway: Whether to measure on a machine that others use.

    Raises:
        InputError: If others use the machine.
    """
    load = found_load(anyway=anyway)
    rows, (files, source) = _rows(), _images()
    classes = [file.parent.name for file in files]
    with tempfile.TemporaryDirectory() as folder, progress_bar() as progress:
        place = Path(folder)
        os.environ[CACHE] = str(place / "cache")
        root = place / "images"
        lay_out(files, classes, images, root)
        ceilings = [programs.output_of("ceiling")]
        first, later = (programs.output_of("pipeline", str(root)) for _ in range(2))
        found = _rounds(rows, root, images, rounds, epochs, place, progress)
        ceilings.append(programs.output_of("ceiling"))
        measured = _rest(files, classes, root, rounds, place, progress)
    best = {kind: max(one[kind] for one in ceilings) for kind in ceilings[0]}
    flops = programs.flops()
    table = speed_rows(rows, found, best, flops)
    content = {
        "ratio_vs_pytorch": ratio(found, OURS, PYTORCH),
        "ratio_vs_keras_bf16": ratio(found, OURS, KERAS_BF16),
        "ratio_vs_keras_float32": ratio(found, OURS_FLOAT, KERAS),
        "ratio_side_by_side": ratio(found, OURS_TWO, OURS),
        "rows": table,
        "ceiling_flops_per_s": best,
        "pipeline": pipeline_costs(first, later, table[0]["images_per_s"], images),
        "evaluation_images_per_s": round(measured["evaluation"], 1),
        "startup_seconds": {name: round(seconds, 2) for name, seconds in measured["whole commands"].items()},
        "private_memory_bytes": measured["memory"],
        "overhead": measured["a whole epoch"],
        "beside": measured["beside others"],
        "answers": measured["answers"],
        "work": {
            "images": images,
            "source": source,
            "rounds": len(found[OURS]),
            "epochs": epochs,
            "flops_per_image": flops,
        },
        "load": load,
        "manifest": manifest({}, {"source": source}),
    }
    print_bench(content)
    write_json(out, content)
    print(f"numbers: {out}")


def _rest(
    files: Sequence[Path], classes: Sequence[str], root: Path, rounds: int, place: Path, progress: Progress
) -> dict[str, Any]:
    """Measure what is no row of the table."""
    parts: dict[str, Callable[[], Any]] = {
        "evaluation": lambda: programs.output_of("evaluation", str(root)),
        "whole commands": lambda: programs.startup(root, place),
        "memory": lambda: programs.memory(files, classes, place / "memory"),
        "a whole epoch": lambda: _overhead(files, classes, min(rounds, 2), place),
        "beside others": lambda: _beside(files, classes, rounds, place),
        "answers": answers_measured,
    }
    task, found = progress.add_task("the rest", total=len(parts)), {}
    for name, measure in parts.items():
        progress.update(task, description=name)
        found[name] = measure()
        progress.advance(task)
    return found


def found_load(*, anyway: bool) -> dict[str, float]:
    """Look for three seconds at how many processors others use.

    Raises:
        InputError: If it is more than an idle machine's, unless ``anyway``.
    """
    used, processors = used_by_others(LOOK)
    print(f"other processes use {used:.2f} of {processors} processors", flush=True)
    if used > NOISE and not anyway:
        raise InputError(
            "this machine",
            expected=f"one on which others use at most {NOISE} processors",
            got=f"{used:.2f} in use",
            fix="end what runs (see top), or measure all the same with --anyway",
        )
    return {"used_by_others": round(used, 2), "processors": processors}


def _rounds(
    rows: Sequence[Row], root: Path, images: int, rounds: int, epochs: int, place: Path, progress: Progress
) -> dict[str, list[list[float]]]:
    """Run all rows in turn, until the ratios of a round hardly differ from those of the others."""
    found: dict[str, list[list[float]]] = defaultdict(list)
    task = progress.add_task("rows", total=rounds * len(rows))
    for number in range(max(rounds, MOST if rounds > 1 else 1)):
        if number >= rounds:
            ratios = [ratio(found, OURS, other) for other in (PYTORCH, KERAS_BF16)]
            if all(one["within"] < WITHIN for one in ratios if one is not None):
                break
            progress.update(task, total=(number + 1) * len(rows), description="rows, as they differ by round")
        for row in rows:
            found[row.name].append(programs.epoch_speeds(row, root, images, epochs, place))
            progress.advance(task)
    return dict(found)


def run_overhead(rounds: int, out: Path) -> None:
    """Measure the cost of the Trainer alone, and put it into the JSON of an earlier bench."""
    content = read_json(out)
    files, _ = _images()
    with tempfile.TemporaryDirectory() as folder:
        os.environ[CACHE] = str(Path(folder) / "cache")
        content["overhead"] = _overhead(files, [file.parent.name for file in files], rounds, Path(folder))
    print_bench(content)
    write_json(out, content)


def run_beside_others(rounds: int, out: Path) -> None:
    """Measure trainings beside other processes, and put it into the JSON of an earlier bench."""
    content, load = read_json(out), found_load(anyway=False)
    files, _ = _images()
    with tempfile.TemporaryDirectory() as folder:
        os.environ[CACHE] = str(Path(folder) / "cache")
        found = _beside(files, [file.parent.name for file in files], rounds, Path(folder))
    content["beside"] = {**found, "load": load, "manifest": manifest({}, {})}
    print("\n".join(beside_lines(content["beside"])))
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
    fields = sorted(images_in(originals_of(find_images(found)))) if found is not None else []
    return {
        **answer_speeds(files, simple or files[:FIRST], fields or files),
        "source": source,
        "manifest": manifest({}, {}),
    }


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


def _overhead(files: Sequence[Path], classes: Sequence[str], rounds: int, place: Path) -> dict[str, Any]:
    """What Trainer, metrics, logging and checkpoints cost over a bare loop, on an epoch as long as the real one."""
    root = place / "whole"
    lay_out(files, classes, WHOLE_EPOCH, root)
    rows = [Row(OURS, "train", True), Row(BARE, "bare_loop", True)]
    found: dict[str, list[list[float]]] = {row.name: [] for row in rows}
    for row in rows * rounds:
        found[row.name].append(programs.epoch_speeds(row, root, WHOLE_EPOCH, 2, place))
    return {
        "images": WHOLE_EPOCH,
        "images_per_s": found,
        "ratio": ratio(found, OURS, BARE),
        "manifest": manifest({}, {}),
    }


def _beside(files: Sequence[Path], classes: Sequence[str], rounds: int, place: Path) -> dict[str, Any]:
    """Trainings beside processes that keep the processors busy."""
    lay_out(files, classes, IMAGES, place / "few")
    return beside_others(place / "few", rounds, place)


def _images() -> tuple[list[Path], str]:
    """Real training images if there are any, else rendered ones; and which they are."""
    found = locate(None)
    if found is not None:
        return sorted((find_images(found) / "TRAIN").rglob("*.jpeg")), "blood_cells"
    from bloodcell.data.sources.synthetic import Smears

    data = Smears()
    data.look_up()
    return [data.index.where(row) for row in range(len(data.index))], "synthetic"
