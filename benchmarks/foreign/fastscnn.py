"""Fast-SCNN (Poudel et al. 2019, arXiv:1902.04502). The pooling layers of the pyramid are made in `forward`."""

import torch
import torch.nn.functional as F
from torch import nn


class ConvBNReLU(nn.Sequential):
    def __init__(self, inputs, outputs, kernel=1, stride=1, padding=0, groups=1):
        super().__init__(
            nn.Conv2d(inputs, outputs, kernel, stride, padding, groups=groups, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(True),
        )


class DSConv(nn.Sequential):
    def __init__(self, inputs, outputs, stride=1):
        super().__init__(ConvBNReLU(inputs, inputs, 3, stride, 1, groups=inputs), ConvBNReLU(inputs, outputs))


class LinearBottleneck(nn.Module):
    def __init__(self, inputs, outputs, stride, t=6):
        super().__init__()
        self.use_shortcut = stride == 1 and inputs == outputs
        self.block = nn.Sequential(
            ConvBNReLU(inputs, inputs * t),
            ConvBNReLU(inputs * t, inputs * t, 3, stride, 1, groups=inputs * t),
            nn.Conv2d(inputs * t, outputs, 1, bias=False),
            nn.BatchNorm2d(outputs),
        )

    def forward(self, x):
        out = self.block(x)
        if self.use_shortcut:
            out = x + out
        return out


class PyramidPooling(nn.Module):
    def __init__(self, inputs, outputs):
        super().__init__()
        inner = inputs // 4
        self.convs = nn.ModuleList(ConvBNReLU(inputs, inner) for _ in range(4))
        self.out = ConvBNReLU(inputs * 2, outputs)

    def pool(self, x, size):
        avgpool = nn.AdaptiveAvgPool2d(size)
        return avgpool(x)

    def upsample(self, x, size):
        return F.interpolate(x, size, mode="bilinear", align_corners=True)

    def forward(self, x):
        size = x.size()[2:]
        features = [
            self.upsample(conv(self.pool(x, side)), size) for conv, side in zip(self.convs, (1, 2, 3, 6), strict=True)
        ]
        return self.out(torch.cat([x, *features], dim=1))


class FeatureFusion(nn.Module):
    def __init__(self, higher, lower, outputs):
        super().__init__()
        self.dwconv = ConvBNReLU(lower, outputs, 3, 1, 1, groups=outputs)
        self.conv_lower = nn.Sequential(nn.Conv2d(outputs, outputs, 1), nn.BatchNorm2d(outputs))
        self.conv_higher = nn.Sequential(nn.Conv2d(higher, outputs, 1), nn.BatchNorm2d(outputs))
        self.relu = nn.ReLU(True)

    def forward(self, higher, lower):
        lower = F.interpolate(lower, size=higher.size()[2:], mode="bilinear", align_corners=True)
        lower = self.conv_lower(self.dwconv(lower))
        return self.relu(self.conv_higher(higher) + lower)


class FastSCNN(nn.Module):
    def __init__(self, classes=19):
        super().__init__()
        self.learning_to_downsample = nn.Sequential(ConvBNReLU(3, 32, 3, 2), DSConv(32, 48, 2), DSConv(48, 64, 2))
        blocks = []
        for inputs, outputs, stride in ((64, 64, 2), (64, 96, 2), (96, 128, 1)):
            blocks += [LinearBottleneck(inputs, outputs, stride)]
            blocks += [LinearBottleneck(outputs, outputs, 1) for _ in range(2)]
        self.global_feature_extractor = nn.Sequential(*blocks, PyramidPooling(128, 128))
        self.fusion = FeatureFusion(64, 128, 128)
        self.classifier = nn.Sequential(DSConv(128, 128), DSConv(128, 128), nn.Dropout(0.1), nn.Conv2d(128, classes, 1))

    def forward(self, x):
        size = x.size()[2:]
        higher = self.learning_to_downsample(x)
        x = self.fusion(higher, self.global_feature_extractor(higher))
        x = self.classifier(x)
        return F.interpolate(x, size, mode="bilinear", align_corners=True)
