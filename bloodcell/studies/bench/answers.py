"""How fast a trained net answers: one crop and 32 of them, as it is and as a graph; and the whole command."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from bloodcell.data.decode import open_picture
from bloodcell.data.micrographs import Pixels
from bloodcell.prediction.graph import opened_graph, write_graph
from bloodcell.prediction.predictor import Predictor, load_net

AT_ONCE, CALLS = (1, 32), 15
FIRST = 71  # pictures of the published TEST_SIMPLE
CROP_SIDE, CROPS = 128, 300
RATE_AT, FIELDS_AT = (300, 3_000), (36, 366)
MEMORY_AT = (100, 10_000, 100_000)


def answer_speeds(files: Sequence[Path], simple: Sequence[Path], fields: Sequence[Path]) -> dict[str, Any]:
    """Measure all of it.

    Args:
        files: Pictures, at least one; ``CROPS`` of them are used.
        simple: Those that the command is timed on from its start to its end.
        fields: Whole fields, in which cells are to be found.

    Returns:
        ``latency_ms`` (the fastest of some calls, by runtime, pictures at once and threads), ``command`` (seconds of
        wall time and of processors), ``per_s`` and ``per_processor_s`` of crops, of crops in which cells are looked
        for, and of fields, after the start, ``peak_memory_bytes`` by number of pictures, and the load of the machine
        before, in processes that want a processor.
    """
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        latency = _latencies(load_net(), place)
        command = _predict(map(str, simple), place)
        crops = list(_crops(files[:CROPS], place))
        sought = [_predict(_first(crops, count), place) for count in RATE_AT]
        whole = [_predict(_first(list(map(str, fields)), count), place, "field") for count in FIELDS_AT]
        # Without looking for cells it is twice as fast, and each picture is in memory all the same.
        runs = {count: _predict(_first(crops, count), place, "crop") for count in MEMORY_AT}
    rates = {
        "crops": _rates((MEMORY_AT[0], runs[MEMORY_AT[0]]), (MEMORY_AT[1], runs[MEMORY_AT[1]])),
        "crops in which cells are looked for": _rates(*zip(RATE_AT, sought, strict=True)),
        "fields": _rates(*zip(FIELDS_AT, whole, strict=True)),
    }
    return {
        "latency_ms": latency,
        "pictures": len(simple),
        "command": {name: command[name] for name in ("seconds", "processor_seconds")},
        "per_s": {name: one["seconds"] for name, one in rates.items()},
        "per_processor_s": {name: one["processor_seconds"] for name, one in rates.items()},
        "peak_memory_bytes": {str(count): one["memory"] for count, one in runs.items()},
        "load_before": load,
        "cores": os.cpu_count(),
    }


def _latencies(net: Predictor, place: Path) -> list[dict[str, Any]]:
    side = net.trained.card.preparation.crop_side
    pictures = np.random.default_rng(0).integers(0, 256, (max(AT_ONCE), side, side, 3), np.uint8)
    before, rows = torch.get_num_threads(), []
    for to, suffix in (("torch_export", ".pt2"), ("onnx", ".onnx")):
        write_graph(net.trained, to, place / f"net{suffix}")
    for threads in sorted({1, os.cpu_count() or 1}):
        torch.set_num_threads(threads)
        programs: dict[str, Callable[[Pixels], object]] = {
            "PyTorch": lambda given: net.outputs(list(given)),
            "torch.export": opened_graph(place / "net.pt2"),
            "ONNX Runtime": opened_graph(place / "net.onnx", threads),
        }
        for name, answer in programs.items():
            for count in AT_ONCE:
                milliseconds = _fastest_ms(answer, pictures[:count])
                rows.append({"program": name, "threads": threads, "pictures": count, "ms": milliseconds})
    torch.set_num_threads(before)
    return rows


def _fastest_ms(answer: Callable[[Pixels], object], pictures: Pixels) -> float:
    answer(pictures)
    times = []
    for _ in range(CALLS):
        begun = time.perf_counter()
        answer(pictures)
        times.append(time.perf_counter() - begun)
    return 1e3 * min(times)


def _rates(few: tuple[int, Mapping[str, float]], many: tuple[int, Mapping[str, float]]) -> dict[str, float]:
    """Compute pictures a second of both clocks, without what the start takes."""
    more = many[0] - few[0]
    return {clock: more / (many[1][clock] - few[1][clock]) for clock in ("seconds", "processor_seconds")}


def _crops(files: Sequence[Path], place: Path) -> Iterable[str]:
    for number, file in enumerate(files):
        path = place / f"{number:03d}.png"
        open_picture(file).resize((CROP_SIDE, CROP_SIDE), Image.Resampling.BILINEAR).save(path)
        yield str(path)


def _first(crops: Sequence[str], count: int) -> Iterator[str]:
    """So many pictures; the same ones come again."""
    return islice(cycle(crops), count)


def _predict(names: Iterable[str], place: Path, view: str = "auto") -> dict[str, float]:
    """Type ``python -m bloodcell.predict`` on a list, in a process of its own."""
    listed = place / "list.txt"
    listed.write_text("".join(f"{name}\n" for name in names))
    words = [sys.executable, "-m", "bloodcell.predict", "-", "--view", view, "--out", str(place / "answers.csv")]
    begun = time.perf_counter()
    with listed.open() as lines:
        process = subprocess.Popen(words, stdin=lines, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        peak, ended = 0, 0
        while not ended:
            time.sleep(0.05)
            peak = max(peak, _peak_memory(process.pid))
            ended, status, used = os.wait4(process.pid, os.WNOHANG)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, words)
    return {
        "seconds": time.perf_counter() - begun,
        "processor_seconds": used.ru_utime + used.ru_stime,
        "memory": peak,
    }


def _peak_memory(pid: int) -> int:
    """Peak memory of a process that runs, in bytes; what the system says after its end counts its parent's too."""
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return 1024 * int(line.split()[1])
    return 0
