"""MobileNetV2 (Sandler et al., 2018, https://arxiv.org/abs/1801.04381) as a feature encoder.

Key names are torchvision's (`features.0.0.weight`, ...), so its ImageNet weights load. What the published
edgeailite networks change against torchvision, and so do we: ReLU instead of ReLU6, no last 320 -> 1280
convolution and classifier, and the last stride of 2 optionally set to 1 *without* dilation (output stride 16).
Additions are plain `+`; the last BatchNorm of a block has no activation (linear bottleneck).
"""

from __future__ import annotations

from torch import Tensor, nn

from edgeailite.models.layers import Activation, conv_bn_act

# expansion, channels, repeats, stride: table 2 of the paper without its last row
STAGES = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))
STEM_CHANNELS = 32
TAPS = (1, 3, 6, 13, 17)  # last block at each stride


class InvertedResidual(nn.Module):
    """Expand 1x1, depthwise 3x3, project 1x1; the input is added where shape allows (paper, figure 4d)."""

    def __init__(
        self, in_channels: int, out_channels: int, *, stride: int, expansion: int, activation: Activation
    ) -> None:
        super().__init__()
        hidden = in_channels * expansion
        self.use_shortcut = stride == 1 and in_channels == out_channels
        layers: list[nn.Module] = []
        if expansion != 1:
            layers.append(conv_bn_act(in_channels, hidden, 1, activation=activation))
        layers += [
            conv_bn_act(hidden, hidden, 3, stride=stride, groups=hidden, activation=activation),
            nn.Conv2d(hidden, out_channels, 1, bias=False),
            nn.BatchNorm2d(out_channels),
        ]
        self.conv = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv(x) if self.use_shortcut else self.conv(x)


class MobileNetV2(nn.Module):
    """Features 16@2, 24@4, 32@8, 96@16 and 320@`output_stride` (C@stride) of an image (N,3,H,W)."""

    group_size = 1

    def __init__(self, *, output_stride: int = 32, activation: Activation = nn.ReLU) -> None:
        super().__init__()
        if output_stride not in (16, 32):
            raise ValueError(f"output_stride {output_stride}: MobileNetV2 has 16 or 32")
        self.activation = activation
        self.channels = (16, 24, 32, 96, 320)
        self.strides = (2, 4, 8, 16, output_stride)
        blocks: list[nn.Module] = [conv_bn_act(3, STEM_CHANNELS, 3, stride=2, activation=activation)]
        in_channels, total = STEM_CHANNELS, 2
        for expansion, channels, repeats, stage_stride in STAGES:
            stride = stage_stride if total * stage_stride <= output_stride else 1
            total *= stride
            for index in range(repeats):
                blocks.append(
                    InvertedResidual(
                        in_channels,
                        channels,
                        stride=stride if index == 0 else 1,
                        expansion=expansion,
                        activation=activation,
                    )
                )
                in_channels = channels
        self.features = nn.Sequential(*blocks)

    def forward(self, x: Tensor) -> list[Tensor]:
        features = []
        for index, block in enumerate(self.features):
            x = block(x)
            if index in TAPS:
                features.append(x)
        return features
