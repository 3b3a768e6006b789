"""Train a net and write its run directory: ``python -m bloodcell.train [GROUP=CHOICE] [KEY=VALUE] [-m]``."""

import logging
import shutil
import sys
import time
import traceback
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from bloodcell.cli import CONF, fail, resume_arguments, run_command
from bloodcell.errors import InputError

if TYPE_CHECKING:  # torch takes seconds to import: --help and config errors must not wait for it
    import lightning as L

    from bloodcell.data.datamodule import BloodCells
    from bloodcell.model.classifier import CellClassifier
    from bloodcell.recorder import RunRecorder

log = logging.getLogger(__name__)


def train(cfg: DictConfig, run_dir: Path) -> dict[str, float]:
    """Train, test the checkpoint that the config names, and write the run directory.

    Args:
        cfg: The composed config (``conf/train.yaml``).
        run_dir: Where everything is written.

    Returns:
        The metrics of the reported checkpoint, as in ``metrics.json``.

    Raises:
        InputError: If the config or the data cannot be used; before anything but Hydra's files is written.
    """
    import lightning as L

    from bloodcell.results import describe_data, measure, write_metrics
    from bloodcell.rundir import find_checkpoint, manifest, write_json, write_status

    started = time.perf_counter()
    quiet()
    check_values(cfg)
    L.seed_everything(cfg.seed, workers=True, verbose=False)
    data = make_data(cfg)
    check_choice(cfg, data)
    classifier = make_classifier(cfg, data)
    recorder = make_recorder(cfg, data, run_dir)
    trainer = make_trainer(cfg, data, run_dir, recorder)
    if cfg.ckpt_path is not None:
        check_trained_on(Path(cfg.ckpt_path), data)
    record = manifest({"seed": cfg.seed, "data.split_seed": cfg.data.split_seed}, describe_data(data))
    write_json(run_dir / "manifest.json", record)
    write_status(run_dir, "running", epoch=0, epochs=trainer.max_epochs)
    announce(data, run_dir)

    if cfg.lr_find:
        record["lr_found"] = find_lr(trainer, classifier, data)
    trainer.fit(classifier, data, ckpt_path=cfg.ckpt_path, weights_only=True)
    metrics = {name: float(value) for name, value in trainer.callback_metrics.items() if name.startswith("probe/")}
    checkpoint = find_checkpoint(run_dir, cfg.report or "last")
    if cfg.report is not None:
        metrics |= measure(trainer, classifier, data, recorder, checkpoint, validate=data.split.choice)
    write_metrics(run_dir / "metrics.json", data, checkpoint, metrics)
    log_hparams(trainer, cfg, data, metrics)

    write_json(run_dir / "manifest.json", {**record, "wall_seconds": round(time.perf_counter() - started, 1)})
    write_status(run_dir, "ok", epoch=trainer.current_epoch, epochs=trainer.max_epochs)
    return metrics


def quiet() -> None:
    """Silence what the libraries say at every run and nobody can act on."""
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    for text in (
        ".*does not have many workers.*",  # pixels are in memory: there is nothing for workers to do
        ".*smaller than the logging interval.*",  # everything is logged by epoch
        ".*treespec, LeafSpec.*",  # Lightning's own use of a deprecated name
        ".*exists and is not empty.*",  # a resumed run goes on in its directory
        ".*The dirpath has changed.*",  # a checkpoint file of another run starts a run of its own
        ".*callbacks used to create the checkpoint.*",  # testing a checkpoint needs no checkpoints
    ):
        warnings.filterwarnings("ignore", text)


def check_values(cfg: DictConfig) -> None:
    """Stop in one line at a value of the root config that could only fail later, or never.

    Raises:
        InputError: Naming the key.
    """

    def whole(value: object, least: int) -> bool:
        return isinstance(value, int) and not isinstance(value, bool) and value >= least

    patience, epochs = cfg.early_stopping, cfg.trainer.max_epochs
    rules: list[tuple[str, object, bool, str]] = [
        ("seed", cfg.seed, whole(cfg.seed, 0), "a whole number, 0 or more"),
        ("report", cfg.report, cfg.report in ("best", "last", None), "best, last or null"),
        ("monitor.mode", cfg.monitor.mode, cfg.monitor.mode in ("max", "min"), "max or min"),
        ("early_stopping", patience, patience is None or whole(patience, 1), "null or a number of epochs"),
        ("trainer.max_epochs", epochs, whole(epochs, 1), "a positive whole number"),
        (
            "optim.lr",
            cfg.optim.lr,
            isinstance(cfg.optim.lr, int | float) and cfg.optim.lr > 0,
            "a positive number",
        ),
    ]
    for key, value, good, expected in rules:
        if not good:
            raise InputError(key, expected=expected, got=repr(value), fix=f"set {key}=...")


def make_data(cfg: DictConfig) -> "BloodCells":
    """The data, found, split and decoded."""
    from bloodcell.build import build

    data: BloodCells = build(cfg.data, "data")
    data.setup()
    return data


