"""PP-LiteSeg (Peng et al. 2022, arXiv:2204.02681) on STDC1: attention from means and maxima over channels."""

import torch
import torch.nn.functional as F
from torch import nn

from benchmarks.foreign.stdc import STDC1


class ConvBNAct(nn.Sequential):
    def __init__(self, inputs, outputs, kernel, act=None, **options):
        layers = [nn.Conv2d(inputs, outputs, kernel, bias=False, **options), nn.BatchNorm2d(outputs)]
        super().__init__(*layers, *([act] if act else []))


class PyramidPooling(nn.Module):
    def __init__(self, inputs, inner, outputs, sizes=(1, 2, 4)):
        super().__init__()
        self.stages = nn.ModuleList(
            nn.Sequential(nn.AdaptiveAvgPool2d(size), ConvBNAct(inputs, inner, 1, nn.ReLU())) for size in sizes
        )
        self.conv_out = ConvBNAct(inner, outputs, 3, nn.ReLU(), padding=1)

    def forward(self, x):
        out = None
        for stage in self.stages:
            y = F.interpolate(stage(x), x.shape[2:], mode="bilinear", align_corners=False)
            out = y if out is None else out + y
        return self.conv_out(out)


class SpatialAttentionFusion(nn.Module):
    """Unified attention fusion module."""

    def __init__(self, low, high, outputs):
        super().__init__()
        self.conv_x = ConvBNAct(low, high, 3, nn.ReLU(), padding=1)
        self.conv_out = ConvBNAct(high, outputs, 3, nn.ReLU(), padding=1)
        self.conv_xy_atten = nn.Sequential(ConvBNAct(4, 2, 3, nn.LeakyReLU(), padding=1), ConvBNAct(2, 1, 3, padding=1))

    def forward(self, low, high):
        x = self.conv_x(low)
        y = F.interpolate(high, x.shape[2:], mode="bilinear", align_corners=False)
        parts = []
        for tensor in (x, y):
            parts.append(torch.mean(tensor, dim=1, keepdim=True))
            parts.append(torch.max(tensor, dim=1, keepdim=True)[0])
        atten = torch.sigmoid(self.conv_xy_atten(torch.cat(parts, dim=1)))
        return self.conv_out(x * atten + y * (1 - atten))


class PPLiteSeg(nn.Module):
    def __init__(self, classes=19):
        super().__init__()
        self.backbone = STDC1()
        self.cm = PyramidPooling(1024, 128, 128)
        self.fuse16 = SpatialAttentionFusion(512, 128, 96)
        self.fuse8 = SpatialAttentionFusion(256, 96, 64)
        self.head = nn.Sequential(ConvBNAct(64, 64, 3, nn.ReLU(), padding=1), nn.Conv2d(64, classes, 1, bias=False))

    def forward(self, x):
        feat8, feat16, feat32 = self.backbone(x)
        y = self.fuse8(feat8, self.fuse16(feat16, self.cm(feat32)))
        return F.interpolate(self.head(y), x.shape[2:], mode="bilinear", align_corners=False)
