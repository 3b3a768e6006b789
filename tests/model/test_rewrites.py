"""The fast form of a net computes what the readable one computes."""

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from bloodcell.model.classifier import CellClassifier
from bloodcell.model.nets import paper_cnn, small_cnn
from bloodcell.model.rewrites import PackedDropout, faster

NETS: dict[str, Callable[[], nn.Sequential]] = {
    "paper": lambda: paper_cnn(4, (24, 32), widths=(4, 6, 8), dense=16, dropout=0.0),
    "padded": lambda: paper_cnn(4, (24, 32), widths=(4, 6, 8), dense=16, dropout=0.0, padding=1, pool_after=(1, 2, 3)),
    "small": lambda: small_cnn(4, (64, 64), widths=(4, 8, 8, 8), dropout=0.0),
}


def step(net: nn.Module, form: nn.Module, images: Tensor) -> list[Tensor]:
    """Logits, and the gradient of every parameter."""
    net.zero_grad()
    logits = form(images)
    logits.square().sum().backward()
    return [logits.detach(), *(one.grad.clone() for one in net.parameters() if one.grad is not None)]


@pytest.mark.parametrize("name", NETS)
def test_the_same_bits_forward_and_backward(name: str) -> None:
    torch.manual_seed(0)
    net = NETS[name]().to(memory_format=torch.channels_last)
    size = (64, 64) if name == "small" else (24, 32)
    # Rounded, so that the largest value of a pool often is there twice.
    images = (torch.randn(5, 3, *size) * 2).round().contiguous(memory_format=torch.channels_last)
    if name == "small":
        net.eval()  # else a second pass moves the running means
    before, after = step(net, net, images), step(net, faster(net), images)
    assert len(before) == 1 + len(list(net.parameters()))
    assert all(torch.equal(one, other) for one, other in zip(before, after, strict=True))


def test_pools_come_before_the_cut_and_the_net_that_is_read_stays() -> None:
    net = NETS["paper"]()
    names = [type(layer).__name__ for layer in net]
    fast = [type(layer).__name__ for layer in faster(net)]
    assert names[:3] == ["Conv2d", "ReLU", "MaxPool2d"]
    assert fast[:3] == ["Conv2d", "MaxPool2d", "ReLU"]
    assert [type(layer).__name__ for layer in net] == names
    block = faster(NETS["small"]())[0]
    assert [type(layer).__name__ for layer in block] == ["Conv2d", "BatchNorm2d", "MaxPool2d", "ReLU"]
    other = nn.ModuleList([nn.ReLU()])
    assert faster(other) is other


def test_a_checkpoint_holds_every_weight_once_under_its_readable_name() -> None:
    net = NETS["paper"]()
    classifier = CellClassifier(net, "ABCD", torch.optim.Adam)
    names = [name for name in classifier.state_dict() if name.startswith("net.")]
    assert names == [f"net.{name}" for name in net.state_dict()]
    assert len(list(classifier.parameters())) == len(list(net.parameters()))
    # A copy does not share weights with what it was made from.
    twin = copy.deepcopy(classifier)
    with torch.no_grad():
        for weight in twin.parameters():
            weight.zero_()
    images = torch.randn(2, 3, 24, 32)
    assert not twin(images).any()
    assert classifier(images).any()


@pytest.mark.parametrize("p", [0.5, 0.2, 0.9])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_packed_dropout_drops_its_share_and_keeps_the_mean(p: float, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    values = torch.ones(4, 16, 50, 50, dtype=dtype).contiguous(memory_format=torch.channels_last).requires_grad_()
    out = PackedDropout(nn.Dropout(p))(values)
    count = out.numel()
    dropped = int((out == 0).sum())
    assert abs(dropped - p * count) < 5 * (p * (1 - p) * count) ** 0.5, "five standard deviations"
    assert out.unique().tolist() == pytest.approx([0, 1 / (1 - p)], rel=2**-8 if dtype == torch.bfloat16 else 1e-4)
    out.sum().backward()
    assert values.grad is not None
    assert torch.equal(values.grad, out.detach()), "what was dropped has no gradient"
    assert out.is_contiguous(memory_format=torch.channels_last)
    # Neighbours are independent: the four draws in one number, and along the layout.
    kept = (out.detach() != 0).double().permute(0, 2, 3, 1).flatten()
    for step_ in (1, 2, 3, 4, 16):
        both = (kept[:-step_] * kept[step_:]).mean()
        assert both == pytest.approx((1 - p) ** 2, abs=0.02)


def test_packed_dropout_follows_the_mode_and_the_seed() -> None:
    dropout = nn.Dropout(0.5)
    packed = PackedDropout(dropout)
    values = torch.randn(7, 13)
    torch.manual_seed(1)
    first = packed(values)
    assert not torch.equal(first, packed(values))
    torch.manual_seed(1)
    assert torch.equal(first, packed(values))
    dropout.eval()
    assert torch.equal(packed(values), values)
    dropout.train()
    for p in (0.0, 1.0):
        dropout.p = p
        assert torch.equal(packed(values), values * (1 - p))
    assert packed(torch.randn(0, 3)).shape == (0, 3)
    sliced = torch.randn(8, 8)[:, ::2]
    dropout.p = 0.5
    out = packed(sliced)
    assert torch.equal(out[out != 0], 2 * sliced[out != 0])


def test_the_classifier_trains_and_evaluates_by_its_mode() -> None:
    torch.manual_seed(0)
    classifier = CellClassifier(paper_cnn(4, (24, 32), (4, 6, 8), 16, dropout=0.5), "ABCD", torch.optim.Adam)
    images = torch.randn(2, 3, 24, 32)
    assert not torch.equal(classifier(images), classifier(images))
    classifier.eval()
    assert torch.equal(classifier(images), classifier(images))
    assert torch.equal(classifier(images), classifier.net(images))