def check_choice(cfg: DictConfig, data: "BloodCells") -> None:
    """Stop if something would be chosen by a validation curve that is the test set."""
    if data.split.choice:
        return
    for key, value, fix in (
        ("report", cfg.report == "best", "report=last"),
        ("early_stopping", cfg.early_stopping is not None, "early_stopping=null"),
        ("optim/scheduler=plateau", "plateau" in str(cfg.optim.get("scheduler")), "another optim/scheduler"),
    ):
        if value:
            raise InputError(
                key,
                expected=f"no choice by validation: under protocol {data.split.protocol} it is the test set",
                got=str(cfg.get(key, "plateau")),
                fix=f"set {fix}",
            )


def make_classifier(cfg: DictConfig, data: "BloodCells") -> "CellClassifier":
    """The net, from the config or from the weights of ``init_from``, in its LightningModule."""
    from bloodcell.build import build
    from bloodcell.model.classifier import CellClassifier
    from bloodcell.model.weights import load_matching

    net = build(cfg.model, "model", num_classes=len(data.classes))
    if cfg.init_from is not None:
        load_matching(net, Path(cfg.init_from), key=f"init_from={cfg.init_from}")
    scheduler = cfg.optim.get("scheduler")
    classifier = CellClassifier(
        net,
        data.classes,
        optimizer=build(cfg.optim.optimizer, "optim.optimizer"),
        lr=cfg.optim.lr,
        schedule=build(scheduler, "optim.scheduler") if scheduler else None,
        class_weights=class_weights(cfg.optim.class_weights, data),
        monitor=cfg.monitor.metric,
        seed=cfg.seed,
    )
    names = classifier.metric_names("val")
    if cfg.monitor.metric not in names:
        raise InputError(
            "monitor.metric",
            expected=f"one of {', '.join(names)}",
            got=str(cfg.monitor.metric),
            fix="correct it",
        )
    try:
        classifier.optimizer(net.parameters(), lr=cfg.optim.lr)
    except (TypeError, ValueError) as error:
        raise InputError(
            "optim",
            expected="values that the optimizer accepts",
            got=str(error),
            fix="mend optim.lr or optim.optimizer",
        ) from error
    return classifier


def class_weights(choice: str | None, data: "BloodCells") -> list[float] | None:
    """Weights of the classes in the loss: ``balanced`` is n / (classes * n of the class), as in scikit-learn."""
    if choice not in (None, "balanced"):
        raise InputError("optim.class_weights", expected="null or balanced", got=str(choice), fix="choose one")
    if choice is None:
        return None
    counts = data.index.counts(data.split.train)
    return [float(counts.sum() / (len(counts) * count)) for count in counts]


def make_recorder(cfg: DictConfig, data: "BloodCells", run_dir: Path) -> "RunRecorder":
    """The callback that writes curves, figures and predictions."""
    from bloodcell.recorder import RunRecorder
    from bloodcell.results import SYNTHETIC

    val_name = "validation" if data.split.choice else "test (also the validation curve)"
    net_name = cfg.model.get("name") or cfg.model._target_.rpartition(".")[2]
    return RunRecorder(run_dir, data, val_name, net_name, f"{SYNTHETIC}: " if data.synthetic else "")


def make_trainer(cfg: DictConfig, data: "BloodCells", run_dir: Path, recorder: "RunRecorder") -> "L.Trainer":
    """The Trainer with checkpoints, loggers, progress bar and what the config asks for besides."""
    import torch
    from lightning.pytorch.callbacks import Callback, EarlyStopping, ModelCheckpoint, RichProgressBar
    from lightning.pytorch.loggers import TensorBoardLogger

    from bloodcell.build import build

    if cfg.trainer.accelerator in ("cuda", "gpu") and not torch.cuda.is_available():
        raise InputError("trainer=gpu", expected="a CUDA device", got="none", fix="use trainer=cpu")
    checkpoints, metric, mode = run_dir / "checkpoints", cfg.monitor.metric, cfg.monitor.mode
    callbacks: list[Callback] = [
        recorder,
        # At the end of the epoch, when all of its state has settled: what a resumed run starts from.
        ModelCheckpoint(checkpoints, "last", save_on_train_epoch_end=True, enable_version_counter=False),
    ]
    if data.split.choice:
        callbacks.append(ModelCheckpoint(checkpoints, "best", metric, mode=mode, enable_version_counter=False))
    if cfg.early_stopping is not None:
        callbacks.append(EarlyStopping(metric, patience=cfg.early_stopping, mode=mode))
    bar = sys.stdout.isatty()
    if bar:
        callbacks.append(RichProgressBar(leave=False))
    events = "tensorboard-SYNTHETIC-not-real-cells" if data.synthetic else "tensorboard"
    trainer: L.Trainer = build(
        cfg.trainer,
        "trainer",
        callbacks=[*callbacks, *(build(one, "trainer.callbacks") for one in cfg.trainer.callbacks)],
        logger=TensorBoardLogger(run_dir, name="", version=events, default_hp_metric=False),
        default_root_dir=str(run_dir),
        enable_progress_bar=bar,
        enable_model_summary=False,
    )
    # Lightning asks for it, and on the CPU it would only fill fresh memory, at a cost.
    setattr(torch.utils.deterministic, "fill_uninitialized_memory", False)  # noqa: B010 (mypy: set by a module property)
    return trainer


