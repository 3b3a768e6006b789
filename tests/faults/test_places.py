"""No command deletes what it did not make, writes over another run, or follows a link out of a run."""

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from bloodcell import evaluate, runs
from bloodcell.training.place import FIRST, WRITTEN, clear, remove_halves, remove_untouched
from tests.helpers import metrics_of

Train = Callable[..., Path]
Files = dict[str, bytes]


def files(folder: Path) -> Files:
    found = (path for path in folder.rglob("*") if path.is_file() and path.name not in (".lock", "train.log"))
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in found}


@pytest.fixture
def thesis(tmp_path: Path) -> Path:
    """What a run could be mistaken for, and is none."""
    folder = tmp_path / "work" / "thesis"
    (folder / "figures").mkdir(parents=True)
    (folder / "checkpoints").mkdir()
    (folder / "thesis.tex").write_text("ten years")
    (folder / "figures" / "loss.png").write_text("a picture")
    (folder / "checkpoints" / "best.ckpt").write_text("a net")
    return folder


@pytest.fixture
def refused(train: Train, capfd: pytest.CaptureFixture[str]) -> Callable[..., str]:
    def run(*words: str) -> str:
        with pytest.raises(SystemExit) as stopped:
            train("trainer=smoke", *words)
        assert stopped.value.code == 1
        errors = [line for line in capfd.readouterr().err.splitlines() if line.startswith("error: ")]
        assert len(errors) == 1
        return errors[0]

    return run


@pytest.mark.parametrize("status", [None, {"state": "failed"}, {"state": "ok"}, {"state": "interrupted"}, {"a": 1}])
def test_a_sweep_into_a_folder_that_is_no_run(
    refused: Callable[..., str], thesis: Path, status: dict[str, object] | None
) -> None:
    if status is not None:
        (thesis / "status.json").write_text(json.dumps(status))
    before = files(thesis)
    for word in ("seed=0,1", "seed=0"):
        assert "expected a" in refused("hydra.sweep.dir=work", "hydra.sweep.subdir=thesis", word, "-m")
    assert files(thesis) == before


def test_a_sweep_job_by_job_into_folders_that_are_no_runs(refused: Callable[..., str], thesis: Path) -> None:
    """Even where the config is refused."""
    shutil.copytree(thesis, thesis.parent / "1")
    before = files(thesis.parent)
    words = ("hydra.sweep.dir=work", "hydra.sweep.subdir='${hydra.job.num}'", "seed=0,1")
    line = refused(*words, "-m")
    assert "1: expected a new directory, or one with a run in it and nothing else, got one that holds" in line
    assert "expected a new directory" in refused(*words, "optim.lr=-1", "-m")
    assert files(thesis.parent) == before


def test_a_run_into_a_folder_that_is_no_run(refused: Callable[..., str], thesis: Path) -> None:
    before = files(thesis)
    assert "got one that holds" in refused("hydra.run.dir=work/thesis")
    assert "got one that holds" in refused("hydra.run.dir=work/thesis", "optim.lr=-1")
    assert not (thesis / ".lock").exists()
    (thesis.parent / "log").mkdir()
    (thesis.parent / "log" / "train.log").write_text("mine")
    refused("hydra.run.dir=work/log", "optim.lr=-1")
    assert (thesis.parent / "log" / "train.log").read_text() == "mine"
    assert files(thesis) == before


def test_every_file_of_a_run_is_known_and_nothing_else_is_removed(finished: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(finished, tmp_path / "run"))
    (run / "checkpoints" / ".last.ckpt.abcd_123").write_text("half")
    remove_halves(run)
    assert not (run / "checkpoints" / ".last.ckpt.abcd_123").exists()
    for name in ("notes.txt", "figures/notes.txt", "checkpoints/sub/x.ckpt", "evaluations/x/metrics.json"):
        (run / name).parent.mkdir(parents=True, exist_ok=True)
        (run / name).write_text("mine")
        before = files(run)
        with pytest.raises(ValueError, match="got one that holds"):
            clear(run)
        assert files(run) == before
        (run / name).unlink()
    assert all(WRITTEN.fullmatch(name) for name in files(run))
    (run / "status.json").unlink()
    with pytest.raises(ValueError, match="got one that holds"):
        clear(run)  # finished, and its status is lost
    (run / "status.json").write_text('{"state": "failed"}')
    clear(run)
    assert not files(run)
    assert all(FIRST.fullmatch(name) for name in (".hydra/config.yaml", ".hydra/overrides.yaml", "manifest.json"))


def test_what_was_there_before_is_not_removed(tmp_path: Path) -> None:
    for name in (".lock", "train.log"):
        (tmp_path / "run" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "run" / name).touch()
    remove_untouched(tmp_path / "run", {"train.log"})
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["train.log"]
    remove_untouched(tmp_path / "run", set())
    assert not (tmp_path / "run").exists()
    remove_untouched(tmp_path / "run", set())


