"""The ladder from the published number to the honest one: ``python -m bloodcell.ladder [KEY=VALUE]``."""

import argparse
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from bloodcell.cli import CONF, run_command
from bloodcell.data.fingerprint import progress_bar
from bloodcell.errors import InputError
from bloodcell.files import read_csv, read_json, write_json, write_text

if TYPE_CHECKING:  # --help must not wait for torch
    from bloodcell.data.datamodule import BloodCells
    from bloodcell.evidence.intervals import Estimate

HELP = """\
Trains one net with one recipe and one number of images under every protocol, three times, and scores each on
held-out copies and on held-out originals; beside them controls that cannot see the cell. It takes about an hour
on two cores; launched again, it goes on where it was.

  make ladder
  make ladder ARGS="trainer.max_epochs=2 --seeds 0"     a quick look
"""
FOLDS = 5
RUNGS = ("random", "official", "official_strict", "grouped")
RUNG_NAMES = {
    "random": "random images (the paper)",
    "official": "published TRAIN/TEST",
    "official_strict": "TRAIN without TEST's fields",
    "grouped": "grouped by field, 5 folds",
}
CNN, BACKGROUND, GEOMETRY = "small CNN", "background only", "mask geometry only"
HISTOGRAM, RAW = "nearest colour histogram", "nearest raw pixels"


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


class Answers(NamedTuple):
    """Predictions on one view of the test photographs.

    Attributes:
        label: True classes, int64, shape (N,).
        said: Predicted ones, likewise.
        group: Field groups.
    """

    label: np.ndarray[Any, np.dtype[np.int64]]
    said: np.ndarray[Any, np.dtype[np.int64]]
    group: np.ndarray[Any, np.dtype[np.str_]]


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


def run_ladder(words: list[str], seeds: Sequence[int], out: Path) -> None:
    """Train what is missing, then write ``ladder.json``, ``ladder.md`` and ``ladder.png``.

    Args:
        words: Hydra overrides for all trainings.
        seeds: Of the trainings.
        out: Folder for the runs and the results.

    Raises:
        InputError: If a training fails, or what is in ``out`` was made with other overrides.
    """
    todo = jobs(seeds)
    data = {job: _data(job, words) for job in todo}
    smallest = min(len(one.split.train) for one in data.values())
    common = ["experiment=ladder", *words, f"data.train_images={smallest}"]
    _check_same(out, common)
    with progress_bar() as progress:
        for job in progress.track(todo, description=f"training, {smallest:,} images each"):
            _train(job, common, out / job.name)
    answers = {(job.model, job.rung, job.seed): defaultdict[str, list[Answers]](list) for job in todo}
    for job in todo:
        for view, one in _read_answers(out / job.name, next(iter(data.values())).classes).items():
            answers[job.model, job.rung, job.seed][view].append(one)
    rows = [_row(model, rung, found) for (model, rung), found in _by_rung(answers).items()]
    rows += _neighbours({job: one for job, one in data.items() if job.model == CNN and job.seed == seeds[0]})
    manifest = read_json(out / todo[0].name / "manifest.json")
    write_json(out / "ladder.json", {"train_images": smallest, "seeds": list(seeds), "rows": rows})
    write_json(out / "manifest.json", {**manifest, "command": [Path(sys.argv[0]).name, *sys.argv[1:]]})
    _write_readable(rows, out)


def _data(job: Job, words: list[str]) -> "BloodCells":
    """The index and the split of a job, without pixels."""
    from hydra import compose, initialize_config_dir

    from bloodcell.build import build
    from bloodcell.data.datamodule import BloodCells

    with initialize_config_dir(str(CONF), version_base="1.3"):
        cfg = compose("train", ["experiment=ladder", *words, *job.overrides])
    data: BloodCells = build(cfg.data, "data")
    data.find()
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
    status = run_dir / "status.json"
    if status.is_file() and read_json(status)["state"] == "ok":
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


def _read_answers(run_dir: Path, classes: Sequence[str]) -> dict[str, Answers]:
    """The predictions of a run by view."""
    rows = read_csv(run_dir / "predictions.csv")
    found = {}
    for view in ("twin", "original"):
        these = [row for row in rows if row["view"] == view]
        label, said = ([classes.index(row[key]) for row in these] for key in ("class", "predicted"))
        found[view] = Answers(np.array(label), np.array(said), np.array([row["group"] for row in these]))
    return found


def _by_rung(answers: dict[tuple[str, str, int], Any]) -> dict[tuple[str, str], dict[str, list[Answers]]]:
    """One pooled set of answers for each seed, by view."""
    found: dict[tuple[str, str], dict[str, list[Answers]]] = {}
    for (model, rung, _), views in answers.items():
        for view, parts in views.items():
            found.setdefault((model, rung), {}).setdefault(view, []).append(_pool(parts))
    return found


