"""The one way to open a run or a net that is there: its config, its checkpoints, and what its weights have seen."""

from collections.abc import Sequence
from contextlib import suppress
from inspect import signature
from pathlib import Path
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from bloodcell.common.errors import InputError, check_rules, is_whole
from bloodcell.common.files import is_inside, write_text
from bloodcell.config.compose import PATHS, as_typed, make_absolute, parsed
from bloodcell.config.kept import read_kept_config
from bloodcell.data.ranges import check_data
from bloodcell.tracking.manifest import read_manifest
from bloodcell.training.place import kept_part
from bloodcell.training.rules import ACCELERATORS, SEEDS

if TYPE_CHECKING:
    from bloodcell.data.seen import Seen
    from bloodcell.training.trained import TrainedNet

BLOOD_CELLS = "bloodcell.data.sources.blood_cells.BloodCells"
BLOOD_CELLS_OR_SMEARS = "bloodcell.data.sources.blood_cells.blood_cells_or_smears"
FOLDER = "bloodcell.data.sources.folder.Folder"
SMEARS = "bloodcell.data.sources.synthetic.Smears"


def read_config(run_dir: Path, overrides: list[str]) -> DictConfig:
    """Read a run's config, brought up to date, with ``data.`` overrides laid over it.

    Args:
        run_dir: A run directory.
        overrides: ``data.KEY=VALUE`` words; ``data.root`` may lead to another kind of data set.

    Raises:
        InputError: If the directory is no run, or a word names no key of its data.
    """
    path, record = run_dir / ".hydra" / "config.yaml", run_dir / "manifest.json"
    if not path.is_file() or not record.is_file():
        raise InputError(
            str(run_dir),
            expected="a run directory with .hydra/config.yaml and manifest.json",
            got="not both there",
            fix="give the directory that a training printed, as runs/quickstart/2026-...",
        )
    cfg = read_kept_config(path, ("data", "model", "optim"), bring_up_to_date)  # the trainer of a test is our own
    elsewhere = any(word.startswith("data.root=") for word in overrides)
    if elsewhere:
        cfg.data.table = None  # the kept one lists the files that the net was trained on
    OmegaConf.set_struct(cfg, True)
    for word in overrides:
        if not word.startswith("data.") or "=" not in word:
            raise InputError(word, expected="data.KEY=VALUE", got="something else", fix="see --help")
        try:
            OmegaConf.update(cfg, word.partition("=")[0], parsed(as_typed(word)).value())
        except OmegaConfBaseException as error:
            keys = ", ".join(f"data.{key}" for key in cfg.data)
            raise InputError(word, expected=f"one of {keys}", got="an unknown key", fix="correct it") from error
        _tell_net(cfg, word)
    seed, accelerator = cfg.get("seed"), OmegaConf.select(cfg, "trainer.accelerator")
    check_rules(
        [
            ("seed", seed, is_whole(seed, 0, SEEDS), f"a whole number, 0 to {SEEDS}"),
            ("trainer.accelerator", accelerator, accelerator in ACCELERATORS, f"one of {', '.join(ACCELERATORS)}"),
        ]
    )
    # Weights come from the checkpoint: nothing is downloaded or initialised from elsewhere.
    cfg.init_from = None
    if "weights" in cfg.model:
        cfg.model.weights = None
    OmegaConf.set_struct(cfg, False)
    make_absolute(cfg)
    if overrides:
        check_data(str(cfg.data.get("_target_")).rpartition(".")[2], _plain(cfg.data))
    if elsewhere:
        _follow_root(cfg)
    elif "SYNTHETIC" in str(read_manifest(run_dir)["data"]["source"]):
        _change_source(cfg, SMEARS)  # a quick start that had no real images then is tested on the same smears
    return cfg


def _tell_net(cfg: DictConfig, word: str) -> None:
    """Let a net that has kept a value of the data know its new one: in a kept config, none follows another."""
    key = word.partition("=")[0].removeprefix("data.")
    if key in ("image_size", "mean", "std") and key in cfg.model:
        cfg.model[key] = cfg.data[key]


def _plain(node: DictConfig) -> dict[str, Any]:
    plain: Any = OmegaConf.to_container(node)
    return dict(plain)


