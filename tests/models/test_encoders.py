"""Encoders of the ADE20K family against torchvision's networks and, for HRNetV2, against the rule it follows."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
import torchvision
from torch import nn

from edgeailite.models.encoders.hrnet import HighResolutionModule, hrnetv2
from edgeailite.models.encoders.mobilenetv2_dilated import mobilenetv2_dilated
from edgeailite.models.encoders.residual import BasicBlock, Bottleneck
from edgeailite.models.encoders.resnet_deepstem import deepstem_resnet
from edgeailite.models.encoders.vgg import dilated_vgg


def test_high_resolution_module_sums_what_arrives_at_each_branch():
    module = HighResolutionModule([4, 8, 16]).eval()
    x = [torch.randn(2, 4, 33, 21), torch.randn(2, 8, 17, 11), torch.randn(2, 16, 9, 6)]
    with torch.inference_mode():
        out = module(x)
        a, b, c = (run(branch) for run, branch in zip(module.branches, x, strict=True))
        to = {(j, i): module.fuse_layers[i][str(j)] for i in range(3) for j in range(3) if i != j}
        resized = F.interpolate(to[2, 1](c), size=(17, 11), mode="bilinear", align_corners=False)
        torch.testing.assert_close(out[1], F.relu(to[0, 1](a) + b + resized))
        torch.testing.assert_close(out[2], F.relu(to[0, 2](a) + to[1, 2](b) + c))
    assert [y.shape for y in out] == [y.shape for y in x]


def test_hrnet_joins_four_branches():
    encoder = hrnetv2(width=4).eval()
    with torch.inference_mode():
        (feature,) = encoder(torch.randn(1, 3, 75, 101))
    assert feature.shape == (1, 60, 19, 26)
    assert encoder.channels == (60,)


def assert_equal_outputs(ours: nn.Module, theirs: nn.Module, shape: tuple[int, ...]) -> None:
    x = torch.randn(shape)
    with torch.inference_mode():
        torch.testing.assert_close(ours.eval()(x), theirs.eval()(x))


@pytest.mark.parametrize("stride", [1, 2])
def test_blocks_equal_torchvision(stride):
    theirs = torchvision.models.resnet
    for ours, block in ((BasicBlock, theirs.BasicBlock), (Bottleneck, theirs.Bottleneck)):
        mine = ours(16, 8, stride=stride)
        shortcut = None
        if mine.downsample is not None:
            shortcut = nn.Sequential(nn.Conv2d(16, 8 * block.expansion, 1, stride, bias=False))
            shortcut.append(nn.BatchNorm2d(8 * block.expansion))
        their = block(16, 8, stride, shortcut)
        their.load_state_dict(mine.state_dict())
        assert_equal_outputs(mine, their, (2, 16, 13, 10))


def test_dilated_stages_equal_torchvision():
    ours = deepstem_resnet("resnet50", output_stride=8)
    theirs = torchvision.models.resnet50(weights=None, replace_stride_with_dilation=[False, True, True])
    names = ("layer2", "layer3", "layer4")
    for name in names:
        getattr(theirs, name).load_state_dict(getattr(ours, name).state_dict())
    stages = [nn.Sequential(*[getattr(network, name) for name in names]) for network in (ours, theirs)]
    assert_equal_outputs(*stages, (1, 256, 17, 12))


def test_mobilenetv2_without_dilation_equals_torchvision():
    ours = mobilenetv2_dilated(output_stride=32)
    theirs = torchvision.models.mobilenet_v2(weights=None).features[:18]
    theirs.load_state_dict(dict(zip(theirs.state_dict(), ours.state_dict().values(), strict=True)))
    x = torch.randn(1, 3, 65, 97)
    with torch.inference_mode():
        torch.testing.assert_close(ours.eval()(x)[-1], theirs.eval()(x))


@pytest.mark.parametrize(("name", "config"), [("vgg16", "D"), pytest.param("vgg19", "E", marks=pytest.mark.slow)])
def test_vgg_equals_torchvision_without_its_last_poolings(name, config):
    layers = list(torchvision.models.vgg.make_layers(torchvision.models.vgg.cfgs[config]))
    pools = [i for i, layer in enumerate(layers) if isinstance(layer, nn.MaxPool2d)]
    for layer in layers[pools[3] :]:
        if isinstance(layer, nn.Conv2d):
            layer.dilation = layer.padding = (2, 2)
    kept = nn.Sequential(*[layer for i, layer in enumerate(layers) if i not in pools[3:]])
    ours = dilated_vgg(name).eval()
    kept.load_state_dict(ours.features.state_dict())
    x = torch.randn(1, 3, 40, 32)
    with torch.inference_mode():
        fc6 = F.conv2d(kept(x), ours.conv6.weight, ours.conv6.bias, padding=12, dilation=4).relu()
        fc7 = F.conv2d(fc6, ours.conv7.weight, ours.conv7.bias).relu()
        torch.testing.assert_close(ours(x)[0], fc7)
