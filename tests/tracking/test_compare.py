"""Two models are compared on the same photographs, and on nothing else."""

import sys
from pathlib import Path

import numpy as np
import pytest

from bloodcell.common.errors import InputError
from bloodcell.common.files import write_csv, write_json
from bloodcell.compare import compare_models, main
from bloodcell.tracking.predictions import read_folds

HEADER = ["file", "view", "micrograph", "group", "class", "predicted", "p_A", "p_B"]


def write_run(
    folder: Path, seed: int, right: float, rows: range = range(60), group: str = "g{}", each: int = 2
) -> Path:
    """A run with originals, ``each`` to a field group, and copies that must not count."""
    rng = np.random.default_rng(seed)
    lines = []
    for row in rows:
        truth = "AB"[row % 2]
        said = truth if rng.random() < right else "BA"[row % 2]
        lines.append([f"o{row}", "original", f"m{row}", group.format(row // each), truth, said, 0.5, 0.5])
        lines.append([f"t{row}", "twin", f"m{row}", group.format(row // each), truth, "B", 0, 1])
    write_csv(folder / "predictions.csv", HEADER, lines)
    return folder


def test_a_better_model_is_seen_and_an_equal_one_is_not(tmp_path: Path) -> None:
    good, bad = (read_folds(write_run(tmp_path / str(share), 1, share)) for share in (0.95, 0.5))
    found = compare_models(good, bad)
    assert (found["images"], found["groups"]) == (60, 30)
    assert found["mcnemar"] is None, "two images of one group are not independent"
    assert found["balanced_acc"]["difference"] > 0.2
    assert found["balanced_acc"]["p"] < 0.01
    back = compare_models(bad, good)
    assert back["balanced_acc"]["difference"] == pytest.approx(-found["balanced_acc"]["difference"])
    assert compare_models(good, good)["macro_f1"]["p"] == 1


def test_mcnemar_is_for_groups_of_one_image(tmp_path: Path) -> None:
    good, bad = (read_folds(write_run(tmp_path / str(share), 1, share, each=1)) for share in (0.95, 0.5))
    found = compare_models(good, bad)
    assert found["mcnemar"]["p"] < 0.001
    assert found["mcnemar"]["only_first"] - found["mcnemar"]["only_second"] == pytest.approx(
        60 * found["acc"]["difference"]
    )
    assert compare_models(good, good)["mcnemar"]["p"] == 1


def test_folds_are_pooled_and_seeds_are_not(tmp_path: Path) -> None:
    write_run(tmp_path / "folds" / "0", 0, 0.8, range(30))
    write_run(tmp_path / "folds" / "1", 0, 0.8, range(30, 60))
    assert len(read_folds(tmp_path / "folds")) == 60
    write_run(tmp_path / "seeds" / "0", 0, 0.8)
    write_run(tmp_path / "seeds" / "1", 1, 0.8)
    with pytest.raises(InputError, match="each image tested once"):
        read_folds(tmp_path / "seeds")


def test_other_images_are_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_run(tmp_path / "a", 0, 0.8, range(40))
    write_run(tmp_path / "b", 0, 0.8)
    monkeypatch.setattr(sys, "argv", ["compare", str(tmp_path / "a"), str(tmp_path / "b")])
    with pytest.raises(SystemExit):
        main()
    error = capsys.readouterr().err
    assert "20 images that only one" in error
    assert error.count("\n") == 1


def test_without_groups_images_are_counted_and_that_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_run(tmp_path / "a", 0, 0.9, group="")
    write_run(tmp_path / "b", 1, 0.6, group="")
    write_run(tmp_path / "c", 0, 0.9, each=1)
    alone, other = (read_folds(tmp_path / name) for name in "ab")
    found = compare_models(alone, other)
    assert (found["images"], found["groups"]) == (60, None)
    assert found["mcnemar"] == compare_models(read_folds(tmp_path / "c"), other)["mcnemar"]
    monkeypatch.setattr(sys, "argv", ["compare", str(tmp_path / "a"), str(tmp_path / "b")])
    main()
    shown = capsys.readouterr().out
    assert "60 images, groups not known" in shown
    assert "WARNING: it is not known which images belong together" in shown


def test_what_the_weights_have_seen_stands_beside_the_test(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folds = [write_run(tmp_path / "a" / str(fold), 0, 0.9, range(30 * fold, 30 * fold + 30)) for fold in (0, 1)]
    write_run(tmp_path / "b", 1, 0.6)
    warning = "WARNING: the weights have seen 15 of the 15 field groups in the test images before"
    write_json(folds[0] / "metrics.json", {"acc": 0.9})
    write_json(folds[1] / "metrics.json", {"acc": 0.9, "warning": warning})
    monkeypatch.setattr(sys, "argv", ["compare", str(tmp_path / "a"), str(tmp_path / "b")])
    main()
    said = [line for line in capsys.readouterr().out.splitlines() if "WARNING" in line]
    assert said == [f"{folds[1]}: {warning}"]


def test_the_command_prints_a_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_run(tmp_path / "a", 0, 0.9, each=1)
    write_run(tmp_path / "b", 1, 0.6, each=1)
    monkeypatch.setattr(sys, "argv", ["compare", str(tmp_path / "a"), str(tmp_path / "b")])
    main()
    shown = capsys.readouterr().out
    assert "60 images, 60 field groups" in shown
    assert "exact McNemar" in shown
