"""A net that answers with the mean over eight orientations."""

from collections import OrderedDict

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from bloodcell.common.errors import InputError
from bloodcell.model.attribution import attribute
from bloodcell.model.features import logits_and_features
from bloodcell.model.orientations import Oriented, oriented, upright
from bloodcell.model.rewrites import faster
from bloodcell.model.summary import layer_table


@pytest.fixture
def plain() -> nn.Sequential:
    torch.manual_seed(0)
    block = nn.Sequential(nn.Conv2d(3, 5, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2))
    head = nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(5 * 36, 4))
    return nn.Sequential(OrderedDict(block=block, head=head)).eval()


@pytest.fixture
def images() -> Tensor:
    return torch.randn(3, 3, 12, 12, generator=torch.Generator().manual_seed(1))


def seen_by_numpy(images: Tensor) -> list[Tensor]:
    arrays = [np.rot90(images.numpy(), quarter, (2, 3)) for quarter in range(4)]
    return [torch.from_numpy(np.ascontiguousarray(one)) for array in arrays for one in (array, array[..., ::-1])]


def test_the_answer_is_the_mean_probability_of_all_eight(plain: nn.Sequential, images: Tensor) -> None:
    net = oriented(plain, 8, (12, 12)).eval()
    expected = torch.stack([plain(one).softmax(dim=1) for one in seen_by_numpy(images)]).mean(dim=0)
    torch.testing.assert_close(net(images).softmax(dim=1), expected)
    torch.testing.assert_close(net(images).exp(), expected)  # so the loss is that of the mean
    for turned in seen_by_numpy(images):
        torch.testing.assert_close(net(turned), net(images))
    assert not torch.allclose(plain(torch.rot90(images, 1, (2, 3))), plain(images))


def test_in_training_an_image_is_seen_once(plain: nn.Sequential, images: Tensor) -> None:
    net = oriented(plain, 8, (12, 12)).train()
    torch.manual_seed(3)
    once = net(images)
    torch.manual_seed(3)
    assert torch.equal(plain.train()(images), once)
    assert faster(net) is net


def test_it_has_the_same_weights_features_layers_and_maps(plain: nn.Sequential, images: Tensor) -> None:
    net = oriented(plain, 8, (12, 12)).eval()
    assert isinstance(net, Oriented)
    assert net.state_dict().keys() == plain.state_dict().keys()
    assert torch.equal(upright(net)(images), plain(images))
    logits, features = logits_and_features(net, images)
    assert torch.equal(logits, net(images))
    each = [logits_and_features(plain, one)[1] for one in seen_by_numpy(images)]
    torch.testing.assert_close(features, torch.stack(each).mean(dim=0))
    assert layer_table(net, (12, 12)) == layer_table(plain, (12, 12))
    targets = torch.tensor([0, 1, 3])
    assert torch.equal(attribute(net, images, targets, "gradcam"), attribute(plain, images, targets, "gradcam"))


@pytest.mark.parametrize(
    ("orientations", "size", "expected"),
    [
        (4, (12, 12), "model.orientations: expected 1 or 8, got 4; correct it"),
        (8, (12, 16), "model.orientations=8: expected square images, .*got data.image_size=.12, 16.; make the sides"),
    ],
)
def test_what_cannot_be_is_one_line(
    plain: nn.Sequential, orientations: int, size: tuple[int, int], expected: str
) -> None:
    with pytest.raises(InputError, match=expected):
        oriented(plain, orientations, size)
    assert oriented(plain, 1, (12, 16)) is plain
