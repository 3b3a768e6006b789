"""``python -m bloodcell.explain --folds``: a box is found again in a crop, and what fails a test is said to fail."""

import numpy as np
import pytest
import torch
from torch import nn

from bloodcell.model.attribution import randomised, weighted_layers
from bloodcell.studies.maps.run import _inside, _mean, verdict

GOOD = {
    "more than chance": [0.2, 0.1, 0.3],
    "more than random weights": [0.2, 0.1, 0.3],
    "alike, by random layers": [[0.2, 0.1, 0.3], [0.1, 0.0, 0.2]],
    "alike, map of another cell": [0.3, 0.2, 0.4],
}


def test_a_box_is_found_again_in_its_crop() -> None:
    inside = _inside((90, 110, 130, 150), (100, 100, 120, 160), 80, (40, 40))  # of 80 pixels around (110, 130)
    down, across = np.nonzero(inside)
    assert (across.min(), across.max() + 1, down.min(), down.max() + 1) == (10, 30, 10, 30)
    assert not _inside((300, 300, 340, 340), (100, 100, 120, 160), 80, (40, 40)).any()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({}, "nothing here"),
        ({"more than chance": [0.01, -0.1, 0.1]}, "chance"),
        ({"more than random weights": [0.01, -0.1, 0.1]}, "no more in the cell than with random weights"),
        ({"alike, by random layers": [[0.6, 0.5, 0.7], [0.1, 0.0, 0.2]]}, "without what head learnt"),
        ({"alike, map of another cell": [0.8, 0.7, 0.9]}, "nearly the same map"),
    ],
)
def test_what_fails_is_said_to_fail(change: dict[str, object], said: str) -> None:
    assert said in verdict({**GOOD, **change}, ["head", "first"])


def test_means_have_intervals_over_groups() -> None:
    values = np.array([0.0, 0.0, 1.0, np.nan])
    mean, low, high = _mean(values, np.array(["a", "a", "b", "c"]))
    assert mean == pytest.approx(1 / 3)
    assert (low, high) == (0.0, 1.0)


def test_layers_lose_what_they_learnt_from_the_last_one_on() -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4, 2))
    nn.init.constant_(net[1].weight, 3)
    assert weighted_layers(net) == ["0", "3"]
    head, whole = randomised(net, 1), randomised(net, 2)
    assert torch.equal(head[0].weight, net[0].weight)
    assert head[1].weight[0].item() == 3
    assert not torch.equal(head[3].weight, net[3].weight)
    assert not torch.equal(whole[0].weight, net[0].weight)
    assert whole[1].weight[0].item() == 1
