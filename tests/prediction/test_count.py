"""``python -m bloodcell.count``: every cell is counted once, with the interval that so many cells leave."""

import shutil
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from bloodcell.common.files import read_json
from bloodcell.prediction import count_page
from bloodcell.prediction.counting import differential
from bloodcell.prediction.inputs import picture_named as found
from tests.helpers import CLASSES


def test_the_cells_of_a_folder_are_counted(
    net: Path, cells: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from bloodcell.count import main

    monkeypatch.setattr(sys, "argv", ["count", str(cells / "val"), "--model", str(net)])
    with pytest.raises(SystemExit) as ended:
        main()
    found = read_json(Path("count.json"))
    assert ended.value.code == 0
    assert found["cells"] + sum(found["unlike"].values()) == 24
    assert sum(one["count"] for one in found["classes"].values()) == found["cells"]
    assert "cells like the learnt ones" in capsys.readouterr().out
    page = Path("count.html").read_text()
    assert page.count("data:image/jpeg") == 24
    assert "default-src 'none'" in page
    assert "http" not in page.replace("http-equiv", "")


def test_the_page_shows_cells_of_zips_and_names_no_file_as_an_instruction(
    net: Path, cells: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from bloodcell.count import main

    picture = next((cells / "val").rglob("*.png"))
    with zipfile.ZipFile("=a.zip", "w") as archive:
        archive.write(picture, "<b>in.png")
    shutil.copyfile(picture, "gone.png")
    monkeypatch.setattr(sys, "argv", ["count", "=a.zip", "gone.png", "--model", str(net), "--out", "x/c.csv"])
    monkeypatch.setattr(count_page, "picture_named", lambda name: found("no.png" if name == "gone.png" else name))
    with pytest.raises(SystemExit):
        main()
    page = Path("x/c.html").read_text()
    assert page.count("data:image/jpeg") == 1  # the other one cannot be read again
    assert "=a.zip/&lt;b&gt;in.png" in page
    assert "<b>in" not in page


def test_cells_are_picked_evenly_and_never_many() -> None:
    rows = [{"class": CLASSES[0], "reason": "", "file": str(number)} for number in range(1000)]
    picked = [int(row["file"]) for row in count_page.pick_cells(iter(rows), CLASSES)[CLASSES[0]]]
    assert count_page.SHOWN // 2 <= len(picked) <= count_page.SHOWN
    assert len(set(np.diff(picked).tolist())) == 1
    assert picked[-1] > 900


def test_the_table_is_no_page(net: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    from bloodcell.count import main

    monkeypatch.setattr(sys, "argv", ["count", ".", "--model", str(net), "--out", "count.html"])
    with pytest.raises(SystemExit, match="1"):
        main()
    assert "--out count.html: expected a name for the table" in capsys.readouterr().err


def test_nine_of_a_hundred_are_five_to_sixteen_and_what_is_unlike_the_learnt_is_apart() -> None:
    rows = [{"class": name, "reason": ""} for name in [CLASSES[0]] * 7 + [CLASSES[1]] * 91]
    rows += [
        {"class": CLASSES[0], "reason": "could be A or B"},
        {"class": CLASSES[0], "reason": "no class is probable"},
    ]
    rows += [{"class": CLASSES[0], "reason": "unlike the learnt cells"}, {"class": "", "reason": "cannot be read: x"}]
    found = differential(rows, CLASSES)
    assert found["cells"] == 100
    assert found["classes"][CLASSES[0]]["share"] == pytest.approx([0.09, 0.048, 0.162], abs=5e-4)
    assert found["classes"][CLASSES[2]]["count"] == 0
    assert [found["classes"][name]["undecided"] for name in CLASSES] == [2, 0, 0]
    assert found["unlike"] == {CLASSES[0]: 1, CLASSES[1]: 0, CLASSES[2]: 0}


def test_nothing_to_count_has_no_shares() -> None:
    assert differential([], CLASSES)["classes"][CLASSES[0]] == {"count": 0, "share": None, "undecided": 0}
