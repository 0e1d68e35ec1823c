"""STDC1 (Fan et al. 2021, arXiv:2104.13188): the short-term dense concatenation, as classifier and segmenter."""

import torch
import torch.nn.functional as F
from torch import nn


class ConvX(nn.Module):
    def __init__(self, inputs, outputs, kernel=3, stride=1):
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False)
        self.bn = nn.BatchNorm2d(outputs)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x):
        return self.relu(self.bn(self.conv(x)))


class CatBottleneck(nn.Module):
    def __init__(self, inputs, outputs, stride=1):
        super().__init__()
        self.stride = stride
        half = outputs // 2
        self.conv_list = nn.ModuleList(
            [
                ConvX(inputs, half, kernel=1),
                ConvX(half, half // 2),
                ConvX(half // 2, half // 4),
                ConvX(half // 4, half // 4),
            ]
        )
        if stride == 2:
            self.avd_layer = nn.Sequential(
                nn.Conv2d(half, half, 3, stride=2, padding=1, groups=half, bias=False), nn.BatchNorm2d(half)
            )
            self.skip = nn.AvgPool2d(kernel_size=3, stride=2, padding=1)

    def forward(self, x):
        outputs = []
        out1 = self.conv_list[0](x)
        for index, conv in enumerate(self.conv_list):
            if index == 0:
                out = self.avd_layer(out1) if self.stride == 2 else out1
            else:
                out = conv(out)
                outputs.append(out)
        if self.stride == 2:
            out1 = self.skip(out1)
        outputs.insert(0, out1)
        return torch.cat(outputs, dim=1)


class STDC1(nn.Module):
    def __init__(self):
        super().__init__()
        self.x2, self.x4 = ConvX(3, 32, stride=2), ConvX(32, 64, stride=2)
        self.x8 = nn.Sequential(CatBottleneck(64, 256, 2), CatBottleneck(256, 256))
        self.x16 = nn.Sequential(CatBottleneck(256, 512, 2), CatBottleneck(512, 512))
        self.x32 = nn.Sequential(CatBottleneck(512, 1024, 2), CatBottleneck(1024, 1024))

    def forward(self, x):
        feat8 = self.x8(self.x4(self.x2(x)))
        feat16 = self.x16(feat8)
        return feat8, feat16, self.x32(feat16)


class STDC1Cls(nn.Module):
    def __init__(self, classes=1000):
        super().__init__()
        self.backbone = STDC1()
        self.conv_last = ConvX(1024, 1024, 1)
        self.gap = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(1024, 1024, bias=False)
        self.drop = nn.Dropout(p=0.2)
        self.relu = nn.ReLU(inplace=True)
        self.linear = nn.Linear(1024, classes, bias=False)

    def forward(self, x):
        out = self.conv_last(self.backbone(x)[-1]).pow(2)
        out = self.gap(out).flatten(1)
        return self.linear(self.drop(self.relu(self.fc(out))))


class AttentionRefinement(nn.Module):
    def __init__(self, inputs, outputs):
        super().__init__()
        self.conv = ConvX(inputs, outputs)
        self.conv_atten = nn.Conv2d(outputs, outputs, kernel_size=1, bias=False)
        self.bn_atten = nn.BatchNorm2d(outputs)
        self.sigmoid = nn.Sigmoid()

    def forward(self, x):
        feat = self.conv(x)
        atten = F.avg_pool2d(feat, feat.size()[2:])
        return torch.mul(feat, self.sigmoid(self.bn_atten(self.conv_atten(atten))))


class STDC1Seg(nn.Module):
    def __init__(self, classes=19):
        super().__init__()
        self.backbone = STDC1()
        self.arm16, self.arm32 = AttentionRefinement(512, 128), AttentionRefinement(1024, 128)
        self.head16, self.head32, self.conv_avg = ConvX(128, 128), ConvX(128, 128), ConvX(1024, 128, 1)
        self.ffm, self.conv1 = ConvX(256 + 128, 256, 1), nn.Conv2d(256, 64, 1, bias=False)
        self.conv2 = nn.Conv2d(64, 256, 1, bias=False)
        self.head = nn.Sequential(ConvX(256, 256), nn.Conv2d(256, classes, 1, bias=False))

    def forward(self, x):
        h, w = x.size()[2:]
        feat8, feat16, feat32 = self.backbone(x)
        avg = self.conv_avg(F.avg_pool2d(feat32, feat32.size()[2:]))
        up32 = self.arm32(feat32) + F.interpolate(avg, feat32.size()[2:], mode="nearest")
        up32 = self.head32(F.interpolate(up32, feat16.size()[2:], mode="nearest"))
        up16 = self.arm16(feat16) + up32
        up16 = self.head16(F.interpolate(up16, feat8.size()[2:], mode="nearest"))
        feat = self.ffm(torch.cat([feat8, up16], dim=1))
        atten = torch.sigmoid(self.conv2(F.relu(self.conv1(F.avg_pool2d(feat, feat.size()[2:])))))
        out = self.head(torch.mul(feat, atten) + feat)
        return F.interpolate(out, (h, w), mode="bilinear", align_corners=True)
