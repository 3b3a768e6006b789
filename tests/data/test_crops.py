"""White cells are found in a field, and cut out of it at its own scale."""

import numpy as np
import pytest
from PIL import Image

from bloodcell.data.crops.cut import background_of, crop_cell
from bloodcell.data.crops.finder import find_cells
from bloodcell.data.micrographs import Pixels

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
