"""The cell finder is scored as it deserves, and arms on crops stand side by side."""

import shutil
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bloodcell.common.errors import InputError
from bloodcell.common.files import read_json, write_json
from bloodcell.crops import main
from bloodcell.data.lineage_table import read_lineage
from bloodcell.data.micrographs import Pixels
from bloodcell.studies.crops.finding import NOT_WHITE, WHITE, is_uncut, photographs_scored
from bloodcell.studies.crops.handmade import cell_features
from bloodcell.studies.crops.labels import label_doubts
from bloodcell.tracking.cross_validations import CrossValidation as Repeat
from bloodcell.tracking.cross_validations import averaged_arms, read_repeats
from bloodcell.tracking.predictions import Predictions, read_predictions, write_packed, write_predictions

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
    for name in (*WHITE, *NOT_WHITE):
        (tmp_path / "pbc" / name).mkdir(parents=True)
        for number, places in enumerate((((180, 180),), ((180, 180), (40, 40)), ())):
            small = field(*places)[:363, :360] if name in WHITE else field()[:363, :360]
            Image.fromarray(small).save(tmp_path / "pbc" / name / f"{number}.jpg", quality=95)
    words = ["--red-cells", "red", "--pbc", "pbc", "--out", "out"]
    monkeypatch.setattr(sys, "argv", ["crops", "finder", "--root", str(tmp_path), *words])
    main()
    found = read_json(Path("out/finder.json"))
    assert found["copies"]["whole"] == {"cells": 1, "found": 1, "recall": 1.0}
    assert found["copies"]["cut"]["cells"] == 1
    assert found["copies"]["precision"] == 1
    for name in WHITE:
        assert (found["pbc"][name]["cells"], found["pbc"][name]["found"]) == (3, 2)
        assert found["pbc"][name]["precision"] == pytest.approx(2 / 3)
    assert found["pbc"]["platelet"]["found"] == 0
    assert found["red_cells"] == {"fields": 1, "boxes_a_field": 0.0, "where": {}}
    assert found["photographs"]["tuned_on"]["fields"] == 4
    table = Path("out/finder.md").read_text()
    assert "| PBC, ig | 3 | 2 | 0.667 (" in table
    assert "Of PBC's 3 pictures of one platelet it takes that for a white cell in 0." in table
    assert "In 1 fields of red cells of another laboratory it finds a cell in: nowhere." in table
    assert table in capsys.readouterr().out


def test_arms_are_folders(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["crops", "arms", "field=nowhere"])
    with pytest.raises(SystemExit, match="1"):
        main()
    assert "field=nowhere: expected NAME=RUNS, a folder of runs or a file of" in capsys.readouterr().err


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


