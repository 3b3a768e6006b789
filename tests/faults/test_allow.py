"""Nets of a package of the user's own: he says so, and no config that came from elsewhere does."""

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from bloodcell.common.env import ALLOW, allowed_packages
from bloodcell.common.errors import InputError
from bloodcell.config.compose import composed
from bloodcell.config.instantiate import build, trust
from bloodcell.config.kept import read_kept_config
from tests.helpers import TINY

Train = Callable[..., Path]
PACKAGE = """
import os
from pathlib import Path
from torch import nn

def net(num_classes):
    return nn.Sequential(nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(48, num_classes))

class Net(nn.Sequential):
    def __init__(self, num_classes):
        super().__init__(nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(48, num_classes))

    @classmethod
    def load(cls, num_classes):
        Path("broken_into").touch()

class Door:
    def __init__(self, num_classes):
        Path("broken_into").touch()
"""


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    name = f"nets_of_{tmp_path.name}".replace("-", "_")  # a module is imported once a process
    (tmp_path / f"{name}.py").write_text(PACKAGE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv(ALLOW, "")
    return name


@pytest.mark.slow
def test_a_run_with_a_net_of_the_users_own(
    train: Train, cells: Path, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = [*(word for word in TINY if not word.startswith("model.")), f"data.root={cells}"]
    run = train("~model", f"+model._target_={package}.Net", f"allow=[{package}.]", base=tuple(words))
    monkeypatch.setenv(ALLOW, "")
    with pytest.raises(SystemExit):
        train(f"ckpt_path={run}", "trainer.max_epochs=3", base=())
    train(f"ckpt_path={run}", "trainer.max_epochs=3", f"allow=[{package}.]", base=())
    monkeypatch.setattr(sys, "argv", ["evaluate", str(run)])
    from bloodcell.evaluate import main

    main()


@pytest.mark.parametrize(("target", "allowed"), [("net", True), ("Net", True), ("Net.load", False), ("Door", False)])
def test_functions_and_classes_of_nets_alone(package: str, target: str, allowed: bool) -> None:
    config = OmegaConf.create({"_target_": f"{package}.{target}"})
    with pytest.raises(InputError, match=r"trust a package of your own by allow=\[my_package"):
        build(config, "model", num_classes=3)
    trust(["optim.lr=1", f"allow=[{package}.]"])
    if allowed:
        assert build(config, "model", num_classes=3)[2].out_features == 3
    else:
        with pytest.raises(InputError, match="which no config may call"):
            build(config, "model", num_classes=3)
    assert not Path("broken_into").exists()


def test_a_kept_config_trusts_nobody(package: str, tmp_path: Path) -> None:
    cfg = composed([])
    cfg.model, cfg.allow = {"_target_": f"{package}.Net"}, [f"{package}."]
    (tmp_path / "config.yaml").write_text(OmegaConf.to_yaml(cfg))
    with pytest.raises(InputError, match="an object for model that conf/ names or that only computes"):
        read_kept_config(tmp_path / "config.yaml", ("model",), lambda _: None)
    trust([f"allow={package}"])
    assert read_kept_config(tmp_path / "config.yaml", ("model",), lambda _: None).model._target_ == f"{package}.Net"
    cfg.trainer.callbacks = [{"_target_": f"{package}.Door"}]
    (tmp_path / "config.yaml").write_text(OmegaConf.to_yaml(cfg))
    with pytest.raises(InputError):
        read_kept_config(tmp_path / "config.yaml", ("trainer",), lambda _: None)


@pytest.mark.parametrize("names", ["a b", "/tmp", "os.system()", "..", "1x", "a..b"])
def test_what_is_no_package_is_said(names: str, package: str) -> None:
    with pytest.raises(InputError, match="expected names of packages"):
        trust([f"allow=['{names}']"])


def test_a_prefix_ends_at_a_dot(package: str) -> None:
    trust(["allow=[my_net, other.]"])
    assert allowed_packages() == ("my_net.", "other.")
    assert os.environ[ALLOW] == "my_net,other."
