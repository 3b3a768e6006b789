"""Values that make no sense are refused in one line, before torch is imported."""

import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
from omegaconf import DictConfig, OmegaConf

from bloodcell.common.errors import InputError
from bloodcell.config.compose import composed, parsed, resolve
from bloodcell.config.messages import config_groups
from bloodcell.training.rules import check_values

plain = cache(lambda *choices: composed(choices))

BAD = [
    ("optim.lr=banana", "optim.lr: expected a positive number, got 'banana'"),
    ("optim.lr=true", "optim.lr"),
    ("optim.lr=nan", "optim.lr"),
    ("optim.lr=inf", "optim.lr"),
    ("optim.optimizer.weight_decay=-1", "optim.optimizer.weight_decay"),
    ("optim.class_weights=some", "null or balanced"),
    ("optim/scheduler=cosine optim.scheduler.warmup=5", "optim.scheduler.warmup: expected a number from 0 to 1, got 5"),
    ("optim/scheduler=one_cycle optim.scheduler.rise=-0.1", "optim.scheduler.rise"),
    ("optim/scheduler=plateau optim.scheduler.factor=2", "optim.scheduler.factor"),
    ("optim=sgd optim.optimizer.momentum=7", "optim.optimizer.momentum"),
    ("trainer.max_epochs=-1", "trainer.max_epochs: expected a positive whole number, got -1"),
    ("trainer.max_epochs=1.5", "trainer.max_epochs"),
    ("trainer.gradient_clip_val=-1", "trainer.gradient_clip_val"),
    ("trainer.accelerator=abacus", "one of cpu, cuda, gpu, mps, auto"),
    ("trainer.accelerator=tpu", "trainer.accelerator"),
    ("trainer.precision=7", "trainer.precision: expected one of auto, 32-true, bf16-mixed, got 7"),
    ("trainer.precision=64-true", "trainer.precision"),
    ("trainer.precision=bf16-true", "trainer.precision"),
    ("trainer.precision=16-mixed", "trainer.precision"),
    ("+trainer.fast_dev_run=true", "trainer=smoke"),
    ("+trainer.limit_train_batches=0", "trainer.limit_train_batches"),
    ("+trainer.check_val_every_n_epoch=0", "trainer.check_val_every_n_epoch"),
    ("seed=-1", "seed: expected a whole number, 0 to 4294967295, got -1"),
    ("seed=20261125134500", "0 to 4294967295"),
    ("seed=4294967296", "0 to 4294967295"),
    ("seed=1.0", "seed"),
    ("seed={a:1}", "seed"),
    ("report=median", "report: expected best, last or null"),
    ("test=perhaps", "test"),
    ("early_stopping=0", "early_stopping"),
    ("monitor.metric=val/accuracy", "val/balanced_acc"),
    ("monitor.metric=test/acc", "monitor.metric"),
    ("monitor.mode=up", "monitor.mode: expected max"),
    ("monitor.metric=val/loss monitor.mode=max", "monitor.mode: expected min, which is the better val/loss"),
    ("monitor=val/loss", "monitor: expected a group of keys"),
    ("trainer=cpu ~trainer.max_epochs", "~trainer.max_epochs: expected a value"),
    ("~optim.lr", "~optim.lr: expected a value"),
    ("model.widths=[0,1]", "model.widths"),
    ("model.widths=[]", "model.widths"),
    ("model.dropout=2", "model.dropout"),
    ("data.augment=5", "data.augment: expected null or a group of keys"),
    ("data.augment.zoom=-5", "data.augment.zoom"),
    ("data.augment.zoom=1", "data.augment.zoom"),
    ("data.augment.shift=-1", "data.augment.shift"),
    ("data.augment.rotation=nan", "data.augment.rotation"),
    ("data.augment.flip=7", "data.augment.flip: expected true or false, got 7"),
    ("data.augment.colour=red", "data.augment.colour"),
    ("data.augment.zoom=0.5 data.augment.strength=2", "a zoom below 1"),
    ("+data.augment.spin=3", "spin"),
    ("data.mean=[1]", "data.mean: expected null or 3 numbers"),
    ("data.std=[0.1,0.1,0]", "data.std"),
    ("ckpt_path=nowhere.ckpt", "a checkpoint file, got no such file"),
    ("init_from=.", "a checkpoint file, got a folder"),
    ("+trainer.limit_val_batches=0", "report=best: expected a validation to go by"),
    ("+trainer.limit_val_batches=0 report=last early_stopping=3", "early_stopping: expected a validation to go by"),
    ("+trainer.limit_val_batches=0.0 report=last optim/scheduler=plateau", "optim/scheduler=plateau: expected a valid"),
    ("+trainer.check_val_every_n_epoch=9 trainer.max_epochs=8 report=last test=false", "test=false: expected a valid"),
    ("+trainer.limit_test_batches=0", "test=true: expected test images"),
]  # fmt: skip


