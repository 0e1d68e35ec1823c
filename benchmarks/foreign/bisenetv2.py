"""BiSeNet V2 (Yu et al. 2021, arXiv:2004.02147): a detail branch, a semantic branch, and guided aggregation."""

import torch
from torch import nn


def cbr(inputs, outputs, kernel=3, stride=1, groups=1, relu=True):
    layers = [
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(outputs),
    ]
    return nn.Sequential(*layers, nn.ReLU(inplace=True)) if relu else nn.Sequential(*layers)


class Stem(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = cbr(3, 16, stride=2)
        self.left = nn.Sequential(cbr(16, 8, 1), cbr(8, 16, stride=2))
        self.right = nn.MaxPool2d(3, stride=2, padding=1)
        self.fuse = cbr(32, 16)

    def forward(self, x):
        x = self.conv(x)
        return self.fuse(torch.cat([self.left(x), self.right(x)], dim=1))


class Gather(nn.Module):
    """Gather and expansion layer."""

    def __init__(self, inputs, outputs, stride):
        super().__init__()
        middle = inputs * 6
        self.conv1 = cbr(inputs, inputs)
        if stride == 1:
            self.dw = cbr(inputs, middle, groups=inputs)
            self.shortcut = nn.Identity()
        else:
            self.dw = nn.Sequential(
                cbr(inputs, middle, stride=2, groups=inputs, relu=False), cbr(middle, middle, groups=middle)
            )
            self.shortcut = nn.Sequential(
                cbr(inputs, inputs, stride=2, groups=inputs, relu=False), cbr(inputs, outputs, 1, relu=False)
            )
        self.conv2 = cbr(middle, outputs, 1, relu=False)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x):
        return self.relu(self.conv2(self.dw(self.conv1(x))) + self.shortcut(x))


class Context(nn.Module):
    """Context embedding: the mean of the whole picture is added everywhere."""

    def __init__(self, channels):
        super().__init__()
        self.bn = nn.BatchNorm2d(channels)
        self.conv_gap = cbr(channels, channels, 1)
        self.conv_last = cbr(channels, channels)

    def forward(self, x):
        mean = torch.mean(x, dim=(2, 3), keepdim=True)
        return self.conv_last(self.conv_gap(self.bn(mean)) + x)


class Aggregation(nn.Module):
    """Bilateral guided aggregation."""

    def __init__(self, channels):
        super().__init__()
        self.left1 = nn.Sequential(
            cbr(channels, channels, groups=channels, relu=False), nn.Conv2d(channels, channels, 1)
        )
        self.left2 = nn.Sequential(
            cbr(channels, channels, stride=2, relu=False), nn.AvgPool2d(3, stride=2, padding=1, ceil_mode=False)
        )
        self.right1 = cbr(channels, channels, relu=False)
        self.right2 = nn.Sequential(
            cbr(channels, channels, groups=channels, relu=False), nn.Conv2d(channels, channels, 1)
        )
        self.up = nn.Upsample(scale_factor=4)
        self.conv = cbr(channels, channels, relu=False)

    def forward(self, detail, semantic):
        left = self.left1(detail) * torch.sigmoid(self.up(self.right1(semantic)))
        right = self.left2(detail) * torch.sigmoid(self.right2(semantic))
        return self.conv(left + self.up(right))


class BiSeNetV2(nn.Module):
    def __init__(self, classes=19):
        super().__init__()
        self.detail = nn.Sequential(
            cbr(3, 64, stride=2), cbr(64, 64),
            cbr(64, 64, stride=2), cbr(64, 64), cbr(64, 64),
            cbr(64, 128, stride=2), cbr(128, 128), cbr(128, 128),
        )  # fmt: skip
        self.semantic = nn.Sequential(
            Stem(),
            Gather(16, 32, 2), Gather(32, 32, 1),
            Gather(32, 64, 2), Gather(64, 64, 1),
            Gather(64, 128, 2), Gather(128, 128, 1), Gather(128, 128, 1), Gather(128, 128, 1),
            Context(128),
        )  # fmt: skip
        self.aggregation = Aggregation(128)
        self.head = nn.Sequential(
            cbr(128, 1024),
            nn.Dropout(0.1),
            nn.Conv2d(1024, classes, 1),
            nn.Upsample(scale_factor=8, mode="bilinear", align_corners=False),
        )

    def forward(self, x):
        return self.head(self.aggregation(self.detail(x), self.semantic(x)))
