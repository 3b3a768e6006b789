"""Augmentation: exact where it can be, per sample, seeded, and never outside of training."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as F

from bloodcell.common.errors import InputError
from bloodcell.data.scaling import Scaling, squeezed
from bloodcell.data.sources.folder import Folder
from bloodcell.data.transforms import RandomView, grid


def images(height: int = 24, width: int = 24) -> torch.Tensor:
    return torch.rand(6, 3, height, width, generator=torch.Generator().manual_seed(1))


def test_nothing_asked_for_changes_nothing() -> None:
    batch = images(20, 28)
    assert torch.allclose(RandomView()(batch), batch, atol=1e-5)


@pytest.mark.parametrize(("height", "width"), [(24, 24), (20, 28)])
def test_flips_are_flips(height: int, width: int) -> None:
    batch = images(height, width)
    flipped = RandomView(flip=True)(batch)
    for one, view in zip(batch, flipped, strict=True):
        choices = [one, one.flip(1), one.flip(2), one.flip(1, 2)]
        assert min((view - choice).abs().max() for choice in choices) < 1e-4


def test_a_quarter_turn_is_torchs(monkeypatch: pytest.MonkeyPatch) -> None:
    view = RandomView(rotation=90)
    monkeypatch.setattr(view, "_uniform", lambda *shape: torch.ones(shape))
    batch = images()
    turned = view(batch)
    assert min((turned - torch.rot90(batch, k, (2, 3))).abs().max() for k in (1, 3)) < 1e-4


def test_rotation_keeps_shapes_in_a_frame_that_is_not_square() -> None:
    yy, xx = torch.meshgrid(torch.arange(60), torch.arange(80), indexing="ij")
    disc = (((yy - 29.5) ** 2 + (xx - 39.5) ** 2) < 15**2).float().expand(4, 3, 60, 80)
    assert (RandomView(rotation=180)(disc) - disc).abs().mean() < 0.01


def test_zoom_is_relative_size(monkeypatch: pytest.MonkeyPatch) -> None:
    view = RandomView(zoom=0.5)
    monkeypatch.setattr(view, "_uniform", lambda *shape: torch.ones(shape))
    square = torch.zeros(1, 3, 40, 40)
    square[:, :, 10:30, 10:30] = 1
    assert view(square).sum() / square.sum() == pytest.approx(1.5**2, rel=0.05)


def test_strength_scales_every_range_but_the_flips() -> None:
    half, ranges = RandomView(30, 0.2, 0.1, True, 0.1, strength=0.5), RandomView(15, 0.1, 0.05, True, 0.05)
    for view in (half, ranges):
        view.seed(1)
    assert torch.equal(half(images()), ranges(images()))
    with pytest.raises(InputError, match="strength: expected 0 or more"):
        RandomView(zoom=0.5, strength=2)


def test_samples_of_a_batch_differ_and_seeds_repeat() -> None:
    view = RandomView(rotation=30, zoom=0.2, shift=0.1, colour=0.1)
    same = images()[:1].expand(4, 3, 24, 24)
    view.seed(0, 1, 2)
    one = view(same)
    assert (one[0] - one[1]).abs().max() > 0.05
    view.seed(0, 1, 2)
    assert torch.equal(view(same), one)
    view.seed(0, 2, 2)
    assert not torch.equal(view(same), one)


def test_grid_is_that_of_torch() -> None:
    maps = torch.randn(5, 2, 3, generator=torch.Generator().manual_seed(0))
    for height, width in ((7, 12), (1, 1), (64, 48)):
        wanted = torch.nn.functional.affine_grid(maps, [5, 3, height, width], align_corners=False)
        assert torch.allclose(grid(maps, height, width), wanted, atol=1e-6)


@pytest.mark.parametrize(
    ("mean", "std"), [(None, None), ([0.5] * 3, None), ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])]
)
def test_scaling_is_that_of_torchvision(mean: list[float] | None, std: list[float] | None) -> None:
    pixels = torch.arange(256, dtype=torch.uint8).expand(2, 3, 1, 256)
    steps: list[torch.nn.Module] = [v2.ToDtype(torch.float32, scale=True)]
    steps += [v2.Normalize(mean, std or [1.0] * 3)] if mean else []
    for given in (pixels, pixels / 255):
        assert torch.equal(Scaling(mean, std)(given), v2.Compose(steps)(given))


@pytest.mark.parametrize("size", [(48, 64), (24, 32), (31, 17), (100, 90)])
def test_pictures_are_resized_as_torchvision_does(size: tuple[int, int]) -> None:
    values = np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)
    picture = Image.fromarray(values)
    assert torch.equal(squeezed(picture, size), F.resize(F.pil_to_tensor(picture), list(size), antialias=True))


def test_epochs_differ_and_evaluation_is_untouched(cells: Path) -> None:
    data = Folder(str(cells), image_size=(32, 32), augment={"rotation": 20.0, "flip": True})
    data.setup()
    raw = next(iter(data.test_dataloader()))
    first, second = (data.prepare(raw, epoch=epoch, training=True).images for epoch in (0, 1))
    assert not torch.equal(first, second)
    assert torch.equal(first, data.prepare(raw, epoch=0, training=True).images)
    plain = data.prepare(raw, epoch=0, training=False).images
    assert torch.equal(plain, data.gather(raw.rows) / 255)


def test_order_depends_on_seed_and_epoch(cells: Path) -> None:
    def order(seed: int, epoch: int) -> list[int]:
        data = Folder(str(cells), image_size=(32, 32), seed=seed)
        data.setup()
        loader = data.train_dataloader()
        loader.sampler.set_epoch(epoch)  # type: ignore[attr-defined]  # an EpochSampler
        rows: list[int] = torch.cat([batch.rows for batch in loader]).tolist()
        assert sorted(rows) == sorted(data.split.train)
        return rows

    assert order(0, 0) == order(0, 0)
    assert len({tuple(order(0, 0)), tuple(order(0, 1)), tuple(order(1, 0))}) == 3


def test_another_stain_is_an_affine_map_of_optical_densities() -> None:
    batch = 0.2 + 0.6 * images()
    view = RandomView(stain=0.5)
    view.seed(1)
    stained = view(batch)
    for before, after in zip(-batch.log10(), -stained.log10(), strict=True):
        points = torch.cat([before.flatten(1), torch.ones(1, before[0].numel())])
        inside = (after > 0).all(dim=0).flatten()  # where nothing is clipped
        fitted = torch.linalg.lstsq(points[:, inside].T, after.flatten(1)[:, inside].T).solution
        assert torch.allclose(points[:, inside].T @ fitted, after.flatten(1)[:, inside].T, atol=1e-3)
    gains = [(one / other).mean().item() for one, other in zip(stained, batch, strict=True)]
    assert max(gains) - min(gains) > 0.1  # each sample its own
    assert torch.allclose(RandomView(stain=0.5, strength=0)(batch), batch, atol=1e-5)
