"""The cell finder is scored as it deserves, and arms on crops stand side by side."""

import csv
import gzip
import io
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bloodcell.common.errors import InputError
from bloodcell.common.files import read_json
from bloodcell.crops import main
from bloodcell.data.lineage_table import read_lineage
from bloodcell.data.micrographs import Pixels
from bloodcell.studies.crops.arms import write_arms
from bloodcell.studies.crops.finding import is_uncut, photographs_scored
from bloodcell.studies.crops.handmade import cell_features
from bloodcell.tracking.predictions import Predictions, write_predictions

CLASSES = ("EOSINOPHIL", "LYMPHOCYTE", "MONOCYTE", "NEUTROPHIL")


def field(*centres: tuple[int, int], nucleus: tuple[int, int, int] = (110, 70, 160)) -> Pixels:
    image = np.full((480, 640, 3), (225, 220, 215), np.uint8)
    y, x = np.ogrid[:480, :640]
    for left, top in centres:
        for radius, colour in ((80, (190, 150, 200)), (60, nucleus)):
            image[(x - left) ** 2 + (y - top) ** 2 < radius**2] = colour
    return image


def write_field(root: Path, number: int, image: Pixels, boxes: list[tuple[int, int, int, int]]) -> None:
    """A photograph and its annotation, where the Kaggle set has them."""
    for folder in ("JPEGImages", "Annotations"):
        (root / "dataset-master" / "dataset-master" / folder).mkdir(parents=True, exist_ok=True)
    where = root / "dataset-master" / "dataset-master"
    Image.fromarray(image).save(where / "JPEGImages" / f"BloodImage_{number:05d}.jpg", quality=95)
    objects = "".join(
        f"<object><name>WBC</name><bndbox><xmin>{a}</xmin><ymin>{b}</ymin><xmax>{c}</xmax><ymax>{d}</ymax></bndbox></object>"
        for a, b, c, d in boxes
    )
    (where / "Annotations" / f"BloodImage_{number:05d}.xml").write_text(f"<annotation>{objects}</annotation>")


def write_fields(tmp_path: Path) -> tuple[Path, list[int]]:
    """Five photographs and one that is held out; where the copies would be, and the numbers of the five."""
    held = {row.group for row in read_lineage().micrographs.values() if row.subset == "TEST"}
    tuned = [int(n) for n, row in read_lineage().micrographs.items() if row.group not in held]
    box = (70, 160, 230, 320)
    write_field(tmp_path, tuned[0], field((150, 240)), [box])  # a hit
    write_field(tmp_path, tuned[1], field((150, 240), (480, 240)), [box])  # a hit and an alarm
    write_field(tmp_path, tuned[2], field(), [box])  # a miss
    write_field(tmp_path, tuned[3], field((600, 240)), [(520, 160, 640, 320)])  # a cut cell
    write_field(tmp_path, tuned[4], field((150, 240)), [])  # not annotated: not counted
    for held_out in (row for row in read_lineage().micrographs.values() if row.subset == "TEST"):
        write_field(tmp_path, int(held_out.micrograph), field((150, 240), (600, 300)), [box, (520, 220, 640, 380)])
        break
    return tmp_path / "dataset2-master" / "dataset2-master" / "images", tuned[:5]


def test_hits_misses_and_alarms_are_counted(tmp_path: Path) -> None:
    images, tuned = write_fields(tmp_path)
    found = photographs_scored(images, read_lineage())
    part = found["tuned_on"]
    assert part["fields"] == 4
    assert (part["whole"]["cells"], part["whole"]["found"], part["whole"]["missed"]) == (3, 2, [str(tuned[2])])
    assert (part["cut"]["cells"], part["cut"]["found"]) == (1, 1)
    assert part["boxes_without_annotation"] == [str(tuned[1])]
    assert part["precision"] == pytest.approx(3 / 4)
    assert part["whole"]["centre_error_median"] < 0.03
    assert 0.5 < part["whole"]["iou_mean"] < 2 / 3  # of two, and nothing for the one that was missed
    assert found["held_out"]["whole"]["recall"] == found["held_out"]["cut"]["recall"] == 1