def runs_of(where: Path, share: float, fold_seeds: int = 1, seeds: int = 1, learnt: float | None = None) -> Path:
    """Runs of two folds, as far as they are read; they have learnt from a share of 200 photographs."""
    for repeat in range(fold_seeds * seeds):
        table = predictions(share, seed=repeat)
        for fold in range(2):
            run = where / f"{repeat}-{fold}"
            keys = {"fold_seed": repeat // seeds, "fold": fold, "folds": 2, "train_share": learnt}
            config = {"seed": repeat % seeds, "data": keys}
            write_predictions(run / "predictions.csv", table.take(np.arange(fold, len(table), 2)))
            write_json(run / ".hydra" / "config.yaml", config)
            (run / ".hydra" / "overrides.yaml").write_text("[]")
            write_json(run / "status.json", {"state": "ok"})
            write_json(run / "metrics.json", {"test/acc": share})
            about = {"images": {"train": round(200 * (learnt or 1))}}
            seen = {"seeds": {"seed": repeat % seeds, "data.split_seed": 0}, "gpu": None, "data": about}
            write_json(run / "manifest.json", seen)
    return where


def command(monkeypatch: pytest.MonkeyPatch, *words: object) -> None:
    monkeypatch.setattr(sys, "argv", ["crops", "arms", *map(str, words)])
    main()


def test_arms_stand_side_by_side(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_packed(tmp_path / "features.csv.gz", predictions(0.7, seed=9))
    field, found = runs_of(tmp_path / "field", 0.5), runs_of(tmp_path / "found", 0.9, fold_seeds=2, seeds=3)
    words = [f"field={field}", f"found={found}", f"features={tmp_path}/features.csv.gz"]
    more = ("--ensemble", "found", "--average", "found ensemble+features")
    command(monkeypatch, *words, *more, "--against", "field", "--against", "features", "--out", "out")
    said = read_json(Path("out/crops.json"))
    names = ["field", "found", "features", "found ensemble", "found ensemble + features"]
    assert said["arms"] == [row["arm"] for row in said["rows"]] == names
    assert [len(row["repeats"]) for row in said["rows"]] == [1, 6, 1, 2, 1]
    assert said["rows"][3]["repeats"][1] == {"fold_seed": 1, "seed": "0+1+2"}
    for row in said["rows"]:
        assert row["all"]["photographs"] == 348
        assert row["whole"]["photographs"] + row["cut"]["photographs"] == 340  # eight have no box
        assert np.sum(row["all"]["confusion"]) == 348 * len(row["repeats"])
        for score in (row["all"]["balanced_acc"], row["all"]["macro_f1"]):
            assert score["low"] < score["value"] < score["high"]
    assert said["rows"][1]["all"]["acc"]["value"] == pytest.approx(0.9, abs=0.02)
    assert [(pair["arm"], pair["against"]) for pair in said["pairs"]] == [
        (name, other) for other in ("field", "features") for name in names if name != other
    ]
    pair = said["pairs"][0]
    assert pair["fold_seeds"] == [0]
    assert len(pair["each"]) == 1
    assert pair["interval"][0] < pair["balanced_acc"]["difference"] < pair["interval"][1]
    assert pair["balanced_acc"]["p"] < pair["balanced_acc"]["p_holm"] < 0.01
    assert 0.02 < pair["smallest_found"] < 0.2
    kept = read_json(Path("out/found.json"))
    assert kept["common"] == {"data": {"images": {"train": 200}}, "gpu": None, "seeds": {"data.split_seed": 0}}
    assert kept["apart"]["4-1"] == {"seeds": {"seed": 1}}
    table = Path("out/crops.md").read_text()
    assert "| found | 2 x 3 |" in table
    assert "| against features |" in table
    assert table in capsys.readouterr().out
    before = {path: path.read_bytes() for path in Path("out").iterdir()}
    command(monkeypatch, "--again", "out")
    assert {path: path.read_bytes() for path in Path("out").iterdir()} == before
    assert len(before) == 10


def test_each_fold_takes_the_recipe_that_its_validation_chooses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The better recipe on test images has the worse validation in fold 1, and is not taken there."""
    small, large = runs_of(tmp_path / "small", 0.6, 2, 2), runs_of(tmp_path / "large", 0.9, 2, 3)
    for folder, scores in ((small, (0.5, 0.8)), (large, (0.7, 0.7))):
        for path in folder.glob("*/metrics.json"):
            write_json(path, {"val/balanced_acc": scores[int(path.parent.name[-1])]})
    write_packed(tmp_path / "features.csv.gz", predictions(0.7, seed=9))
    words = [f"small={small}", f"large={large}", f"features={tmp_path}/features.csv.gz"]
    command(monkeypatch, *words, "--select", "small,large", "--out", "out")
    said = read_json(Path("out/crops.json"))
    assert said["selection"]["choices"] == {"0/0": "large", "0/1": "small", "1/0": "large", "1/1": "small"}
    assert "takes large in 2 of 4 folds, small in 2." in Path("out/crops.md").read_text()
    chosen, one, other = (read_repeats(Path(f"out/{name}.csv.gz")) for name in ("chosen", "small", "large"))
    assert chosen.keys() == one.keys() < other.keys()  # the seeds that both have
    for repeat, table in chosen.items():
        first = np.isin(table.file, read_predictions(large / "0-0").file)  # the photographs of fold 0
        wanted = np.where(first, other[repeat].predicted, one[repeat].predicted)
        assert np.array_equal(table.predicted, wanted)
    assert {row["arm"]: row["spread"] is None for row in said["rows"]}["features"]
    (large / "0-0" / "metrics.json").write_text("{}")
    alone = runs_of(tmp_path / "alone", 0.7)
    for path in alone.glob("*/.hydra/config.yaml"):
        write_json(path, read_json(path) | {"seed": 9})
    words.append(f"alone={alone}")
    for select, fault in (
        ("small,large", "expected val/balanced_acc"),
        ("small", "expected two recipes"),
        ("small,alone", "expected recipes with folds and seeds in common, got none"),
    ):
        with pytest.raises(SystemExit):
            command(monkeypatch, *words, "--select", select)
        assert fault in capsys.readouterr().err


def test_an_arm_is_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    arm = runs_of(tmp_path / "arm", 0.9, fold_seeds=2, seeds=2)
    assert len(read_repeats(arm)) == 4
    shutil.rmtree(arm / "3-1")
    with pytest.raises(InputError, match=r"fold seed 1, seed 1: expected a run for each fold, got none of 1"):
        read_repeats(arm)
    shutil.rmtree(arm / "3-0")
    with pytest.raises(InputError, match="got 2 of fold seed 0, 1 of fold seed 1"):
        read_repeats(arm)
    write_json(arm / "0-0" / "status.json", {"state": "failed"})
    with pytest.raises(InputError, match="0-0: expected a finished run, got failed"):
        read_repeats(arm)
    short = predictions(0.9, seed=1).take(np.arange(347))
    for name, table in (("short", short), ("features", predictions(0.7, seed=9))):
        write_packed(tmp_path / f"{name}.csv.gz", table)
    with pytest.raises(SystemExit):
        command(monkeypatch, f"features={tmp_path}/features.csv.gz", f"short={tmp_path}/short.csv.gz")
    assert "short: expected the 348 photographs of features, in the same groups" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        command(monkeypatch, f"features={tmp_path}/features.csv.gz", "--average", "features+found")
    assert "--average features+found: expected features, got found" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        command(monkeypatch, f"features={tmp_path}/features.csv.gz", "--against", "field")
    assert "--against field: expected features, got field; name one of these arms" in capsys.readouterr().err


def test_an_average_is_of_the_same_folds() -> None:
    one, other = predictions(0.9, seed=1), predictions(0.5, seed=2)
    both = averaged_arms(
        {Repeat(0, "0"): one, Repeat(0, "1"): other},
        {Repeat(0, ""): other, Repeat(1, ""): one},
    )
    assert list(both) == [Repeat(0, "0"), Repeat(0, "1")]
    assert both[Repeat(0, "0")].probabilities == pytest.approx((one.probabilities + other.probabilities) / 2)
    assert np.array_equal(both[Repeat(0, "1")].predicted, other.predicted)
    with pytest.raises(ValueError, match="no fold seed"):
        averaged_arms({Repeat(0, "0"): one}, {Repeat(1, "0"): other})


def test_a_learning_curve_is_drawn_from_runs_and_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for learnt, share in ((0.25, 0.5), (0.5, 0.7), (None, 0.9)):
        runs_of(tmp_path / "runs" / f"{learnt}", share, seeds=2, learnt=learnt)
    monkeypatch.setattr(sys, "argv", ["crops", "curve", str(tmp_path / "runs"), "--out", "out"])
    main()
    points = read_json(Path("out/curve.json"))["points"]
    assert [point["photographs"] for point in points] == [50, 100, 200]
    assert [point["all"]["acc"]["value"] for point in points] == pytest.approx([0.5, 0.7, 0.9], abs=0.03)
    assert points[0]["less_than_all"]["balanced_acc"]["difference"] == pytest.approx(0.4, abs=0.1)
    assert "less_than_all" not in points[2]
    assert "| 50 (25 %) | 1 x 2 |" in Path("out/curve.md").read_text()
    assert read_json(Path("out/runs.json"))["apart"]["0.25/0-0"]["data"] == {"images": {"train": 50}}
    before = {path: path.read_bytes() for path in Path("out").iterdir()}
    monkeypatch.setattr(sys, "argv", ["crops", "curve", "--again", "out"])
    main()
    assert {path: path.read_bytes() for path in Path("out").iterdir()} == before
    assert len(before) == 8
    monkeypatch.setattr(sys, "argv", ["crops", "curve", str(tmp_path / "runs" / "None")])
    with pytest.raises(SystemExit):
        main()


def test_labels_that_all_arms_contradict_are_in_doubt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("cleanlab")
    one, other = (predictions(0.95, seed=seed) for seed in (1, 2))
    swapped = np.array([5, 50, 200])  # said of both, surely, against the label
    for table in (one, other):
        said = (table.correct[swapped] + 2) % 4
        table.predicted[swapped], table.probabilities[swapped] = said, np.eye(4)[said]
    found = label_doubts({"one": {Repeat(0, "0"): one, Repeat(0, "1"): one}, "other": {Repeat(0, ""): other}})
    names = one.photograph[swapped].tolist()
    assert {row["photograph"] for row in found["ranked"][:3]} == set(names)
    assert all(row["doubted"] == row["wrong"] == 2 and row["probability"] == 0 for row in found["ranked"][:3])
    wrong = (one.predicted != one.correct) & (other.predicted != other.correct)
    assert found["ceiling"]["wrong_by_all"] == wrong.sum() >= 3
    assert found["in_doubt"] >= 3
    assert found["ceiling"]["agreement"][0][1] == pytest.approx((one.predicted == other.predicted).mean())
    best = found["ceiling"]["right_by_some"]["value"]
    assert best > max(row["all"]["balanced_acc"]["value"] for row in found["scores"])
    without = found["scores"][0]["without_doubted_by_others"]
    assert without["photographs"] == 348 - found["doubted_by"]["other"]
    assert [pair["photographs"] for pair in found["two_labels"]["differ"]] == [["206", "278"]]
    assert found["two_labels"]["pairs"] > 20
    for row in found["ranked"]:
        write_field(tmp_path, int(row["photograph"]), field((320, 240)), [])
    for name in ("TRAIN", "TEST"):
        (tmp_path / "dataset2-master" / "dataset2-master" / "images" / name).mkdir(parents=True)
    for name, table in (("one", one), ("other", other)):
        write_packed(tmp_path / f"{name}.csv.gz", table)
    words = [f"{name}={tmp_path}/{name}.csv.gz" for name in ("one", "other")]
    monkeypatch.setattr(sys, "argv", ["crops", "labels", *words, "--root", str(tmp_path), "--out", "out"])
    main()
    assert "one of the two is wrong in" in Path("out/labels.md").read_text()
    assert "| one | all | 348 |" in Path("out/labels.md").read_text()
    assert Image.open("out/labels.jpg").size == (1500, 2025)


def test_of_photographs_of_another_set_nobody_knows_whether_cells_are_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("cleanlab")
    ours = predictions(0.9, seed=1)
    theirs = replace(ours, photograph=np.char.add("slide", ours.photograph))
    for name in ("one", "features"):
        write_packed(tmp_path / f"{name}.csv.gz", theirs)
    words = [f"{name}={tmp_path}/{name}.csv.gz" for name in ("one", "features")]
    command(monkeypatch, *words, "--out", "out")
    (row, _) = read_json(Path("out/crops.json"))["rows"]
    assert (row["all"]["photographs"], row["whole"], row["cut"]) == (348, None, None)
    monkeypatch.setattr(sys, "argv", ["crops", "labels", *words])
    with pytest.raises(SystemExit, match="1"):
        main()
    assert "labels: expected photographs of the published set, got slide0 of another; give arms of" in (
        capsys.readouterr().err
    )


@pytest.mark.parametrize(
    ("key", "value"), [("fold", None), ("fold", -1), ("folds", 10**30), ("fold_seed", "x"), ("fold_seed", True)]
)
def test_folds_and_seeds_of_a_run_are_numbers(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    key: str,
    value: object,
) -> None:
    arm = runs_of(tmp_path / "arm", 0.9)
    config = read_json(arm / "0-0" / ".hydra" / "config.yaml")
    config["data"][key] = value
    write_json(arm / "0-0" / ".hydra" / "config.yaml", config)
    with pytest.raises(SystemExit, match="1"):
        command(monkeypatch, f"arm={arm}", f"features={arm}")
    assert f"arm/0-0: data.{key}: expected a whole number from 0 to" in capsys.readouterr().err


@pytest.mark.parametrize("file", ["/etc/passwd", "../elsewhere.csv.gz"])
def test_a_list_of_results_leads_nowhere_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], file: str
) -> None:
    write_packed(tmp_path / "elsewhere.csv.gz", predictions(0.9, seed=1))
    write_json(tmp_path / "curve" / "curve.json", {"points": [{"share": 1, "photographs": 2, "file": file}]})
    monkeypatch.setattr(sys, "argv", ["crops", "curve", "--again", str(tmp_path / "curve")])
    with pytest.raises(SystemExit, match="1"):
        main()
    assert "expected a file of that folder, got one elsewhere" in capsys.readouterr().err


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
