"""What a reviewer got past the walls with, who had not built them; each with variants."""

import io
import json
import os
import shutil
import stat
import sys
import zipfile
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from bloodcell.common.errors import InputError
from bloodcell.common.files import read_json, write_json, write_text
from bloodcell.data.decode import open_picture
from bloodcell.evidence.figures import curves, save
from bloodcell.model.weights import read_checkpoint
from bloodcell.studies.transfer.cutouts import HEADER, read_crops
from bloodcell.training.published import read_published
from tests.fuzz import copied_run, typed

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="makes pipes and devices")


def command(name: str, *words: object) -> str:
    return typed(import_module(f"bloodcell.{name}"), *words)


@pytest.fixture
def pipe(tmp_path: Path) -> Path:
    os.mkfifo(tmp_path / "pipe.csv")
    return tmp_path / "pipe.csv"


@LINUX
@pytest.mark.parametrize("option", ["--csv", "--markdown", "--html"])
def test_a_table_of_runs_replaces_no_pipe_and_no_device(finished: Path, pipe: Path, option: str) -> None:
    assert "expected a place for a file, got a device or a pipe" in command("runs", finished, f"{option}={pipe}")
    assert stat.S_ISFIFO(pipe.stat().st_mode)


@LINUX
@pytest.mark.parametrize("name", ["predict", "count"])
def test_answers_replace_no_pipe_and_no_folder(cells: Path, net: Path, pipe: Path, name: str) -> None:
    pictures = cells / "test" / "MONOCYTE"
    assert "got a device or a pipe" in command(name, pictures, "--model", net, "--out", pipe)
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    for place in (".", ""):
        assert "got a folder" in command(name, pictures, "--model", net, "--out", place)


EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 100 100\n%%EndComments\nshowpage\n"


@pytest.mark.parametrize(
    "content", [EPS, b"", b"nothing", b"\x89PNG\r\n\x1a\n" + b"\0\0\0\rIHDR\0\1\0\0\0\1\0\0\x08\2\0\0\0"]
)
def test_what_lies_where_a_figure_goes_is_only_replaced(
    tmp_path: Path, content: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "gs").write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\n")
    (tmp_path / "bin" / "gs").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    (tmp_path / "figure.png").write_bytes(content)
    pixels = save(curves([0.5, 0.4], [0.6, 0.5], "loss", "validation", "a run", {}), tmp_path / "figure.png")
    assert not (tmp_path / "ran").exists()
    assert np.array_equal(np.asarray(Image.open(tmp_path / "figure.png")), pixels)


def test_names_with_dollars_are_no_formulas(tmp_path: Path) -> None:
    save(curves([0.5, 0.4], [0.6, 0.5], "loss", r"$\frac$", r"$\nothing{", {}), tmp_path / "figure.png")


@pytest.mark.parametrize("name", ["metrics.csv", "predictions.csv"])
def test_evidence_is_saved_of_the_run_alone(finished: Path, tmp_path: Path, name: str) -> None:
    run = copied_run(finished, tmp_path / "run")
    (run / name).unlink()
    (run / name).symlink_to("/etc/passwd")
    assert "expected a file of that folder, got one elsewhere" in command("runs", run, "--save", tmp_path / "kept")
    assert not list((tmp_path / "kept").rglob(Path(name).name))


def test_figures_of_evidence_are_drawn_and_not_copied(finished: Path, tmp_path: Path) -> None:
    run = copied_run(finished, tmp_path / "run")
    (run / "figures" / "loss.png").unlink()
    (run / "figures" / "loss.png").symlink_to("/etc/passwd")
    assert not command("runs", run, "--save", tmp_path / "kept")
    with Image.open(tmp_path / "kept" / "loss.png") as image:
        assert image.width > 300


