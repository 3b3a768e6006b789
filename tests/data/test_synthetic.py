"""Rendered smears: deterministic, laid out as a folder of images, told apart by shape and not by colour."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import label
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from bloodcell.common.errors import InputError
from bloodcell.data.synthetic import CLASSES, cells, render_smear, write, write_smears


def contents(root: Path) -> dict[str, bytes]:
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in sorted(root.rglob("*.jpg"))}


@pytest.mark.parametrize("kind", CLASSES)
def test_a_field_depends_on_its_seed_alone(kind: str) -> None:
    one, two, other = (render_smear(kind, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert one.shape == (240, 320, 3)
    assert one.dtype == np.uint8
    assert np.array_equal(one, two)
    assert not np.array_equal(one, other)
    assert 60 < one.mean() < 245


def test_unknown_kinds_are_refused() -> None:
    with pytest.raises(InputError, match="expected one of EOSINOPHIL"):
        render_smear("BASOPHIL", np.random.default_rng(0))


@pytest.mark.slow
def test_tree_does_not_depend_on_the_number_of_processes(tmp_path: Path) -> None:
    for workers in (1, 2):
        write_smears(tmp_path / str(workers), {"train": 26, "test": 1}, seed=5, workers=workers)
    one = contents(tmp_path / "1")
    assert one == contents(tmp_path / "2")
    assert len(one) == 27 * 4
    assert "train/MONOCYTE/smear_0025.jpg" in one
    assert len(set(one.values())) == len(one)
    write_smears(tmp_path / "other", {"test": 1}, seed=6)
    assert not set(contents(tmp_path / "other").values()) & set(one.values())
    with Image.open(tmp_path / "1" / "test" / "NEUTROPHIL" / "smear_0000.jpg") as image:
        assert image.size == (320, 240)


def test_a_failure_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(kind: str, rng: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(write, "render_smear", fail)
    with pytest.raises(OSError, match="disk full"):
        write_smears(tmp_path / "smears", {"train": 1}, seed=0)
    assert not list(tmp_path.iterdir())


def test_the_first_of_two_processes_wins(tmp_path: Path) -> None:
    root = tmp_path / "smears"
    root.mkdir()
    (root / "mine").touch()
    write_smears(root, {"train": 1}, seed=0)
    assert [path.name for path in tmp_path.iterdir()] == ["smears"]
    assert (root / "mine").is_file()


@pytest.mark.skipif(os.name != "posix", reason="modes are a matter of POSIX")
def test_the_tree_is_as_open_as_any_folder(tmp_path: Path) -> None:
    (tmp_path / "ordinary").mkdir()
    write_smears(tmp_path / "smears", {"train": 1}, seed=0)
    assert (tmp_path / "smears").stat().st_mode == (tmp_path / "ordinary").stat().st_mode


def test_rendering_needs_no_torch() -> None:
    code = "import sys, bloodcell.data.synthetic; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.fixture
def true_areas(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Area of the nucleus in each field rendered since, as it was drawn."""
    areas: list[float] = []

    def recording(draw):
        def draw_and_record(*args):
            distance = draw(*args)
            areas.append(float((distance < 0).sum()))
            return distance

        return draw_and_record

    for kind, draw in list(cells.NUCLEI.items()):
        monkeypatch.setitem(cells.NUCLEI, kind, recording(draw))
    return areas


def simple_features(image: np.ndarray) -> list[float]:
    """Mean colour, and the area of the largest dark purple region."""
    pixels = image.astype(float)
    green = pixels[..., 1] / np.percentile(pixels[..., 1], 90)
    regions, _ = label(green < 0.55)
    area = np.bincount(regions.ravel())[1:].max(initial=0)
    return [*pixels.mean(axis=(0, 1)), float(area)]


@pytest.mark.slow
def test_colour_and_size_do_not_give_the_class_away(true_areas: list[float]) -> None:
    def fields(each: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
        drawn = [(c, np.random.default_rng([seed, c, i])) for c in range(4) for i in range(each)]
        rows = [[*simple_features(render_smear(CLASSES[c], rng)), true_areas[-1]] for c, rng in drawn]
        return np.array(rows), np.array([c for c, _ in drawn])

    features, labels = fields(50, 1)
    unseen, truth = fields(25, 2)
    assert unseen[:, 3:].min() > 100, "a nucleus is seen in every field"
    for area in (3, 4):  # as measured from pixels, and as drawn
        columns = [0, 1, 2, area]
        model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
        score = model.fit(features[:, columns], labels).score(unseen[:, columns], truth)
        assert 0.25 < score <= 0.70
