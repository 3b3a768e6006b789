"""Test a finished run again, on its own data or on another folder: ``python -m bloodcell.evaluate RUN_DIR``."""

import argparse
from datetime import UTC, datetime
from pathlib import Path

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from bloodcell.cli import run_command
from bloodcell.errors import InputError

HELP = """Writes RUN_DIR/evaluations/TIME/ with metrics.json, predictions.csv and figures.

Without overrides the run's own test images are used. data.root=FOLDER tests on another tree with the same
class folders: on its test/ folder if it has one, else on all of its images; on another copy of the Kaggle
set, on that copy's test images."""


def evaluate(run_dir: Path, overrides: list[str], checkpoint: str | None, images: str = "test") -> dict[str, float]:
    """Test a run's checkpoint.

    Args:
        run_dir: A run directory.
        overrides: ``data.KEY=VALUE`` words.
        checkpoint: ``best`` or ``last``; ``None`` for the one that the run reported.
        images: ``test``, or ``train`` for the images that were learnt from, as they are.

    Returns:
        The metrics that are written to ``metrics.json``.

    Raises:
        InputError: If the directory is no run, or the data do not fit its classes.
    """
    import lightning as L

    from bloodcell.assemble import check_trained_on, make_classifier, make_data, make_recorder, quiet
    from bloodcell.data.splits import Split
    from bloodcell.files import write_json
    from bloodcell.results import describe_data, measure, write_metrics
    from bloodcell.rundir import find_checkpoint, manifest

    quiet()
    cfg = read_config(run_dir, overrides)
    path = find_checkpoint(run_dir, checkpoint or cfg.report or "last")
    L.seed_everything(cfg.seed, workers=True, verbose=False)
    data = make_data(cfg)
    check_trained_on(path, data)
    if images == "train":
        caveat = "these are the images that the net was trained on: how well it fits them, and no more"
        data.split = Split("training images", data.split.train, data.split.train, data.split.train, False, caveat)
    classifier = make_classifier(cfg, data)
    out = run_dir / "evaluations" / datetime.now(UTC).strftime("%Y-%m-%d_%H-%M-%S_%f")
    recorder = make_recorder(cfg, data, out, graph=False)
    trainer = L.Trainer(
        accelerator=cfg.trainer.accelerator,
        devices=1,
        callbacks=[recorder],
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=out,
    )
    result = measure(trainer, classifier, data, recorder, path, validate=False)
    write_json(out / "manifest.json", manifest({"seed": cfg.seed}, describe_data(data)))
    write_metrics(out / "metrics.json", data, path, result)
    return result.metrics


def read_config(run_dir: Path, overrides: list[str]) -> DictConfig:
    """A run's config with ``data.`` overrides; known keys only."""
    from bloodcell.files import read_json
    from bloodcell.results import SYNTHETIC

    path, record = run_dir / ".hydra" / "config.yaml", run_dir / "manifest.json"
    if not path.is_file() or not record.is_file():
        raise InputError(
            str(run_dir),
            expected="a run directory with .hydra/config.yaml and manifest.json",
            got="not both there",
            fix="give the directory that a training printed, as runs/quickstart/2026-...",
        )
    cfg = OmegaConf.load(path)
    assert isinstance(cfg, DictConfig)
    OmegaConf.set_struct(cfg, True)
    for word in overrides:
        if not word.startswith("data.") or "=" not in word:
            raise InputError(word, expected="data.KEY=VALUE", got="something else", fix="see --help")
        try:
            cfg.merge_with_dotlist([word])
        except OmegaConfBaseException as error:
            keys = ", ".join(f"data.{key}" for key in cfg.data)
            raise InputError(word, expected=f"one of {keys}", got="an unknown key", fix="correct it") from error
    # Weights come from the checkpoint: nothing is downloaded or initialised from elsewhere.
    cfg.init_from = None
    if "weights" in cfg.model:
        cfg.model.weights = None
    if any(word.startswith("data.root=") for word in overrides):
        _follow_root(cfg)
    elif read_json(record)["data"]["source"] == SYNTHETIC:
        cfg.data.source = "synthetic"  # a quick start that had no real images then is tested on the same smears
    return cfg


def _follow_root(cfg: DictConfig) -> None:
    """Read another root as the Kaggle set if it is one, else as a plain folder."""
    from bloodcell.data.download import find_images

    OmegaConf.set_struct(cfg, False)
    root = Path(str(cfg.data.root))
    try:
        if cfg.data.source == "blood_cells":
            find_images(root)
            return
    except InputError:
        pass
    cfg.data.source, cfg.data.protocol = "folder", "all_test"
    if (root / "test").is_dir():
        cfg.data.root = str(root / "test")


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(
        prog="python -m bloodcell.evaluate",
        description="Test a finished run again, on its own data or on another folder.",
        epilog=HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("run_dir", type=Path, help="a run directory, as runs/quickstart/2026-...")
    parser.add_argument("overrides", nargs="*", metavar="data.KEY=VALUE", help="other data, as data.root=FOLDER")
    parser.add_argument("--checkpoint", choices=["best", "last"], help="default: the one that the run reported")
    parser.add_argument(
        "--images", choices=["test", "train"], default="test", help="train: those that were learnt from (default: test)"
    )
    words = parser.parse_args()
    run_command(lambda: evaluate(words.run_dir, words.overrides, words.checkpoint, words.images))


if __name__ == "__main__":
    main()
