"""What is typed is what is used: paths, names, grids, options in any order."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bloodcell.common.files import read_json
from bloodcell.config.compose import arranged, as_typed, composed, direction, parsed, quoted, resolve
from tests.helpers import TINY, write_cells

AWKWARD = [
    "A #2",
    "2024",
    "1e3",
    "x=1,y=2",
    "50 %: é, 日本",
    'it\'s "new"',
    "[a] (b) {c}",
    "~old",
    "$HOME",
    "a;b&c!^",
    "null0",
]


@settings(deadline=None)
@given(st.text(alphabet="\\'\" aé#,=[]{}$%~:;1", max_size=12).filter(lambda text: "${" not in text))
def test_a_quoted_value_is_read_as_it_is(text: str) -> None:
    assert parsed(f"name={quoted(text)}").value() == text


@settings(deadline=None)
@given(st.text(alphabet=" aé#,=[](){}$%~:;&1/.-", min_size=1, max_size=12).filter(lambda text: "${" not in text))
def test_a_path_is_used_as_it_is_typed(text: str) -> None:
    path = f"/x{text.rstrip()}"
    assert parsed(as_typed(f"data.root={path}")).value() == path


@pytest.mark.parametrize(
    "key", ["data.root", "data.table", "ckpt_path", "init_from", "hydra.run.dir", "+data.lineage", "name"]
)
@pytest.mark.parametrize("text", AWKWARD)
def test_no_name_of_a_folder_is_anything_but_text(key: str, text: str) -> None:
    assert parsed(as_typed(f"{key}={text}")).value() == text


def test_home_is_found_and_a_folder_called_like_it_as_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    assert parsed(as_typed("data.root=~/images")).value() == "/home/me/images"
    assert parsed(as_typed("data.root='~/images'")).value() == "/home/me/images"
    (tmp_path / "~").mkdir()
    assert parsed(as_typed("data.root=~")).value() == "~"


@pytest.mark.parametrize(
    ("word", "value"),
    [
        ("data.root=null", None),
        ("data.root=${oc.env:SET}", "${oc.env:SET}"),
        ("data.root=${oc.env:SET}/A #2", "${oc.env:SET}/A #2"),
        ("data.root='a b'", "a b"),
        ("optim.lr=1e3", 1000.0),
        ("model.widths=[8,16]", [8, 16]),
        ("seed=7", 7),
    ],
)
def test_what_hydra_reads_well_is_left_to_it(word: str, value: object) -> None:
    assert parsed(as_typed(word)).value() == value


@pytest.mark.parametrize(
    ("typed", "values"),
    [
        ("/a,/b", ["/a", "/b"]),
        ("2023,2024", ["2023", "2024"]),
        ("/x #1,/x #2", ["/x #1", "/x #2"]),
        ("'/a,b','/c'", ["/a,b", "/c"]),
    ],
)
def test_folders_make_a_grid(typed: str, values: list[str]) -> None:
    read = parsed(as_typed(f"data.root={typed}", sweep=True))
    assert [str(parsed(f"k={one}").value()) for one in read.sweep_string_iterator()] == values


def test_a_folder_with_a_comma_that_is_there_is_one_folder(tmp_path: Path) -> None:
    (tmp_path / "a,b").mkdir()
    assert parsed(as_typed(f"data.root={tmp_path}/a,b", sweep=True)).value() == f"{tmp_path}/a,b"


@pytest.mark.parametrize(
    "words",
    ["-m seed=0,1 optim.lr=1", "seed=0,1 -m optim.lr=1", "seed=0,1 optim.lr=1 -m", "seed=0,1 --multirun optim.lr=1"],
)
def test_a_sweep_may_be_asked_for_anywhere(words: str) -> None:
    assert arranged(words.split())[:2] == ["seed=0,1", "optim.lr=1"]


def test_options_keep_their_values() -> None:
    words = ["seed=1", "--cfg", "job", "optim.lr=1", "-cd", "/x=y", "--resolve"]
    assert arranged(words) == ["seed=1", "optim.lr=1", "--cfg", "job", "-cd", "/x=y", "--resolve"]


def test_a_metric_says_which_way_it_improves() -> None:
    assert {
        direction(f"{stage}/{name}") for stage in ("val", "test") for name in ("loss", "log_loss", "brier", "ece")
    } == {"min"}
    assert {direction(f"val/{name}") for name in ("acc", "balanced_acc", "macro_f1", "recall/loss")} == {"max"}
    cfg = composed(["monitor.metric=val/loss", "optim/scheduler=plateau"])
    resolve(cfg)
    assert (cfg.monitor.mode, cfg.optim.scheduler.mode) == ("min", "min")


def test_a_variable_of_the_environment_is_read_as_if_it_had_been_typed(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, text in (("RATE", "0.01"), ("SIDE", "48"), ("YEAR", "2024"), ("TEST", "false"), ("A_B", "a,b")):
        monkeypatch.setenv(name, text)
    words = ["optim.lr=${oc.env:RATE}", "data.image_size=[${oc.env:SIDE},32]", "data.root=${oc.env:YEAR}"]
    words += ["test=${oc.env:TEST}", "seed=${oc.env:NO_SUCH,7}", "optim.optimizer.weight_decay=${optim.lr}"]
    cfg = composed([*words, "name=${oc.env:A_B}"])
    resolve(cfg)
    assert (cfg.optim.lr, cfg.optim.optimizer.weight_decay) == (0.01, 0.01)
    assert (cfg.data.image_size, cfg.model.image_size) == ([48, 32], [48, 32])
    assert (cfg.data.root, cfg.test, cfg.seed, cfg.data.seed, cfg.name) == ("2024", False, 7, 7, "a,b")


@pytest.mark.slow
def test_awkward_places_from_the_training_to_the_evaluation(
    tmp_path: Path, train: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Images, run directory, checkpoint and weights all lie where Hydra's grammar would get lost."""
    from bloodcell.evaluate import main

    images = write_cells(tmp_path / "A #2: é, [x]=~ 50% $y", ("train", "val", "test"), 4)
    run = tmp_path / "runs" / "run #1, it's=new"
    train("trainer.max_epochs=1", f"hydra.run.dir={run}", base=(*TINY, f"data.root={images}"))
    assert read_json(run / "manifest.json")["data"]["root"] == str(images)
    train(f"ckpt_path={run}", "trainer.max_epochs=2", base=())
    assert read_json(run / "status.json")["epoch"] == 2
    other = tmp_path / "runs" / "2"
    start = run / "checkpoints" / "last.ckpt"
    train(f"hydra.run.dir={other}", f"init_from={start}", "trainer=smoke", base=(*TINY, f"data.root={images}"))
    assert read_json(other / "status.json")["state"] == "ok"

    beside = write_cells(tmp_path / "A", ("",), 3)
    beside = beside.rename(tmp_path / "A #2")
    monkeypatch.setattr(sys, "argv", ["evaluate", str(run), "--checkpoint", "last", f"data.root={beside}"])
    main()
    (again,) = (run / "evaluations").iterdir()
    assert read_json(again / "manifest.json")["data"]["root"] == str(beside)
    assert len((again / "predictions.csv").read_text().splitlines()) == 1 + 9
