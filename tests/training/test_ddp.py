"""Several processes that train together: they end as one would, one of them writes, and none is left behind."""

import csv
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from bloodcell.data.batches import EpochSampler, Share
from bloodcell.model.classifier import CellClassifier
from tests.helpers import CLASSES, TINY, metrics_of, weights, write_cells

Train = Callable[..., Path]
# What two processes compute as one does: no draws, and no statistics of a batch.
PLAIN = (
    "data=folder",
    "data.image_size=[32,32]",
    "data.batch_size=5",
    "data.augment=null",
    "model=paper_cnn",
    "model.widths=[4,8,8]",
    "model.dense=16",
    "model.dropout=0",
    "optim=sgd",
    "optim.scheduler=null",
    "optim.class_weights=balanced",
    "trainer.precision=32-true",
)


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """22 training images, of which a class has fewer, and 23 for validation and for the test."""
    root = write_cells(tmp_path_factory.mktemp("odd"), ("train", "val", "test"), 8)
    for name in ("train/{0}/_0_0", "train/{0}/_0_1", "val/{1}/_1_3", "test/{2}/_2_5"):
        (root / f"{name.format(*CLASSES)}.png").unlink()
    return root


def launch(*words: str, start: tuple[str, ...] = ("-m", "bloodcell.train")) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own, in the folder of the test."""
    return subprocess.run([sys.executable, *start, *words], capture_output=True, text=True, timeout=300, check=False)


def table(path: Path) -> list[dict[str, str]]:
    with path.open() as file:
        return list(csv.DictReader(file))


def files(run: Path) -> list[str]:
    """What is in a run directory; event files, which are named by time and process, by their kind."""
    names = (path.relative_to(run).as_posix() for path in run.rglob("*"))
    return sorted("events" if "tfevents" in name else name for name in names)


def assert_same_numbers(one: Path, two: Path) -> None:
    for first, second in zip(table(one / "metrics.csv"), table(two / "metrics.csv"), strict=True):
        assert first.keys() == second.keys()
        for name in first.keys() - {"seconds"}:
            assert float(first[name]) == pytest.approx(float(second[name]), abs=1e-5), name
    reported, other = metrics_of(one), metrics_of(two)
    del reported["weights"], other["weights"]  # gradients are summed in another order
    assert reported.pop("intervals") == other.pop("intervals")
    assert reported == pytest.approx(other, abs=1e-5)
    for before, after in zip(table(one / "predictions.csv"), table(two / "predictions.csv"), strict=True):
        shares = [name for name in before if name.startswith("p_")]
        assert [float(before.pop(name)) for name in shares] == pytest.approx(
            [float(after.pop(name)) for name in shares], abs=1e-5
        )
        assert before == after


@pytest.mark.slow
def test_two_processes_stopped_and_resumed_end_as_one(train: Train, odd: Path, tmp_path: Path) -> None:
    """In float32, at the same global batch: 25 steps of 5, 5, 5, 5 and 2 images, shared 3 to 2 and 1 to 1."""
    words = (*PLAIN, f"data.root={odd}")
    one = train("name=one", "trainer.max_epochs=5", base=words)
    done = launch(*words, "name=two", "trainer=ddp", "trainer.max_epochs=3")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("epoch 3/3") == 1, "one process speaks"
    (two,) = tmp_path.glob("runs/two/*")
    assert files(two) == files(one), "one process writes"
    assert json.loads((two / "manifest.json").read_text())["processes"] == 2
    done = launch(f"ckpt_path={two}", "trainer.max_epochs=5")
    assert done.returncode == 0, done.stderr
    assert list(tmp_path.glob("runs/two/*")) == [two]
    first, second = weights(one), weights(two)
    assert all(torch.allclose(first[name], second[name], rtol=0, atol=1e-5) for name in first)
    assert_same_numbers(one, two)
    assert len(table(two / "predictions.csv")) == 23
    assert json.loads((two / "status.json").read_text())["state"] == "ok"


FAILS = """
import os
from bloodcell.training.recorder import RunRecorder
from bloodcell.train import main

def fail(self, trainer, module):
    if os.environ["LOCAL_RANK"] == "1":
        raise KeyError("a fault in one process")

