"""Masked pictures: a disc of one size over the cell whatever its class, and nothing that betrays it otherwise."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from scipy.ndimage import label

from bloodcell.data.index import Index
from bloodcell.data.masks import GREY, RADIUS, Mask, located, mask_image

HEIGHT, WIDTH = 120, 160
CLASSES = ("A", "B", "C", "D")


def index_of(cell: npt.NDArray[np.float64], names: list[str] | None = None) -> Index:
    count = len(cell)
    empty = np.full(count, "")
    file = np.array(names or [f"TRAIN/{CLASSES[row % 4]}/_{row}_{row * 7919}.jpeg" for row in range(count)])
    view = np.full(count, "twin")
    return Index(Path("/none"), CLASSES, file, np.arange(count) % 4, empty, empty, empty, view, cell, file)


def pictures(count: int) -> torch.Tensor:
    """Noise that never is the grey of the mask."""
    pixels = torch.randint(0, GREY, (count, 3, HEIGHT, WIDTH), generator=torch.Generator().manual_seed(0))
    return pixels.to(torch.uint8)


def masked(index: Index, kind: Mask) -> torch.Tensor:
    pixels = pictures(len(index))
    mask_all(pixels, index, kind)
    return pixels


def mask_all(pixels: torch.Tensor, index: Index, kind: Mask) -> None:
    for row, image in enumerate(pixels):
        mask_image(image, index, row, kind)


def distance(cell: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """From the cell to the middle of each pixel, in heights of the frame."""
    y, x = np.mgrid[:HEIGHT, :WIDTH] + 0.5
    return np.asarray(np.hypot(x - cell[0] * WIDTH, y - cell[1] * HEIGHT) / HEIGHT)


CELLS = np.random.default_rng(1).uniform(-0.05, 1.05, (40, 2))


def test_the_disc_over_the_cell_is_whole_and_the_same_for_every_class() -> None:
    index = index_of(CELLS)
    hidden = (masked(index, "background") == GREY).all(dim=1).numpy()
    for row in range(len(index)):
        assert hidden[row][distance(CELLS[row]) < RADIUS - 0.005].all(), index.file[row]
    # One name, so that the other disc is in the same place: what is hidden does not depend on the class.
    same = index_of(np.full((4, 2), 0.5), ["one/name.jpeg"] * 4)
    four = masked(same, "geometry")
    assert sorted(same.label) == [0, 1, 2, 3]
    assert all(torch.equal(four[0], other) for other in four[1:])


def test_both_discs_are_circles_of_one_size() -> None:
    names = [f"TRAIN/{CLASSES[n % 4]}/{n}.jpeg" for n in range(100)]
    circle = np.pi * (RADIUS * HEIGHT) ** 2
    # The cell is far outside: what is left is the other disc, and where no edge cuts it, it is as large.
    alone = masked(index_of(np.full((100, 2), -2.0), names), "geometry")[:, 0].numpy() > 0
    whole = [one for one in alone if not np.concatenate([one[0], one[-1], one[:, 0], one[:, -1]]).any()]
    assert len(whole) > 3
    assert [one.sum() for one in whole] == pytest.approx([circle] * len(whole), rel=0.02)
    assert all(label(one)[1] <= 1 for one in alone), "one disc beside the cell, or a part of it"
    # With the cell in the middle there is nothing more than these two.
    both = masked(index_of(np.full((100, 2), 0.5), names), "geometry")[:, 0].numpy() > 0
    disc = distance(np.array([0.5, 0.5])) ** 2 < RADIUS**2
    assert disc.sum() == pytest.approx(circle, rel=0.02)
    assert np.array_equal(both, alone | disc)


def test_geometry_holds_nothing_but_the_discs_that_background_hides() -> None:
    index = index_of(CELLS)
    geometry, background, before = masked(index, "geometry"), masked(index, "background"), pictures(len(index))
    assert geometry.unique().tolist() == [0, 255]
    assert (geometry == geometry[:, :1]).all(), "black and white"
    hidden = geometry == 255
    assert (background[hidden] == GREY).all()
    assert torch.equal(background[~hidden], before[~hidden]), "the rest is as it was"


@pytest.mark.parametrize("kind", ["background", "geometry"])
def test_discs_depend_on_the_name_of_the_file_alone(kind: Mask) -> None:
    index, order = index_of(CELLS), np.random.default_rng(0).permutation(len(CELLS))
    turned = index_of(CELLS[order], index.file[order].tolist())
    one, two = torch.zeros_like(pictures(len(CELLS))), torch.zeros_like(pictures(len(CELLS)))
    mask_all(one, index, kind)
    mask_all(two, turned, kind)
    assert torch.equal(one[torch.from_numpy(order)], two)
    renamed = index_of(CELLS, [f"other/{name}" for name in index.file])
    three = torch.zeros_like(one)
    mask_all(three, renamed, kind)
    assert not torch.equal(one, three), "the second disc is elsewhere in every image"


def test_images_without_a_known_cell_are_left_out() -> None:
    cell = CELLS.copy()
    cell[3], cell[5, 1] = np.nan, np.nan
    rows = np.array([1, 3, 5, 7])
    assert located(index_of(cell), rows).tolist() == [1, 7]


def test_no_white_cell_of_the_real_set_is_wider_than_the_disc() -> None:
    from bloodcell.data.lineage_table import read_lineage

    boxes = np.array([(row.cell_width, row.cell_height) for row in read_lineage().published.values()])
    known = boxes[~np.isnan(boxes).any(axis=1)]
    assert len(known) == 340
    assert known.max() / 2 <= RADIUS * 240
