"""Every choice in ``conf`` composes and becomes an object."""

from pathlib import Path

import pytest
from omegaconf import OmegaConf

from bloodcell.common.env import CONF
from bloodcell.common.errors import InputError
from bloodcell.config.compose import composed, resolve
from bloodcell.config.instantiate import build


def choices(group: str) -> list[str]:
    return sorted(path.stem for path in (CONF / group).glob("[!_]*.yaml"))


EVERY = [
    f"{group}={choice}"
    for group in ("data", "model", "optim", "optim/scheduler", "trainer", "logger", "experiment", "sweep")
    for choice in choices(group)
]


@pytest.mark.parametrize("override", EVERY)
def test_every_choice_becomes_objects(override: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import lightning as L
    import torch
    from torch import nn

    from bloodcell.data.datamodule import CellImages
    from bloodcell.training.assemble import settle
    from bloodcell.training.rules import check_values

    def offline(*_: object) -> None:
        raise InputError("Kaggle", expected="an answer", got="none", fix="connect")

    monkeypatch.setattr("bloodcell.data.sources.blood_cells.fetch", offline)
    extra = ["monitor.metric=val/loss"] if override == "optim/scheduler=plateau" else []
    cfg = composed([override, *extra])
    if OmegaConf.is_missing(cfg.data, "root"):
        cfg.data.root = str(tmp_path)
    resolve(cfg)
    check_values(cfg)
    assert isinstance(build(cfg.data, "data"), CellImages)
    net = build(cfg.model, "model", num_classes=3)
    assert isinstance(net, nn.Module)
    optimizer = build(cfg.optim.optimizer, "optim.optimizer")(net.parameters(), lr=cfg.optim.lr)
    assert isinstance(optimizer, torch.optim.Optimizer)
    if cfg.optim.get("scheduler"):
        schedule = build(cfg.optim.scheduler, "optim.scheduler")
        assert schedule(optimizer, total_steps=10).optimizer is optimizer
    if cfg.trainer.accelerator == "cuda" and not torch.cuda.is_available():
        with pytest.raises(InputError, match="expected a CUDA device"):
            settle(cfg)
    else:
        settle(cfg)
        assert isinstance(build(cfg.trainer, "trainer", default_root_dir=str(tmp_path)), L.Trainer)


def test_every_group_has_choices() -> None:
    assert {"synthetic", "blood_cells", "folder"} <= set(choices("data"))
    assert {"cpu", "gpu", "smoke", "debug"} <= set(choices("trainer"))
    assert {"quickstart", "paper_literal"} <= set(choices("experiment"))


def test_the_paper_literally() -> None:
    cfg = composed(["experiment=paper_literal"])
    assert (cfg.data.protocol, cfg.report, cfg.data.mean) == ("random", "last", None)
    assert (cfg.data.image_size, cfg.data.batch_size, cfg.trainer.max_epochs) == ([128, 128], 32, 50)
    assert (cfg.optim.lr, cfg.optim.optimizer.eps, cfg.model.padding) == (1e-3, 1e-7, 0)
    assert cfg.optim.optimizer._target_ == "torch.optim.Adam"
    named = {"rotation", "zoom", "flip"}  # "rotation, flipping, zooming"; nothing comes from the data file besides
    assert {key for key, value in cfg.data.augment.items() if value and key != "strength"} == named


def test_our_readings_depart_where_they_say() -> None:
    literal, wide, narrow = (composed([f"experiment={name}"]) for name in ("paper_literal", "paper_adapted", "paper"))
    for cfg in (wide, narrow):
        assert (cfg.data.mean, cfg.data.std) == ([0.5] * 3, [0.25] * 3)
        cfg.data.mean, cfg.data.std, cfg.name = None, None, literal.name
    assert wide == literal
    assert (narrow.model.widths, narrow.model.dense) == ([16, 32, 64], 64)
    narrow.model.widths, narrow.model.dense = literal.model.widths, literal.model.dense
    assert narrow == literal


@pytest.mark.parametrize(
    "target",
    ["os.system", "torch.hub.load", "torch.nn.functional.torch.load", "lightning.pytorch.trainer.trainer.os.system",
     "bloodcell.cli.os.system", "builtins.eval", "torch.optim.NoSuch"],
)  # fmt: skip
def test_a_config_reaches_only_what_is_allowed(target: str) -> None:
    node = OmegaConf.create({"optimizer": [{"_target_": target, "_args_": ["true"]}], "_target_": "torch.nn.ReLU"})
    with pytest.raises(InputError, match=r"_target_: expected a class or function of"):
        build(node, "model")
