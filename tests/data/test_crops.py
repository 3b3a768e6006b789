"""White cells are found in a field, and cut out of it at its own scale."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from bloodcell.common.errors import InputError
from bloodcell.config.instantiate import build
from bloodcell.data.crops import cut
from bloodcell.data.crops.cut import Crop, background_of, crop_cell, is_crop
from bloodcell.data.crops.finder import find_cells
from bloodcell.data.describe import describe
from bloodcell.data.masks import GREY
from bloodcell.data.micrographs import Pixels
from bloodcell.data.pixels import Decoder
from bloodcell.data.sources.blood_cells import BloodCells
from bloodcell.data.sources.folder import Folder
from bloodcell.training.restore import read_config

PLASMA, RED, NUCLEUS, CYTOPLASM = (225, 220, 215), (205, 160, 150), (110, 70, 160), (190, 150, 200)


def draw(image: Pixels, centre: tuple[float, float], radius: float, colour: tuple[int, int, int]) -> None:
    y, x = np.ogrid[: image.shape[0], : image.shape[1]]
    image[(y - centre[1]) ** 2 + (x - centre[0]) ** 2 < radius**2] = colour


def field_with(*cells: tuple[float, float], lobes: float = 0.0) -> Pixels:
    """A 640x480 field of red cells and, at the given places, white cells 160 wide."""
    image = np.full((480, 640, 3), PLASMA, np.uint8)
    for x in range(60, 640, 120):
        for y in range(60, 480, 120):
            draw(image, (x, y), 50, RED)
    for x, y in cells:
        draw(image, (x, y), 80, CYTOPLASM)
        for side in (-lobes, lobes):
            draw(image, (x + side, y), 60 - lobes, NUCLEUS)
    return image


def test_each_white_cell_is_found_and_no_red_one() -> None:
    found = find_cells(field_with((150, 240), (480, 300)))
    centres = sorted(((one.left + one.right) / 2, (one.top + one.bottom) / 2) for one in found)
    assert centres == [pytest.approx((150, 240), abs=6), pytest.approx((480, 300), abs=6)]
    assert [one.right - one.left for one in found] == pytest.approx([160, 160], abs=24)
    assert all(0.5 <= one.score < 1 for one in found)
    assert find_cells(field_with()) == []


def test_lobes_are_one_cell() -> None:
    (cell,) = find_cells(field_with((320, 240), lobes=35.0))  # 20 pixels apart
    assert (cell.left + cell.right) / 2 == pytest.approx(320, abs=6)


@pytest.mark.parametrize(
    ("part", "expected"),
    [
        ((180, 100, 460, 380), True),  # the crop of 280 pixels around the cell
        ((190, 100, 440, 380), False),  # not square
        ((240, 100, 480, 340), False),  # the cell is not in the middle
        ((80, 0, 560, 480), False),  # a square field: the cell fills a third of it
        ((0, 300, 120, 420), False),  # red cells
    ],
)
def test_a_crop_is_known_by_the_cell_that_fills_its_middle(part: tuple[int, int, int, int], expected: bool) -> None:
    picture = np.asarray(Image.fromarray(field_with((320, 240))).crop(part))
    assert is_crop(picture, find_cells(picture)) == expected


def test_a_copy_shows_what_its_photograph_shows() -> None:
    field = Image.fromarray(field_with((480, 300)))
    copy = field.resize((320, 240)).rotate(20, Image.Resampling.BILINEAR)
    (cell,) = find_cells(np.asarray(copy))  # its corners are black
    turned = np.deg2rad(20)
    dx, dy = 240 - 160, 150 - 120
    place = 160 + dx * np.cos(turned) + dy * np.sin(turned), 120 - dx * np.sin(turned) + dy * np.cos(turned)
    assert ((cell.left + cell.right) / 2, (cell.top + cell.bottom) / 2) == pytest.approx(place, abs=6)


@pytest.mark.parametrize("shape", [(480, 640, 3), (7, 5, 3), (1, 1, 3)])
@pytest.mark.parametrize("value", [0, 255])
def test_nothing_is_found_in_nothing(shape: tuple[int, ...], value: int) -> None:
    assert find_cells(np.full(shape, value, np.uint8)) == []


def test_a_crop_is_not_scaled_and_its_cell_is_in_the_middle() -> None:
    image = np.random.default_rng(0).integers(0, 256, (480, 640, 3), dtype=np.uint8)
    assert (crop_cell(image, (100, 50, 200, 150), 60) == image[70:130, 120:180]).all()


@pytest.mark.parametrize("box", [(0, 0, 40, 40), (600, 440, 640, 480), (-900, -900, -800, -800)])
def test_beyond_the_frame_a_crop_shows_empty_slide(box: tuple[int, ...]) -> None:
    image = field_with()
    crop = crop_cell(image, box, 200)
    assert crop.shape == (200, 200, 3)
    assert (background_of(image) == PLASMA).all()
    outside = crop[-1, -1] if box[0] == 600 else crop[0, 0]
    assert (outside == PLASMA).all()
    if box[0] == 600:
        assert (crop[:120, :120] == image[360:, 520:]).all()


def test_a_crop_covers_the_same_part_of_a_photograph_and_of_its_copy() -> None:
    image = np.asarray(Image.fromarray(field_with((480, 300))))
    small = np.asarray(Image.fromarray(image).reduce(2))
    nowhere = (float("nan"), float("nan"))
    for crop, cell in ((Crop("found", 280), nowhere), (Crop("annotated", 280), (0.75, 0.625))):
        large = crop.cut(image, cell)
        assert large.shape == (280, 280, 3)
        assert np.abs(np.asarray(Image.fromarray(large).reduce(2), float) - crop.cut(small, cell)).mean() < 4
    assert (Crop("annotated", 280).cut(image, nowhere) == Crop("found", 280).cut(image, nowhere)).all()
    assert (Crop("found", 100).cut(field_with(), nowhere) == field_with()[190:290, 270:370]).all()


@pytest.fixture
def fields(tmp_path: Path) -> Path:
    """Two classes that differ in where the cell is, and so only outside of its crop."""
    root = tmp_path / "fields"
    for name, place in (("left", (180, 240)), ("right", (460, 240))):
        (root / name).mkdir(parents=True)
        for number in range(4):
            image = Image.fromarray(field_with((place[0], place[1] + number)))
            image.save(root / name / f"{number}.png")
    return root


def test_a_net_sees_the_crop(fields: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = Folder(str(fields), protocol="all_test", view="crop", image_size=(56, 56))
    data.setup()
    pixels = data.gather(torch.arange(8)).float()
    nucleus = (pixels[:, 2] - pixels[:, 1] > 60).float()
    places = torch.arange(56.0)
    for axis in (1, 2):  # in the middle, wherever it is in the field, and at the scale of the field
        mass = nucleus.sum(dim=axis)
        assert (mass @ places / mass.sum(dim=1)).tolist() == pytest.approx([27.5] * 8, abs=1.5)
    assert nucleus.sum(dim=(1, 2)).tolist() == pytest.approx([np.pi * 12**2] * 8, rel=0.1)
    assert describe(data).picture == "crop 280 px around the found cell, finder 1"
    assert "picture" in describe(data).entries()
    monkeypatch.setattr(cut, "find_cells", lambda image: [])
    again = Folder(str(fields), protocol="all_test", view="crop", image_size=(56, 56))
    again.setup()  # from the cache
    assert (again.gather(torch.arange(8)) == data.gather(torch.arange(8))).all()
    monkeypatch.setattr(cut, "FINDER_VERSION", "2")  # another finder finds other cells
    other = Folder(str(fields), protocol="all_test", view="crop", image_size=(56, 56))
    other.setup()
    assert (other.gather(torch.arange(8)) != data.gather(torch.arange(8))).any()
    whole = Folder(str(fields), protocol="all_test")
    whole.look_up()
    assert describe(whole).picture is None


def test_a_mask_hides_the_cell_and_leaves_its_surroundings(fields: Path) -> None:
    data = Folder(str(fields), protocol="all_test", view="crop", crop_side=400)
    data.look_up()
    plain, masked = (
        Decoder(data.index, (400, 400), mask, 1, data.crop)[torch.arange(8)].numpy() for mask in (None, "background")
    )
    y, x = np.mgrid[:400, :400] - 199.5
    inside = np.hypot(x, y) < 0.36 * 480
    assert (masked[:, :, inside] == GREY).all()
    assert (masked[:, :, ~inside] == plain[:, :, ~inside]).all()
    assert 0.35 < 1 - inside.mean() < 0.45, "the rest is as it was"
    assert (plain[:, 2] - plain[:, 1].astype(int) > 60)[:, ~inside].sum() == 0, "no nucleus is left"


def test_what_makes_no_sense_is_told_in_one_line(fields: Path) -> None:
    with pytest.raises(InputError, match=r"data\.view.*field or crop"):
        Folder(str(fields), view="cell")  # type: ignore[arg-type]  # the wrong word is the test
    with pytest.raises(InputError, match=r"data\.mask: expected null or background with data\.view=crop"):
        BloodCells(view="crop", mask="geometry")
    with pytest.raises(InputError, match=r"data\.crop_side: expected 360 or more with data\.mask.*got 280"):
        BloodCells(view="crop", mask="background")
    with pytest.raises(InputError, match=r"data\.crop=annotated.*data\.crop=found"):
        Folder(str(fields), protocol="all_test", view="crop", crop="annotated").setup()


def test_a_run_on_crops_is_tested_on_crops_of_other_images(fields: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(Path(__file__).parent.parent / "old_runs" / "finished", run)
    config = run / ".hydra" / "config.yaml"
    config.write_text(config.read_text().replace("\ndata:\n", "\ndata:\n  view: crop\n  crop_side: 200\n"))
    data = build(read_config(run, [f"data.root={fields}"]).data, "data")
    assert data.crop == Crop("found", 200)
