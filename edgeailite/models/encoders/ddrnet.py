"""DDRNet-23-slim (Hong et al., 2021, https://arxiv.org/abs/2101.06085) as an encoder of two features.

Two branches run side by side, one at stride 8 and one at strides 16 to 64, and add themselves to each other twice; deep
aggregation pyramid pooling (DAPPM) ends the deep one. Original code: ydhongHIT/DDRNet, whose key names these are. What
we changed: a ReLU of its own for every tensor; branches are resized to each other's size, so that any picture fits;
several inputs.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from edgeailite.models.encoders.chain import Encoder, Stem
from edgeailite.models.encoders.preactivated import PreActivated
from edgeailite.models.encoders.residual import BasicBlock, GroupBottleneck
from edgeailite.models.layers import resize_like

WIDTH = 32  # of the stem
HIGH = 2 * WIDTH  # channels of the branch at stride 8
POOLED = 128  # channels of each result of DAPPM
OUT = 4 * WIDTH
POOLINGS = ((5, 2, 2), (9, 4, 4), (17, 8, 8))  # size, stride and padding of DAPPM's windows


class OpenBasicBlock(BasicBlock):
    """x + f(x), f two 3x3 convolutions, without the activation after the sum."""

    def __init__(self, in_channels: int, planes: int) -> None:
        super().__init__(in_channels, planes)
        del self.relu2

    def forward(self, x: Tensor) -> Tensor:
        """Apply the block and add the input."""
        return self.bn2(self.conv2(self.relu1(self.bn1(self.conv1(x))))) + x


class ForkedBasicBlock(BasicBlock):
    """x + f(x), f two 3x3 convolutions: without and with the activation, added up once for each.

    A sum with one reader takes its activation along into an integer kernel; an activation alone has none in .tflite.
    The order of the summands differs, or onnxruntime would make one sum of both again.
    """

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        """Return the sum, and its activation."""
        y = self.bn2(self.conv2(self.relu1(self.bn1(self.conv1(x)))))
        return y + x, self.relu2(x + y)


class OpenBottleneck(GroupBottleneck):
    """Shortcut + f(x), f 1x1, 3x3, 1x1 to twice the planes, without the activation after the sum."""

    def __init__(self, in_channels: int, planes: int, *, stride: int = 1) -> None:
        super().__init__(in_channels, planes, stride=stride)
        del self.relu3

    def forward(self, x: Tensor) -> Tensor:
        """Apply the block and add the shortcut."""
        y = self.relu2(self.bn2(self.conv2(self.relu1(self.bn1(self.conv1(x))))))
        shortcut = x if self.downsample is None else self.downsample(x)
        return self.bn3(self.conv3(y)) + shortcut


class DAPPM(nn.Module):
    """Averages over growing windows, each added to the smaller one's result: (N,in,h,w) -> (N,out,h,w)."""

    def __init__(self, in_channels: int, width: int, out_channels: int) -> None:
        super().__init__()
        poolings = [nn.AvgPool2d(*geometry) for geometry in POOLINGS]
        self.scale0 = _preactivated(in_channels, width, 1)
        self.scale1, self.scale2, self.scale3 = (_preactivated(in_channels, width, 1, pooling) for pooling in poolings)
        self.scale4 = _preactivated(in_channels, width, 1, nn.AdaptiveAvgPool2d((1, 1)))
        self.process1, self.process2, self.process3, self.process4 = (
            _preactivated(width, width, 3) for _ in range(len(POOLINGS) + 1)
        )
        self.compression = _preactivated(5 * width, out_channels, 1)
        self.shortcut = _preactivated(in_channels, out_channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Pool, aggregate from small windows to large ones, join."""
        found = [self.scale0(x)]
        for scale, process in (
            (self.scale1, self.process1),
            (self.scale2, self.process2),
            (self.scale3, self.process3),
            (self.scale4, self.process4),
        ):
            found.append(process(resize_like(scale(x), x) + found[-1]))
        return self.compression(torch.cat(found, 1)) + self.shortcut(x)


class DualResolution(Encoder):
    """The two branches after a stem at stride 8; the features are the high branch at half way, and the sum of both."""

    def __init__(self, *, inputs: int = 1) -> None:
        super().__init__(_first_blocks, {"layer2": (HIGH, 8)}, stem=Stem("layer1", WIDTH), inputs=inputs)
        self.channels, self.strides = (HIGH, OUT), (8, 8)
        deep = 4 * WIDTH
        self.layer3, self.layer4 = _forked(HIGH, deep, stride=2), _forked(deep, 2 * deep, stride=2)
        self.layer3_, self.layer4_ = _forked(HIGH, HIGH), _forked(HIGH, HIGH)
        self.compression3, self.compression4 = _conv_bn(deep, HIGH, 1), _conv_bn(2 * deep, HIGH, 1)
        self.down3 = _conv_bn(HIGH, deep, 3, stride=2)
        self.down4 = nn.Sequential(
            *_conv_bn(HIGH, deep, 3, stride=2), nn.ReLU(), *_conv_bn(deep, 2 * deep, 3, stride=2)
        )
        self.layer5_ = nn.Sequential(OpenBottleneck(HIGH, HIGH))
        self.layer5 = nn.Sequential(OpenBottleneck(2 * deep, 2 * deep, stride=2))
        self.spp = DAPPM(4 * deep, POOLED, OUT)
        self.relus = nn.ModuleList(nn.ReLU() for _ in range(5))

    def forward(self, *images: Tensor) -> list[Tensor]:
        """Return (N,64,H/8,W/8), for deep supervision, and (N,128,H/8,W/8)."""
        [both] = super().forward(*images)
        both = self.relus[0](both)
        (low, low_active), (high, high_active) = self.layer3(both), self.layer3_(both)
        low = self.relus[1](low + self.down3(high_active))
        half_way = high + resize_like(self.compression3(low_active), high)
        high = self.relus[2](half_way)
        (low, low_active), (high, high_active) = self.layer4(low), self.layer4_(high)
        low = self.relus[3](low + self.down4(high_active))
        high = self.relus[4](high + resize_like(self.compression4(low_active), high))
        high = self.layer5_(high)
        return [half_way, resize_like(self.spp(self.layer5(low)), high) + high]


def _first_blocks() -> dict[str, nn.Module]:
    """The chain that both branches share."""
    convs = [nn.Conv2d(channels, WIDTH, 3, 2, 1) for channels in (3, WIDTH)]
    first = [layer for conv in convs for layer in (conv, nn.BatchNorm2d(WIDTH), nn.ReLU())]
    return {
        "conv1": nn.Sequential(*first),
        "layer1": _layer(WIDTH, WIDTH),
        "relu": nn.ReLU(),
        "layer2": _layer(WIDTH, HIGH, stride=2),
    }


def _layer(in_channels: int, channels: int, *, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(BasicBlock(in_channels, channels, stride=stride), OpenBasicBlock(channels, channels))


def _forked(in_channels: int, channels: int, *, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(BasicBlock(in_channels, channels, stride=stride), ForkedBasicBlock(channels, channels))


def _conv_bn(in_channels: int, channels: int, size: int, *, stride: int = 1) -> nn.Sequential:
    conv = nn.Conv2d(in_channels, channels, size, stride, size // 2, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(channels))


def _preactivated(in_channels: int, channels: int, size: int, *pooling: nn.Module) -> PreActivated:
    conv = nn.Conv2d(in_channels, channels, size, padding=size // 2, bias=False)
    return PreActivated(*pooling, nn.BatchNorm2d(in_channels), nn.ReLU(), conv)