def _pool(parts: Iterable[Answers]) -> Answers:
    return Answers(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def _row(model: str, rung: str, views: dict[str, list[Answers]]) -> dict[str, Any]:
    """What is said of one model under one protocol: each view's mean over seeds with its interval."""
    return {"model": model, "rung": rung, **{view: _scores(seeds) for view, seeds in views.items()}}


def _scores(seeds: Sequence[Answers]) -> dict[str, Any]:
    """The mean over seeds; pooled answers have just this mean, so their bootstrap over groups is its interval."""
    from bloodcell.evidence.controls import majority
    from bloodcell.evidence.intervals import bootstrap_intervals, group_confusions, scores

    classes = 1 + max(int(one.label.max()) for one in seeds)
    found: dict[str, Estimate] = bootstrap_intervals(*_pool(seeds), classes)
    each = [scores(group_confusions(*one, classes).sum(axis=0)) for one in seeds]
    return {
        "images": len(seeds[0].label),
        "groups": found["acc"].groups,
        "majority": majority(seeds[0].label),
        **{
            name: {
                "mean": float(np.mean([one[name] for one in each])),
                "interval": [found[name].low, found[name].high],
                "seeds": [float(one[name]) for one in each],
            }
            for name in ("balanced_acc", "macro_f1", "acc")
        },
    }


def _neighbours(data: dict[Job, "BloodCells"]) -> list[dict[str, Any]]:
    """The controls without training: the nearest image in colours, and in raw pixels."""
    from concurrent.futures import ThreadPoolExecutor

    from bloodcell.data.colours import colour_histogram, thumbnail
    from bloodcell.data.pixels import open_row
    from bloodcell.evidence.controls import nearest_labels

    index = next(iter(data.values())).index

    def reduce(row: int) -> tuple[Any, Any]:
        pixels = np.asarray(open_row(index, row))
        return colour_histogram(pixels), thumbnail(pixels)

    with progress_bar() as progress, ThreadPoolExecutor() as pool:
        done = pool.map(reduce, range(len(index)))
        reduced = list(progress.track(done, total=len(index), description="colours and pixels"))
    rows_of_table = []
    for model, features in zip((HISTOGRAM, RAW), (np.stack(one) for one in zip(*reduced, strict=True)), strict=True):
        found: dict[str, dict[str, list[Answers]]] = defaultdict(lambda: defaultdict(list))
        for job, one in data.items():
            split = one.split
            known = np.union1d(split.train, split.val) if split.choice else split.train
            for rows in (split.test, split.test_beside):
                said = nearest_labels(features[known], index.label[known], features[rows])
                view = str(index.view[rows[0]])
                found[job.rung][view].append(Answers(index.label[rows], said, index.group[rows]))
        pooled = {rung: {view: [_pool(parts)] for view, parts in views.items()} for rung, views in found.items()}
        rows_of_table += [_row(model, rung, views) for rung, views in pooled.items()]
    return rows_of_table


def _write_readable(rows: list[dict[str, Any]], out: Path) -> None:
    """The table and the figure."""
    from bloodcell.evidence.figures import ladder, save

    text = markdown(rows)
    write_text(out / "ladder.md", text)
    save(ladder(rows, RUNG_NAMES), out / "ladder.png")
    print(text)
    print(f"figure: {out / 'ladder.png'}\ntable:  {out / 'ladder.md'}")


def markdown(rows: list[dict[str, Any]]) -> str:
    """The ladder as a Markdown table: balanced accuracy, its interval, and the seeds."""
    header = ["model", "split", "on held-out copies", "on originals", "commonest class (copies / originals)"]
    lines = [header, ["---"] * len(header)]
    for row in rows:
        cells = [_cell(row[view]["balanced_acc"]) for view in ("twin", "original")]
        rate = f"{row['twin']['majority']:.3f} / {row['original']['majority']:.3f}"
        lines.append([row["model"], RUNG_NAMES[row["rung"]], *cells, rate])
    said = (
        "Balanced accuracy (chance 0.250): mean over seeds, 95 % interval over field groups, lowest and highest seed. "
        "The last column is the accuracy of always saying the commonest class.\n\n"
    )
    return said + "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def _cell(one: dict[str, Any]) -> str:
    seeds = f"; seeds {min(one['seeds']):.3f} to {max(one['seeds']):.3f}" if len(one["seeds"]) > 1 else ""
    return f"{one['mean']:.3f} ({one['interval'][0]:.3f}-{one['interval'][1]:.3f}{seeds})"


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(
        prog="python -m bloodcell.ladder",
        description="Measure what the split is worth, all else equal.",
        epilog=HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="Hydra overrides for every training")
    parser.add_argument("--seeds", default="0,1,2", help="seeds of the trainings (default: 0,1,2)")
    parser.add_argument("--out", type=Path, default=Path("runs/ladder"), help="folder (default: runs/ladder)")
    words = parser.parse_intermixed_args()  # overrides and options in any order
    run_command(lambda: run_ladder(words.overrides, _seeds(words.seeds), words.out))


def _seeds(text: str) -> list[int]:
    try:
        return [int(word) for word in text.split(",")]
    except ValueError as error:
        raise InputError("--seeds", expected="whole numbers, as 0,1,2", got=text, fix="correct it") from error


if __name__ == "__main__":
    main()
