"""``python -m bloodcell.predict``: the same answers however pictures come, and a row for each that cannot be read."""

import io
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import bloodcell
from bloodcell.prediction import answering, predictor
from tests.helpers import CLASSES, write_cells

Run = Callable[..., tuple[list[dict[str, str]], int]]


def answers(rows: list[dict[str, str]]) -> dict[str, list[float]]:
    """Probabilities and doubt by the name of the file."""
    numbers = [*(f"p_{name}" for name in CLASSES), "doubt"]
    return {Path(row["file"]).name: [float(row[number]) for number in numbers] for row in rows}


def test_a_folder_a_zip_a_glob_a_list_and_one_by_one_get_the_same_answers(
    predict: Run, net: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_cells(tmp_path / "new", ("",), 3, seed=9)
    with zipfile.ZipFile("new.zip", "w") as archive:
        for path in sorted(folder.rglob("*.png"), reverse=True):
            archive.write(path, path.relative_to(folder))
    rows, code = predict(str(folder))
    assert (len(rows), code) == (9, 0)
    assert {(row["left"], row["top"], row["right"], row["bottom"]) for row in rows} == {("0", "0", "48", "36")}
    expected = answers(rows)
    monkeypatch.setattr(predictor, "BATCH", 2)
    others = [predict("new.zip")[0], predict("new/*/*.png")[0]]
    monkeypatch.setattr(sys, "stdin", io.StringIO("".join(f"{path}\n" for path in folder.rglob("*.png"))))
    others.append(predict("-")[0])
    found = bloodcell.load(net).predict([path for path in folder.rglob("*.png")])
    for other in [*map(answers, others)]:
        assert other.keys() == expected.keys()
        for name, numbers in other.items():
            assert numbers[:-1] == pytest.approx(expected[name][:-1], abs=1e-5)
            assert numbers[-1] == pytest.approx(expected[name][-1], abs=1e-4)  # written with four digits
    for cell in found:
        one = bloodcell.load(net).predict(np.asarray(Image.open(cell.file)))[0]
        assert one.doubt == pytest.approx(cell.doubt, abs=1e-5)
        for name in CLASSES:
            assert one.probabilities[name] == pytest.approx(cell.probabilities[name], abs=1e-5)
            assert cell.probabilities[name] == pytest.approx(
                expected[Path(cell.file).name][CLASSES.index(name)], abs=1e-5
            )


def test_the_command_agrees_with_the_run_it_was_made_of(predict: Run, finished: Path, cells: Path) -> None:
    from bloodcell.tracking.predictions import read_predictions

    rows, _ = predict(str(cells / "test"), model=finished)
    by_run = read_predictions(finished)
    own = {str(file): number for file, number in zip(by_run.file, by_run.probabilities, strict=True)}
    assert len(rows) == len(own) == 24
    for row in rows:
        shares = [float(row[f"p_{name}"]) for name in CLASSES]
        # the run's are as the net gives them, these at the run's temperature: the order of the classes is the same
        assert np.argsort(shares).tolist() == np.argsort(own[str(Path(row["file"]).relative_to(cells))]).tolist()


def test_what_cannot_be_read_has_a_row_that_says_why(predict: Run, cells: Path) -> None:
    Path("mixed").mkdir()
    good = next((cells / "test").rglob("*.png"))
    shutil.copyfile(good, "mixed/=good.png")
    Path("mixed/broken.jpg").write_bytes(good.read_bytes()[:200])
    Path("mixed/empty.png").touch()
    Path("mixed/notes.txt").write_text("no picture, and not called like one")
    Path("mixed/broken.zip").write_bytes(b"PK no zip")
    rows, code = predict("mixed", "mixed/broken.zip", "mixed/notes.txt")
    assert code == 1
    assert [row["file"] for row in rows] == [
        "mixed/=good.png",
        "mixed/broken.jpg",
        "mixed/empty.png",
        "mixed/broken.zip",
        "mixed/notes.txt",
    ]
    assert [bool(row["class"]) for row in rows] == [True, False, False, False, False]
    assert all(row["reason"].startswith("cannot be read: ") for row in rows[1:])


def test_no_cell_of_the_table_is_a_formula_or_leaves_its_line(predict: Run, cells: Path) -> None:
    good = next((cells / "test").rglob("*.png"))
    for name in ("=1+1.png", "+a.png", "a\nb.png", 'c,"d".png'):
        shutil.copyfile(good, name)
    rows, _ = predict("=1+1.png", "+a.png", "a\nb.png", 'c,"d".png')
    assert [row["file"] for row in rows] == ["'=1+1.png", "'+a.png", "a\N{REPLACEMENT CHARACTER}b.png", 'c,"d".png']
    assert len(Path("predictions.csv").read_bytes().split(b"\r\n")) == 6


def test_stopped_and_typed_again_it_goes_on(predict: Run, cells: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, _ = predict(str(cells / "test"), "--out", "whole.csv")
    monkeypatch.setattr(answering, "BATCH", 4)
    answered: list[str] = []
    real = predictor.Predictor.answers

    def stops(self: predictor.Predictor, pictures: object, view: object) -> object:
        for cells_of_one in real(self, pictures, view):  # type: ignore[arg-type]  # it stands for a method
            answered.append(cells_of_one[0].file)
            if len(answered) == 11:
                raise KeyboardInterrupt
            yield cells_of_one

    with monkeypatch.context() as patch:
        patch.setattr(predictor.Predictor, "answers", stops)
        with pytest.raises(FileNotFoundError):
            predict(str(cells / "test"))  # no table is there before it is whole
    (part,) = Path.cwd().glob(".predictions.csv.*.part")
    part.write_bytes(part.read_bytes() + b"half a l")
    again: list[str] = []
    with monkeypatch.context() as patch:
        patch.setattr(
            predictor.Predictor,
            "answers",
            lambda self, pictures, view: (again.append(one[0].file) or one for one in real(self, pictures, view)),
        )
        rows, code = predict(str(cells / "test"))
    assert (rows, code) == (whole, 0)
    assert len(again) == 24 - 7  # of the eight that were written, the last one might not have been whole
    assert not list(Path.cwd().glob(".predictions.csv.*.part"))


def test_folders_called_like_the_classes_are_compared_and_learnt_pictures_are_said(
    predict: Run, cells: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows, _ = predict(str(cells / "train"))
    assert {row["learnt"] for row in rows} == {"yes"}
    said = capsys.readouterr().out
    assert "WARNING: all of them" in said
    assert "this is memory, not a result" in said
    rows, _ = predict(str(cells / "test"))
    assert {row["learnt"] for row in rows} == {""}
    said = capsys.readouterr().out
    assert "by their folders: balanced accuracy" in said
    assert "of 24 cells\n" in said


@pytest.mark.parametrize("word", ["nowhere", "*.nothing", "empty"])
def test_nothing_to_answer_for_is_one_line(
    word: str, net: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from bloodcell.predict import main

    Path("empty").mkdir()
    monkeypatch.setattr(sys, "argv", ["predict", word, "--model", str(net)])
    with pytest.raises(SystemExit, match="1"):
        main()
    error = capsys.readouterr().err
    assert error.startswith(f"error: {word}: expected ")
    assert error.count("\n") == 1
    assert not Path("predictions.csv").exists()


def test_the_package_is_imported_without_torch() -> None:
    import subprocess

    code = "import sys, bloodcell; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def field_with(*cells: tuple[int, int], radius: int = 60) -> np.ndarray:
    field = np.full((480, 640, 3), (225, 205, 210), np.uint8)
    yy, xx = np.mgrid[:480, :640]
    for x, y in cells:
        field[(yy - y) ** 2 + (xx - x) ** 2 < radius**2] = (110, 70, 160)
    return field


def test_a_crop_is_looked_at_whole_and_a_field_is_searched(predict: Run, net_of_crops: Path) -> None:
    Path("both").mkdir()
    field = Image.fromarray(field_with((250, 240), radius=70))
    field.save("both/field.png")
    field.crop((110, 100, 390, 380)).save("both/crop.png")  # what the net looks at, already cut out
    boxes, doubts = {}, {}
    for view in ("auto", "field", "crop"):
        rows, _ = predict("both", "--view", view, model=net_of_crops)
        boxes[view] = [tuple(int(row[edge]) for edge in ("left", "top", "right", "bottom")) for row in rows]
        doubts[view] = [row["doubt"] for row in rows]
    whole, wholly = (0, 0, 280, 280), (0, 0, 640, 480)
    assert boxes["crop"] == [whole, wholly]
    assert boxes["auto"] == [whole, boxes["field"][1]]
    assert np.abs(np.array(boxes["field"]) - [(70, 70, 210, 210), (180, 170, 320, 310)]).max() < 20
    assert doubts["auto"][0] == doubts["auto"][1] == doubts["crop"][0] != doubts["field"][0]
    for view in ("auto", "field", "crop"):
        found = bloodcell.load(net_of_crops).predict("both", view=view)  # type: ignore[arg-type]  # a plain str
        assert [cell.box for cell in found] == boxes[view]


def test_what_another_view_has_begun_is_not_gone_on_with(tmp_path: Path) -> None:
    from bloodcell.prediction.answers_file import AnswersFile

    one, other = (AnswersFile(tmp_path / "t.csv", CLASSES, f"net-{view}") for view in ("auto", "crop"))
    assert one.part != other.part


def test_a_net_of_crops_answers_for_every_cell_that_is_found(net_of_crops: Path) -> None:
    field, crops = field_with((150, 150), (450, 300)), bloodcell.load(net_of_crops)
    found = crops.predict(field)
    centres = sorted((cell.box[0] + cell.box[2], cell.box[1] + cell.box[3]) for cell in found if cell.box)
    assert np.abs(np.array(centres) / 2 - [(150, 150), (450, 300)]).max() < 8
    assert [view.size for _, view in crops.views(Image.fromarray(field))] == [(280, 280)] * 2
    (nothing,) = crops.predict(np.full((480, 640, 3), (225, 205, 210), np.uint8))
    assert (nothing.box, nothing.name, nothing.reason, nothing.unreadable) == (None, "", "no white cell found", False)


@pytest.mark.slow
def test_nothing_is_imported_that_no_answer_needs() -> None:
    """Each of these takes as long to import as a hundred answers take."""
    late = "{'torchvision', 'lightning', 'sklearn', 'scipy.stats', 'torchmetrics', 'statsmodels', 'matplotlib'}"
    code = "import sys, bloodcell, numpy; bloodcell.load().predict(numpy.zeros((90, 90, 3), numpy.uint8)); "
    code += f"import bloodcell.prediction.answering; sys.exit(repr({late} & sys.modules.keys() or ''))"
    assert subprocess.run([sys.executable, "-c", code], stderr=subprocess.PIPE, text=True).stderr == "''\n"
