"""ResNet50 (He et al., 2016, https://arxiv.org/abs/1512.03385) as a feature encoder of the edgeailite family.

Torchvision's v1.5 network without its classifier, with its key names after `features.`, so that its ImageNet weights
load. What edgeailite adds: half width (`p5`), output stride 16 without dilation, and fast downsampling: stride 2 in
layer1.
"""

from __future__ import annotations

from torch import nn

from edgeailite.models.encoders.chain import Encoder, Stem
from edgeailite.models.encoders.residual import Bottleneck, stage

DEPTHS = (3, 4, 6, 3)
STEM_CHANNELS = 64


def resnet50(*, output_stride: int = 32, fast_down: bool = False, width: float = 1.0, inputs: int = 1) -> Encoder:
    """Build ResNet50 with features 64@2, 256@4, 512@8, 1024@16 and 2048@32 (C@stride) at width 1.0.

    With `fast_down`: 64@2, 64@4 (max-pooling), 256@8 and so on. A smaller `output_stride` sets later strides to 1.
    """
    stem_channels = int(STEM_CHANNELS * width)
    strides, total = [], 4
    totals = []
    for index in range(len(DEPTHS)):
        wanted = 2 if index > 0 or fast_down else 1
        strides.append(wanted if total * wanted <= output_stride else 1)
        total *= strides[-1]
        totals.append(total)

    def make_blocks() -> dict[str, nn.Module]:
        """Return the blocks of the chain by name."""
        blocks: dict[str, nn.Module] = {
            "features.conv1": nn.Conv2d(3, stem_channels, 7, 2, 3, bias=False),
            "features.bn1": nn.BatchNorm2d(stem_channels),
            "features.relu": nn.ReLU(),
            "features.maxpool": nn.MaxPool2d(3, 2, 1),
        }
        in_channels = stem_channels
        for index, depth in enumerate(DEPTHS):
            planes = stem_channels * 2**index
            blocks[f"features.layer{index + 1}"] = stage(Bottleneck, in_channels, planes, depth, stride=strides[index])
            in_channels = planes * Bottleneck.expansion
        return blocks

    taps = {"features.relu": (stem_channels, 2)}
    if fast_down:
        taps["features.maxpool"] = (stem_channels, 4)
    for index in range(len(DEPTHS)):
        taps[f"features.layer{index + 1}"] = (stem_channels * 2**index * Bottleneck.expansion, totals[index])
    stem = Stem("features.maxpool", stem_channels)
    return Encoder(make_blocks, taps, stem=stem, inputs=inputs, prefix="features.")
