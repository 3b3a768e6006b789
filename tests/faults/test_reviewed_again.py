"""What a second reviewer got past the walls with: sets, graphs, reports and words of strangers; each with variants."""

import gzip
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from bloodcell.common.env import CHECKOUT as ROOT
from bloodcell.common.errors import InputError
from bloodcell.common.files import CSV_BYTES, read_json, write_json, write_text
from bloodcell.compare import _warnings
from bloodcell.data.lineage_table import IMAGES, MICROGRAPHS, PAIRS, read_lineage
from bloodcell.data.micrographs import micrograph_files, read_cells, read_labels
from bloodcell.evidence.pages import html_page
from bloodcell.prediction.explaining import SHOWN, _drawn
from bloodcell.prediction.graph import BATCH_BYTES, _batches
from bloodcell.prediction.nearest import photograph_of
from bloodcell.prediction.page.runtime import find_runtime
from bloodcell.studies.paper.run import report_text
from bloodcell.training.published import read_published
from tests.faults.test_reviewed import LINUX, command, published
from tests.fuzz import copied_run

FETCHES = [{"pretrained": True}, {"weights": "DEFAULT"}, {"weights_backbone": "DEFAULT"}]
NOT_FETCHED = "expected no weights, which a server would give"


@pytest.mark.parametrize("words", FETCHES)
def test_a_strangers_net_fetches_no_weights(net: Path, tmp_path: Path, words: dict[str, Any]) -> None:
    model = {"_target_": "torchvision.models.squeezenet1_1", **words}
    other = published(net, tmp_path / "other.safetensors", {}, model=model)
    with pytest.raises(InputError, match=f"{NOT_FETCHED}|weights=null"):
        read_published(other)


@pytest.mark.parametrize("words", FETCHES[::2])
def test_a_strangers_run_fetches_no_weights(finished: Path, tmp_path: Path, words: dict[str, Any]) -> None:
    run = copied_run(finished, tmp_path / "run")
    config = (run / ".hydra" / "config.yaml").read_text()
    before, _, after = config.partition("model:\n")
    rest = after[after.index("\noptim:") :]
    lines = [f"  {key}: {json.dumps(value)}" for key, value in words.items()]
    model = "\n".join(["  _target_: torchvision.models.squeezenet1_1", *lines])
    write_text(run / ".hydra" / "config.yaml", f"{before}model:\n{model}{rest}")
    assert NOT_FETCHED in command("evaluate", run)


@LINUX
@pytest.mark.parametrize("place", ["/proc/self/fd/1", "link"])
def test_a_link_to_the_standard_output_is_not_replaced(cells: Path, net: Path, tmp_path: Path, place: str) -> None:
    (tmp_path / "link").symlink_to("/proc/self/fd/1")
    (tmp_path / "out").symlink_to(place)
    said = command("predict", cells / "test" / "MONOCYTE", "--model", net, "--out", tmp_path / "out")
    assert "expected a place for a file, got one of the system" in said
    assert (tmp_path / "out").is_symlink()


@LINUX
def test_no_file_is_put_among_devices() -> None:
    with pytest.raises(InputError, match="got one of the system"):
        write_text(Path("/dev/bloodcell.txt"), "")
    with pytest.raises(InputError, match="got one of the system"):
        write_text(Path("/proc/self/fd/bloodcell.txt"), "")


@pytest.fixture
def results(tmp_path: Path) -> Path:
    kept = ("*.csv.gz", "predictions", "*.png")
    return Path(shutil.copytree(ROOT / "results", tmp_path / "results", ignore=shutil.ignore_patterns(*kept)))


def spoilt(results: Path, kind: str) -> None:
    text = results / "doubt" / "doubt.md"
    text.unlink()
    if kind == "a pipe":
        os.mkfifo(text)
    elif kind == "a link elsewhere":
        secret = results.parent / "secret.txt"
        secret.write_text("SECRET")
        text.symlink_to(secret)


@LINUX
@pytest.mark.parametrize("kind", ["a pipe", "a link elsewhere", "nothing"])
def test_a_report_takes_up_files_of_its_results_alone(results: Path, kind: str) -> None:
    assert (results / "doubt" / "doubt.md").read_text() in report_text(results)
    spoilt(results, kind)
    with pytest.raises(InputError, match=r"doubt\.md: expected"):
        report_text(results)


@LINUX
@pytest.mark.parametrize("kind", ["a pipe", "nothing"])
def test_a_picture_of_a_page_is_a_file(tmp_path: Path, kind: str) -> None:
    if kind == "a pipe":
        os.mkfifo(tmp_path / "map.jpg")
    with pytest.raises(InputError, match=r"map\.jpg: expected"):
        html_page("# Maps\n\n![maps](map.jpg)\n", tmp_path, ".")


