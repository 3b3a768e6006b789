"""TODO studies/ladder/jobs.py."""

import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bloodcell.common.errors import InputError
from bloodcell.common.files import read_json, write_json
from bloodcell.tracking.status import read_status

if TYPE_CHECKING:
    from bloodcell.data.datamodule import CellImages


FOLDS = 5


RUNGS = ("random", "official", "official_strict", "grouped")


CNN, BACKGROUND, GEOMETRY = "small CNN", "background only", "mask geometry only"


@dataclass(frozen=True)
class Job:
    """One training.

    Attributes:
        model: What it is a training of (``CNN``, ``BACKGROUND``, ``GEOMETRY``).
        rung: The protocol.
        seed: Of the training.
        fold: Of ``grouped``; 0 elsewhere.
    """

    model: str
    rung: str
    seed: int
    fold: int

    @property
    def name(self) -> str:
        """Name of its run directory."""
        fold = f"-fold{self.fold}" if self.rung == "grouped" else ""
        return f"{self.model.replace(' ', '-').lower()}-{self.rung}-seed{self.seed}{fold}"

    @property
    def overrides(self) -> list[str]:
        """What its config differs in."""
        words = [f"data.protocol={self.rung}", f"seed={self.seed}"]
        words += [f"data.folds={FOLDS}", f"data.fold={self.fold}"] if self.rung == "grouped" else []
        mask = {CNN: None, BACKGROUND: "background", GEOMETRY: "geometry"}[self.model]
        return words + ([f"data.mask={mask}"] if mask else [])


def jobs(seeds: Sequence[int]) -> list[Job]:
    """All trainings; the masked ones with the first seed only, under the two protocols that matter."""
    return [
        Job(model, rung, seed, fold)
        for model, rungs, times in (
            (CNN, RUNGS, seeds),
            (BACKGROUND, ("random", "grouped"), seeds[:1]),
            (GEOMETRY, ("random", "grouped"), seeds[:1]),
        )
        for seed in times
        for rung in rungs
        for fold in (range(FOLDS) if rung == "grouped" else (0,))
    ]


def _data(job: Job, words: list[str]) -> "CellImages":
    """The index and the split of a job, without pixels."""
    from bloodcell.config.compose import composed
    from bloodcell.config.instantiate import build
    from bloodcell.data.datamodule import CellImages

    cfg = composed(["experiment=ladder", *words, *job.overrides])
    data: CellImages = build(cfg.data, "data")
    data.look_up()
    return data


def _check_same(out: Path, common: list[str]) -> None:
    """One folder holds one ladder."""
    path = out / "overrides.json"
    if path.is_file() and read_json(path)["overrides"] != common:
        raise InputError(
            str(out),
            expected="a folder of trainings with the same overrides",
            got=" ".join(read_json(path)["overrides"]),
            fix="remove it, or give another one with --out",
        )
    write_json(path, {"overrides": common})


def _train(job: Job, common: list[str], run_dir: Path) -> None:
    """One training in a process of its own; a finished one is kept, an interrupted one goes on."""
    if read_status(run_dir)["state"] == "ok":
        return
    words = [*common, *job.overrides, f"hydra.run.dir={run_dir}"]
    if (run_dir / "checkpoints" / "last.ckpt").is_file():
        words = [f"ckpt_path={run_dir}"]
    with (run_dir.parent / f"{job.name}.log").open("w", encoding="utf-8") as log:
        code = subprocess.run(
            [sys.executable, "-m", "bloodcell.train", *words], stdout=log, stderr=subprocess.STDOUT, check=False
        ).returncode
    if code:
        raise InputError(job.name, expected="a training that ends well", got=f"exit code {code}", fix=f"see {log.name}")
