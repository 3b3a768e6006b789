"""``python -m bloodcell.doubts``: two folds of tiny cells notice noise, and the table says how often."""

import sys
import weakref
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path

import pytest

from bloodcell.common.files import read_json, write_json
from bloodcell.data.micrographs import Pixels
from bloodcell.studies.doubt import run as doubt
from bloodcell.studies.net.card import card_text
from tests.helpers import TINY, write_cells, write_groups


@pytest.mark.slow
def test_folds_notice_what_is_no_cell(
    train: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from bloodcell.doubts import main
    from bloodcell.export import main as export

    root = write_groups(write_cells(tmp_path / "cells", ("",), 12), lambda number: f"g{number // 2}")
    base = (*TINY, f"data.root={root}", "data.protocol=grouped", "data.folds=2", "report=last")
    runs = [train(f"data.fold={fold}", f"hydra.run.dir=runs/folds/{fold}", base=base) for fold in (0, 1)]
    others = write_cells(tmp_path / "others", ("",), 4, seed=5)
    words = ["doubts", "runs/folds", "--set", f"eosinophils={others}", "--out", "out"]
    monkeypatch.setattr(sys, "argv", words)
    seen: list[weakref.ref[Pixels]] = []
    alive = []

    def watched(folder: Path, pictures: Callable[[Path], Iterator[Pixels]] = doubt._pictures) -> Iterator[Pixels]:
        for one in pictures(folder):
            seen.append(weakref.ref(one))
            alive.append(sum(each() is not None for each in seen))
            yield one

    monkeypatch.setattr(doubt, "_pictures", watched)
    main()
    assert len(seen) == 12
    assert max(alive) <= 3  # pictures of a set may be large: they are not kept
    found = read_json(Path("out/doubt.json"))
    assert found["folds"] == 2
    assert found["cells"]["cells"] == 36
    assert found["sets"]["flat colour"]["flagged"][0] > 0.9
    assert found["sets"]["eosinophils"]["pictures"] == 12
    assert 0 <= found["sets"]["eosinophils"]["right"][0] <= 1
    assert "right" not in found["sets"]["noise"]
    assert sum(one["images"] for one in found["cells"]["calibration"]) == 36
    assert Path("out/doubt.md").read_text() in capsys.readouterr().out
    words = ["export", str(runs[0]), "--folds", "runs/folds", "--doubts", "out/doubt.json", "--out", "n.safetensors"]
    monkeypatch.setattr(sys, "argv", words)
    export()
    on_card = read_json(Path("n.json"))["about"]["doubt"]["measured"]["flat colour"]
    assert on_card["flagged"] == found["sets"]["flat colour"]["flagged"]
    assert "| flat colour | 100 |" in card_text(Path("n.json"))
    write_json(Path("out/doubt.json"), found | {"nets": found["nets"][::-1]})
    with pytest.raises(SystemExit, match="1"):
        export()
    assert "out/doubt.json: expected what the nets of --folds doubt" in capsys.readouterr().err
    assert read_json(Path("n.json"))["about"]["held_out"] == {"by": "2 folds by field group", "cells": 36, "groups": 6}
    monkeypatch.setattr(sys, "argv", ["export", "runs/folds", "--to", "torch_export", "--out", "graphs/parity.json"])
    export()
    parity = read_json(Path("graphs/parity.json"))
    assert (parity["pictures"], parity["other_classes"], len(parity["folds"])) == (36, 0, 2)
    assert parity["largest"] < 1e-5
    assert [path.name for path in sorted(Path("graphs").iterdir())] == ["manifest.json", "parity.json"]


def test_a_set_that_is_no_folder_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from bloodcell.doubts import main

    monkeypatch.setattr(sys, "argv", ["doubts", "folds", "--set", "red=nowhere"])
    with pytest.raises(SystemExit, match="1"):
        main()
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize(
    "words",
    [
        ["doubts", "folds"],
        ["explain", "--folds", "folds", "--out", "maps"],
        ["export", "folds", "--to", "torch_export", "--out", "parity.json"],
    ],
)
def test_a_folder_without_folds_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: list[str]
) -> None:
    Path("folds").mkdir()
    monkeypatch.setattr(sys, "argv", words)
    with pytest.raises(SystemExit, match="1"):
        import_module(f"bloodcell.{words[0]}").main()
    assert "folds: expected runs of protocol grouped, a fold each, got none; make sweep" in capsys.readouterr().err
