"""Checkpoints and published nets that are damaged, or made to harm: one line, or the weights that were written."""

import copy
import json
import pickle
import random
import shutil
import zipfile
from collections.abc import Callable
from importlib import import_module
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load, save

from bloodcell.prediction.predictor import SHIPPED
from bloodcell.training.restore import open_net
from tests.fuzz import copied_run, damaged, refused, sample, strange, tried, typed
from tests.helpers import TINY

TRIALS, COMMAND_TRIALS, NETS = 2_000, 62, 1_000


class Evil:
    """Starts a program when it is unpickled."""

    def __init__(self, call: Callable[..., Any], *words: Any) -> None:
        self.call, self.words = call, words

    def __reduce__(self) -> Any:
        return self.call, self.words


def evil(rng: random.Random) -> Evil:
    import builtins
    import os
    import subprocess

    return rng.choice(
        (
            Evil(os.system, "true"),
            Evil(os.mkdir, "/tmp/made-by-a-pickle"),
            Evil(subprocess.Popen, ["true"]),
            Evil(builtins.eval, "__import__('os').system('true')"),
            Evil(builtins.exec, "open('/tmp/made-by-a-pickle', 'w')"),
            Evil(torch.load, "evil.ckpt"),
            Evil(torch.hub.load_state_dict_from_url, "http://127.0.0.1:9/x"),
        )
    )


def put(rng: random.Random, tree: Any, value: Any) -> Any:
    """Put a value somewhere in nested mappings and lists."""
    if not isinstance(tree, dict | list) or not tree or rng.random() < 0.2:
        return value
    keys: list[Any] = list(tree) if isinstance(tree, dict) else list(range(len(tree)))
    key, changed = rng.choice(keys), tree.copy()
    changed[key] = put(rng, tree[key], value)
    return changed


def other_tensor(rng: random.Random, one: torch.Tensor) -> torch.Tensor:
    return rng.choice(
        (
            lambda: one.double(),
            lambda: one.half(),
            lambda: one.to(torch.complex64),
            lambda: one.flatten(),
            lambda: one.flatten()[:0],
            lambda: one.unsqueeze(0),
            lambda: torch.full_like(one, float("nan")) if one.is_floating_point() else one + 1,
            lambda: torch.zeros(1).expand(100_000, 100_000),  # forty gigabytes, of four bytes
            lambda: one.to_sparse(),
            lambda: one.to("meta"),
            lambda: torch.zeros(3, dtype=torch.bool),
        )
    )()


def other_weights(rng: random.Random, content: dict[str, Any]) -> dict[str, Any]:
    """Another tensor in place of one of the weights, of what was seen, or of the optimizer's state."""
    changed = copy.deepcopy(content)
    optimizer = list(changed["optimizer_states"][0]["state"].values())
    part = rng.choice((changed["state_dict"], changed["seen"], rng.choice(optimizer)))
    key = rng.choice(list(part))
    part[key] = other_tensor(rng, part[key])
    return changed


def saved(content: Any) -> bytes:
    file = BytesIO()
    torch.save(content, file)
    return file.getvalue()


def other_pickle(rng: random.Random, content: bytes) -> bytes:
    """The same archive with damage in its pickle alone, and sums that fit."""
    file = BytesIO()
    with zipfile.ZipFile(BytesIO(content)) as old, zipfile.ZipFile(file, "w") as new:
        for name in old.namelist():
            part = old.read(name)
            new.writestr(name, damaged(rng, part) if name.endswith("data.pkl") else part)
    return file.getvalue()


