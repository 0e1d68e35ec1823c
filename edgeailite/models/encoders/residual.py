"""Residual blocks of He et al., 2016 (https://arxiv.org/abs/1512.03385), shared by the ResNet encoders.

Key names are torchvision's (`conv1`, `bn1`, ..., `downsample.0`). The stride is on the 3x3 convolution (v1.5). Every
ReLU is a module of its own, so that every tensor has a name when the network is quantized or exported.
"""

from __future__ import annotations

from torch import Tensor, nn


class BasicBlock(nn.Module):
    """relu(x + f(x)), f two 3x3 convolutions; `dilation` is that of the first and of the second."""

    expansion = 1

    def __init__(
        self, in_channels: int, planes: int, *, stride: int = 1, dilation: tuple[int, int] = (1, 1), groups: int = 1
    ) -> None:
        super().__init__()
        first, second = dilation
        self.conv1 = nn.Conv2d(in_channels, planes, 3, stride, first, first, groups, bias=False)
        self.bn1, self.relu1 = nn.BatchNorm2d(planes), nn.ReLU()
        self.conv2 = nn.Conv2d(planes, planes, 3, 1, second, second, groups, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)
        self.downsample = downsample(in_channels, planes, stride)
        self.relu2 = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """Apply the block and add the shortcut."""
        y = self.relu1(self.bn1(self.conv1(x)))
        shortcut = x if self.downsample is None else self.downsample(x)
        return self.relu2(self.bn2(self.conv2(y)) + shortcut)


class Bottleneck(nn.Module):
    """relu(x + f(x)), f 1x1, 3x3 (stride, dilation, groups), 1x1 to `planes * expansion` channels."""

    expansion = 4

    def __init__(
        self, in_channels: int, planes: int, *, stride: int = 1, dilation: tuple[int, int] = (1, 1), groups: int = 1
    ) -> None:
        """`dilation` as of BasicBlock; the one 3x3 convolution has the first."""
        super().__init__()
        out_channels = planes * self.expansion
        self.conv1, self.bn1, self.relu1 = (
            nn.Conv2d(in_channels, planes, 1, bias=False),
            nn.BatchNorm2d(planes),
            nn.ReLU(),
        )
        self.conv2 = nn.Conv2d(planes, planes, 3, stride, dilation[0], dilation[0], groups, bias=False)
        self.bn2, self.relu2 = nn.BatchNorm2d(planes), nn.ReLU()
        self.conv3, self.bn3 = nn.Conv2d(planes, out_channels, 1, bias=False), nn.BatchNorm2d(out_channels)
        self.downsample = downsample(in_channels, out_channels, stride)
        self.relu3 = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """Apply the block and add the shortcut."""
        y = self.relu1(self.bn1(self.conv1(x)))
        y = self.relu2(self.bn2(self.conv2(y)))
        shortcut = x if self.downsample is None else self.downsample(x)
        return self.relu3(self.bn3(self.conv3(y)) + shortcut)


class GroupBottleneck(Bottleneck):
    """Bottleneck of the ADE20K family's ResNeXt101: 1x1 to `planes`, grouped 3x3, 1x1 to twice as many."""

    expansion = 2


def downsample(in_channels: int, out_channels: int, stride: int) -> nn.Sequential | None:
    """Build a 1x1 convolution and BatchNorm if the shortcut's shape changes, else None."""
    if stride == 1 and in_channels == out_channels:
        return None
    return nn.Sequential(nn.Conv2d(in_channels, out_channels, 1, stride, bias=False), nn.BatchNorm2d(out_channels))


Block = type[BasicBlock] | type[Bottleneck]


def stage(
    block: Block,
    in_channels: int,
    planes: int,
    repeats: int,
    *,
    stride: int = 1,
    dilation: int = 1,
    first_dilation: int | None = None,
    groups: int = 1,
) -> nn.Sequential:
    """Build `repeats` blocks; the stride is on the first. `first_dilation` is that of the first block's first 3x3."""
    first = (dilation if first_dilation is None else first_dilation, dilation)
    blocks = [block(in_channels, planes, stride=stride, dilation=first, groups=groups)]
    width = planes * block.expansion
    blocks += [block(width, planes, dilation=(dilation, dilation), groups=groups) for _ in range(repeats - 1)]
    return nn.Sequential(*blocks)
