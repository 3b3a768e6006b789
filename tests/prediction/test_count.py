"""``python -m bloodcell.count``: every cell is counted once, with the interval that so many cells leave."""

import sys
from pathlib import Path

import pytest

from bloodcell.common.files import read_json
from bloodcell.prediction.counting import differential
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
    assert found["cells"] + sum(found["doubtful"].values()) == 24
    assert sum(one["count"] for one in found["classes"].values()) == found["cells"]
    assert "cells without a doubt" in capsys.readouterr().out


def test_nine_of_a_hundred_are_five_to_sixteen_and_doubtful_cells_are_apart() -> None:
    rows = [{"class": name, "reason": ""} for name in [CLASSES[0]] * 9 + [CLASSES[1]] * 91]
    rows += [{"class": CLASSES[0], "reason": "unlike the learnt cells"}, {"class": "", "reason": "cannot be read: x"}]
    found = differential(rows, CLASSES)
    assert found["cells"] == 100
    assert found["classes"][CLASSES[0]]["share"] == pytest.approx([0.09, 0.048, 0.162], abs=5e-4)
    assert found["classes"][CLASSES[2]]["count"] == 0
    assert found["doubtful"] == {CLASSES[0]: 1, CLASSES[1]: 0, CLASSES[2]: 0}


def test_nothing_to_count_has_no_shares() -> None:
    assert differential([], CLASSES)["classes"][CLASSES[0]] == {"count": 0, "share": None}
