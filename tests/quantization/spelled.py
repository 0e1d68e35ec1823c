"""Networks of three convolutions whose `forward` spells one thing in one of torch's ways."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

WIDTH = 8
Body = Callable[[Any, Tensor], Any]


def block(channels: int, width: int, *, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(channels, width, 3, stride, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU())


class Spelled(nn.Module):
    """`body(self, image)` is the forward: `a` is the first block, `b` keeps the shape, `last` predicts."""

    def __init__(self, body: Body) -> None:
        super().__init__()
        self.a, self.b, self.conv = block(3, WIDTH, stride=2), block(WIDTH, WIDTH), nn.Conv2d(WIDTH, WIDTH, 3, 1, 1)
        self.last, self.linear = nn.Conv2d(WIDTH, 4, 1), nn.Linear(WIDTH, 5)
        self.relu, self.relu6 = nn.ReLU(), nn.ReLU6(inplace=True)
        self.plain_norm = nn.BatchNorm2d(WIDTH, affine=False)
        self.gate = nn.Parameter(torch.randn(1, WIDTH, 1, 1))
        self.kept = nn.ModuleDict({
            "up": nn.Upsample(scale_factor=2, mode="bilinear"), "nearest": nn.Upsample(scale_factor=2),
            "corners": nn.UpsamplingBilinear2d(scale_factor=2), "identity": nn.Identity(), "dropout": nn.Dropout(0.1),
            "flatten": nn.Flatten(), "ceil": nn.MaxPool2d(3, 2, ceil_mode=True), "average": nn.AvgPool2d(3, 2, 1),
            "shuffle": nn.PixelShuffle(2), "pad": nn.ZeroPad2d((1, 0, 1, 2)),
            "average_up": nn.AvgPool2d(2, 2, ceil_mode=True, count_include_pad=False),
        })  # fmt: skip
        self.body = body

    def forward(self, image: Tensor) -> Any:
        return self.body(self, image)


def _residual(net: Any, image: Tensor) -> Tensor:
    """Change `x` in place, and read it afterwards."""
    x = net.conv(net.a(image))
    return net.last(net.b(net.relu6(x)) + x)


def _in_place(net: Any, image: Tensor) -> Tensor:
    x = net.conv(net.a(image))
    x.relu_()
    return net.last(net.b(x) + x)


def _shuffled(net: Any, image: Tensor) -> Tensor:
    x = net.a(image)
    n, c, h, w = x.size()
    x = x.view(n, 2, c // 2, h, w)
    return net.last(torch.transpose(x, 1, 2).contiguous().view(n, -1, h, w))


def _padded_to(net: Any, image: Tensor) -> Tensor:
    x = net.a(image)
    small = F.max_pool2d(x, 3, 1)
    return net.last(F.pad(small, [0, x.shape[3] - small.shape[3], 0, x.size()[2] - small.size(2)]) + x)


def _attention(net: Any, image: Tensor) -> Tensor:
    x = net.a(image)
    pooled = torch.cat([x.mean(1, keepdim=True), x.max(1, keepdim=True)[0], torch.amax(x, dim=1, keepdim=True)], 1)
    return net.last(x * torch.sigmoid(pooled.sum(1, keepdim=True)))


def _halves(net: Any, image: Tensor) -> Tensor:
    first, second = net.a(image).chunk(2, 1)
    third, fourth = torch.split(net.b(net.a(image)), [2, 6], dim=1)
    return net.last(torch.cat([second, first], 1) + torch.cat((fourth, third), 1))


def _two_calls(net: Any, image: Tensor) -> Tensor:
    return net.last(net.relu(net.conv(net.relu(net.conv(net.a(image))))))


def early_sizes(net: Any, image: Tensor) -> Tensor:
    """Read the sizes of values that only a BatchNorm, an activation or a function reads otherwise."""
    x = net.a[0](image)
    size = x.shape[2:]
    x = net.a[2](net.a[1](x))
    total = net.conv(x) + net.b(x)
    gate = F.hardswish(F.interpolate(net.relu(total), total.shape[2:], mode="nearest"))
    gate = F.interpolate(gate, size=size, mode="bilinear")
    product = x * gate
    return net.last(F.interpolate(F.relu(product), product.shape[-2:], mode="bilinear"))


def _with(function: Callable[[Any, Tensor], Any]) -> Body:
    return lambda net, image: net.last(function(net, net.a(image)))


def _signed(function: Callable[[Any, Tensor], Any]) -> Body:
    return lambda net, image: net.last(function(net, net.conv(net.a(image))))


BODIES: dict[str, Body] = {
    "alpha of add": _with(lambda net, x: torch.add(x, net.b(x), alpha=2)),
    "alpha of sub": _with(lambda net, x: torch.sub(x, net.b(x), alpha=0.5)),
    "sizes read early": early_sizes,
    "alpha of a number": _with(lambda net, x: x.add(1.5, alpha=2)),
    "add in place": _with(lambda net, x: net.b(x).add_(x)),
    "add nothing": _with(lambda net, x: sum([x, net.b(x)])),
    "cat with dim=": lambda net, image: net.last(torch.cat([net.a(image)[:, 4:], net.a(image)[:, :4]], dim=1)),
    "cat with tensors=": _with(lambda net, x: torch.cat(tensors=[x[:, :3], net.b(x)[:, 3:]], dim=-3)),
    "concat": _with(lambda net, x: torch.concat((x[:, :3], x[:, 3:]), 1)),
    "scale_factor": _with(lambda net, x: F.interpolate(x, scale_factor=2, mode="bilinear")),
    "scale_factor last": lambda net, image: F.interpolate(net.last(net.a(image)), scale_factor=(2, 4), mode="bilinear"),
    "one size": _with(lambda net, x: F.interpolate(x, size=24, mode="bilinear", align_corners=False)),
    "aligned corners": _with(lambda net, x: F.interpolate(x, size=(21, 30), mode="bilinear", align_corners=True)),
    "nearest": _with(lambda net, x: F.interpolate(x, size=(21, 30))),
    "nearest last": lambda net, image: F.interpolate(net.last(net.a(image)), size=image.shape[-2:]),
    "Upsample": _with(lambda net, x: net.kept["up"](x)),
    "Upsample nearest": _with(lambda net, x: net.kept["nearest"](x)),
    "Upsample corners": _with(lambda net, x: net.kept["corners"](x)),
    "a tensor": lambda net, image: net.last(net.a(image)),
    "a tuple": lambda net, image: (net.last(net.a(image)), net.b(net.a(image))),
    "a list": lambda net, image: [net.last(net.a(image))],
    "a dictionary": lambda net, image: {"depth": net.last(net.a(image))},
    "F.relu": _signed(lambda net, x: F.relu(x)),
    "x.relu()": _signed(lambda net, x: x.relu()),
    "clamp": _signed(lambda net, x: x.clamp(0, 6)),
    "clamp from below": _signed(lambda net, x: torch.clamp(x, min=0)),
    "clamp on both sides": _signed(lambda net, x: torch.clip(x, -0.5, 0.25)),
    "hardtanh": _signed(lambda net, x: F.hardtanh(x, -0.5, 1.0)),
    "hard-swish by parts": _signed(lambda net, x: x * F.hardsigmoid(x)),
    "hard-swish by parts in place": _signed(lambda net, x: F.hardsigmoid(x).mul_(x)),
    "a hard-sigmoid that is read twice": _signed(lambda net, x: (y := F.hardsigmoid(x)) * x + y),
    "a layer twice": _two_calls,
    "a relu twice": _with(lambda net, x: net.relu(net.relu(net.conv(x)) + x)),
    "relu6 in place": _residual,
    "relu_": _in_place,
    "mul": _with(lambda net, x: x.mul(net.b(x))),
    "gate": _with(lambda net, x: net.gate * x),
    "shift": _with(lambda net, x: x + net.gate),
    "sub": _with(lambda net, x: x - net.b(x)),
    "one minus": _with(lambda net, x: 1 - x),
    "minus one": _with(lambda net, x: x - 1),
    "plus three": _with(lambda net, x: 3 + x),
    "divided": _with(lambda net, x: x / 6),
    "divided by a tensor": _with(lambda net, x: x / (net.b(x) + 1)),
    "div": _with(lambda net, x: torch.div(net.conv(x), net.b(x).add(2))),
    "negative": _with(lambda net, x: -x),
    "power": _signed(lambda net, x: x.pow(2) + x**2 + torch.square(x)),
    "norm without weight": _with(lambda net, x: net.relu(net.plain_norm(net.conv(x)))),
    "slices": lambda net, image: net.last(net.a(image))[:, :1, 2:-1],
    "parts": _halves,
    "channel shuffle": _shuffled,
    "max_pool2d": _with(lambda net, x: F.max_pool2d(x, 2)),
    "rounded up": _with(lambda net, x: net.kept["ceil"](x)),
    "AvgPool2d": _with(lambda net, x: net.kept["average"](x)),
    "AvgPool2d rounded up": _with(lambda net, x: net.kept["average_up"](net.conv(x))),
    "avg_pool2d": _with(lambda net, x: F.avg_pool2d(x, 2)),
    "dropout": _with(lambda net, x: net.kept["dropout"](net.kept["identity"](F.dropout(x, 0.1, net.training)))),
    "mean of a picture": lambda net, image: net.linear(net.a(image).mean([2, 3])),
    "mean kept": _with(lambda net, x: x * torch.mean(x, dim=(-2, -1), keepdim=True)),
    "pool and Flatten": lambda net, image: net.linear(net.kept["flatten"](F.adaptive_avg_pool2d(net.a(image), 1))),
    "pool and view": lambda net, image: net.linear(F.adaptive_avg_pool2d(net.a(image), (1, 1)).view(image.size(0), -1)),
    "attention over channels": _attention,
    "PixelShuffle": lambda net, image: net.kept["shuffle"](net.last(net.a(image))),
    "pixel_shuffle": lambda net, image: F.pixel_shuffle(net.last(net.a(image)), 2),
    "pad": _signed(lambda net, x: F.pad(x, (1, 2, 0, 3))),
    "ZeroPad2d": _signed(lambda net, x: net.kept["pad"](x)),
    "pad with a number": _signed(lambda net, x: F.pad(x, (1, 2, 0, 3), value=0.5)),
    "average rounded up that counts": _with(lambda net, x: F.avg_pool2d(x, 3, 2, 1, True)),
    "flip of one axis": _with(lambda net, x: x.flip(3)),
    "crop": _with(lambda net, x: F.pad(x, [-1, -1, -1, 0])),
    "reflected": _with(lambda net, x: F.pad(x, (1, 1, 1, 1), mode="reflect")),
    "padded to another": _padded_to,
    "ends in a sum": lambda net, image: net.a(image) + net.b(net.a(image)),
    "permuted": _with(lambda net, x: x.permute(0, 1, 3, 2)),
}
