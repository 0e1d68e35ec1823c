"""ERFNet (Romera et al. 2018): factorised residual blocks, transposed convolutions in the decoder."""

import torch
import torch.nn.functional as F
from torch import nn


class Downsampler(nn.Module):
    def __init__(self, inputs, outputs):
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs - inputs, 3, stride=2, padding=1)
        self.pool = nn.MaxPool2d(2, stride=2)
        self.bn = nn.BatchNorm2d(outputs, eps=1e-3)

    def forward(self, x):
        return F.relu(self.bn(torch.cat([self.conv(x), self.pool(x)], 1)))


class NonBottleneck1d(nn.Module):
    def __init__(self, channels, dropout, dilation):
        super().__init__()
        self.conv3x1_1 = nn.Conv2d(channels, channels, (3, 1), padding=(1, 0))
        self.conv1x3_1 = nn.Conv2d(channels, channels, (1, 3), padding=(0, 1))
        self.bn1 = nn.BatchNorm2d(channels, eps=1e-3)
        self.conv3x1_2 = nn.Conv2d(channels, channels, (3, 1), padding=(dilation, 0), dilation=(dilation, 1))
        self.conv1x3_2 = nn.Conv2d(channels, channels, (1, 3), padding=(0, dilation), dilation=(1, dilation))
        self.bn2 = nn.BatchNorm2d(channels, eps=1e-3)
        self.dropout = nn.Dropout2d(dropout)

    def forward(self, x):
        y = F.relu(self.conv3x1_1(x))
        y = F.relu(self.bn1(self.conv1x3_1(y)))
        y = F.relu(self.conv3x1_2(y))
        y = self.bn2(self.conv1x3_2(y))
        if self.dropout.p != 0:
            y = self.dropout(y)
        return F.relu(y + x)


class Upsampler(nn.Module):
    def __init__(self, inputs, outputs):
        super().__init__()
        self.conv = nn.ConvTranspose2d(inputs, outputs, 3, stride=2, padding=1, output_padding=1)
        self.bn = nn.BatchNorm2d(outputs, eps=1e-3)

    def forward(self, x):
        return F.relu(self.bn(self.conv(x)))


class ERFNet(nn.Module):
    def __init__(self, classes=19):
        super().__init__()
        self.initial = Downsampler(3, 16)
        self.layers = nn.ModuleList([Downsampler(16, 64)])
        self.layers.extend(NonBottleneck1d(64, 0.03, 1) for _ in range(5))
        self.layers.append(Downsampler(64, 128))
        for _ in range(2):
            self.layers.extend(NonBottleneck1d(128, 0.3, dilation) for dilation in (2, 4, 8, 16))
        self.decoder = nn.ModuleList([
            Upsampler(128, 64), NonBottleneck1d(64, 0, 1), NonBottleneck1d(64, 0, 1),
            Upsampler(64, 16), NonBottleneck1d(16, 0, 1), NonBottleneck1d(16, 0, 1),
        ])  # fmt: skip
        self.output = nn.ConvTranspose2d(16, classes, 2, stride=2)

    def forward(self, x):
        x = self.initial(x)
        for layer in self.layers:
            x = layer(x)
        for layer in self.decoder:
            x = layer(x)
        return self.output(x)