def test_evidence_is_saved_beside_the_run(finished: Path, tmp_path: Path) -> None:
    run = copied_run(finished, tmp_path / "run")
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    assert "expected a folder for evidence, got a run" in command("runs", run, "--save", run)
    assert before == {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    (run / "metrics.csv").unlink()
    assert not command("runs", run, "--save", tmp_path / "kept")


@pytest.mark.slow
def test_a_graph_that_cannot_be_compared_leaves_the_earlier_one(net: Path, tmp_path: Path) -> None:
    (tmp_path / "broken.png").write_text("no picture")
    (tmp_path / "mine.pt2").write_text("mine")
    words = [net, "--to", "torch_export", "--check", tmp_path / "broken.png", "--out", tmp_path / "mine.pt2"]
    assert command("export", *words)
    assert (tmp_path / "mine.pt2").read_text() == "mine"


def write_crops(folder: Path, **changed: Any) -> Path:
    """Crops of two sets, one of which is another than ``make transfer`` leaves."""
    for name in ("here", "there"):
        rows = [
            ["a/0.jpg", "0.png", "0", "eosinophil", f"{name} 0", "0"],
            ["a/1.jpg", "1.png", "1", "monocyte", "g", "1"],
        ]
        text = "\n".join(",".join(row) for row in [HEADER, *rows]) + "\n"
        about = {"of": "f00", "classes": ["eosinophil", "monocyte"], "red_cell": 80.0, "said": ""}
        if name == "here":
            about |= {key: value for key, value in changed.items() if key != "text"}
            text = changed.get("text", text)
        write_json(folder / f"{name}.json", {key: value for key, value in about.items() if value is not None})
        write_text(folder / f"{name}.csv", text)
    return folder


HEAD = ",".join(HEADER) + "\n"


@pytest.mark.parametrize(
    "changed",
    [
        *({"of": None}, {"classes": 5}, {"classes": ["monocyte"]}, {"red_cell": "wide"}, {"red_cell": None}),
        *({"text": HEAD}, {"text": "a,b\n1,2\n"}, {"text": HEAD + "a,b,c,monocyte,g,x\n"}, {"text": ""}),
        *({"text": f"{HEAD}{place},b,c,monocyte,g,0\n"} for place in ("/etc/passwd", "../../x.jpg", "a/../../b.jpg")),
        {"text": HEAD + "a" * 200_000 + ",b,c,monocyte,g,0\n"},
    ],
)
def test_crops_of_others_are_checked(tmp_path: Path, changed: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=r"here\.(csv|json)"):
        read_crops(write_crops(tmp_path / "crops", **changed))


def test_crops_of_others_say_nothing_that_a_terminal_obeys(tmp_path: Path) -> None:
    (here, _) = read_crops(write_crops(tmp_path / "crops", said="\x1b[31mred"))
    assert "\x1b" not in here.said
    (tmp_path / "crops" / "${oc.env:HOME}.json").write_text("{}")
    with pytest.raises(InputError, match="expected the name of a set"):
        read_crops(tmp_path / "crops")


@LINUX
def test_crops_of_others_are_no_pipe(tmp_path: Path) -> None:
    folder = write_crops(tmp_path / "crops")
    (folder / "here.csv").unlink()
    os.mkfifo(folder / "here.csv")
    with pytest.raises(InputError):
        read_crops(folder)


def published(net: Path, to: Path, tensors: dict[str, torch.Tensor], **card: Any) -> Path:
    """A published net with other tensors, and other values on its card."""
    from safetensors import safe_open
    from safetensors.torch import save_file

    with safe_open(net, "pt") as file:
        content = json.loads(file.metadata()["card"])
        kept = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (it is no mapping)
    for key, value in card.items():
        content[key] = content[key] | value
    save_file({**kept, **tensors}, to, metadata={"card": json.dumps(content)})
    return to


KINDS = (torch.float8_e4m3fn, torch.complex64, torch.uint16)


@pytest.mark.parametrize(
    "tensors",
    [
        *({"known.points": torch.zeros(())}, {"known.labels": torch.zeros(())}, {"known.labels": torch.zeros(3, 2)}),
        *({"known.scale": torch.ones(8).to(kind)} for kind in KINDS),
        *(
            {f"known.{name}": torch.ones(24, 3)[: None if name == "points" else 1].squeeze(0)}
            for name in ("points", "scale")
        ),
    ],
)
def test_learnt_cells_of_a_net_are_numbers_of_its_own(
    net: Path, tmp_path: Path, tensors: dict[str, torch.Tensor]
) -> None:
    with pytest.raises(InputError, match=r"other\.safetensors: expected"):
        read_published(published(net, tmp_path / "other.safetensors", tensors))


def test_learnt_cells_of_a_net_have_names_of_usual_length(net: Path, tmp_path: Path) -> None:
    files = read_json(net.with_suffix(".json"))["doubt"]["files"]
    other = published(net, tmp_path / "other.safetensors", {}, doubt={"files": ["a" * 3_900_000, *files[1:]]})
    with pytest.raises(InputError, match="expected learnt cells"):
        read_published(other)


def test_a_net_takes_pictures_of_the_size_on_its_card(net: Path, tmp_path: Path) -> None:
    other = published(net, tmp_path / "other.safetensors", {}, preparation={"image_size": [8, 8]})
    with pytest.raises(InputError, match="expected a net that takes pictures of its image_size"):
        read_published(other)


@pytest.mark.parametrize("kind", [torch.float8_e4m3fn, torch.complex64, "sparse", "quantized"])
def test_weights_are_usual_numbers(tmp_path: Path, kind: Any, capfd: pytest.CaptureFixture[str]) -> None:
    weight = torch.ones(4, 4)
    if kind == "sparse":
        weight = weight.to_sparse_csr()
    elif kind == "quantized":
        weight = torch.quantize_per_tensor(weight, 0.1, 0, torch.qint8)
    else:
        weight = weight.to(kind)
    torch.save({"state_dict": {"net.0.weight": weight}}, tmp_path / "x.ckpt")
    capfd.readouterr()
    with pytest.raises(InputError, match="expected a checkpoint"):
        read_checkpoint(tmp_path / "x.ckpt", "x.ckpt")
    assert not capfd.readouterr().err


def test_a_picture_of_one_line_is_refused(tmp_path: Path) -> None:
    Image.new("RGB", (40_000, 1), (200, 180, 190)).save(tmp_path / "line.png")
    with pytest.raises(InputError, match="40,000x1 pixels, of which a side has at most 32,000"):
        open_picture(tmp_path / "line.png")


@pytest.mark.parametrize(
    ("study", "content"),
    [
        ("crops arms", {"arms": ["field"] * 30_000}),
        ("crops arms", {"arms": 5}),
        ("crops curve", {"points": [{"share": 1, "photographs": 2, "file": "a.csv.gz"}] * 300}),
        ("ladder", {"predictions": [{}] * 2_000}),
        ("keras", {"trainings": [{}] * 2_000}),
        ("transfer", {"predictions": []}),
        ("ladder", {"predictions": [], "deep": "DEEP"}),
    ],
)
def test_lists_of_results_are_as_long_as_any_that_is_written(
    tmp_path: Path, study: str, content: dict[str, Any]
) -> None:
    name, *words = study.split()
    text = json.dumps(content).replace('"DEEP"', "[" * 800 + "]" * 800)
    write_text(tmp_path / f"{words[0] if words and words[0] == 'curve' else name}.json", text)
    said = command(name, *words, "--again", tmp_path)
    assert ".json: expected what" in said


def test_a_part_of_a_stranger_is_not_taken_for_answers(cells: Path, net: Path, tmp_path: Path) -> None:
    pictures = cells / "test" / "MONOCYTE"
    assert not command("predict", pictures, "--model", net, "--out", "whole.csv")
    rows = Path("whole.csv").read_text().splitlines(keepends=True)
    from bloodcell.training.published import read_published as opened

    forged = [rows[0], *(row.replace(",MONOCYTE,", ",EOSINOPHIL,") for row in rows[1:])]
    for view in ("auto", "field", "crop"):
        Path(f".out.csv.{opened(net).digest[:16]}-{view}.part").write_text("".join(forged), newline="")
    assert not command("predict", pictures, "--model", net, "--out", "out.csv")
    assert Path("out.csv").read_bytes() == Path("whole.csv").read_bytes()


@pytest.mark.parametrize("name", ["predict", "count", "runs", "explain"])
def test_folders_within_folders_without_end(cells: Path, net: Path, tmp_path: Path, name: str) -> None:
    start = Path.cwd()
    (tmp_path / "deep").mkdir()
    os.chdir(tmp_path / "deep")
    for _ in range(1_500):
        Path("d").mkdir()
        os.chdir("d")
    os.chdir(start)
    words = [tmp_path / "deep"] if name == "runs" else [tmp_path / "deep", "--model", net, "--out", tmp_path / "out"]
    try:
        assert command(name, *words)
    finally:
        os.system(f"rm -rf {tmp_path}/deep")  # shutil gives up as well


@pytest.mark.parametrize("line", [b"\xff\xfe.png", b"a" * 200_000 + b".png"])
def test_odd_names_in_a_list_have_a_row(net: Path, monkeypatch: pytest.MonkeyPatch, line: bytes) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(line + b"\n"), encoding="utf-8"))
    command("predict", "-", "--model", net, "--out", "out.csv")
    (_, row) = Path("out.csv").read_text().splitlines()
    assert "could not be read" in row or "cannot" in row or "unreadable" in row, row
    assert len(row) < 500


