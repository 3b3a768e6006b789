"""PBC is read as it comes, and neither duplicates nor the size of an image help a net."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from bloodcell.common.errors import InputError
from bloodcell.data.sources.pbc import Pbc


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Three classes; images of one are larger, and two are the same bytes."""
    rng = np.random.default_rng(0)
    root = tmp_path / "pbc"
    sizes = {"basophil": ("BA", (363, 360)), "ig": ("MMY", (360, 360)), "monocyte": ("MO", (369, 366))}
    for name, (prefix, shape) in sizes.items():
        (root / name).mkdir(parents=True)
        for number in range(12):
            image = np.full((*shape, 3), 200, np.uint8)
            middle = slice(shape[0] // 2 - 60, shape[0] // 2 + 60), slice(shape[1] // 2 - 60, shape[1] // 2 + 60)
            image[middle] = rng.integers(90, 120)
            image[0, 0] = number
            Image.fromarray(image).save(root / name / f"{prefix}_{number}.png")
        shutil.copyfile(root / name / f"{prefix}_0.png", root / name / f"{prefix}_77.png")
    return root


def test_the_same_bytes_are_never_on_two_sides(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BLOODCELL_PBC", str(root))
    tested = []
    for fold in range(3):
        data = Pbc(folds=3, fold=fold)
        data.look_up()
        sides = [set(data.index.group[rows].tolist()) for rows in (data.split.train, data.split.val, data.split.test)]
        assert not sides[0] & sides[1] | sides[0] & sides[2] | sides[1] & sides[2]
        tested += data.split.test.tolist()
    assert sorted(tested) == list(range(39))
    assert len(set(data.index.group.tolist())) == 36


def test_a_crop_is_as_wide_in_images_of_any_size(root: Path) -> None:
    data = Pbc(str(root), view="crop", crop="annotated", image_size=(70, 70))
    data.setup()
    cell = (data.gather(torch.arange(39))[:, 0] < 150).float().sum(dim=(1, 2))
    assert cell.tolist() == pytest.approx([40 * 40] * 39, rel=0.03)  # 120 of 210 pixels, in each class


def test_what_is_wrong_is_told_in_one_line(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BLOODCELL_PBC", raising=False)
    with pytest.raises(InputError, match=r"expected the PBC images at data\.root or BLOODCELL_PBC, got neither"):
        Pbc().look_up()
    (root / "ig").rename(root / "blasts")
    with pytest.raises(InputError, match=r"expected folders out of basophil.*data=folder"):
        Pbc(str(root)).look_up()
