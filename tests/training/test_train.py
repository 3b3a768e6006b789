"""The whole way, through the command that a user types, on tiny cells."""

import contextlib
import csv
import json
import os
import pty
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.metrics import balanced_accuracy_score, confusion_matrix
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import plugin_data_pb2

from tests.helpers import CLASSES, TINY, metrics_of, same, weights

Train = Callable[..., Path]


def test_every_artefact_is_there(finished: Path) -> None:
    run = finished
    for name in ("architecture", "confusion_matrix", "loss", "accuracy", "precision_recall", "mistakes"):
        with Image.open(run / "figures" / f"{name}.png") as figure:
            assert min(figure.size) > 200
    assert json.loads((run / "status.json").read_text())["state"] == "ok"
    assert {path.name for path in run.iterdir()} >= {
        "manifest.json",
        "metrics.json",
        "metrics.csv",
        "predictions.csv",
    }
    assert (run / ".hydra" / "config.yaml").is_file()
    assert [path.name for path in run.rglob(".*") if path.is_file()] == [".lock"], "a temporary file was left"


def test_manifest_says_how_to_do_it_again(finished: Path) -> None:
    manifest = json.loads((finished / "manifest.json").read_text())
    assert manifest["seeds"] == {"seed": 3, "data.split_seed": 0, "data.fold_seed": 0}
    assert "seed=3" in manifest["command"]
    assert len(manifest["data"]["fingerprint"]) == 64
    assert manifest["data"]["images"] == {"train": 24, "val": 24, "test": 24}
    assert manifest["versions"]["torch"] == torch.__version__
    assert manifest["wall_seconds"] > 0
    assert set(manifest["git"]) == {"commit", "dirty"}


def test_metrics_are_those_of_the_predictions(finished: Path) -> None:
    run = finished
    with (run / "predictions.csv").open() as file:
        rows = list(csv.DictReader(file))
    truth, said = [row["class"] for row in rows], [row["predicted"] for row in rows]
    metrics = metrics_of(run)
    assert len(rows) == 24
    assert metrics["test/balanced_acc"] == pytest.approx(balanced_accuracy_score(truth, said))
    recalls = confusion_matrix(truth, said, labels=CLASSES, normalize="true").diagonal()
    assert [metrics[f"test/recall/{name}"] for name in CLASSES] == pytest.approx(recalls)
    shares = np.array([[float(row[f"p_{name}"]) for name in CLASSES] for row in rows])
    assert shares.sum(axis=1) == pytest.approx(1, abs=1e-5)
    assert list(shares.argmax(axis=1)) == [CLASSES.index(name) for name in said]
    assert metrics["test/loss"] == pytest.approx(metrics["test/log_loss"], abs=1e-5)