def test_a_zip_with_a_name_that_is_no_text(cells: Path, net: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "odd.zip", "w") as archive:
        archive.write(next((cells / "test" / "MONOCYTE").iterdir()), "ABCD.png")
    content = (tmp_path / "odd.zip").read_bytes().replace(b"ABCD.png", b"\xff\xfeCD.png")
    at = content.index(b"PK\x01\x02") + 8
    content = (
        content[:at]
        + (int.from_bytes(content[at : at + 2], "little") | 0x800).to_bytes(2, "little")
        + content[at + 2 :]
    )
    (tmp_path / "odd.zip").write_bytes(content)
    command("predict", tmp_path / "odd.zip", "--model", net, "--out", "out.csv")
    assert "odd.zip" in Path("out.csv").read_text()


def test_a_kept_strategy_that_starts_processes_is_refused(finished: Path, tmp_path: Path) -> None:
    import yaml

    run = copied_run(finished, tmp_path / "run")
    config = yaml.safe_load((run / ".hydra" / "config.yaml").read_text())
    config["trainer"]["strategy"] = "ddp_spawn"
    (run / ".hydra" / "config.yaml").write_text(yaml.safe_dump(config))
    assert "trainer.strategy: expected auto or ddp, got ddp_spawn" in command("reproduce", "--run", run)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("simulate", ["--draws", "0"]),
        ("search", ["--jobs", "0"]),
        ("search", ["--seed", "-1"]),
        ("download", ["--timeout", "inf"]),
        ("transfer", ["--most", "-3"]),
        ("transfer", ["--red-cell", "a=²"]),
        ("train", ["data=folder", "+trainer.val_check_interval=0"]),
        ("train", ["data=folder", "+trainer.detect_anomaly=x"]),
    ],
)
def test_numbers_that_make_no_sense(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], cells: Path, name: str, words: list[str]
) -> None:
    words = [*words, f"data.root={cells}"] if name == "train" else words
    monkeypatch.setattr(sys, "argv", [name, *words])
    with pytest.raises(SystemExit) as stopped:
        import_module(f"bloodcell.{name}").main()
    assert stopped.value.code in (1, 2)
    assert ": expected " in capfd.readouterr().err


