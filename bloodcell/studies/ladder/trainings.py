"""The trainings of the ladder: which there are, what each differs in, and how one is run."""

import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bloodcell.common.errors import InputError
from bloodcell.common.files import read_json, write_json
from bloodcell.tracking.status import read_status

if TYPE_CHECKING:  # torch takes seconds to import: --help must not wait for it
    from bloodcell.data.datamodule import CellImages

FOLDS = 5
# The protocols, from the most to the least flattering.
RUNGS = ("random", "official", "official_strict", "grouped")
CNN, BACKGROUND, GEOMETRY = "small CNN", "background only", "mask geometry only"


@dataclass(frozen=True)
class Training:
    """One training of the ladder.

    Attributes:
        model: ``CNN``, or a control that does not see the cell: ``BACKGROUND``, ``GEOMETRY``.
        rung: The protocol.
        seed: Seed of the training.
        fold: Fold that is tested on under ``grouped``; 0 elsewhere.
    """

    model: str
    rung: str
    seed: int
    fold: int

    @property
    def name(self) -> str:
        """The name of its run directory."""
        fold = f"-fold{self.fold}" if self.rung == "grouped" else ""
        return f"{self.model.replace(' ', '-').lower()}-{self.rung}-seed{self.seed}{fold}"

    @property
    def overrides(self) -> list[str]:
        """What its config differs in from the others."""
        words = [f"data.protocol={self.rung}", f"seed={self.seed}"]
        words += [f"data.folds={FOLDS}", f"data.fold={self.fold}"] if self.rung == "grouped" else []
        mask = {CNN: None, BACKGROUND: "background", GEOMETRY: "geometry"}[self.model]
        return words + ([f"data.mask={mask}"] if mask else [])


def trainings(seeds: Sequence[int]) -> list[Training]:
    """List all trainings; the masked controls with the first seed alone, under the first and the last protocol."""
    return [
        Training(model, rung, seed, fold)
        for model, rungs, times in (
            (CNN, RUNGS, seeds),
            (BACKGROUND, ("random", "grouped"), seeds[:1]),
            (GEOMETRY, ("random", "grouped"), seeds[:1]),
        )
        for seed in times
        for rung in rungs
        for fold in (range(FOLDS) if rung == "grouped" else (0,))
    ]


def data_of(training: Training, words: Sequence[str]) -> "CellImages":
    """Find the images of a training and split them, without reading pixels."""
    from bloodcell.config.compose import composed
    from bloodcell.training.assemble import find_data

    return find_data(composed(["experiment=ladder", *words, *training.overrides]))


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


def run_training(training: Training, common: Sequence[str], run_dir: Path) -> None:
    """Run a training in a process of its own; keep a finished one, resume an interrupted one.

    Raises:
        InputError: If it fails.
    """
    if read_status(run_dir)["state"] == "ok":
        return
    words = [*common, *training.overrides, f"hydra.run.dir={run_dir}"]
    if (run_dir / "checkpoints" / "last.ckpt").is_file():
        words = [f"ckpt_path={run_dir}"]
    with (run_dir.parent / f"{training.name}.log").open("w", encoding="utf-8") as log:
        code = subprocess.run(
            [sys.executable, "-m", "bloodcell.train", *words], stdout=log, stderr=subprocess.STDOUT, check=False
        ).returncode
    if code:
        raise InputError(
            training.name, expected="a training that ends well", got=f"exit code {code}", fix=f"see {log.name}"
        )