def test_log_has_a_row_per_epoch(finished: Path) -> None:
    with (finished / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["0", "1"]
    assert all(float(row[name]) >= 0 for row in rows for name in ("train/loss", "val/macro_f1", "val/recall/MONOCYTE"))


def test_tensorboard_shows_curves_figures_and_hparams(finished: Path) -> None:
    run = finished
    events = EventAccumulator(str(run / "tensorboard"), size_guidance={"tensors": 0, "images": 0}).Reload()
    tags = events.Tags()
    assert [event.step for event in events.Scalars("val/acc")] == [0, 1], "the axis is the epoch"
    assert {"val/confusion_matrix", "figures/mistakes", "figures/confusion_matrix"} <= set(tags["images"])
    assert tags["graph"]
    assert any(tag.startswith("val/pr/") for tag in tags["tensors"])
    content = events.summary_metadata["_hparams_/experiment"].plugin_data.content
    declared = plugin_data_pb2.HParamsPluginData.FromString(content).experiment.metric_infos
    metrics = metrics_of(run)
    names = [info.name.tag for info in declared]
    assert {"test/balanced_acc", "test/macro_f1", "reported/val/balanced_acc"} <= set(names)
    for name in names:
        assert events.Scalars(name)[-1].value == pytest.approx(metrics[name.removeprefix("reported/")], abs=1e-6)


def test_same_seed_same_bits_other_seed_other_bits(train: Train) -> None:
    one, two, three = train("seed=1"), train("seed=1"), train("seed=2")
    assert same(one, two)
    assert not same(one, three)
    volatile = "seconds"
    first, second = ((run / "metrics.csv").read_text().splitlines() for run in (one, two))
    assert volatile in first[0]
    assert metrics_of(one) == metrics_of(two)
    assert (one / "predictions.csv").read_bytes() == (two / "predictions.csv").read_bytes()
    assert len(first) == len(second)


@pytest.mark.parametrize(
    "extra",
    [
        pytest.param(("optim=adamw",), marks=pytest.mark.slow),
        pytest.param(("optim/scheduler=one_cycle", "model.dropout=0.5"), marks=pytest.mark.slow),
        ("optim/scheduler=plateau", "optim.scheduler.patience=0", "optim.scheduler.factor=0.1"),
    ],
)
def test_a_stopped_run_goes_on_as_if_nothing_had_been(
    train: Train, monkeypatch: pytest.MonkeyPatch, extra: tuple[str, ...]
) -> None:
    from bloodcell.training.recorder import RunRecorder

    whole = train("trainer.max_epochs=4", *extra)
    untouched = RunRecorder.on_train_epoch_start

    def stop(self: RunRecorder, trainer: object, module: object) -> None:
        if getattr(trainer, "current_epoch", 0) == 2:
            raise KeyError("pulled the plug")
        untouched(self, trainer, module)  # type: ignore[arg-type]  # as Lightning calls it

    with monkeypatch.context() as patch:
        patch.setattr(RunRecorder, "on_train_epoch_start", stop)
        with pytest.raises(KeyError):
            train("trainer.max_epochs=4", *extra)
    stopped = max((path.parent for path in whole.parent.glob("*/status.json")), key=lambda path: path.name)
    assert json.loads((stopped / "status.json").read_text())["state"] == "failed"
    resumed = train(base=(f"ckpt_path={stopped}",))
    assert resumed == stopped
    assert same(whole, resumed)
    assert (whole / "predictions.csv").read_bytes() == (resumed / "predictions.csv").read_bytes()
    with (resumed / "metrics.csv").open() as file:
        assert [row["epoch"] for row in csv.DictReader(file)] == ["0", "1", "2", "3"]
    assert json.loads((resumed / "status.json").read_text())["state"] == "ok"


def test_a_run_does_not_go_on_with_other_images(
    train: Train, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from tests.helpers import TINY, write_cells

    images = write_cells(tmp_path / "images", ("",), 8)
    run = train(base=(*TINY, f"data.root={images}"))
    next((images / CLASSES[0]).iterdir()).unlink()
    with pytest.raises(SystemExit, match="1"):
        train(base=(f"ckpt_path={run}", "trainer.max_epochs=3"))
    assert "expected the images that the run was started on" in capsys.readouterr().err
    assert json.loads((run / "status.json").read_text())["state"] == "ok", "what is finished stays so"


@pytest.mark.slow
def test_more_epochs_from_a_checkpoint_file(train: Train) -> None:
    short = train()
    longer = train("trainer.max_epochs=3", f"ckpt_path={short / 'checkpoints' / 'last.ckpt'}")
    assert longer != short
    assert same(longer, train("trainer.max_epochs=3"))


@pytest.mark.slow
def test_fine_tuning_makes_a_new_head(train: Train, tmp_path: Path) -> None:
    from tests.helpers import TINY, write_cells

    first = train()
    two = write_cells(tmp_path / "two", ("",), 8, CLASSES[:2], seed=5)
    base = (*TINY, f"data.root={two}", f"init_from={first / 'checkpoints' / 'last.ckpt'}")
    second = train("optim.lr=1e-9", base=base)
    assert weights(second)["net.head.3.weight"].shape == (2, 8)
    before, after = weights(first)["net.block2.0.weight"], weights(second)["net.block2.0.weight"]
    assert torch.allclose(before, after, atol=1e-6)


def test_balanced_weights_are_scikit_learns(cells: Path) -> None:
    from sklearn.utils.class_weight import compute_class_weight

    from bloodcell.data.sources.folder import Folder
    from bloodcell.training.assemble import class_weights

    data = Folder(str(cells), image_size=(8, 8))
    data.setup()
    data.index.label[data.split.train[:3]] = 2
    expected = compute_class_weight("balanced", classes=np.arange(3), y=data.index.label[data.split.train])
    assert class_weights("balanced", data) == pytest.approx(expected)


@pytest.mark.slow
@pytest.mark.parametrize(
    "choice",
    [
        ("early_stopping=1",),
        ("lr_find=true",),
        ("trainer.gradient_clip_val=0.5",),
        ("trainer.profiler=simple",),
        ("optim.class_weights=balanced",),
        ("optim=sgd",),
        ("trainer=debug", "trainer.max_epochs=2"),
        ("trainer=smoke",),
        ("report=last",),
        (
            "trainer.callbacks=[{_target_: bloodcell.model.probe.LeavesChance, window: 2, threshold: 0.01}]",
            "report=null",
        ),
    ],
    ids=lambda words: words[0].split(":")[0][:30],
)
def test_choices_by_config(train: Train, choice: tuple[str, ...]) -> None:
    run = train("data.batch_size=2", *choice)
    assert json.loads((run / "status.json").read_text())["state"] == "ok"
    metrics = metrics_of(run)
    if "probe" in choice[0]:
        assert metrics["probe/trains"] == 0
        assert metrics["probe/steps"] == 24
        assert "test/acc" not in metrics


@pytest.mark.slow
def test_the_papers_and_torchvisions_nets_train(train: Train, cells: Path) -> None:
    base = ("data=folder", f"data.root={cells}", "data.image_size=[40,32]", "trainer=smoke")
    paper = train("model=paper_cnn", "model.widths=[4,4,4]", base=base)
    assert "test/acc" in metrics_of(paper)
    other = train("model=torchvision", "model.name=squeezenet1_1", base=base)
    assert "test/acc" in metrics_of(other)


@pytest.mark.slow
def test_synthetic_runs_say_so_everywhere(train: Train, capsys: pytest.CaptureFixture[str]) -> None:
    run = train(
        base=(
            "trainer=smoke",
            "data.synthetic_per_class={train: 6, val: 3, test: 3}",
            "data.image_size=[48,64]",
        )
    )
    assert "SYNTHETIC" in capsys.readouterr().out
    assert "SYNTHETIC" in metrics_of(run)["data"]
    assert "SYNTHETIC" in json.loads((run / "manifest.json").read_text())["data"]["source"]
    assert [path.name for path in run.glob("tensorboard*")] == ["tensorboard-SYNTHETIC-not-real-cells"]


@pytest.mark.slow
def test_synthetic_cells_are_learned(train: Train) -> None:
    run = train(
        base=(
            "data.synthetic_per_class={train: 60, val: 10, test: 20}",
            "data.image_size=[60,80]",
            "trainer.max_epochs=6",
        )
    )
    assert metrics_of(run)["test/balanced_acc"] > 0.4


@pytest.mark.slow
def test_bar_counts_epochs_as_the_lines_do(cells: Path) -> None:
    ours, theirs = pty.openpty()
    words = [sys.executable, "-m", "bloodcell.train", *TINY, f"data.root={cells}", "trainer.max_epochs=1"]
    process = subprocess.Popen(words, stdin=theirs, stdout=theirs, stderr=theirs, env={**os.environ, "COLUMNS": "200"})
    os.close(theirs)
    shown = b""
    with contextlib.suppress(OSError):  # Linux says so at the end
        while part := os.read(ours, 65536):
            shown += part
    assert process.wait() == 0
    assert b"epoch 1/1" in shown
    assert b"Epoch" not in shown
    assert b"v_num" not in shown
