"""The nets: shapes, counts of parameters, places of dropout, pretrained weights."""

from pathlib import Path

import pytest
import torch
from torch import nn

from bloodcell.common.errors import InputError
from bloodcell.model.nets import DROPOUT_PLACES, paper_cnn, small_cnn, torchvision_net
from bloodcell.model.summary import layer_table
from bloodcell.model.weights import load_matching


def parameters(net: nn.Module) -> int:
    return sum(parameter.numel() for parameter in net.parameters())


def test_the_papers_net_counted_by_hand() -> None:
    # 128 -> 126 -> 63 -> 61 -> 30 -> 28 pixels without padding
    convolutions = (27 + 1) * 32 + (9 * 32 + 1) * 64 + (9 * 64 + 1) * 128
    dense = (128 * 28 * 28 + 1) * 128 + (128 + 1) * 4
    net = paper_cnn(4, (128, 128))
    assert parameters(net) == convolutions + dense
    kinds = [type(layer).__name__ for layer in net]
    assert (kinds.count("Conv2d"), kinds.count("MaxPool2d"), kinds.count("Linear")) == (3, 2, 2)
    assert kinds.count("Dropout") == 1
    assert parameters(paper_cnn(4, (128, 128), padding=1)) == convolutions + (128 * 32 * 32 + 1) * 128 + 129 * 4


@pytest.mark.parametrize("place", DROPOUT_PLACES)
def test_dropout_stands_where_it_is_asked_for(place: str) -> None:
    net = paper_cnn(4, (32, 32), dropout_after=[place])
    names = [name for name, _ in net.named_children()]
    before = names[names.index(f"dropout_{place}") - 1]
    assert before == {"dense1": "relu4"}.get(place, place)


@pytest.mark.parametrize("pool_after", [(1, 2), (2, 3), (1, 3), (1, 2, 3)])
@pytest.mark.parametrize("padding", [0, 1])
def test_every_reading_gives_logits(pool_after: tuple[int, ...], padding: int) -> None:
    net = paper_cnn(5, (40, 32), widths=(2, 3, 4), dense=6, pool_after=pool_after, padding=padding)
    assert net(torch.rand(2, 3, 40, 32)).shape == (2, 5)


def test_glorot_is_kerass() -> None:
    torch.manual_seed(0)
    net = paper_cnn(4, (64, 64), init="glorot")
    conv = net.conv2
    assert isinstance(conv, nn.Conv2d)
    assert conv.bias is not None
    limit = (6 / (9 * 32 + 9 * 64)) ** 0.5
    assert conv.weight.abs().max().item() == pytest.approx(limit, rel=0.01)
    assert not conv.bias.any()


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("widths", (8, 8)),
        ("pool_after", (4,)),
        ("dropout", 1.5),
        ("dropout_after", ("somewhere",)),
        ("init", "x"),
    ],
)
def test_the_papers_net_refuses_nonsense(argument: str, value: object) -> None:
    with pytest.raises(InputError, match=f"model.{argument}: expected"):
        paper_cnn(4, (64, 64), **{argument: value})  # type: ignore[arg-type]  # wrong on purpose


def test_images_may_be_too_small() -> None:
    with pytest.raises(InputError, match="image_size"):
        paper_cnn(4, (8, 8))
    with pytest.raises(InputError, match="at least 32 pixels"):
        small_cnn(4, (31, 64))


def test_layer_table_is_the_net() -> None:
    net = small_cnn(3, (32, 48), widths=(4, 8)).train()
    rows = layer_table(net, (32, 48))
    assert rows[0]["shape"] == "3 x 32 x 48"
    assert [row["shape"] for row in rows[-2:]] == ["3", "3"]
    assert sum(int(str(row["parameters"])) for row in rows) == parameters(net)
    assert net.training


@pytest.mark.parametrize("name", ["resnet18", "squeezenet1_1", "mobilenet_v3_small", "googlenet"])
def test_torchvisions_nets_by_name(name: str) -> None:
    net = torchvision_net(3, (64, 64), name=name).train()
    assert net(torch.rand(2, 3, 64, 64)).shape == (2, 3)


def test_torchvision_names_what_it_has() -> None:
    with pytest.raises(InputError, match="resnet50"):
        torchvision_net(3, (64, 64), name="resnet17")


def test_weights_come_from_a_file_and_the_head_is_new(tmp_path: Path) -> None:
    source = torchvision_net(1000, (64, 64), name="resnet18")
    torch.save(source.state_dict(), tmp_path / "weights.pth")
    net = torchvision_net(3, (64, 64), name="resnet18", weights=str(tmp_path / "weights.pth"))
    own, theirs = net.state_dict(), source.state_dict()
    assert all(torch.equal(own[name], theirs[name]) for name in own if not name.startswith("fc."))
    assert own["fc.weight"].shape == (3, 512)


def test_weights_of_another_net_are_refused(tmp_path: Path) -> None:
    torch.save(torchvision_net(3, (64, 64), name="resnet18").state_dict(), tmp_path / "weights.pth")
    with pytest.raises(InputError, match="tensors that fit"):
        load_matching(small_cnn(3, (64, 64)), tmp_path / "weights.pth", "init_from")


def test_weights_that_would_run_code_are_refused(tmp_path: Path) -> None:
    torch.save({"net": nn.Linear(2, 2)}, tmp_path / "whole.pth")
    with pytest.raises(InputError, match="plain data only"):
        load_matching(small_cnn(3, (64, 64)), tmp_path / "whole.pth", "init_from")