def hostile(rng: random.Random, whole: bytes, *only: str) -> tuple[str, bytes]:
    """A kind of fault, one of some, and a checkpoint with it."""
    content = torch.load(BytesIO(whole), weights_only=True)
    kinds: dict[str, Callable[[], bytes]] = {
        "bytes": lambda: damaged(rng, whole),
        "pickle": lambda: other_pickle(rng, whole),
        "values": lambda: saved(strange(rng, content)),
        "tensor": lambda: saved(other_weights(rng, content)),
        "code": lambda: saved(put(rng, content, evil(rng))),
        "bare pickle": lambda: pickle.dumps(evil(rng)) + rng.randbytes(20),
    }
    kind = rng.choice(only or list(kinds))
    return kind, kinds[kind]()


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("numbers", sample(40, TRIALS, 490))
def test_checkpoints(finished: Path, tmp_path: Path, numbers: range) -> None:
    run = copied_run(finished, tmp_path / "run")
    path = run / "checkpoints" / "best.ckpt"
    whole = path.read_bytes()
    weights = open_net(path).net.state_dict()

    def trial(rng: random.Random) -> tuple[str, str]:
        kind, content = hostile(rng, whole)
        path.unlink()
        path.write_bytes(content)
        net = refused(lambda: open_net(path), path)
        if net is None:
            return kind, "refused"
        assert np.isfinite(net.outputs(torch.zeros(2, 3, 32, 32, dtype=torch.uint8))[0]).all()
        return kind, "as it was" if same(net.net.state_dict(), weights) else "other weights"

    outcomes = tried(trial, numbers, tmp_path)
    assert not outcomes["bytes", "other weights"]  # other ones are what somebody has written, sums and all
    assert {what for kind, what in outcomes if "code" in kind or kind == "bare pickle"} == {"refused"}


COMMANDS = ("predict", "export", "evaluate", "evaluate", "resume", "from", "init")


@pytest.mark.parametrize("numbers", sample(2, COMMAND_TRIALS, 30))
def test_checkpoints_through_commands(finished: Path, cells: Path, tmp_path: Path, numbers: range) -> None:
    """What is read by Lightning as well: loops, callbacks, optimizers."""
    whole = (finished / "checkpoints" / "last.ckpt").read_bytes()
    tiny = [*TINY, "trainer=smoke", f"data.root={cells}", "report=last"]

    def trial(rng: random.Random) -> str:
        run = copied_run(finished, tmp_path / f"run{rng.random()}")
        path = run / "checkpoints" / "last.ckpt"
        path.write_bytes(hostile(rng, whole, "values", "tensor")[1])
        shutil.copyfile(path, run / "checkpoints" / "best.ckpt")
        name = rng.choice(COMMANDS)
        words: dict[str, list[object]] = {
            "predict": [cells / "test", "--model", run, "--out", run / "out.csv"],
            "export": [run, "--out", run.parent / "net.safetensors"],
            "evaluate": [run],
            "resume": [f"ckpt_path={run}", "trainer.max_epochs=3"],
            "from": [*tiny, f"ckpt_path={path}", "trainer.max_epochs=3", f"hydra.run.dir={run}-next"],
            "init": [*tiny, f"init_from={path}", f"hydra.run.dir={run}-next"],
        }
        command = name if name in ("predict", "export", "evaluate") else "train"
        said = typed(import_module(f"bloodcell.{command}"), *words[name])
        return f"{name} {said.partition(' ')[0]}"

    assert tried(trial, numbers, tmp_path)


def net_with(card: object, tensors: dict[str, torch.Tensor]) -> bytes:
    return save(tensors, {"card": json.dumps(card)})


@pytest.mark.parametrize("numbers", sample(30, NETS, 485))
def test_published_nets(tmp_path: Path, numbers: range) -> None:
    """The net of the package, changed by a stranger: its card, its tensors, its bytes."""
    whole = SHIPPED.read_bytes()
    with safe_open(SHIPPED, "pt") as file:
        card = json.loads(file.metadata()["card"])
    tensors, path = load(whole), tmp_path / "net.safetensors"
    picture = torch.zeros(1, 3, *card["preparation"]["image_size"], dtype=torch.uint8)

    def trial(rng: random.Random) -> tuple[str, str]:
        kind = rng.choice(("bytes", "head", "card", "tensor"))
        key = rng.choice(list(tensors))
        if kind == "bytes":
            content = damaged(rng, whole)
        elif kind == "head":
            length = 8 + int.from_bytes(whole[:8], "little")
            content = damaged(rng, whole[:length]) + whole[length:]
        elif kind == "card":
            content = net_with(strange(rng, card), tensors)
        else:
            other = rng.choice((torch.Tensor.double, torch.Tensor.half, torch.Tensor.flatten, torch.zeros_like))
            content = net_with(card, {**tensors, key: other(tensors[key]).contiguous()})
        path.write_bytes(content)
        net = refused(lambda: open_net(path), path)
        if net is None:
            return kind, "refused"
        probabilities, features = net.outputs(picture)
        if net.learnt is not None:
            net.learnt.doubts(features)
        assert probabilities.shape == (1, len(net.card.classes))
        return kind, "opened"

    assert tried(trial, numbers, tmp_path)["head", "refused"]