@pytest.mark.slow
@pytest.mark.parametrize("subdir", ["'${hydra.job.num}'", "x-${hydra.job.id}"])
def test_directories_by_number_belong_to_their_grid(
    train: Train, refused: Callable[..., str], tmp_path: Path, subdir: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """Hydra's own idiom: a second grid would find the results of the first one."""
    place = ("hydra.sweep.dir=runs/grid", f"hydra.sweep.subdir={subdir}", "trainer=smoke", "test=false")
    train(*place, "seed=0,1", "-m")
    assert "sweep: 2 ok" in capfd.readouterr().out
    before = files(tmp_path / "runs")
    line = refused(*place, "seed=1,2", "-m")
    assert "expected a run of the same config, got one with seed=0, not 1" in line
    assert "expected a run of the same config, got one with optim.lr=0.001" in refused(
        *place, "seed=0,1", "optim.lr=1", "-m"
    )
    assert files(tmp_path / "runs") == before
    train(*place, "seed=0,1", "-m")
    assert ", 2 done before" in capfd.readouterr().out


def test_one_directory_for_two_jobs(refused: Callable[..., str], tmp_path: Path) -> None:
    line = refused("hydra.sweep.dir=runs/grid", "hydra.sweep.subdir=x", "seed=0,1", "-m")
    assert "expected a directory for each job" in line
    assert not list(tmp_path.glob("runs/grid/*"))


def outside(tmp_path: Path, run: Path, name: str) -> Path:
    """Replace a part of a run by a link out of it; returns what it leads to."""
    target = tmp_path / "outside" / name
    target.parent.mkdir(exist_ok=True)
    if (run / name).is_dir():
        shutil.move(run / name, target)
    else:
        (run / name).unlink(missing_ok=True)
        target.write_text("mine")
    (run / name).symlink_to(target)
    return target


@pytest.mark.parametrize("name", [".lock", "train.log", "figures", "checkpoints", "tensorboard", ".hydra"])
def test_links_are_not_followed_out_of_a_run(
    train: Train, finished: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], name: str
) -> None:
    run = Path(shutil.copytree(finished, tmp_path / "run"))
    target = outside(tmp_path, run, name)
    before = target.read_bytes() if target.is_file() else files(target)
    with pytest.raises(SystemExit, match="1"):
        train(f"ckpt_path={run}", "trainer.max_epochs=3", base=())
    assert f"got a link to {target}" in capfd.readouterr().err
    assert (target.read_bytes() if target.is_file() else files(target)) == before


@pytest.mark.slow
def test_links_of_a_file_inside(train: Train, finished: Path, tmp_path: Path) -> None:
    """What is replaced as a whole replaces the link, wherever it leads."""
    run = Path(shutil.copytree(finished, tmp_path / "runs" / "run"))
    (run / "checkpoints" / "kept.ckpt").symlink_to("last.ckpt")
    assert train(f"ckpt_path={run}", "trainer.max_epochs=3", base=()) == run


def test_evaluations_go_into_the_run(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    run = Path(shutil.copytree(finished, tmp_path / "run"))
    (tmp_path / "outside").mkdir()
    (run / "evaluations").symlink_to(tmp_path / "outside")
    monkeypatch.setattr(sys, "argv", ["evaluate", str(run)])
    with pytest.raises(SystemExit, match="1"):
        evaluate.main()
    assert "got a link to" in capfd.readouterr().err
    assert not list((tmp_path / "outside").iterdir())


def test_the_table_of_runs_touches_no_lock_that_is_a_link(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Path(shutil.copytree(finished, tmp_path / "all" / "run"))
    (run / "status.json").write_text(json.dumps({"state": "running", "epoch": 1, "epochs": 2}))
    target = outside(tmp_path, run, ".lock")
    monkeypatch.setattr(sys, "argv", ["runs", str(tmp_path / "all"), "--each"])
    runs.main()
    assert target.read_text() == "mine"


@pytest.mark.slow
def test_a_link_in_a_failed_job_ends_no_sweep_in_a_traceback(
    train: Train, refused: Callable[..., str], tmp_path: Path
) -> None:
    words = ("seed=0,1", "trainer=smoke", "test=false", "-m")
    job = train(*words)
    (job / "status.json").write_text('{"state": "failed"}')
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "x").write_text("mine")
    (job / "link").symlink_to(tmp_path / "outside")
    assert "link" in refused(*words)
    assert (tmp_path / "outside" / "x").read_text() == "mine"
    assert metrics_of(job)


@pytest.mark.parametrize(
    "monitor", ["{'monitor': None", pytest.param("{'monitor': 'val/balanced_acc'", marks=pytest.mark.slow)]
)
def test_a_checkpoint_names_no_file_to_remove(
    train: Train, finished: Path, thesis: Path, tmp_path: Path, monitor: str
) -> None:
    """Lightning removes the file that a better checkpoint replaces, by the name that the last one gives."""
    run = Path(shutil.copytree(finished, tmp_path / "runs" / "run"))
    before, named = files(thesis), f"{run}/checkpoints/../../../work/thesis"
    content = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)
    (state,) = [one for name, one in content["callbacks"].items() if monitor in name]
    score = torch.tensor(-1.0)  # any epoch is better
    state |= {"dirpath": f"{run}/checkpoints", "best_k_models": {named: score}, "kth_value": score}
    state |= {"best_model_path": named, "kth_best_model_path": named, "best_model_score": score}
    torch.save(content, run / "checkpoints" / "last.ckpt")
    train(f"ckpt_path={run}", "trainer.max_epochs=3", base=())
    assert files(thesis) == before
    assert {one.name for one in (run / "checkpoints").iterdir()} == {"best.ckpt", "last.ckpt"}


@pytest.mark.parametrize("words", [("--save", "file"), ("--html", "file/a.html"), ("--csv", "a" * 300), ("--csv", ".")])
def test_no_place_for_what_is_written_is_one_line(
    finished: Path, words: tuple[str, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A file where a folder is to be, and the like; the file stays."""
    from bloodcell.runs import main

    Path("file").write_text("mine")
    monkeypatch.setattr(sys, "argv", ["runs", str(finished), *words])
    with pytest.raises(SystemExit, match="1"):
        main()
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert Path("file").read_text() == "mine"
    assert [path.name for path in Path().iterdir()] == ["file"]
