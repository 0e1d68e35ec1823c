"""PIDNet-S (Xu et al. 2023, arXiv:2206.02066): three branches, attention between them, a head at an eighth."""

import torch
import torch.nn.functional as F
from torch import nn

from benchmarks.foreign.ddrnet import BasicBlock, Bottleneck, bn_relu_conv, conv_bn, make_layer, pooled_scales


class PagFM(nn.Module):
    """Pixel attention guided fusion."""

    def __init__(self, channels, middle):
        super().__init__()
        self.f_x, self.f_y = conv_bn(channels, middle), conv_bn(channels, middle)

    def forward(self, x, y):
        size = x.size()
        y_q = F.interpolate(self.f_y(y), size=[size[2], size[3]], mode="bilinear", align_corners=False)
        similarity = torch.sigmoid(torch.sum(self.f_x(x) * y_q, dim=1).unsqueeze(1))
        y = F.interpolate(y, size=[size[2], size[3]], mode="bilinear", align_corners=False)
        return (1 - similarity) * x + similarity * y


class PAPPM(nn.Module):
    """Parallel aggregation pyramid pooling."""

    def __init__(self, inputs, planes, outputs):
        super().__init__()
        self.scales = pooled_scales(inputs, planes)
        self.scale0 = bn_relu_conv(inputs, planes)
        self.scale_process = nn.Sequential(
            nn.BatchNorm2d(planes * 4), nn.ReLU(True),
            nn.Conv2d(planes * 4, planes * 4, 3, padding=1, groups=4, bias=False),
        )  # fmt: skip
        self.compression, self.shortcut = bn_relu_conv(planes * 5, outputs), bn_relu_conv(inputs, outputs)

    def forward(self, x):
        width, height = x.shape[-1], x.shape[-2]
        x_ = self.scale0(x)
        scale_list = [
            F.interpolate(scale(x), size=[height, width], mode="bilinear", align_corners=False) + x_
            for scale in self.scales
        ]
        scale_out = self.scale_process(torch.cat(scale_list, 1))
        return self.compression(torch.cat([x_, scale_out], 1)) + self.shortcut(x)


class LightBag(nn.Module):
    """Boundary attention guided fusion, light."""

    def __init__(self, channels):
        super().__init__()
        self.conv_p, self.conv_i = conv_bn(channels, channels), conv_bn(channels, channels)

    def forward(self, p, i, d):
        edge_att = torch.sigmoid(d)
        return self.conv_p((1 - edge_att) * i + p) + self.conv_i(i + edge_att * p)


def make_single(block, inputs, planes, stride=1):
    return make_layer(block, inputs, planes, 1, stride)[0]


class PIDNetS(nn.Module):
    def __init__(self, classes=19, m=2, n=3, planes=32):
        super().__init__()
        self.conv1 = nn.Sequential(
            *conv_bn(3, planes, 3, 2), nn.ReLU(True), *conv_bn(planes, planes, 3, 2), nn.ReLU(True)
        )
        self.relu = nn.ReLU(inplace=True)
        self.layer1 = make_layer(BasicBlock, planes, planes, m)
        self.layer2 = make_layer(BasicBlock, planes, planes * 2, m, 2)
        self.layer3 = make_layer(BasicBlock, planes * 2, planes * 4, n, 2)
        self.layer4 = make_layer(BasicBlock, planes * 4, planes * 8, n, 2)
        self.layer5 = make_layer(Bottleneck, planes * 8, planes * 8, 2, 2)
        self.compression3, self.compression4 = conv_bn(planes * 4, planes * 2), conv_bn(planes * 8, planes * 2)
        self.pag3, self.pag4 = PagFM(planes * 2, planes), PagFM(planes * 2, planes)
        self.layer3_, self.layer4_ = make_layer(BasicBlock, 64, 64, m), make_layer(BasicBlock, 64, 64, m)
        self.layer5_ = make_layer(Bottleneck, 64, 64, 1)
        self.layer3_d, self.layer4_d = make_single(BasicBlock, 64, 32), make_layer(Bottleneck, 32, 32, 1)
        self.diff3, self.diff4 = conv_bn(planes * 4, planes, 3), conv_bn(planes * 8, planes * 2, 3)
        self.layer5_d = make_layer(Bottleneck, 64, 64, 1)
        self.spp, self.dfm = PAPPM(planes * 16, 96, planes * 4), LightBag(planes * 4)
        self.head = nn.Sequential(
            bn_relu_conv(planes * 4, 128, 3), nn.BatchNorm2d(128), nn.ReLU(), nn.Conv2d(128, classes, 1)
        )

    def forward(self, x):
        size = [x.shape[-2] // 8, x.shape[-1] // 8]
        x = self.layer1(self.conv1(x))
        x = self.relu(self.layer2(self.relu(x)))
        x_, x_d = self.layer3_(x), self.layer3_d(x)
        x = self.relu(self.layer3(x))
        x_ = self.pag3(x_, self.compression3(x))
        x_d = x_d + F.interpolate(self.diff3(x), size=size, mode="bilinear", align_corners=False)
        x = self.relu(self.layer4(x))
        x_, x_d = self.layer4_(self.relu(x_)), self.layer4_d(self.relu(x_d))
        x_ = self.pag4(x_, self.compression4(x))
        x_d = x_d + F.interpolate(self.diff4(x), size=size, mode="bilinear", align_corners=False)
        x_, x_d = self.layer5_(self.relu(x_)), self.layer5_d(self.relu(x_d))
        x = F.interpolate(self.spp(self.layer5(x)), size=size, mode="bilinear", align_corners=False)
        return self.head(self.dfm(x_, x, x_d))
