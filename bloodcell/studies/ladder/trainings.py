"""The trainings of the ladder: which sweeps there are, what each differs in, and how one is run."""

import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from bloodcell.common.errors import InputError
from bloodcell.common.files import read_json, write_json
from bloodcell.config.compose import quoted
from bloodcell.tracking.reader import Run, find_runs, read_run
from bloodcell.tracking.status import DONE, read_status

if TYPE_CHECKING:  # torch takes seconds to import: --help must not wait for it
    from bloodcell.data.datamodule import CellImages

FOLDS = 5
# The protocols: from the most to the least flattering, as it was found; and `blocked`.
RUNGS = ("random", "official", "official_strict", "grouped", "blocked")
FOLDED = ("grouped", "blocked")
CNN, PAPER, WIDE = "small CNN", "the paper's net", "the paper's net, wide"
BACKGROUND, GEOMETRY = "background only", "mask geometry only"
# The experiment that each net is trained by; the controls do not see the cell.
EXPERIMENTS = {CNN: "ladder", PAPER: "paper", WIDE: "paper_adapted", BACKGROUND: "ladder", GEOMETRY: "ladder"}
MASKS = {BACKGROUND: "background", GEOMETRY: "geometry"}
LOOK_EVERY = 1.0  # seconds


class AnySweep(Protocol):
    """What :func:`run_sweep` asks of a sweep."""

    @property
    def name(self) -> str:
        """The name of its directory."""

    @property
    def jobs(self) -> int:
        """Number of its trainings."""

    @property
    def fixed(self) -> list[str]:
        """What all its trainings have in common."""

    @property
    def grid(self) -> list[str]:
        """What they differ in."""


@dataclass(frozen=True)
class Sweep:
    """The trainings of one net under one protocol: every seed, and every fold where there are some.

    Attributes:
        model: ``CNN``, ``PAPER``, ``WIDE``, or a control that does not see the cell: ``BACKGROUND``, ``GEOMETRY``.
        rung: The protocol.
        seeds: Seeds of the trainings.
    """

    model: str
    rung: str
    seeds: tuple[int, ...]

    @property
    def name(self) -> str:
        """The name of its directory."""
        return plain(f"{self.model} {self.rung}")

    @property
    def folds(self) -> tuple[int, ...]:
        """The folds that are tested on, 0 alone where there are none."""
        return tuple(range(FOLDS)) if self.rung in FOLDED else (0,)

    @property
    def jobs(self) -> int:
        """Number of its trainings."""
        return len(self.seeds) * len(self.folds)

    @property
    def fixed(self) -> list[str]:
        """What all its trainings have in common."""
        words = [f"experiment={EXPERIMENTS[self.model]}", f"data.protocol={self.rung}"]
        words += [f"data.folds={FOLDS}"] if self.rung in FOLDED else []
        return [*words, *([f"data.mask={MASKS[self.model]}"] if self.model in MASKS else [])]

    @property
    def grid(self) -> list[str]:
        """What they differ in."""
        folds = [f"data.fold={','.join(map(str, self.folds))}"] if self.rung in FOLDED else []
        return [f"seed={','.join(map(str, self.seeds))}", *folds]


def plain(text: str) -> str:
    """Make the name of a file or a folder of a text."""
    return text.lower().replace("'", "").replace(",", "").replace(" ", "-")


def sweeps(seeds: Sequence[int], models: Sequence[str]) -> list[Sweep]:
    """List the sweeps of some nets; all but ``CNN`` under two protocols, the controls with the first seed alone."""
    ends = ("random", "grouped")
    few = dict.fromkeys((BACKGROUND, GEOMETRY), (ends, seeds[:1]))
    of = {CNN: (RUNGS, seeds), PAPER: (ends, seeds), WIDE: (ends, seeds), **few}
    return [Sweep(model, rung, tuple(of[model][1])) for model in models for rung in of[model][0]]


def data_of(sweep: Sweep, fold: int, words: Sequence[str]) -> "CellImages":
    """Find the images of a training and split them, without reading pixels."""
    from bloodcell.config.compose import composed
    from bloodcell.training.assemble import find_data

    return find_data(composed([*sweep.fixed, *words, f"data.fold={fold}"]))


def check_same_overrides(out: Path, common: list[str]) -> None:
    """Stop if a folder holds the trainings of another ladder; else mark it as this one's.

    Raises:
        InputError: If it was made with other overrides.
    """
    path = out / "overrides.json"
    if path.is_file() and read_json(path)["overrides"] != common:
        raise InputError(
            str(out),
            expected="a folder of trainings with the same overrides",
            got=" ".join(read_json(path)["overrides"]),
            fix="remove it, or give another one with --out",
        )
    write_json(path, {"overrides": common})


def run_sweep(sweep: AnySweep, common: Sequence[str], out: Path, seen: Callable[[int], None]) -> list[Run]:
    """Run a sweep as a user would; finished trainings are kept, interrupted ones go on.

    Args:
        sweep: The sweep.
        common: Overrides of all sweeps.
        out: Folder of the ladder; its log is written there too.
        seen: Called with the number of trainings that are done, every second.

    Returns:
        Its runs.

    Raises:
        InputError: If one fails.
    """
    place = out / sweep.name
    if _done(place) < sweep.jobs:
        words = [*sweep.fixed, *common, *sweep.grid, f"hydra.sweep.dir={quoted(place)}"]
        with (out / f"{sweep.name}.log").open("w", encoding="utf-8") as log:
            command = [sys.executable, "-m", "bloodcell.train", "-m", *words]
            process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
            try:
                while process.poll() is None:
                    seen(_done(place))
                    time.sleep(LOOK_EVERY)
            finally:
                process.terminate()  # it ends its job by itself, and goes on with it the next time
                process.wait()
        if process.returncode:
            ended = f"exit code {process.returncode}"
            raise InputError(sweep.name, expected="a sweep that ends well", got=ended, fix=f"see {log.name}")
    seen(sweep.jobs)
    return [read_run(path) for path in find_runs(place)]


def _done(place: Path) -> int:
    return sum(read_status(path.parent)["state"] in DONE for path in place.glob("*/status.json"))
