"""The bench: its rows train, its ratios are those of its numbers."""

import json
from pathlib import Path

import pytest

from bloodcell import bench as command
from bloodcell.studies.bench import answers, programs, run, speeds
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
    assert speeds.ratio(found, speeds.OURS, speeds.PYTORCH) == {"median": 4.0, "min": 4.0, "max": 4.0}
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
    monkeypatch.setattr(run, "WHOLE_EPOCH", 64)
    run.run_bench(64, rounds=1, epochs=2, out=tmp_path / "bench.json")
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
    run.run_overhead(1, tmp_path / "bench.json")
    again = json.loads((tmp_path / "bench.json").read_text())
    assert again["overhead"]["images_per_s"] != content["overhead"]["images_per_s"]
    assert again["rows"] == content["rows"]
    assert "plain PyTorch" in capsys.readouterr().out


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
    "crops_per_s": 400.0,
    "crops_per_processor_s": 250.0,
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
    for name, value in (("MEMORY_AT", (4, 40)), ("CROPS", 4), ("CALLS", 1)):
        monkeypatch.setattr(answers, name, value)
    found = answers.answer_speeds(files, files[:3])
    assert {one["program"] for one in found["latency_ms"]} == {"PyTorch", "torch.export", "ONNX Runtime"}
    assert found["pictures"] == 3
    assert found["command"]["processor_seconds"] > 0
    assert set(found["peak_memory_bytes"]) == {"4", "40"}
    assert 1e8 < found["peak_memory_bytes"]["4"] < 1e10
