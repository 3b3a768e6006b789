"""predictions.csv: read as it was written, and refused in one line where it is something else."""

import csv
from pathlib import Path

import numpy as np
import pytest

from bloodcell.common.errors import InputError
from bloodcell.tracking import predictions
from bloodcell.tracking.predictions import COLUMNS, FILE, read_folds, read_predictions, write_predictions
from tests.helpers import CLASSES

OLD_RUN = Path(__file__).parent.parent / "old_runs" / "finished"
HEADER = ",".join([*COLUMNS, "p_A", "p_B"])
ROW = "a.png,image,,,A,B,0.25,0.75"


@pytest.mark.parametrize("old", [False, True])
def test_a_table_is_read_as_it_was_written(finished: Path, tmp_path: Path, old: bool) -> None:
    run = OLD_RUN if old else finished
    table = read_predictions(run)
    with (run / FILE).open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(table) == len(rows)
    assert table.classes == (("eosinophil", "neutrophil") if old else CLASSES)
    assert table.file.tolist() == [row["file"] for row in rows]
    assert [table.classes[number] for number in table.correct] == [row["class"] for row in rows]
    assert table.predicted.tolist() == table.probabilities.argmax(axis=1).tolist()
    write_predictions(tmp_path / FILE, table)
    assert (tmp_path / FILE).read_bytes() == (run / FILE).read_bytes()
    assert len(read_predictions(run / FILE).of_view("original")) == 0


def test_names_with_commas_quotes_and_line_breaks_come_back(tmp_path: Path) -> None:
    names = np.array(['a,"b"\nc.png', "ü.png"])
    nothing, zero = np.array(["", ""]), np.array([0, 0])
    table = predictions.Predictions(("A, b",), names, nothing, nothing, nothing, zero, zero, np.ones((2, 1)))
    write_predictions(tmp_path / FILE, table)
    again = read_predictions(tmp_path)
    assert again.file.tolist() == names.tolist()
    assert again.classes == ("A, b",)


@pytest.mark.parametrize(
    ("content", "got"),
    [
        ("", "the columns (none)"),
        (HEADER, "no rows"),
        ("\x00PNG\r\n\x00", "the columns"),
        (",".join(COLUMNS) + "\na,b,c,d,A,A", "the columns file,view"),
        (f"{HEADER},p_A\n{ROW},0", "the columns file,view"),
        (f"{HEADER}\n{ROW}\n{ROW},7", "9 cells in row 2"),
        (f"{HEADER}\n{ROW.replace('A,B', 'A,C')}", "the class 'C'"),
        (f"{HEADER}\n{ROW.replace('0.25', 'high')}", "could not convert string to float: 'high'"),
        (f"{HEADER}\n{ROW.replace('0.25', 'nan')}", "probabilities outside 0 to 1"),
        (f"{HEADER}\n{ROW.replace('0.75', '1.5')}", "probabilities outside 0 to 1"),
        (f"{HEADER}\n{'x' * 200_000}", "field larger than field limit"),
        (f'{HEADER}\n"{ROW}', "unexpected end of data"),
        (b"\xff\xfe", "can't decode byte 0xff"),
    ],
    ids=range(13),
)
def test_what_is_no_table_of_predictions_is_one_line(tmp_path: Path, content: str | bytes, got: str) -> None:
    (tmp_path / FILE).write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(InputError) as refused:
        read_predictions(tmp_path)
    said = str(refused.value)
    assert "\n" not in said
    assert got in said
    assert "python -m bloodcell.evaluate" in said


def test_what_would_fill_the_memory_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(predictions, "MOST_BYTES", 1000)
    (tmp_path / FILE).write_text("\n".join([HEADER, *[ROW] * 40]))
    with pytest.raises(InputError, match="bytes"):
        read_predictions(tmp_path)
    long = ROW.replace("a.png", "a" * 300 + ".png")
    (tmp_path / FILE).write_text("\n".join([HEADER, long, *[ROW] * 9]))
    with pytest.raises(InputError, match="a cell of 304 characters"):
        read_predictions(tmp_path)


def test_no_predictions_are_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        read_predictions(tmp_path)
    with pytest.raises(InputError, match="a run, or a folder of runs"):
        read_folds(tmp_path)


def test_runs_of_other_classes_are_not_pooled(tmp_path: Path) -> None:
    for name, header in (("a", HEADER), ("b", HEADER.replace("p_B", "p_C"))):
        (tmp_path / name).mkdir()
        (tmp_path / name / FILE).write_text(f"{header}\n{ROW.replace('A,B', 'A,A')}")
    with pytest.raises(InputError, match="runs of the same classes"):
        read_folds(tmp_path)