def test_the_finder_is_measured_by_its_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """On those photographs, a copy with its cell, a copy whose cell is cut, and a field of red cells."""
    images, _ = write_fields(tmp_path)
    whole = next(row for row in read_lineage().images.values() if row.cell_inside == 1)
    cut = next(row for row in read_lineage().images.values() if row.cell_inside < 0.9)
    for row in (whole, cut):
        (images / row.file).parent.mkdir(parents=True, exist_ok=True)
        copy = field((round(2 * row.cell_x), round(2 * row.cell_y)))
        Image.fromarray(copy).resize((320, 240)).save(images / row.file)
    (images / "TEST").mkdir(exist_ok=True)
    few = replace(read_lineage(), images={row.file: row for row in (whole, cut)})
    monkeypatch.setattr("bloodcell.studies.crops.finding.read_lineage", lambda: few)
    (tmp_path / "red").mkdir()
    Image.fromarray(field()).save(tmp_path / "red" / "one.png")
    monkeypatch.setattr(sys, "argv", ["crops", "finder", "--root", str(tmp_path), "--red-cells", "red", "--out", "out"])
    main()
    found = read_json(Path("out/finder.json"))
    assert found["copies"]["whole"] == {"cells": 1, "found": 1, "recall": 1.0}
    assert found["copies"]["cut"]["cells"] == 1
    assert found["red_cells"] == {"fields": 1, "boxes_a_field": 0.0, "where": {}}
    assert found["photographs"]["tuned_on"]["fields"] == 4
    table = Path("out/finder.md").read_text()
    assert "In 1 fields of red cells of another laboratory it finds a cell in: nowhere." in table
    assert table in capsys.readouterr().out


def test_arms_are_folders(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["crops", "arms", "field=nowhere"])
    with pytest.raises(SystemExit, match="1"):
        main()
    assert "field=nowhere: expected NAME=FOLDER of runs, got no such folder" in capsys.readouterr().err


def predictions(correct_share: float, seed: int) -> Predictions:
    rows = list(read_lineage().published.values())
    label = np.array([CLASSES.index(row.label) for row in rows])
    rng = np.random.default_rng(seed)
    predicted = np.where(rng.random(len(label)) < correct_share, label, (label + 1) % 4)
    names = np.array([row.micrograph for row in rows])
    return Predictions(
        CLASSES,
        np.array([f"ORIGINAL/{row.label}/BloodImage_{int(row.micrograph):05d}.jpg" for row in rows]),
        np.full(len(rows), "original"),
        names,
        np.array([row.group for row in rows]),
        label,
        predicted,
        np.eye(4)[predicted] * 0.8 + 0.05,
    )


def test_arms_stand_side_by_side(tmp_path: Path) -> None:
    for name, share in (("field", 0.5), ("found", 0.9)):
        (tmp_path / name).mkdir()
        write_predictions(tmp_path / name / "predictions.csv", predictions(share, seed=len(name)))
    out = tmp_path / "out"
    arms = {name: tmp_path / name for name in ("field", "found")}
    write_arms(arms, ["found"], predictions(0.7, seed=9), out)
    found = read_json(out / "crops.json")
    assert [row["arm"] for row in found["rows"]] == ["field", "found", "features", "found + features"]
    for row in found["rows"]:
        assert row["all"]["photographs"] == 348
        assert row["whole"]["photographs"] + row["cut"]["photographs"] == 340  # eight have no box
        assert np.sum(row["all"]["confusion"]) == 348
    best = found["against_the_first"][0]
    assert best["difference"] > 0.3
    assert best["p"] < 0.01
    with gzip.open(out / "found_and_features.csv.gz") as packed:
        lines = list(csv.DictReader(io.TextIOWrapper(packed)))
    assert len(lines) == 348
    assert "| found + features | all (348) |" in (out / "crops.md").read_text()
    short = predictions(0.9, seed=1).take(np.arange(347))
    write_predictions(tmp_path / "found" / "predictions.csv", short)
    with pytest.raises(InputError, match="found: expected the 348 photographs of the first arm"):
        write_arms(arms, [], None, out)


def test_the_cut_monocytes_are_seven() -> None:
    rows = [row for row in read_lineage().published.values() if not np.isnan(row.cell_x)]
    cut = [row for row in rows if not is_uncut(row)]
    assert (len(rows), len(cut)) == (340, 101)
    assert sum(row.label == "MONOCYTE" for row in cut) == 7


def test_features_tell_colour_from_shape() -> None:
    plain, redder = (
        cell_features(field((320, 240), nucleus=colour)[100:380, 180:460])
        for colour in ((110, 70, 160), (140, 70, 130))
    )
    assert plain.shape == (84,)
    assert np.isfinite(plain).all()
    assert np.abs(plain[:25] - redder[:25]).max() > 0.05  # colours of the nucleus
    assert plain[75:] == pytest.approx(redder[75:], abs=0.1)  # its shape
    turned = cell_features(np.rot90(field((320, 240))[100:380, 180:460]).copy())
    assert turned == pytest.approx(plain, abs=0.02)
    assert np.isfinite(cell_features(np.full((280, 280, 3), 255, np.uint8))).all()