def _follow_root(cfg: DictConfig) -> None:
    """Read another root as the Kaggle set if it is one, else as a plain folder."""
    from bloodcell.data.kaggle import find_images
    from bloodcell.data.layout import test_folder

    root = Path(str(cfg.data.root))
    if cfg.data.table is None and cfg.data._target_ in (BLOOD_CELLS, BLOOD_CELLS_OR_SMEARS):
        with suppress(InputError):
            find_images(root)
            del cfg.data["table"]
            return
    _change_source(cfg, FOLDER)
    cfg.data.protocol = "all_test"
    if cfg.data.table is None:
        cfg.data.root = str(test_folder(root))


def bring_up_to_date(cfg: DictConfig) -> None:
    """Rewrite a config that an earlier version kept as today's version would have kept it.

    Until 0.1.0 one class read all data sets, told apart by ``data.source``.

    Args:
        cfg: The config of a run; changed in place.
    """
    if OmegaConf.select(cfg, "data._target_") != "bloodcell.data.datamodule.BloodCells":
        return
    with open_dict(cfg):
        source, or_smears = cfg.data.pop("source"), cfg.data.pop("or_synthetic", False)
        names = {"blood_cells": BLOOD_CELLS_OR_SMEARS if or_smears else BLOOD_CELLS, "synthetic": SMEARS}
        _change_source(cfg, names.get(source, FOLDER))
        if or_smears:
            cfg.data.setdefault("download_timeout", 5.0)


def _change_source(cfg: DictConfig, target: str) -> None:
    """Read the data by another class, which is given those of the keys that it takes."""
    from bloodcell.data.datamodule import Shared

    source = resolve_name(target)
    own = {**signature(source).parameters}
    if "arguments" in own:  # those of the class that it passes them on to
        own |= signature(resolve_name(BLOOD_CELLS)).parameters
    kept = {key: value for key, value in _plain(cfg.data).items() if key in own or key in Shared.__annotations__}
    cfg.data = {"_target_": target, **kept}


def with_todays_keys(cfg: DictConfig, today: DictConfig | None) -> DictConfig:
    """Add to the config of a run the keys that the code has come to need since, at their defaults.

    Args:
        cfg: The config of a run; every value of it stays.
        today: What composes today from the same words; ``None`` if nothing does.

    Returns:
        The config to run; what ``conf`` says otherwise today is printed and not used.
    """
    if today is None:
        return cfg
    if today.get("minutes") is not None and "minutes" in cfg and cfg.minutes is None:
        today.minutes, today.trainer.max_epochs = None, cfg.trainer.max_epochs  # as many as fitted in then
    whole = OmegaConf.create(_completed(OmegaConf.to_container(cfg), OmegaConf.to_container(today)))
    assert isinstance(whole, DictConfig)
    now, then = (
        OmegaConf.to_yaml(OmegaConf.create(one), sort_keys=True)
        for one in (_followed(OmegaConf.to_container(today), OmegaConf.to_container(whole)), whole)
    )
    if now != then:
        changed = [line.strip() for line in then.splitlines() if line not in now.splitlines()]
        print(f"note: conf says otherwise today; used as it was then: {'; '.join(changed)}")
    return whole


def _completed(kept: Any, today: Any) -> Any:
    """What was kept, with the keys of today that it lacks; an object of another kind lacks none."""
    if not isinstance(kept, dict) or not isinstance(today, dict) or kept.get("_target_") != today.get("_target_"):
        return kept
    return today | {key: _completed(value, today.get(key)) for key, value in kept.items()}


_PATHS = {key.rpartition(".")[2] for key in PATHS}


def _followed(today: Any, whole: Any, key: str = "") -> Any:
    """Today's config; a run has kept what follows another key as the value that it had, and a path as a whole."""
    if isinstance(today, dict) and isinstance(whole, dict):
        return {name: _followed(value, whole.get(name), name) for name, value in today.items()}
    if key in _PATHS and isinstance(today, str) and Path(str(whole)).is_absolute() and not Path(today).is_absolute():
        return whole
    return whole if "${" in str(today) or (key == "mode" and today is None) else today


