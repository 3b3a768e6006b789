"""Commands killed at random moments: typed again they end as if undisturbed, and nothing half-written is left."""

import random
import shutil
import signal
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from bloodcell.common.env import CHECKOUT
from bloodcell.tracking.status import read_status
from tests.fuzz import copied_run
from tests.helpers import TINY, lasting, metrics_of, timeless, weights
from tests.processes import Ended, killed, run, strays

TRIALS, FEWER, GRAPHS = 20, 5, 4
SIGNALS = {signal.SIGKILL: (-9,), signal.SIGTERM: (143, -15), signal.SIGINT: (130, -2)}
Words = list[str]


@pytest.fixture(scope="module")
def words_of(finished: Path, cells: Path, net: Path) -> Callable[[str, Path], Words]:
    """``words_of("predict", folder)``: what is typed in that folder, in which its sources then are."""
    training = [*TINY, f"data.root={cells}"]
    short = [*training, "trainer=smoke", "test=false"]  # the figures of a test are those of train

    def words(name: str, folder: Path) -> Words:
        folder.mkdir(exist_ok=True)
        few = sorted(map(str, (cells / "val" / "MONOCYTE").iterdir()))[:3]
        if name in ("evaluate", "export"):
            copied_run(finished, folder / "run")
        if name == "report":
            shutil.copytree(CHECKOUT / "results", folder / "results")
        return {
            "train": ["train", *training, "trainer.max_epochs=3", "optim.lr=0.01"],
            "cache": ["train", *short, "data.cache=disk"],
            "sweep": ["train", "-m", *short, "optim.lr=0.01,0.001", "hydra.sweep.dir=sweep"],
            "search": ["search", *short, "optim.lr=interval(1e-3,1e-1)", "--trials", "2"],
            "evaluate": ["evaluate", "run"],
            "export": ["export", "run", "--out", "net.safetensors"],
            "predict": ["predict", str(cells / "test"), "--model", str(net), "--out", "out.csv"],
            "count": ["count", str(cells / "test"), "--model", str(net), "--out", "out.csv"],
            "explain": ["explain", *few, "--model", str(net), "--out", "maps"],
            "graph": ["export", str(net), "--to", "onnx", "--check", str(cells / "val"), "--out", "net.onnx"],
            "report": ["report", "--results", "results", "--html", "report.html"],
        }[name]

    return words


def runs_in(folder: Path) -> list[Path]:
    """Run directories by their place."""
    return sorted(path.parent for path in folder.glob("**/metrics.json") if (path.parent / "checkpoints").is_dir())


def trained(run_dir: Path) -> object:
    """What a training leaves: numbers, predictions, curves, weights; all of it is whole."""
    assert read_status(run_dir)["state"] == "ok"
    states = [weights(run_dir, path.stem) for path in sorted((run_dir / "checkpoints").iterdir())]
    kept = lasting(run_dir) if (run_dir / "predictions.csv").exists() else metrics_of(run_dir)
    return kept, [{name: value.tolist() for name, value in state.items()} for state in states]


def proposals(folder: Path) -> list[object]:
    import optuna

    (path,) = folder.glob("runs/**/study.db")
    (name,) = optuna.get_all_study_names(f"sqlite:///{path}")
    trials = optuna.load_study(study_name=name, storage=f"sqlite:///{path}").trials
    before = {one.user_attrs.get("again") for one in trials}
    return [(one.params, one.state, one.value) for one in trials if one.number not in before]


def found(name: str, folder: Path) -> object:
    """What a command has made, without times."""
    if name in ("train", "cache"):
        return trained(runs_in(folder)[-1])
    if name in ("sweep", "search"):
        jobs = {path.name: trained(path) for path in runs_in(folder)}
        return jobs, proposals(folder) if name == "search" else None
    if name == "evaluate":
        newest = max((folder / "run" / "evaluations").iterdir())
        return {path.relative_to(newest): path.read_bytes() for path in newest.rglob("*.[pc]*")}, metrics_of(newest)
    sources = (folder / "run", folder / "cache")
    made = [
        path
        for path in folder.rglob("*")
        if path.is_file() and not path.name.startswith(".") and not any(path.is_relative_to(one) for one in sources)
    ]
    boards = [path for path in made if path.name.startswith("events.out.tfevents.")]  # called by their moment
    return {path.relative_to(folder): timeless(path) for path in made if path not in boards}, list(map(shown, boards))


def shown(board: Path) -> dict[str, list[tuple[int, bytes]]]:
    """The pictures in a file of TensorBoard's."""
    events = EventAccumulator(str(board), size_guidance={"images": 0})
    events.Reload()
    return {
        tag: [(one.step, one.encoded_image_string) for one in events.Images(tag)] for tag in events.Tags()["images"]
    }


def again(name: str, folder: Path, words: Words) -> Words:
    """What a user types who sees that the command is gone: a run that was begun is resumed."""
    begun = sorted(folder.glob("runs/*/*/.hydra/overrides.yaml")) if name in ("train", "cache") else []
    return ["train", f"ckpt_path={begun[0].parent.parent}"] if begun else words


def wholes(name: str, folder: Path, known: dict[str, tuple[Ended, object]], words_of: Callable[..., Words]) -> None:
    """Run a command undisturbed, once in a module."""
    if name not in known:
        ended = run(folder, *words_of(name, folder))
        assert ended.code == 0, ended.err
        known[name] = ended, found(name, folder)


@pytest.fixture(scope="module")
def known() -> dict[str, tuple[Ended, object]]:
    return {}


def trials(name: str, numbers: Sequence[int], among: str = "") -> list[object]:
    slow = [pytest.mark.slow]
    return [pytest.param(name, number, among, id=f"{name}-{number}", marks=slow) for number in numbers]


ALL = ("train", "sweep", "search", "evaluate", "predict", "report")


@pytest.mark.parametrize(
    ("name", "number", "among"),
    [
        pytest.param("predict", 100, "", id="predict"),
        pytest.param("evaluate", 101, "evaluations", id="evaluate"),
        *[one for name in ALL for one in trials(name, range(TRIALS))],
        *trials("cache", range(TRIALS), "/cache/"),
        *[one for name in ("count", "explain", "export") for one in trials(name, range(FEWER))],
        *trials("graph", range(GRAPHS)),
    ],
)
def test_killed_at_random(
    name: str,
    number: int,
    among: str,
    known: dict[str, tuple[Ended, object]],
    words_of: Callable[[str, Path], Words],
    tmp_path: Path,
) -> None:
    wholes(name, tmp_path / "whole", known, words_of)
    whole, expected = known[name]
    rng, folder = random.Random(f"{name} {number}"), tmp_path / "killed"
    words, kind = words_of(name, folder), list(SIGNALS)[number % len(SIGNALS)]
    earlier = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file() and name == "evaluate"}
    stopped, when = killed(rng, folder, words, whole, kind, among)
    assert stopped.code in (0, *SIGNALS[kind]), f"{when}: {stopped.code} {stopped.err}"
    if stopped.code == 0:
        assert "Traceback" not in stopped.err, when
    resumed = run(folder, *again(name, folder, words))
    assert resumed.code == 0, f"{when}: {resumed.err}"
    assert found(name, folder) == expected, when
    for path in folder.glob("runs/tiny/*"):
        if not (path / ".hydra" / "overrides.yaml").is_file():
            shutil.rmtree(path)  # it was no run yet: nothing goes on with it, and nothing reads it
    assert not strays(folder), when
    assert {path: path.read_bytes() for path in earlier} == earlier, when