def damage(table: Path, kind: str) -> None:
    match kind:
        case "a pipe":
            os.mkfifo(table)
        case "without end":
            table.symlink_to("/dev/zero")
        case "other columns":
            table.write_text("a,b\n1,2\n")
        case "no number":
            table.write_text("Image,Category\none,MONOCYTE\n")
        case "no text":
            table.write_bytes(b"\xff\xfe\x00")


@LINUX
@pytest.mark.parametrize("kind", ["a pipe", "without end", "other columns", "no number", "no text", "nothing"])
def test_labels_of_a_set_are_a_table(tmp_path: Path, kind: str) -> None:
    damage(tmp_path / "labels.csv", kind)
    with pytest.raises(InputError, match=r"labels\.csv: expected"):
        read_labels(tmp_path / "labels.csv")


BOX = "<annotation><object><name>WBC</name><bndbox>{}</bndbox></object></annotation>"
EDGES = "<xmin>{}</xmin><ymin>1</ymin><xmax>{}</xmax><ymax>9</ymax>"


@pytest.mark.parametrize(
    "text",
    [
        "<a>",
        "",
        BOX.format("<xmin>x</xmin>"),
        BOX.format(""),
        BOX.format(EDGES.format(5, 5)),
        BOX.format(EDGES.format(9, 5)),
        BOX.format(EDGES.format(1, "inf")),
        BOX.format(EDGES.format("nan", 5)),
    ],
)
def test_boxes_of_a_set_have_an_area(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.xml").write_text(BOX.format(EDGES.format(1, 5)))
    assert [cell.width for cell in read_cells(tmp_path / "a.xml")] == [2]
    (tmp_path / "a.xml").write_text(text)
    with pytest.raises(InputError, match=r"a\.xml: expected boxes of cells"):
        read_cells(tmp_path / "a.xml")


@LINUX
def test_annotations_of_a_set_are_no_pipe(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.xml")
    assert read_cells(tmp_path / "a.xml") == []


def test_photographs_have_a_number(tmp_path: Path) -> None:
    for name in ("BloodImage_x.jpg", "BloodImage_.jpg", f"BloodImage_{'9' * 50}.jpg", "BloodImage_-1.jpg"):
        (tmp_path / name).touch()
    with pytest.raises(InputError, match="expected the original micrographs"):
        micrograph_files(tmp_path)
    (tmp_path / "BloodImage_00007.jpg").touch()
    assert list(micrograph_files(tmp_path)) == ["7"]


@pytest.mark.parametrize("number", ["0", "-1"])
def test_a_recovery_has_threads(number: str) -> None:
    said = command("lineage", "--workers", number)
    assert f"--workers {number}: expected a whole number from 1, got {number}" in said


@pytest.mark.parametrize("packed", [True, False])
def test_a_lineage_table_is_as_large_as_any_that_is_written(tmp_path: Path, packed: bool) -> None:
    for file in (IMAGES, MICROGRAPHS, PAIRS):
        shutil.copyfile(ROOT / "bloodcell" / "data" / file, tmp_path / file)
    name = IMAGES if packed else MICROGRAPHS
    content = b"a" * (CSV_BYTES + 1)
    (tmp_path / name).write_bytes(gzip.compress(content, 1) if packed else content)
    with pytest.raises(InputError, match=f"{name}: .*got more than {CSV_BYTES:,} bytes"):
        read_lineage(tmp_path)


def test_large_pictures_are_compared_one_by_one() -> None:
    small, large = np.zeros((480, 640, 3), np.uint8), np.zeros((5_000, 5_000, 3), np.uint8)
    sizes = [len(batch) for batch in _batches([*[small] * 70, large, large, small, small[1:]])]
    assert sizes == [64, 6, 1, 1, 1, 1]
    assert max(sum(one.nbytes for one in batch) for batch in _batches([small] * 200)) <= BATCH_BYTES


@pytest.mark.parametrize(("size", "width"), [((32_000, 4), 8 * SHOWN), ((20, 32_000), 1), ((40, 20), 2 * SHOWN)])
def test_thin_pictures_are_drawn_within_bounds(size: tuple[int, int], width: int) -> None:
    drawn = _drawn(Image.new("RGB", size), np.ones((8, 8)), np.eye(8, dtype=bool))
    assert drawn.size == (2 * width + 8, SHOWN)


@pytest.mark.parametrize(
    ("file", "said"),
    [
        ("ORIGINAL/MONOCYTE/BloodImage_00207.jpg", "207"),
        ("ORIGINAL/x/abc1", "ORIGINAL/x/abc1"),
        ("ORIGINAL/x/a_²", "ORIGINAL/x/a_²"),
        (f"ORIGINAL/x/a_{'9' * 5_000}", f"ORIGINAL/x/a_{'9' * 5_000}"),
        ("elsewhere/a_12.png", "elsewhere/a_12.png"),
    ],
)
def test_a_learnt_file_of_any_name_has_a_name(file: str, said: str) -> None:
    assert photograph_of(file) == said


@pytest.mark.parametrize(
    "typed",
    [
        lambda there: command("lineage", there, "--check"),
        lambda there: command("transfer", "--set", f"a={there}", "--set", f"b={there}", "--out", "t"),
        lambda there: command("train", "data=pbc", f"data.root={there}", "hydra.run.dir=r"),
        lambda there: command("train", "data=folder", f"data.root={there}", f"data.table={there}", "hydra.run.dir=r"),
    ],
)
def test_a_home_of_nobody_is_one_line(typed: Callable[[str], str]) -> None:
    assert "~nosuchuser/x" in typed("~nosuchuser/x")


@pytest.mark.parametrize("variable", ["BLOODCELL_DATA", "BLOODCELL_PBC"])
def test_a_variable_with_a_home_of_nobody_is_one_line(variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(variable, "~nosuchuser/x")
    data = {"BLOODCELL_DATA": "blood_cells", "BLOODCELL_PBC": "pbc"}[variable]
    assert "~nosuchuser/x" in command("train", f"data={data}", "hydra.run.dir=r")


@pytest.mark.parametrize(("to", "name"), [("onnx", "x.pt2"), ("torch_export", "x.onnx"), ("torch_export", "x")])
def test_a_graph_has_the_suffix_of_its_kind(cells: Path, net: Path, to: str, name: str) -> None:
    said = command("export", net, "--to", to, "--check", cells / "test", "--out", name)
    assert "expected a name that ends in ." in said
    assert not Path(name).exists()


@pytest.mark.parametrize("key", ["batch_size", "train_images", "num_classes"])
def test_counts_are_numbers_that_a_machine_has(cells: Path, key: str) -> None:
    words = ("data=folder", f"data.root={cells}", f"data.{key}={2**63}", "hydra.run.dir=r")
    assert f"data.{key}: expected " in command("train", *words)


def test_a_kept_count_is_one_too(finished: Path, tmp_path: Path) -> None:
    run = copied_run(finished, tmp_path / "run")
    config = run / ".hydra" / "config.yaml"
    lines = [f"  batch_size: {2**63}" if "batch_size:" in line else line for line in config.read_text().splitlines()]
    write_text(config, "\n".join(lines))
    assert "batch_size: expected" in command("evaluate", run)


def test_a_number_of_thousands_of_digits_is_one_line() -> None:
    assert "expected fewer digits" in command("train", f"seed={'9' * 5_000}", "hydra.run.dir=r")


def test_what_compared_runs_say_is_shown_as_letters(finished: Path, tmp_path: Path) -> None:
    run = copied_run(finished, tmp_path / "\x1b[31mrun")
    forged = "\x1b]0;OWNED\x07\x1b[31mred\nerror: a false line"
    write_json(run / "metrics.json", read_json(run / "metrics.json") | {"warning": forged})
    (line,) = _warnings(run)
    assert line.isprintable()
    assert "OWNED" in line


@LINUX
def test_the_runtime_of_a_page_is_no_pipe(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "runtime.tgz")
    with pytest.raises(InputError, match="no regular file"):
        find_runtime(tmp_path / "runtime.tgz")


@LINUX
@pytest.mark.parametrize(
    "words",
    [
        ("train", "data=synthetic", "trainer=smoke", "hydra.run.dir=/proc/x"),
        ("train", "-m", "data=synthetic", "trainer=smoke", "seed=0,1", "hydra.sweep.dir=/proc/x"),
        ("predict", "CELLS", "--out", "/proc/x/y.csv"),
    ],
)
def test_a_folder_that_cannot_be_made_is_one_line(cells: Path, words: tuple[str, ...]) -> None:
    said = command(*(str(cells) if word == "CELLS" else word for word in words))
    assert "/proc/x" in said


@LINUX
@pytest.mark.parametrize("words", [("runs", "."), ("lineage", "--check"), ("train", "data=synthetic", "trainer=smoke")])
def test_a_folder_that_is_gone_is_one_line(tmp_path: Path, words: tuple[str, ...]) -> None:
    here = Path.cwd()
    (tmp_path / "gone").mkdir()
    os.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    try:
        assert command(*words).startswith("error: ")
    finally:
        os.chdir(here)