def check_trained_on(checkpoint: Path, data: "BloodCells") -> None:
    """Stop in one line if a checkpoint cannot be read or was trained on other classes than the data have."""
    from bloodcell.model.classifier import check_classes
    from bloodcell.model.weights import read_checkpoint

    content = read_checkpoint(checkpoint, str(checkpoint))
    check_classes(content.get("classes"), data.classes, str(checkpoint))


def announce(data: "BloodCells", run_dir: Path) -> None:
    """Say what is about to be done, on which data, and where it goes."""
    from bloodcell.results import SYNTHETIC

    split = data.split
    if data.synthetic:
        print(f"*** {SYNTHETIC} ***")
    print(f"data: {data.index.root}, protocol {split.protocol}")
    print(f"      {len(split.train):,} train, {len(split.val):,} validation, {len(split.test):,} test images")
    if split.caveat:
        print(f"note: {split.caveat}")
    print(f"run:  {run_dir}", flush=True)


def find_lr(trainer: "L.Trainer", classifier: "CellClassifier", data: "BloodCells") -> float:
    """Search a learning rate by Lightning's range test and set it."""
    from lightning.pytorch.tuner.tuning import Tuner

    Tuner(trainer).lr_find(classifier, data, attr_name="lr")
    print(f"learning rate found: {classifier.lr:.2g}")
    return classifier.lr


def log_hparams(trainer: "L.Trainer", cfg: DictConfig, data: "BloodCells", metrics: dict[str, float]) -> None:
    """One entry in TensorBoard's HPARAMS tab, with the metrics of ``metrics.json``."""
    from bloodcell.results import name_of

    shown = {
        f"reported/{name}" if name.startswith("val/") else name: value
        for name, value in metrics.items()
        if name.count("/") == 1
    }
    for logger in trainer.loggers:
        logger.log_hyperparams({**flat_hparams(cfg), "data.source": name_of(data)}, shown, step=trainer.current_epoch)
        logger.save()
        logger.finalize("success")


def flat_hparams(cfg: DictConfig) -> dict[str, Any]:
    """The keys that runs are compared by, flat; lists as text."""
    chosen = {
        "model": OmegaConf.to_container(cfg.model, resolve=True),
        "optim": OmegaConf.to_container(cfg.optim, resolve=True),
        "data": {key: cfg.data.get(key) for key in ("source", "protocol", "image_size", "batch_size", "augment")},
        "trainer": {key: cfg.trainer[key] for key in ("max_epochs", "precision")},
    }
    flat: dict[str, Any] = {"seed": cfg.seed}
    stack: list[tuple[str, Any]] = list(chosen.items())
    while stack:
        name, value = stack.pop(0)
        if isinstance(value, dict):
            stack += [(f"{name}.{key}", one) for key, one in value.items() if key != "_partial_"]
        else:
            flat[name.removesuffix("._target_")] = value if isinstance(value, int | float | bool | str) else str(value)
    return flat


@hydra.main(version_base="1.3", config_path=str(CONF), config_name="train")
def job(cfg: DictConfig) -> float:
    """One run, alone or as a job of a sweep; returns the monitored metric."""
    settings = HydraConfig.get()
    run_dir = Path(settings.runtime.output_dir)
    try:
        metrics = train(cfg, run_dir)
        return next((metrics[name] for name in (cfg.monitor.metric, "test/balanced_acc") if name in metrics), 0.0)
    except BaseException as error:
        record_failure(run_dir, error)
        if isinstance(error, InputError) and settings.mode == RunMode.RUN:
            remove_untouched(run_dir)
            fail(error)
        raise
    finally:
        release()


def record_failure(run_dir: Path, error: BaseException) -> None:
    """Write why a run ended into its own directory."""
    from bloodcell.rundir import write_status

    interrupted = isinstance(error, KeyboardInterrupt | SystemExit)
    state = "interrupted" if interrupted else "failed"
    write_status(run_dir, state, error=f"{type(error).__name__}: {error}", traceback=traceback.format_exc())
    if not interrupted and not isinstance(error, InputError):
        log.exception("failed")


def remove_untouched(run_dir: Path) -> None:
    """Remove a run directory that holds nothing but what Hydra and the failure wrote."""
    names = {entry.name for entry in run_dir.iterdir()}
    if names <= {".hydra", "train.log", "status.json"}:
        shutil.rmtree(run_dir)


def release() -> None:
    """Leave nothing behind for the next job of a sweep in the same process."""
    import gc

    import torch

    torch.use_deterministic_algorithms(False)
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def main() -> None:
    """The command."""

    def command() -> None:
        sys.argv[1:] = resume_arguments(sys.argv[1:])
        job()

    run_command(command)


if __name__ == "__main__":
    main()
