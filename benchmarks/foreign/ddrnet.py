"""DDRNet-23-slim (Hong et al. 2021, arXiv:2101.06085); its blocks and pyramid serve PIDNet, too."""

import torch
import torch.nn.functional as F
from torch import nn


class BasicBlock(nn.Module):
    expansion = 1

    def __init__(self, inputs, planes, stride=1, downsample=None, no_relu=False):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, planes, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(planes)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(planes, planes, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)
        self.downsample = downsample
        self.no_relu = no_relu

    def forward(self, x):
        residual = x
        out = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        if self.downsample is not None:
            residual = self.downsample(x)
        out += residual
        return out if self.no_relu else self.relu(out)


class Bottleneck(nn.Module):
    expansion = 2

    def __init__(self, inputs, planes, stride=1, downsample=None, no_relu=True):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(inputs, planes, 1, bias=False), nn.BatchNorm2d(planes)
        self.conv2, self.bn2 = nn.Conv2d(planes, planes, 3, stride, 1, bias=False), nn.BatchNorm2d(planes)
        self.conv3, self.bn3 = nn.Conv2d(planes, planes * 2, 1, bias=False), nn.BatchNorm2d(planes * 2)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = downsample
        self.no_relu = no_relu

    def forward(self, x):
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.bn3(self.conv3(self.relu(self.bn2(self.conv2(out)))))
        out += x if self.downsample is None else self.downsample(x)
        return out if self.no_relu else self.relu(out)


def make_layer(block, inputs, planes, blocks, stride=1):
    downsample = None
    if stride != 1 or inputs != planes * block.expansion:
        downsample = nn.Sequential(
            nn.Conv2d(inputs, planes * block.expansion, 1, stride, bias=False), nn.BatchNorm2d(planes * block.expansion)
        )
    layers = [block(inputs, planes, stride, downsample, no_relu=block is Bottleneck)]
    for index in range(1, blocks):
        layers.append(block(planes * block.expansion, planes, no_relu=index == blocks - 1))
    return nn.Sequential(*layers)


def bn_relu_conv(inputs, outputs, kernel=1):
    return nn.Sequential(
        nn.BatchNorm2d(inputs), nn.ReLU(inplace=True), nn.Conv2d(inputs, outputs, kernel, 1, kernel // 2, bias=False)
    )


def conv_bn(inputs, outputs, kernel=1, stride=1):
    return nn.Sequential(nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False), nn.BatchNorm2d(outputs))


def pooled_scales(inputs, planes):
    """Averages at four scales, the last of the whole picture, and a convolution behind each."""
    pools = [nn.AvgPool2d(k, stride=s, padding=p) for k, s, p in ((5, 2, 2), (9, 4, 4), (17, 8, 8))]
    return nn.ModuleList(
        nn.Sequential(pool, bn_relu_conv(inputs, planes)) for pool in (*pools, nn.AdaptiveAvgPool2d((1, 1)))
    )


class DAPPM(nn.Module):
    def __init__(self, inputs, planes, outputs):
        super().__init__()
        self.scales = pooled_scales(inputs, planes)
        self.scale0 = bn_relu_conv(inputs, planes)
        self.processes = nn.ModuleList(bn_relu_conv(planes, planes, 3) for _ in self.scales)
        self.compression, self.shortcut = bn_relu_conv(planes * 5, outputs), bn_relu_conv(inputs, outputs)

    def forward(self, x):
        width, height = x.shape[-1], x.shape[-2]
        x_list = [self.scale0(x)]
        for scale, process in zip(self.scales, self.processes, strict=True):
            up = F.interpolate(scale(x), size=[height, width], mode="bilinear")
            x_list.append(process(up + x_list[-1]))
        return self.compression(torch.cat(x_list, 1)) + self.shortcut(x)


class DDRNet23Slim(nn.Module):
    def __init__(self, classes=19, planes=32):
        super().__init__()
        self.conv1 = nn.Sequential(
            *conv_bn(3, planes, 3, 2), nn.ReLU(True), *conv_bn(planes, planes, 3, 2), nn.ReLU(True)
        )
        self.relu = nn.ReLU(inplace=False)
        self.layer1 = make_layer(BasicBlock, planes, planes, 2)
        self.layer2 = make_layer(BasicBlock, planes, planes * 2, 2, 2)
        self.layer3, self.layer3_ = make_layer(BasicBlock, 64, 128, 2, 2), make_layer(BasicBlock, 64, 64, 2)
        self.layer4, self.layer4_ = make_layer(BasicBlock, 128, 256, 2, 2), make_layer(BasicBlock, 64, 64, 2)
        self.layer5, self.layer5_ = make_layer(Bottleneck, 256, 256, 1, 2), make_layer(Bottleneck, 64, 64, 1)
        self.compression3, self.compression4 = conv_bn(128, 64), conv_bn(256, 64)
        self.down3 = conv_bn(64, 128, 3, 2)
        self.down4 = nn.Sequential(*conv_bn(64, 128, 3, 2), nn.ReLU(inplace=True), *conv_bn(128, 256, 3, 2))
        self.spp = DAPPM(512, 128, 128)
        self.final_layer = nn.Sequential(
            bn_relu_conv(128, 64, 3), nn.BatchNorm2d(64), nn.ReLU(), nn.Conv2d(64, classes, 1)
        )

    def forward(self, x):
        size = [x.shape[-2] // 8, x.shape[-1] // 8]
        x = self.layer2(self.relu(self.layer1(self.conv1(x))))
        low, high = self.layer3(self.relu(x)), self.layer3_(self.relu(x))
        x = low + self.down3(self.relu(high))
        high = high + F.interpolate(self.compression3(self.relu(low)), size=size, mode="bilinear")
        low, high_ = self.layer4(self.relu(x)), self.layer4_(self.relu(high))
        x = low + self.down4(self.relu(high_))
        high = high_ + F.interpolate(self.compression4(self.relu(low)), size=size, mode="bilinear")
        x = F.interpolate(self.spp(self.layer5(self.relu(x))), size=size, mode="bilinear")
        return self.final_layer(x + self.layer5_(self.relu(high)))
