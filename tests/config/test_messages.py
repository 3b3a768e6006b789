"""What is said of a word that cannot be used: one line, with what to type, and nothing of Hydra's own."""

import sys
from collections.abc import Callable

import pytest

Said = Callable[..., str]


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Said:
    """Types a command line that must stop; its one line comes back."""

    def run(*words: str) -> str:
        from bloodcell.train import main

        monkeypatch.setattr(sys, "argv", ["train", *words])
        with pytest.raises(SystemExit, match="1"):
            main()
        (line,) = capfd.readouterr().err.strip().splitlines()
        assert line.startswith("error: ")
        assert not any(word in line for word in ("provider=", "hydra.cc", "_target_", "Traceback"))
        return line.removeprefix("error: ")

    return run


@pytest.mark.parametrize(
    ("word", "hint"),
    [
        ("optim.lrr=1", "did you mean optim.lr?"),
        ("lr=0.1", "did you mean optim.lr?"),
        ("batch_size=8", "did you mean data.batch_size?"),
        ("epochs=3", "did you mean trainer.max_epochs?"),
        ("train.max_epochs=3", "did you mean trainer.max_epochs?"),
        ("Optim.LR=1", "did you mean optim.lr?"),
        ("hydra.run.dirr=x", "did you mean hydra.run.dir?"),
        ("optim/schedular=cosine", "did you mean optim/scheduler?"),
        ("trainer.limit_train_batches=2", "write +trainer.limit_train_batches=... to add it"),
        ("trainer.limit_train_batchs=2", "did you mean +trainer.limit_train_batches?"),
        ("data.fold=1", "write +data.fold=... to add it"),
        ("optim.optimizer.betas=[0.8,0.9]", "write +optim.optimizer.betas=... to add it"),
        ("~optim.lrr", "did you mean optim.lr?"),
    ],
)
def test_an_unknown_key_gets_a_hint_that_works(said: Said, word: str, hint: str) -> None:
    line = said(word)
    assert line.endswith(hint) or hint in line
    assert f"did you mean {word.partition('=')[0]}" not in line


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["data=bloodcell"], "folder, pbc, synthetic, got no such choice; did you mean data=blood_cells?"),
        (["optim/scheduler=cosin"], "got no such choice; did you mean optim/scheduler=cosine?"),
        (["trainer=abacus"], "trainer=abacus: expected one of cpu, ddp, debug, gpu, smoke, got no such choice"),
        (["hydra/job_logging=disable"], "did you mean hydra/job_logging=disabled?"),
        (["--config-name", "nothing"], "--config-name nothing: expected a config, got no such file"),
        (["--config-dir", "/nowhere", "seed=1"], "--config-dir /nowhere: expected a folder, got no such folder"),
        (["optim/scheduler=null"], "write ~optim/scheduler to go without"),
        (["trainer=5"], "trainer: expected a choice of the group"),
        (["optim.lr=1e-3,1e-2"], "optim.lr=1e-3,1e-2: expected one value, got several; add -m"),
        (["-m", "optim.lr=interval(0,1)"], "got an interval; search it by make search"),
        (["-m", "seed=glob(*)"], "got a grid without any"),
        (["+optim.lr=1"], "write optim.lr=... without +"),
        (["optim.lr"], "optim.lr: expected KEY=VALUE, got a word without ="),
        (["optim.lr", "=1"], "got a word without ="),
        (["optim.lr=[1"], "optim.lr=[1: expected KEY=VALUE"),
        (["optim.lr=${nope}"], "optim.lr: expected a resolvable value, got Interpolation key 'nope' not found"),
        (["optim.lr=${oc.env:NO_SUCH}"], "optim.lr: expected a resolvable value"),
        (["optim.lr=${optim.lr}"], "optim.lr: expected a resolvable value, got Recursive interpolation"),
    ],
)  # fmt: skip
def test_what_hydra_cannot_use_is_said_in_the_words_of_the_user(said: Said, words: list[str], line: str) -> None:
    assert line in said(*words)
