"""A sweep in a real TensorBoard, over HTTP."""

import json
import re
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.helpers import metrics_of


@contextmanager
def tensorboard(logdir: Path) -> Iterator[Callable[..., Any]]:
    """``ask("plugin/hparams/...", {...})`` of a TensorBoard that has read a folder."""
    command = [sys.executable, "-m", "tensorboard.main", "--logdir", str(logdir), "--port", "0"]
    options = ["--reload_multifile=true", "--reload_interval=1", "--load_fast=false"]
    server = subprocess.Popen([*command, *options], stderr=subprocess.PIPE, text=True)
    assert server.stderr is not None
    try:
        lines = iter(server.stderr.readline, "")
        address = next(found[0] for line in lines if (found := re.search(r"http://\S+", line)))

        def ask(path: str, content: dict[str, Any] | None = None) -> Any:
            data = None if content is None else json.dumps(content).encode()
            request = urllib.request.Request(f"{address}data/{path}", data, {"Content-Type": "application/json"})
            with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=20) as answer:
                return json.loads(answer.read())

        yield ask
    finally:
        server.kill()
        server.wait()


@pytest.mark.slow
def test_hparams_is_the_table_of_the_sweep(train: Callable[..., Path], tmp_path: Path) -> None:
    train("optim.lr=1e-3,1e-1", "data.augment.strength=0,1", "trainer.max_epochs=1", "-m")
    jobs = [path.parent for path in tmp_path.glob("runs/tiny-sweep/*/*/metrics.json")]
    assert len(jobs) == 4
    train("model.widths=[2,4,4,4]", "trainer.max_epochs=1")  # no job of it stands in the same folder
    with tensorboard(tmp_path / "runs") as ask:
        deadline, groups = time.monotonic() + 30, []
        while len(groups) < 5 and time.monotonic() < deadline:  # it reads the runs one after another
            time.sleep(0.3)
            declared = ask("plugin/hparams/experiment", {"experimentName": ""})
            columns = [{"metric": one["name"]} for one in declared["metricInfos"]]
            states = ["STATUS_SUCCESS"]
            question = {"experimentName": "", "allowedStatuses": states, "colParams": columns, "sliceSize": 100}
            groups = ask("plugin/hparams/session_groups", question).get("sessionGroups", [])
        curves = ask("plugin/scalars/tags")
    first = [one["name"] for one in declared["hparamInfos"]]
    assert set(first[:2]) == {"optim.lr", "data.augment.strength"}, "what the sweep varies"
    shown = {}
    for group in groups:
        (session,) = group["sessions"]
        metrics = {one["name"]["tag"]: one["value"] for one in session["metricValues"]}
        columns = group["hparams"]
        assert {"model.widths", "data.batch_size", "data.source"} <= set(columns), "what others may vary"
        if "2" in columns["model.widths"]:
            continue
        shown[columns["optim.lr"], columns["data.augment.strength"]] = metrics
    assert set(shown) == {(lr, strength) for lr in (0.001, 0.1) for strength in (0, 1)}
    for job in jobs:
        lr, strength = re.match(r"lr_(.*)-strength_(.)-", job.name).groups()  # type: ignore[union-attr]  # no match is a failure
        metrics = shown[float(lr), float(strength)]
        true = metrics_of(job)
        assert {"test/balanced_acc", "test/macro_f1", "test/loss", "reported/val/balanced_acc"} <= set(metrics)
        for name, value in metrics.items():
            assert value == pytest.approx(true[name.removeprefix("reported/")], rel=1e-6)
        # Curves of one setting are found by its words: TensorBoard colours runs by a regular expression.
        assert any(f"lr_{lr}-strength_{strength}" in name and "val/acc" in tags for name, tags in curves.items())
    assert len(curves) == 5, "one event directory a job, none above them"