@pytest.mark.parametrize(
    "word",
    ["data.image_size=[8,8]", "data.fold=x", "data.fold=-1", "data.mean=[1]", "data.batch_size=0", "data.crop=x"],
)
def test_a_test_of_other_data_is_refused_as_a_training_would_be(finished: Path, word: str) -> None:
    assert command("evaluate", finished, word).startswith(f"error: {word.partition('=')[0]}")
    assert not (finished / "evaluations").exists()


@pytest.mark.parametrize("target", ["bloodcell.model.nets.none", "torch.nn.none", "torch.nn.functional.relu.x", "x..y"])
def test_a_wrong_name_is_one_line_and_no_log(
    train: Callable[..., Path], capfd: pytest.CaptureFixture[str], target: str
) -> None:
    with pytest.raises(SystemExit):
        train(f"model._target_={target}")
    (line,) = capfd.readouterr().err.strip().splitlines()
    assert line.startswith("error: model._target_: expected a class or function of")


def test_an_audit_says_one_line(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["audit", "data=folder", "data.root=nowhere"])
    with pytest.raises(SystemExit, match="1"):
        import_module("bloodcell.audit").main()
    (line,) = capfd.readouterr().err.strip().splitlines()
    assert line.startswith("error: nowhere: expected a folder")


def test_a_card_lists_what_it_is_not_for(net: Path, tmp_path: Path) -> None:
    content = read_json(net.with_suffix(".json"))
    content["about"]["not_for"] = "a" * 300_000
    write_json(tmp_path / "card.json", content)
    words = ["--card", tmp_path / "card.json", "--html", tmp_path / "card" / "page.html"]
    assert "expected the JSON card of a published net" in command("report", *words)
    shutil.rmtree(tmp_path / "card", ignore_errors=True)
