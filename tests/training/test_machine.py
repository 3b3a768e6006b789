"""What a process does with the machine: precision, memory, threads."""

import json
import os
import platform
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from bloodcell.common.errors import InputError
from bloodcell.config.compose import composed
from bloodcell.training import machine
from bloodcell.training.assemble import settle
from tests.helpers import TINY


def test_precision_follows_the_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    for has, wanted in ((True, "bf16-mixed"), (False, "32-true")):
        monkeypatch.setattr(machine, "bf16_on_cpu", lambda has=has: has)
        assert machine.choose_precision("cpu")[0] == wanted


@pytest.mark.skipif(torch.cuda.is_available() or torch.backends.mps.is_available(), reason="there is a GPU")
def test_an_accelerator_is_what_the_machine_has_of_it() -> None:
    assert machine.find_device("auto") == machine.find_device("cpu") == "cpu"
    for name in ("gpu", "cuda", "mps"):
        with pytest.raises(InputError, match=f"trainer.accelerator={name}: expected .*, got none; use trainer=cpu"):
            machine.find_device(name)


@pytest.mark.parametrize(
    ("words", "precision"),
    [
        ("trainer.accelerator=auto trainer.precision=32", "32-true"),
        ("trainer.accelerator=cpu trainer.precision=bf16", "bf16-mixed"),
        ("trainer.accelerator=auto trainer.precision=auto", machine.choose_precision("cpu")[0]),
        ("trainer.accelerator=auto trainer.precision=16-mixed", None),
        ("trainer.accelerator=auto trainer.precision=16", None),
    ],
)
@pytest.mark.skipif(torch.cuda.is_available() or torch.backends.mps.is_available(), reason="there is a GPU")
def test_a_precision_has_its_full_name_or_is_refused(words: str, precision: str | None) -> None:
    cfg = composed(words.split())
    if precision is None:
        with pytest.raises(InputError, match=r"trainer\.precision: expected auto, 32-true or bf16-mixed"):
            settle(cfg)
    else:
        settle(cfg)
        assert cfg.trainer.precision == precision


def test_float32_is_float32_on_a_gpu_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)  # as torch has it
    settle(composed(["trainer.precision=32-true"]))
    assert not torch.backends.cudnn.allow_tf32
    assert torch.get_float32_matmul_precision() == "highest"


@pytest.mark.slow
@pytest.mark.parametrize("has", [True, False])
def test_the_choice_is_said_and_recorded_and_trains(
    has: bool, train: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(machine, "bf16_on_cpu", lambda: has)
    run = train()
    wanted = "bf16-mixed" if has else "32-true"
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("math: ")]
    assert line.startswith(f"math: {wanted} (the processor ")
    assert json.loads((run / "manifest.json").read_text())["precision"] == wanted
    checkpoint = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)
    assert {weight.dtype for weight in checkpoint["state_dict"].values() if weight.is_floating_point()} == {
        torch.float32
    }


@pytest.mark.slow
def test_what_is_reported_is_float32_whatever_the_training_was(
    train: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The weights of a bfloat16 training, evaluated as a float32 run would, give the numbers of its report."""
    from bloodcell import evaluate

    run = train("trainer.precision=bf16-mixed")
    reported = json.loads((run / "metrics.json").read_text())
    again = evaluate.evaluate(run, [], None, "test")
    assert {name: value for name, value in reported.items() if name in again} == pytest.approx(again, abs=0)


# Prints how many MB a tensor of 60 MB and sixty of 1 MB leave behind, each with a small one above it.
LEFT = """
import torch
from bloodcell.training.machine import keep_freed_memory
keep_freed_memory()
def resident():
    return int(open("/proc/self/status").read().split("RssAnon:")[1].split()[0]) / 1e3
def left(sizes):
    before = resident()
    tensors = []
    for size in sizes:
        tensors += [torch.ones(size * 250_000), torch.ones(10)]
    del tensors[::2]
    return resident() - before
left([1])
print(left([60]), left([1] * 60))
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc keeps or returns memory")
def test_freed_memory_is_kept_but_for_the_largest_blocks() -> None:
    done = subprocess.run([sys.executable, "-c", LEFT], capture_output=True, text=True, check=True)
    largest, others = map(float, done.stdout.split())
    assert largest < 10, "else a net with a large layer grows with every step"
    assert others > 50


def test_the_tests_run_on_the_threads_that_were_asked_for() -> None:
    assert torch.get_num_threads() == int(os.environ["OMP_NUM_THREADS"])


@pytest.mark.slow
def test_jobs_side_by_side_share_the_threads(cells: Path, tmp_path: Path) -> None:
    words = [*TINY, f"data.root={cells}", "trainer.max_epochs=1", "hydra/launcher=joblib", "seed=0,1"]
    env = {key: value for key, value in os.environ.items() if key != "OMP_NUM_THREADS"}
    done = subprocess.run(
        [sys.executable, "-m", "bloodcell.train", "-m", *words], capture_output=True, text=True, env=env, check=False
    )
    assert done.returncode == 0, done.stderr
    manifests = [json.loads(path.read_text()) for path in tmp_path.glob("runs/tiny-sweep/*/*/manifest.json")]
    assert len(manifests) == 2
    assert {one["hardware"]["threads"] for one in manifests} == {1}, "as many jobs as cores: one thread each"
    assert len(list((tmp_path / "cache" / "pixels").glob("*.npy"))) == 1
