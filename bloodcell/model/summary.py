"""The layers of a net as a table, measured on the net itself."""

from collections.abc import Sequence

import torch
from torch import nn

from bloodcell.model.orientations import upright


def layer_table(net: nn.Module, image_size: Sequence[int], depth: int = 2) -> list[dict[str, object]]:
    """Run one image through a net and note every layer's output.

    Args:
        net: The net.
        image_size: Height and width in pixels.
        depth: How far below the net layers are looked for; deeper blocks count as one layer.

    Returns:
        One mapping per layer in the order of execution: ``name``, ``kind``, ``detail`` (arguments worth
        reading), ``shape`` (channels, height, width or features, without the batch) and ``parameters``;
        first the input, last the softmax that turns logits into probabilities.
    """
    shape = (3, *image_size)
    rows: list[dict[str, object]] = [_row("", "Input", "", shape, 0)]
    net = upright(net)
    hooks = [
        layer.register_forward_hook(
            lambda module, _, output, name=name: rows.append(
                _row(name, type(module).__name__, _detail(module), tuple(output.shape[1:]), _count(module))
            )
        )
        for name, layer in _layers(net, "", depth)
    ]
    was_training = net.training
    try:
        with torch.no_grad():
            device = next(net.parameters()).device
            logits = net.eval()(torch.zeros(1, *shape, device=device))
    finally:
        net.train(was_training)
        for hook in hooks:
            hook.remove()
    return [*rows, _row("", "Softmax", "when predicting", tuple(logits.shape[1:]), 0)]


def _row(name: str, kind: str, detail: str, shape: tuple[int, ...], parameters: int) -> dict[str, object]:
    return {
        "name": name,
        "kind": kind,
        "detail": detail,
        "shape": " x ".join(str(side) for side in shape),
        "parameters": parameters,
    }


def _layers(net: nn.Module, prefix: str, depth: int) -> list[tuple[str, nn.Module]]:
    found = []
    for name, child in net.named_children():
        leaf = depth == 1 or not any(True for _ in child.children())
        found += [(prefix + name, child)] if leaf else _layers(child, f"{prefix}{name}.", depth - 1)
    return found


def _detail(module: nn.Module) -> str:
    if isinstance(module, nn.Conv2d):
        kernel = "x".join(str(side) for side in module.kernel_size)
        extra = f", stride {module.stride[0]}" if module.stride[0] != 1 else ""
        return f"{kernel}{extra}, padding {module.padding[0]}"
    if isinstance(module, nn.MaxPool2d):
        return f"{module.kernel_size}x{module.kernel_size}"
    if isinstance(module, nn.Dropout):
        return f"{module.p:g}"
    return ""


def _count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())