RunRecorder.on_validation_end = fail
main()
"""


@pytest.mark.slow
def test_a_process_that_fails_takes_the_others_with_it(odd: Path, tmp_path: Path) -> None:
    (tmp_path / "fails.py").write_text(FAILS)
    done = launch(*PLAIN, f"data.root={odd}", "trainer=ddp", "name=fails", start=("fails.py",))
    assert done.returncode != 0, done.stdout
    (run,) = tmp_path.glob("runs/fails/*")
    status = json.loads((run / "status.json").read_text())
    assert (status["state"], status["process"]) == ("failed", 1)
    assert "a fault in one process" in status["traceback"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("trainer=ddp", "seed=0,1", "-m"), "trainer.devices: expected one device a job in a sweep"),
        (("trainer.devices='2'", "seed=0,1", "-m"), "trainer.devices: expected one device a job in a sweep"),
        (("trainer=ddp", "sweep=seeds"), "trainer.devices: expected one device a job in a sweep"),
        (("trainer.devices=[0,1]",), "trainer: expected values that its target accepts"),
        (("trainer=ddp", "trainer.strategy=ddp_spawn"), "trainer.strategy: expected ddp"),
        (("trainer=ddp", "data.batch_size=1"), "data.batch_size: expected an image for each of 2"),
        (("trainer=ddp", "lr_find=true"), "lr_find: expected false"),
        (("trainer=ddp", "trainer.devices=40", "data.batch_size=64"), "at most as many processes as training images"),
    ],
    ids=lambda words: " ".join(words) if isinstance(words, tuple) else "",
)
def test_what_processes_cannot_do_is_one_line(
    train: Train, capsys: pytest.CaptureFixture[str], tmp_path: Path, words: tuple[str, ...], said: str
) -> None:
    with pytest.raises(SystemExit, match="1"):
        train(*words)
    said_all = capsys.readouterr().err.splitlines()
    (line,) = [line for line in said_all if line.startswith("error: ")]
    assert said in line
    assert not list(tmp_path.glob("runs/**/manifest.json")), "nothing was begun"


def test_processes_that_others_start_need_one_directory(
    train: Train, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    by_torchrun = {"TORCHELASTIC_RUN_ID": "none", "RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "2"}
    for name, value in by_torchrun.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit, match="1"):
        train("trainer=ddp")
    assert "hydra.run.dir: expected one directory" in capsys.readouterr().err


@pytest.mark.parametrize("world", [2, 3, 4])
@pytest.mark.parametrize("images", [4, 8, 9, 10, 11, 12])
def test_every_image_is_in_one_share(images: int, world: int) -> None:
    sampler = EpochSampler(images, seed=0)
    shares = [Share(sampler, 4, rank, world) for rank in range(world)]
    steps = [list(share) for share in shares]
    assert {len(taken) for taken in steps} == {len(share) for share in shares}
    assert all(batch for taken in steps for batch in taken), "nobody waits at the last batch"
    whole = [sorted(row for part in parts for row in part) for parts in zip(*steps, strict=True)]
    order = list(sampler)
    assert whole[0] == sorted(order[:4] if len(whole) > 1 else order), "the batches are those of one process"
    assert sorted(row for batch in whole for row in batch) == list(range(images))


def test_each_process_draws_its_own_dropout(monkeypatch: pytest.MonkeyPatch) -> None:
    def drawn(rank: int) -> float:
        monkeypatch.setattr(CellClassifier, "global_rank", rank)
        CellClassifier(torch.nn.Linear(1, 2), CLASSES[:2], torch.optim.SGD, seed=3).on_train_epoch_start()
        return float(torch.rand(()))

    assert len({drawn(rank) for rank in range(4)}) == 4


@pytest.mark.slow
def test_torchrun_starts_processes_with_a_usual_recipe(cells: Path, tmp_path: Path) -> None:
    """Dropout, batch normalisation, augmentation, a schedule and early stopping, over an odd number of batches."""
    start = ("-m", "torch.distributed.run", "--nproc_per_node=2", "-m", "bloodcell.train")
    extra = ("optim/scheduler=one_cycle", "early_stopping=1", "data.batch_size=5", "hydra.run.dir=run")
    done = launch(*TINY, f"data.root={cells}", "trainer=ddp", "trainer.max_epochs=4", *extra, start=start)
    assert done.returncode == 0, done.stderr
    run = tmp_path / "run"
    assert json.loads((run / "status.json").read_text())["state"] == "ok"
    assert len(table(run / "predictions.csv")) == 24
    assert not [path for path in tmp_path.iterdir() if path.name not in ("run", "cache")]