def keep_config(run_dir: Path, cfg: DictConfig, overrides: Sequence[str]) -> None:
    """Write ``.hydra/config.yaml`` and ``.hydra/overrides.yaml``: what a run is made again from.

    Hydra would write them before anything is checked and before the directory is claimed, and over those of a
    resumed run (its own ``hydra.output_subdir`` is therefore null).

    Args:
        run_dir: The run directory.
        cfg: The config as composed; a checkpoint of this very run is no part of it.
        overrides: What was typed.
    """
    kept = kept_part(run_dir, cfg)
    own = kept.ckpt_path is None
    words = [word for word in overrides if not (own and word.startswith("ckpt_path="))]
    write_text(run_dir / ".hydra" / "config.yaml", OmegaConf.to_yaml(kept))
    write_text(run_dir / ".hydra" / "overrides.yaml", OmegaConf.to_yaml(OmegaConf.create(words)))


def find_checkpoint(run_dir: Path, which: str) -> Path:
    """Find the ``last`` or ``best`` checkpoint of a run directory.

    Raises:
        InputError: If there is none.
    """
    path = run_dir / "checkpoints" / f"{which}.ckpt"
    if not path.is_file():
        raise InputError(
            str(run_dir),
            expected=f"a run directory with checkpoints/{which}.ckpt",
            got="none there",
            fix="give the directory that a training printed, as runs/quickstart/2026-...",
        )
    return path


def seen_before(cfg: DictConfig, run_dir: Path) -> "Seen":
    """Tell what the weights have seen that a run starts from; a run that is resumed in place starts from its own.

    Args:
        cfg: The config of the run.
        run_dir: Its directory.
    """
    from bloodcell.data.seen import NOTHING, seen_in
    from bloodcell.model.weights import read_checkpoint

    found = NOTHING
    for key in ("init_from", "ckpt_path"):
        if cfg[key] is None or (key == "ckpt_path" and is_inside(run_dir, Path(cfg.ckpt_path))):
            continue
        seen = seen_in(read_checkpoint(Path(cfg[key]), f"{key}={cfg[key]}"))
        if seen is None:
            print(f"WARNING: {key}={cfg[key]} does not say which images its weights have seen: they may be test images")
        found = found | (seen or NOTHING)
    return found


def seen_by(run_dir: Path, checkpoint: Path) -> "Seen":
    """Tell what the weights of a run have seen; for a run of version 0.1, by its own split made again.

    Args:
        run_dir: The run directory.
        checkpoint: One of its checkpoints.

    Raises:
        InputError: If an old run's images are gone.
    """
    from bloodcell.data.describe import describe
    from bloodcell.data.seen import seen_in
    from bloodcell.model.weights import read_checkpoint
    from bloodcell.training.assemble import find_data

    seen = seen_in(read_checkpoint(checkpoint, str(checkpoint)))
    return seen if seen is not None else describe(find_data(read_config(run_dir, []))).seen


def open_net(source: Path) -> "TrainedNet":
    """Open a trained net: a run directory, a checkpoint in one, or a published file.

    Args:
        source: What was typed. Nothing in it has to be trusted: it runs no code and writes nothing.

    Raises:
        InputError: If it is none of these, or cannot be read.
    """
    from bloodcell.training.published import SUFFIX, read_published
    from bloodcell.training.trained import net_of_run

    if source.suffix == SUFFIX:
        return read_published(source)
    within = source.suffix == ".ckpt" and source.parent.name == "checkpoints"
    run_dir = source.parent.parent if within else source
    if run_dir.is_dir():
        cfg = read_config(run_dir, [])
        path = source if within else find_checkpoint(run_dir, cfg.report or "last")
        return net_of_run(run_dir, cfg, path, reduce=cfg.data._target_ in (BLOOD_CELLS, BLOOD_CELLS_OR_SMEARS))
    raise InputError(
        str(source),
        expected=f"a run directory, its checkpoints/best.ckpt, or a published net (NAME{SUFFIX})",
        got="another file" if source.exists() else "no such file or folder",
        fix="give the directory that a training printed, as runs/quickstart/2026-...",
    )
