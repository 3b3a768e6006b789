"""A published net: what was written is what is read, and a stranger's file runs no code and fits or is refused."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

import bloodcell
from bloodcell.common.errors import InputError
from bloodcell.evidence.doubt import classes_left, fit_limits, learn_cells
from bloodcell.training.restore import open_net
from tests.helpers import CLASSES


def card_of(path: Path) -> dict[str, Any]:
    with safe_open(path, "pt") as file:
        card: dict[str, Any] = json.loads(file.metadata()["card"])
    return card


def rewritten(net: Path, change: Any, tensors: Any = None) -> Path:
    """A copy whose card or tensors are others."""
    card, content = card_of(net), load_file(net)
    change(card)
    if tensors is not None:
        tensors(content)
    path = Path("other.safetensors")
    save_file(content, path, {"card": json.dumps(card)})
    return path


def test_a_published_net_is_the_run_that_it_was_made_of(net: Path, finished: Path) -> None:
    published, run = open_net(net), open_net(finished)
    assert published.card.classes == CLASSES
    assert published.card.preparation == run.card.preparation
    assert published.seen == run.seen
    own = run.net.state_dict()
    assert all(torch.equal(value, own[name]) for name, value in published.net.state_dict().items())
    assert published.learnt is not None
    assert sorted(published.learnt.labels.tolist()) == [0] * 8 + [1] * 8 + [2] * 8
    assert json.loads(net.with_suffix(".json").read_text()) == card_of(net)
    about = card_of(net)["about"]
    assert about["held_out"] == {"by": "its validation images", "cells": 24, "groups": None}
    assert {"log_loss", "ece"} <= about["metrics"].keys()
    assert any("not a medical device" in line for line in about["not_for"])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda card: card["model"].update(_target_="os.system"), "a net of bloodcell.model.nets"),
        (lambda card: card["model"].update(_target_="bloodcell.model.nets.load_matching"), "model._target_"),
        (lambda card: card["model"].update(_target_="torchvision.models.list_models"), "model._target_"),
        (lambda card: card["model"].update(weights="/etc/passwd"), "weights=null"),
        (lambda card: card["model"].update(extra={"_target_": "os.system"}), "plain numbers and words"),
        (lambda card: card["model"].update(widths=[10**5] * 4), "the weights of the net that its card names"),
        (lambda card: card["preparation"].update(image_size=[10**6, 10**6]), "height and width"),
        (lambda card: card.update(classes=["A", "A", "B"]), "two or more names"),
        (lambda card: card.update(classes=["A", "B"], limits=None), "the weights of the net"),
        (lambda card: card.update(temperature=float("nan")), "a number"),
        (lambda card: card.update(limits=[2, 0, 0]), "a share or null"),
        (lambda card: card["doubt"].update(neighbours=10**9), "learnt cells as points"),
        (lambda card: card.update(format=99), "a card of format 1"),
        (lambda card: card.update(classes=["A", "B", "\x1b[31m"]), "names that can be shown"),
    ],
)
def test_a_strangers_card_is_refused_in_one_line(net: Path, change: Any, said: str) -> None:
    path = rewritten(net, change)
    before = sorted(Path.cwd().rglob("*"))
    with pytest.raises(InputError, match=said):
        open_net(path)
    assert sorted(Path.cwd().rglob("*")) == before


def test_weights_that_do_not_fit_are_refused(net: Path) -> None:
    path = rewritten(net, lambda card: None, lambda tensors: tensors.update({"net.more": torch.zeros(1)}))
    with pytest.raises(InputError, match=r"another more"):
        open_net(path)
    path = rewritten(net, lambda card: None, lambda tensors: tensors.update({"known.labels": torch.zeros(24) - 1}))
    with pytest.raises(InputError, match="learnt cells as points"):
        open_net(path)


@pytest.mark.parametrize("content", [b"", b"\xff" * 100, (2**62).to_bytes(8, "little") + b"{}"])
def test_what_is_no_net_is_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "no.safetensors"
    path.write_bytes(content)
    with pytest.raises(InputError, match="a net written by"):
        open_net(path)


def test_other_files_and_folders_are_no_nets(tmp_path: Path, finished: Path) -> None:
    for path in (tmp_path / "nothing", tmp_path / "nothing.safetensors", tmp_path):
        with pytest.raises(InputError):
            open_net(path)
    assert open_net(finished / "checkpoints" / "last.ckpt").card.classes == CLASSES


def test_noise_is_doubted_and_the_cells_themselves_are_not(net: Path, cells: Path) -> None:
    load = bloodcell.load(net)
    rng = np.random.default_rng(0)
    noise = [rng.integers(0, 256, (36, 48, 3), dtype=np.uint8) for _ in range(5)]
    assert all(cell.reason == "unlike the learnt cells" for cell in load.predict(noise))
    held_out = load.predict(str(cells / "val"))
    assert sum((cell.doubt or 0) > 1 for cell in held_out) <= 1  # 5 % of 24


def test_limits_cover_their_share_of_new_groups() -> None:
    rng = np.random.default_rng(1)

    def drawn(count: int) -> tuple[Any, Any]:
        labels = rng.integers(0, 3, count)
        logits = rng.normal(size=(count, 3)) + 1.5 * np.eye(3)[labels]
        shares = np.exp(logits)
        return labels, shares / shares.sum(axis=1, keepdims=True)

    labels, shares = drawn(30_000)
    limits = fit_limits(labels, shares, np.full(30_000, ""))
    new, given = drawn(30_000)
    covered = np.array([label in classes_left(row, limits) for label, row in zip(new, given, strict=True)])
    for k in range(3):
        assert 0.885 < covered[new == k].mean() < 0.915


def test_a_class_with_too_few_groups_is_in_every_set() -> None:
    labels = np.array([0] * 9 + [1] * 8 + [1] * 20)
    shares = np.full((37, 2), 0.5)
    groups = np.array([f"g{k}" for k in range(17)] + ["g16"] * 20)
    assert fit_limits(labels, shares, groups) == (0.5, None)


def test_distances_are_in_units_of_the_spread() -> None:
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1], 200)
    features = np.column_stack([rng.normal(0, 10, 400), rng.normal(0, 0.1, 400) + labels])
    learnt = learn_cells(features, labels, np.arange(400).astype(np.str_))
    wide, narrow = learnt.doubts(np.array([[20.0, 0.5], [0.0, 20.0]]))
    assert narrow > 5 * wide
    assert learnt.nearest(features[:3], 1).ravel().tolist() == [0, 1, 2]