def config(words: str) -> DictConfig:
    """What these words compose; the choices of groups are composed once, as that takes time."""
    typed = words.split()
    choices = [word for word in typed if word.startswith(("~", "monitor")) or word.partition("=")[0] in config_groups()]
    cfg = plain(*choices).copy()
    for word in typed:
        if word not in choices:
            OmegaConf.update(cfg, word.lstrip("+").partition("=")[0], parsed(word).value(), force_add=True)
    resolve(cfg)
    return cfg


@pytest.mark.parametrize(("words", "line"), BAD)
def test_a_value_that_makes_no_sense_is_named(words: str, line: str) -> None:
    with pytest.raises(InputError) as refused:
        check_values(config(words))
    assert line in str(refused.value)


@pytest.mark.parametrize(
    "words",
    [
        "",
        "experiment=paper_literal",
        "experiment=ladder",
        "sweep=readings",
        "sweep=search",
        "trainer=debug",
        "trainer=smoke seed=4294967295",
        "trainer.precision=32 optim/scheduler=plateau monitor.metric=val/loss early_stopping=3",
        "trainer.accelerator=auto trainer.precision=16-mixed",
        "monitor.metric=val/recall/loss monitor.mode=max",
        "data.augment=null data.mean=null",
        "data.augment={} optim.class_weights=balanced trainer.gradient_clip_val=0.5",
        "+trainer.limit_val_batches=0 report=null",
        "+trainer.limit_val_batches=1.0 +trainer.limit_train_batches=0.5",
    ],
)
def test_values_that_make_sense_pass(words: str) -> None:
    check_values(config(words))


@pytest.mark.slow
def test_nobody_waits_for_torch_to_read_of_a_wrong_value() -> None:
    code = f"""import sys
from bloodcell.train import main
for words in {[words for words, _ in BAD[::6]] + ["--help", "optim.lrr=1", "model=nothing"]}:
    sys.argv = ["train", "hydra.run.dir=here", *words.split()]
    try: main()
    except SystemExit as end: assert end.code in (0, 1), words
    assert "torch" not in sys.modules, words
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


BAD_DATA = [
    "data=folder",
    "data=folder data.root=/nowhere",
    "data=folder data.root=. data.table=/nowhere.csv",
    "data=folder data.root=. data.group_pattern=x",
    "data=folder data.root=. data.protocol=official",
    "data=blood_cells data.protocol=group",
    "data=blood_cells data.root=/nowhere",
    "data=blood_cells data.lineage=/nowhere",
    "data=blood_cells data.protocol=grouped data.fold=9",
    "data=blood_cells data.folds=1",
    "data=blood_cells data.test_per_class=-1",
    "data.image_size=32",
    "data.image_size=[0,4]",
    "data.image_size=[32.5,32]",
    "data.batch_size=0",
    "data.cache=disc",
    "data.split_seed=-4",
    "data.num_classes=0",
    "data.train_images=0.5",
    "data.train_share=0",
    "data.train_share=1.5",
    "data.synthetic_per_class.train=x",
    "data.augment.zoom=-5",
    "data.mean=[1,2]",
    "optim/scheduler=cosine optim.scheduler.warmup=-1",
    "optim=sgd optim.optimizer.momentum=2",
    "model=torchvision model.weights=/nowhere.pt",
    "trainer.num_sanity_val_steps=x",
    "trainer.log_every_n_steps=-3",
]


def test_bad_values_are_refused_before_torch_is_imported(tmp_path: Path) -> None:
    code = """import sys
from bloodcell.common.errors import InputError
from bloodcell.config.compose import composed, resolve
from bloodcell.training.rules import check_values
for words in sys.argv[1:]:
    cfg = composed(words.split())
    resolve(cfg)
    try:
        check_values(cfg)
        print("passes:", words)
    except InputError as error:
        assert str(error).count("expected") == 1
print("torch" in sys.modules)"""
    done = subprocess.run([sys.executable, "-c", code, *BAD_DATA], capture_output=True, text=True, cwd=tmp_path)
    assert done.stdout.strip() == "False", done.stdout + done.stderr
