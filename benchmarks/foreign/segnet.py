"""SegNet (Badrinarayanan et al. 2017), with three stages: max pooling whose places the decoder uses again."""

import itertools

from torch import nn


def block(*channels):
    layers = []
    for inputs, outputs in itertools.pairwise(channels):
        layers += [nn.Conv2d(inputs, outputs, 3, padding=1), nn.BatchNorm2d(outputs), nn.ReLU(True)]
    return nn.Sequential(*layers)


class SegNet(nn.Module):
    def __init__(self, classes=19):
        super().__init__()
        self.enc1, self.enc2, self.enc3 = block(3, 32, 32), block(32, 64, 64), block(64, 128, 128, 128)
        self.dec3, self.dec2 = block(128, 128, 128, 64), block(64, 64, 32)
        self.dec1 = nn.Sequential(block(32, 32), nn.Conv2d(32, classes, 3, padding=1))
        self.pools = nn.ModuleList(nn.MaxPool2d(2, 2, return_indices=True) for _ in range(3))
        self.unpools = nn.ModuleList(nn.MaxUnpool2d(2, 2) for _ in range(3))

    def forward(self, x):
        x1 = self.enc1(x)
        x, i1 = self.pools[0](x1)
        x2 = self.enc2(x)
        x, i2 = self.pools[1](x2)
        x3 = self.enc3(x)
        x, i3 = self.pools[2](x3)
        x = self.dec3(self.unpools[2](x, i3, output_size=x3.size()))
        x = self.dec2(self.unpools[1](x, i2, output_size=x2.size()))
        return self.dec1(self.unpools[0](x, i1, output_size=x1.size()))
