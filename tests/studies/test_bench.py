"""The bench: its rows train, its ratios are those of its numbers."""

import itertools
import json
import os
from pathlib import Path

import pytest

from bloodcell import bench as command
from bloodcell.common.console import progress_bar
from bloodcell.common.errors import InputError
from bloodcell.studies.bench import answers, beside, programs, run, speeds
from bloodcell.studies.bench.work import BATCH, lay_out
from tests.helpers import CLASSES


@pytest.fixture
def tree(cells: Path, tmp_path: Path) -> Path:
    files = sorted(cells.rglob("*.png"))
    lay_out(files, [file.parent.name for file in files], 40, tmp_path / "tree")
    return tmp_path / "tree"


def test_a_tree_has_what_was_asked_for(tree: Path) -> None:
    counts = {subset: len(list((tree / subset).rglob("*.png"))) for subset in ("train", "val", "test")}
    assert counts == {"train": 40, "val": BATCH, "test": BATCH}
    assert {path.name for path in (tree / "train").iterdir()} == set(CLASSES)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["bare_loop", "plain_pytorch"])
def test_rows_time_their_epochs(tree: Path, name: str) -> None:
    found = programs.output_of(name, str(tree), "--epochs=2", "--bf16")
    assert found["images"] == 40
    assert len(found["seconds"]) == 2
    assert min(found["seconds"]) > 0


def test_ratios_and_shares() -> None:
    rows = [speeds.Row(speeds.OURS, "train", True), speeds.Row(speeds.PYTORCH, "plain_pytorch", False)]
    found = {speeds.OURS: [[400.0, 420.0], [380.0]], speeds.PYTORCH: [[100.0, 105.0], [95.0]]}
    assert speeds.ratio(found, speeds.OURS, speeds.PYTORCH) == {
        **{"median": 4.0, "min": 4.0, "max": 4.0},
        "within": 0.0,
    }
    assert speeds.ratio(found, speeds.OURS, speeds.KERAS_BF16) is None
    ours, theirs = speeds.speed_rows(rows, found, {"float32": 1e11, "bfloat16": 4e11}, flops=10**8)
    assert ours == {
        "name": "bloodcell",
        "images_per_s": 400.0,
        "min": 380.0,
        "max": 420.0,
        "ratio_vs_pytorch": 4.0,
        "share_of_ceiling": 0.1,
    }
    assert theirs["share_of_ceiling"] == 0.1


def test_how_far_a_ratio_is_known_is_told_by_the_middle_half_of_its_rounds() -> None:
    found = {speeds.OURS: [[400.0], [410.0], [420.0], [800.0]], speeds.PYTORCH: [[100.0]] * 4}
    known = speeds.ratio(found, speeds.OURS, speeds.PYTORCH)
    assert known is not None
    assert known["within"] == pytest.approx(1.57 * (5.15 - 4.075) / 2 / 4.15, abs=1e-3)


def test_rounds_end_when_their_ratios_agree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [speeds.Row(speeds.OURS, "train", True), speeds.Row(speeds.PYTORCH, "plain_pytorch", False)]

    def rounds_of(*ours: float) -> int:
        left = {speeds.OURS: iter(ours), speeds.PYTORCH: itertools.repeat(100.0)}
        monkeypatch.setattr(programs, "epoch_speeds", lambda row, *_: [next(left[row.name])])
        with progress_bar() as progress:
            found = run._rounds(rows, tmp_path, 64, 3, 2, tmp_path, progress)
        return len(found[speeds.PYTORCH])

    assert rounds_of(400.0, 401.0, 402.0) == 3
    assert rounds_of(400.0, 250.0, 550.0, 400.0, 400.0) == 5
    assert rounds_of(*(400.0, 100.0) * 4) == run.MOST


def test_a_machine_that_others_use_is_refused(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "LOOK", 0.5)
    monkeypatch.setattr(run, "NOISE", 0.05)  # of a machine on which other tests may run
    with beside.busy(1):
        with pytest.raises(InputError, match=r"this machine: expected one on which others use at most 0.05 processors"):
            run.found_load(anyway=False)
        assert run.found_load(anyway=True)["used_by_others"] > 0.05
    assert "other processes use" in capsys.readouterr().out


def test_the_work_is_counted() -> None:
    # Forward, and twice that backward but for the first layer, which has no gradient of its input.
    layers = [126**2 * 32 * 27, 61**2 * 64 * 288, 28**2 * 128 * 576, 28**2 * 128 * 128, 128 * 4]
    assert programs.flops() == 2 * (3 * sum(layers) - layers[0])


