"""The audit finds what was planted, and passes what is clean."""

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageFilter

from bloodcell.audit import main
from bloodcell.data.kaggle import find_images
from bloodcell.data.sources.folder import Folder
from tests.helpers import copy_some


def smear(seed: int) -> Image.Image:
    """A picture with structure: soft blobs on a light ground, no two alike."""
    rng = np.random.default_rng(seed)
    pixels = np.full((120, 160, 3), 225.0)
    yy, xx = np.mgrid[:120, :160]
    for _ in range(28):
        y, x, radius = rng.uniform(0, 120), rng.uniform(0, 160), rng.uniform(5, 14)
        inside = (yy - y) ** 2 + ((xx - x) * rng.uniform(0.7, 1.3)) ** 2 < radius**2
        pixels[inside] = pixels[inside] * 0.4 + 0.6 * rng.uniform(60, 220, 3)
    pixels += rng.normal(0, 4, pixels.shape)
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).filter(ImageFilter.GaussianBlur(0.8))


@pytest.fixture
def clean(tmp_path: Path) -> Path:
    """Twelve pictures a class, none of them a copy; train/ and test/."""
    root = tmp_path / "images"
    for number in range(24):
        folder = root / ("test" if number % 4 == 0 else "train") / "AB"[number % 2 if number % 4 else number // 4 % 2]
        folder.mkdir(parents=True, exist_ok=True)
        smear(number).save(folder / f"{number}.png")
    return root


def audit(monkeypatch: pytest.MonkeyPatch, root: Path, *words: str) -> tuple[int, dict[str, Any], str]:
    """Type the command; exit code, ``audit.json``, and the page come back."""
    monkeypatch.setattr(sys, "argv", ["audit", "data=folder", f"data.root={root}", *words])
    code = 0
    try:
        main()
    except SystemExit as stop:
        code = int(stop.code or 0)
    (out,) = Path("runs/audit").glob("*/audit.json")
    return code, json.loads(out.read_text()), out.with_suffix(".html").read_text()


def answer(content: dict[str, Any], title: str) -> dict[str, Any]:
    (found,) = [one for one in content["findings"] if title in one["title"]]
    return dict(found)


def test_a_clean_folder_passes(clean: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code, content, page = audit(monkeypatch, clean)
    assert code == 0
    assert answer(content, "Do test data")["shared_groups"] == 0
    assert answer(content, "Do test data")["level"] == answer(content, "copies")["level"] == "fine"
    assert answer(content, "decoded")["level"] == "fine"
    assert content["images"]["test"] == 6
    assert 'src="http' not in page
    assert "<script" not in page


@pytest.mark.parametrize(
    "change", ["same bytes", *(pytest.param(change, marks=pytest.mark.slow) for change in ("flipped", "rotated"))]
)
def test_a_copy_across_the_split_is_a_leak_unless_it_is_waived(
    clean: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], change: str
) -> None:
    pytest.importorskip("cv2")
    source = min((clean / "test").rglob("*.png"))
    target = clean / "train" / source.parent.name / "copy.png"
    if change == "same bytes":
        shutil.copyfile(source, target)
    else:
        image = Image.open(source)
        image.transpose(Image.Transpose.FLIP_LEFT_RIGHT).rotate(15 if change == "rotated" else 0).save(target)
    code, content, page = audit(monkeypatch, clean)
    assert code == 1
    assert answer(content, "Do test data")["shared_groups"] == 1
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("error: audit: expected no group on two sides, got Yes: 1 of the 6")
    assert "copy.png" in page
    assert page.count("data:image/jpeg") >= 2
    (groups,) = Path("runs/audit").glob("*/groups.csv")
    data = Folder(str(clean), table=str(groups), protocol="grouped", folds=3)
    data.look_up()
    known = dict(zip(data.index.file.tolist(), data.index.group.tolist(), strict=True))
    assert known[source.relative_to(clean).as_posix()] == known[target.relative_to(clean).as_posix()]
    assert len(set(known.values())) == len(known) - 1
    shutil.rmtree("runs")
    code, content, page = audit(monkeypatch, clean, "audit.allow_leak=true")
    assert (code, content["leak_waived"]) == (0, True)
    assert "<strong>waived</strong>" in page
    assert "WAIVED" in capsys.readouterr().out


def test_broken_odd_and_twice_labelled_files_are_found_and_escaped(
    clean: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (clean / "train" / "A" / "<b>broken.png").write_bytes(b"no picture")
    smear(900).convert("RGBA").resize((80, 60)).save(clean / "train" / "A" / "odd.png")
    for name in "AB":
        smear(901).save(clean / "train" / name / "conflict.png")
    code, content, page = audit(monkeypatch, clean)
    assert code == 1
    assert list(answer(content, "decoded")["files"]) == ["train/A/<b>broken.png"]
    assert [80, 60, "RGBA", 1] in answer(content, "one size")["kinds"]
    assert ["train/A/conflict.png", "train/B/conflict.png"] in [
        sorted(pair) for pair in answer(content, "two labels")["pairs"]
    ]
    assert "<b>broken" not in page
    assert "&lt;b&gt;broken" in page


def test_a_border_that_tells_the_class_is_seen(clean: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for path in (clean / "train" / "A").glob("*.png"):
        pixels = np.array(Image.open(path))
        pixels[:3] = pixels[-3:] = (255, 0, 0)
        Image.fromarray(pixels).save(path)
    _, content, _ = audit(monkeypatch, clean)
    found = answer(content, "guessed")
    assert found["level"] == "look"
    assert found["guesses"]["border colour"]["balanced_acc"] > 0.75
    assert found["guesses"]["image size"] == {}


@pytest.mark.slow
def test_known_groups_are_used(clean: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = sorted(path.relative_to(clean).as_posix() for path in clean.rglob("*.png"))
    lines = [f"{file},patient{number % 2}" for number, file in enumerate(files)]
    (clean / "groups.csv").write_text("\n".join(["file,group", *lines]))
    code, content, _ = audit(monkeypatch, clean)
    assert code == 1
    assert content["groups_known"]
    assert answer(content, "Do test data")["shared_groups"] == 2


@pytest.mark.slow
@pytest.mark.parametrize("change", ["same bytes", "flipped"])
def test_a_copy_in_another_known_group_is_a_leak(clean: Path, monkeypatch: pytest.MonkeyPatch, change: str) -> None:
    pytest.importorskip("cv2")
    source = min((clean / "test").rglob("*.png"))
    image = Image.open(source)
    image = image.transpose(Image.Transpose.FLIP_TOP_BOTTOM) if change == "flipped" else image
    target = clean / "train" / source.parent.name / "copy.png"
    image.save(target) if change == "flipped" else shutil.copyfile(source, target)
    files = sorted(path.relative_to(clean).as_posix() for path in clean.rglob("*.png"))
    (clean / "groups.csv").write_text("\n".join(["file,group", *(f"{file},{file}" for file in files)]))
    code, content, _ = audit(monkeypatch, clean)
    assert code == 1
    assert answer(content, "Do test data")["shared_groups"] == 1
    assert answer(content, "copies")["pairs_in_two_known_groups"] == 1


@pytest.mark.slow
def test_what_training_would_stop_at_is_a_finding_that_no_waiver_covers(
    clean: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    source = min((clean / "test").rglob("*.png"))
    shutil.copyfile(source, clean / "train" / source.parent.name / "copy.png")
    (clean / "train" / "A" / "notes.txt").write_text("cells")
    strange = bytes(clean / "train" / "A") + b"/\xff\x1b[31m.png"  # no UTF-8, and would colour a terminal
    with open(strange, "wb") as file:  # noqa: PTH123  # a path of bytes
        file.write(b"")
    code, content, page = audit(monkeypatch, clean, "audit.allow_leak=true")
    assert code == 1
    found = answer(content, "decoded")["files"]
    assert found["train/A/notes.txt"] == "no image by its ending"
    assert sorted(found.values()) == ["an empty file", "no image by its ending"]
    out, err = capsys.readouterr()
    assert "WAIVED" in out
    assert err.splitlines()[-1].startswith("error: audit: expected files that can be decoded")
    assert "\x1b[31m" not in out + err + page
    assert "\\x1b[31m.png" in page


@pytest.mark.slow
def test_validation_images_that_are_learnt_from_are_said_and_no_gate(
    clean: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = min((clean / "train").rglob("*.png"))
    for name in "AB":
        (clean / "val" / name).mkdir(parents=True)
        smear(500 + ord(name)).save(clean / "val" / name / "other.png")
    shutil.copyfile(source, clean / "val" / source.parent.name / "copy.png")
    code, content, _ = audit(monkeypatch, clean)
    assert code == 0
    found = answer(content, "Do validation data")
    assert (found["level"], found["shared_groups"], found["images_in_them"]) == ("look", 1, 1)


def test_without_opencv_the_audit_says_what_it_left_out(clean: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bloodcell.studies.audit.duplicates.find_spec", lambda name: None)
    source = min((clean / "test").rglob("*.png"))
    Image.open(source).rotate(90, expand=True).save(clean / "train" / source.parent.name / "copy.png")
    code, content, _ = audit(monkeypatch, clean)
    assert code == 1
    assert "rotated copies need OpenCV" in answer(content, "copies")["says"]


@pytest.mark.real
def test_the_lineage_speaks_for_the_files_it_knows_and_pixels_for_the_rest(
    real: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("cv2")
    root = copy_some(real, tmp_path / "kaggle", train=4, test=1, copies=3)
    words = (f"data.root={root}", "data=blood_cells", "data.protocol=official")
    code, content, _ = audit(monkeypatch, root, *words)
    assert (code, content["groups_known"]) == (0, True)
    assert answer(content, "lineage table")["changed"] == []
    shutil.rmtree("runs")
    images = find_images(root)
    source, changed = min(images.glob("TEST/MONOCYTE/*")), min(images.glob("TRAIN/MONOCYTE/*"))
    Image.open(source).rotate(10).save(images / "TRAIN" / "MONOCYTE" / "new.jpeg")
    Image.open(changed).save(changed, quality=60)
    code, content, _ = audit(monkeypatch, root, *words)
    assert (code, content["groups_known"]) == (1, False)
    assert answer(content, "Do test data")["shared_groups"] == 1
    found = answer(content, "lineage table")
    assert found["changed"] == [f"TRAIN/MONOCYTE/{changed.name}"]
    assert found["not_in_table"] == ["TRAIN/MONOCYTE/new.jpeg"]


def test_a_folder_that_is_not_there_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["audit", "data=folder", f"data.root={tmp_path / 'none'}"])
    with pytest.raises(SystemExit):
        main()
    assert "expected a folder with one folder of images per class, got no such folder" in capsys.readouterr().err
