"""ENet (Paszke et al. 2016, arXiv:1606.02147): bottlenecks, zeros as missing channels, max unpooling."""

import torch
from torch import nn


class Initial(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 13, 3, stride=2, padding=1, bias=False)
        self.pool = nn.MaxPool2d(3, stride=2, padding=1)
        self.bn = nn.BatchNorm2d(16)
        self.act = nn.PReLU()

    def forward(self, x):
        return self.act(self.bn(torch.cat((self.conv(x), self.pool(x)), 1)))


class Bottleneck(nn.Module):
    def __init__(self, channels, dilation=1, asymmetric=False, dropout=0.1):
        super().__init__()
        inner = channels // 4
        self.reduce = nn.Sequential(nn.Conv2d(channels, inner, 1, bias=False), nn.BatchNorm2d(inner), nn.PReLU())
        if asymmetric:
            conv = [
                nn.Conv2d(inner, inner, (5, 1), padding=(2, 0), bias=False),
                nn.BatchNorm2d(inner),
                nn.PReLU(),
                nn.Conv2d(inner, inner, (1, 5), padding=(0, 2), bias=False),
            ]
        else:
            conv = [nn.Conv2d(inner, inner, 3, padding=dilation, dilation=dilation, bias=False)]
        self.conv = nn.Sequential(*conv, nn.BatchNorm2d(inner), nn.PReLU())
        self.expand = nn.Sequential(nn.Conv2d(inner, channels, 1, bias=False), nn.BatchNorm2d(channels), nn.PReLU())
        self.dropout = nn.Dropout2d(dropout)
        self.act = nn.PReLU()

    def forward(self, x):
        return self.act(x + self.dropout(self.expand(self.conv(self.reduce(x)))))


class Downsampling(nn.Module):
    def __init__(self, inputs, outputs):
        super().__init__()
        inner = inputs // 4
        self.pool = nn.MaxPool2d(2, stride=2, return_indices=True)
        self.ext = nn.Sequential(
            nn.Conv2d(inputs, inner, 2, stride=2, bias=False), nn.BatchNorm2d(inner), nn.PReLU(),
            nn.Conv2d(inner, inner, 3, padding=1, bias=False), nn.BatchNorm2d(inner), nn.PReLU(),
            nn.Conv2d(inner, outputs, 1, bias=False), nn.BatchNorm2d(outputs), nn.PReLU(),
        )  # fmt: skip
        self.act = nn.PReLU()

    def forward(self, x):
        main, indices = self.pool(x)
        ext = self.ext(x)
        n, channels, h, w = ext.size()
        padding = torch.zeros(n, channels - main.size(1), h, w, device=x.device)
        main = torch.cat((main, padding), 1)
        return self.act(main + ext), indices


class Upsampling(nn.Module):
    def __init__(self, inputs, outputs):
        super().__init__()
        inner = inputs // 4
        self.main = nn.Sequential(nn.Conv2d(inputs, outputs, 1, bias=False), nn.BatchNorm2d(outputs))
        self.unpool = nn.MaxUnpool2d(2)
        self.ext1 = nn.Sequential(nn.Conv2d(inputs, inner, 1, bias=False), nn.BatchNorm2d(inner), nn.ReLU())
        self.transposed = nn.ConvTranspose2d(inner, inner, 2, stride=2, bias=False)
        self.ext2 = nn.Sequential(
            nn.BatchNorm2d(inner), nn.ReLU(), nn.Conv2d(inner, outputs, 1, bias=False), nn.BatchNorm2d(outputs)
        )
        self.act = nn.ReLU()

    def forward(self, x, indices):
        main = self.unpool(self.main(x), indices)
        return self.act(main + self.ext2(self.transposed(self.ext1(x))))


def stage():
    return [
        Bottleneck(128), Bottleneck(128, dilation=2), Bottleneck(128, asymmetric=True), Bottleneck(128, dilation=4),
        Bottleneck(128), Bottleneck(128, dilation=8), Bottleneck(128, asymmetric=True), Bottleneck(128, dilation=16),
    ]  # fmt: skip


class ENet(nn.Module):
    def __init__(self, classes=19):
        super().__init__()
        self.initial = Initial()
        self.down1 = Downsampling(16, 64)
        self.stage1 = nn.Sequential(*[Bottleneck(64, dropout=0.01) for _ in range(4)])
        self.down2 = Downsampling(64, 128)
        self.stage2 = nn.Sequential(*stage())
        self.stage3 = nn.Sequential(*stage())
        self.up4 = Upsampling(128, 64)
        self.stage4 = nn.Sequential(Bottleneck(64), Bottleneck(64))
        self.up5 = Upsampling(64, 16)
        self.stage5 = Bottleneck(16)
        self.output = nn.ConvTranspose2d(16, classes, 3, stride=2, padding=1, output_padding=1)

    def forward(self, x):
        x = self.initial(x)
        x, indices1 = self.down1(x)
        x, indices2 = self.down2(self.stage1(x))
        x = self.stage3(self.stage2(x))
        x = self.stage4(self.up4(x, indices2))
        x = self.stage5(self.up5(x, indices1))
        return self.output(x)