def test_bad_numbers(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("sys.argv", ["bench", "--epochs=1"])
    with pytest.raises(SystemExit):
        command.main()
    assert "--epochs: expected a number from 2, got 1" in capsys.readouterr().err


@pytest.mark.slow
def test_the_whole_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], cells: Path
) -> None:
    files = sorted(cells.rglob("*.png"))
    monkeypatch.setattr(run, "_images", lambda: (files, "test"))
    monkeypatch.setattr(run, "find_spec", lambda name: None)
    monkeypatch.setattr(programs, "MEMORY_AT", (64,))
    monkeypatch.setattr(programs, "JOBS", 2)
    monkeypatch.setattr(run, "WHOLE_EPOCH", 64)
    monkeypatch.setattr(run, "answers_measured", lambda: ANSWERS)
    monkeypatch.setattr(run, "_beside", lambda *_: BESIDE)
    run.run_bench(64, rounds=1, epochs=2, out=tmp_path / "bench.json", anyway=True)
    content = json.loads((tmp_path / "bench.json").read_text())
    assert content["ratio_vs_pytorch"]["median"] > 0
    assert content["ratio_vs_keras_bf16"] is None
    assert [row["name"] for row in content["rows"]] == [
        speeds.OURS,
        speeds.OURS_FLOAT,
        speeds.OURS_TWO,
        speeds.BARE,
        speeds.PYTORCH,
    ]
    monkeypatch.setattr(programs, "epoch_speeds", lambda *_: [1.0])  # they have just run
    run.run_overhead(1, tmp_path / "bench.json")
    again = json.loads((tmp_path / "bench.json").read_text())
    assert again["overhead"]["images_per_s"] != content["overhead"]["images_per_s"]
    assert again["rows"] == content["rows"]
    assert "plain PyTorch" in capsys.readouterr().out


BESIDE = {
    "rows": [
        {"others": 0, "policy": "as it is", "images_per_s": 900.0, "share": 0.99, "fair": 1.0},
        {"others": 0, "policy": "threads awake", "images_per_s": 909.0, "share": 1.0, "fair": 1.0},
        {"others": 1, "policy": "as it is", "images_per_s": 600.0, "share": 0.66, "fair": 0.667},
        {"others": 1, "policy": "threads awake", "images_per_s": 45.0, "share": 0.05, "fair": 0.667},
    ],
    "idle": {"median": 0.99, "min": 0.98, "max": 1.0},
    "same_bits": True,
}


def test_runs_beside_others_are_a_table() -> None:
    lines = speeds.beside_lines(BESIDE)
    assert lines[0] == "| other busy processes | fair share | as it is | threads awake |"
    assert lines[3] == "| 1 | 67% | 600 images/s (66%) | 45 images/s (5%) |"
    assert "the same weights, bit by bit" in lines[-1]
    assert "0.99 times the speed with threads awake (0.98 to 1.00 by round)" in lines[-1]
    assert "different weights" in speeds.beside_lines(BESIDE | {"same_bits": False})[-1]


@pytest.mark.slow
def test_trainings_beside_others_end_with_the_same_bits(
    cells: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = sorted(cells.rglob("*.png"))
    monkeypatch.setattr(beside, "OTHERS", (0, 1))
    monkeypatch.setattr(beside, "EPOCHS", 2)
    monkeypatch.delitem(beside.POLICIES, beside.ASLEEP)  # as the way of waiting in tests/training/test_sharing.py
    lay_out(files, [file.parent.name for file in files], 64, tmp_path / "few")
    found = beside.beside_others(tmp_path / "few", 1, tmp_path)
    assert found["same_bits"]
    assert [(row["others"], row["policy"]) for row in found["rows"]] == [
        (others, policy) for others in (0, 1) for policy in beside.POLICIES
    ]
    assert found["rows"][3]["fair"] == round(os.cpu_count() / (os.cpu_count() + 1), 3)


ANSWERS = {
    "latency_ms": [
        {"program": name, "threads": threads, "pictures": count, "ms": 2.0 * count}
        for threads in (1, 2)
        for name in ("PyTorch", "ONNX Runtime")
        for count in (1, 32)
    ],
    "pictures": 71,
    "source": "blood_cells",
    "command": {"seconds": 4.0, "processor_seconds": 3.5},
    "per_s": {"crops": 400.0, "fields": 60.0},
    "per_processor_s": {"crops": 250.0, "fields": 33.0},
    "peak_memory_bytes": {"300": 5e8, "3000": 5.1e8},
    "load_before": 0.5,
    "cores": 2,
}


def test_how_fast_a_net_answers_is_a_table() -> None:
    lines = speeds.answer_lines(ANSWERS)
    calls = " | ".join(f"{count} at once, {threads}" for threads in ("1 thread", "2 threads") for count in (1, 32))
    assert lines[0] == f"| crops of 280x280, fastest call | {calls} |"
    assert lines[3] == "| ONNX Runtime | 2.0 ms | 64.0 ms | 2.0 ms | 64.0 ms |"
    assert "300 pictures 500 MB, 3,000 pictures 510 MB" in lines[-2]


@pytest.mark.slow
def test_answers_are_timed(cells: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("onnxscript")
    files = sorted(cells.rglob("*.png"))
    for name, value in (
        ("RATE_AT", (4, 40)),
        ("FIELDS_AT", (2, 6)),
        ("MEMORY_AT", (4, 40)),
        ("CROPS", 4),
        ("CALLS", 1),
    ):
        monkeypatch.setattr(answers, name, value)
    found = answers.answer_speeds(files, files[:3], files)
    assert {one["program"] for one in found["latency_ms"]} == {"PyTorch", "torch.export", "ONNX Runtime"}
    assert found["pictures"] == 3
    assert found["command"]["processor_seconds"] > 0
    assert set(found["peak_memory_bytes"]) == {"4", "40"}
    assert 1e8 < found["peak_memory_bytes"]["4"] < 1e10
