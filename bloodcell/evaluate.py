"""Test a finished run again, on its own data or on another folder: ``python -m bloodcell.evaluate RUN_DIR``."""

import argparse
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from bloodcell.config.command import run_command
from bloodcell.training.restore import read_config

HELP = """Writes RUN_DIR/evaluations/TIME/ with metrics.json, predictions.csv and figures.

Without overrides the run's own test images are used. data.root=FOLDER tests on another tree: on its test/
folder if it has one, else on all of its images; on another copy of the Kaggle set, on that copy's test images.
It may lack classes; images of classes that the net does not know are left out. data.table=FILE names its classes."""


def evaluate(
    run_dir: Path, overrides: list[str], checkpoint: str | None, images: str = "test", *, allow_leak: bool = False
) -> dict[str, float]:
    """Test a run's checkpoint.

    Args:
        run_dir: A run directory.
        overrides: ``data.KEY=VALUE`` words.
        checkpoint: ``best`` or ``last``; ``None`` for the one that the run reported.
        images: ``test``, or ``train`` for the images that were learnt from, as they are.
        allow_leak: Whether other images may be tested although the weights have seen something of each.

    Returns:
        The metrics that are written to ``metrics.json``.

    Raises:
        InputError: If the directory is no run, the data do not fit its classes, or the weights have seen them all.
    """
    import lightning as L

    from bloodcell.common.files import write_json
    from bloodcell.data.describe import describe
    from bloodcell.data.splits import Split
    from bloodcell.tracking.manifest import manifest
    from bloodcell.training.artefacts import write_artefacts
    from bloodcell.training.assemble import make_classifier, make_data, quiet
    from bloodcell.training.checks import check_clean, check_trained_on, trained_classes
    from bloodcell.training.collect import Collector
    from bloodcell.training.measure import measure
    from bloodcell.training.printout import print_data, show
    from bloodcell.training.restore import find_checkpoint, seen_by
    from bloodcell.training.sharing import ShareProcessor
    from bloodcell.training.trained import check_fits

    quiet()
    out = new_place(run_dir)
    cfg = read_config(run_dir, overrides)
    path = find_checkpoint(run_dir, checkpoint or cfg.report or "last")
    L.seed_everything(cfg.seed, workers=True, verbose=False)
    data = make_data(cfg, trained_on=trained_classes(path))
    check_trained_on(path, data)
    about = describe(data, seen_by(run_dir, path), training=False)
    changed = others_than_before(run_dir, overrides, about.fingerprint)
    about = replace(about, caveat="; ".join(filter(None, [changed, about.caveat])))
    if (overrides or changed) and images == "test" and not allow_leak:
        check_clean(about, " ".join(overrides) or str(run_dir), "--allow-leak")
    if images == "train":
        caveat = "these are the images that the net was trained on: how well it fits them, and no more"
        data.split = Split("training images", data.split.train, data.split.train, data.split.train, False, caveat)
        about = replace(describe(data, about.seen, training=False), caveat="; ".join(filter(None, [changed, caveat])))
    print_data(about)
    check_fits(cfg.model, path)
    classifier = make_classifier(cfg, data)
    collector = Collector()
    trainer = L.Trainer(
        accelerator=cfg.trainer.accelerator,
        devices=1,
        callbacks=[collector, ShareProcessor()],
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=out,
    )
    result = measure(trainer, classifier, data, collector, path, validate=False)
    write_json(out / "manifest.json", manifest({"seed": cfg.seed}, about.entries()))
    write_artefacts(out, result, data, about)
    show(result, data, about, out)
    return result.metrics


def new_place(run_dir: Path) -> Path:
    """Name the folder of an evaluation, and remove what killed processes were writing in earlier ones."""
    from bloodcell.common.files import HALF, remove_left
    from bloodcell.tracking.status import check_within

    folder = run_dir / "evaluations"
    check_within(run_dir, folder)
    for left in folder.glob(f"*/**/.*.{HALF}"):
        remove_left(left)
    return folder / datetime.now(UTC).strftime("%Y-%m-%d_%H-%M-%S_%f")


def others_than_before(run_dir: Path, overrides: list[str], fingerprint: str) -> str:
    """Say that a run's folder holds other images today; empty if it does not, or another one is asked for."""
    from bloodcell.tracking.manifest import read_manifest

    before = str(read_manifest(run_dir)["data"]["fingerprint"])
    if before == fingerprint or any(word.startswith(("data.root=", "data.table=")) for word in overrides):
        return ""
    return (
        f"these are not the images that the run was made on (fingerprint {before[:12]} then, {fingerprint[:12]} now): "
        "they are split anew, and its own test images are others"
    )


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
    parser.add_argument(
        "--allow-leak", action="store_true", help="test even where the weights have seen something of every test image"
    )
    words = parser.parse_intermixed_args()
    run_command(
        lambda: evaluate(words.run_dir, words.overrides, words.checkpoint, words.images, allow_leak=words.allow_leak)
    )


if __name__ == "__main__":
    main()
