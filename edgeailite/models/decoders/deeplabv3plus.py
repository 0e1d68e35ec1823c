"""DeepLabV3+Lite decoder.

DeepLabV3+ is Chen et al., 2018 (https://arxiv.org/abs/1802.02611). The edgeailite variant replaces its ASPP by
`DWASPP` and its two 3x3 convolutions by one depthwise 3x3 without activation and a 1x1 without BatchNorm.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from edgeailite.models.decoders.aspp import DWASPP
from edgeailite.models.layers import Activation, conv_bn_act, prediction_head, resize_like

SHORTCUT_STRIDE = 4


class DeepLabV3PlusLite(nn.Module):
    """ASPP of the deepest feature, up-sampled to stride 4, beside a 1x1 of the stride-4 feature -> raw predictions."""

    stride = SHORTCUT_STRIDE

    def __init__(
        self,
        num_channels: int,
        *,
        channels: Sequence[int],
        strides: Sequence[int],
        group_size: int = 1,
        activation: Activation = nn.ReLU,
        width: int = 256,
        shortcut_channels: int = 48,
    ) -> None:
        super().__init__()
        if SHORTCUT_STRIDE not in strides:
            raise ValueError(
                f"encoder strides {tuple(strides)}: DeepLabV3+ needs a feature at stride {SHORTCUT_STRIDE}"
            )
        self.shortcut_index = list(strides).index(SHORTCUT_STRIDE)
        merged = width + shortcut_channels
        self.shortcut = conv_bn_act(channels[self.shortcut_index], shortcut_channels, 1, activation=activation)
        self.aspp = DWASPP(channels[-1], width, width, group_size=group_size, activation=activation)
        self.pred = prediction_head(merged, num_channels, groups=merged // group_size)

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        shortcut = self.shortcut(features[self.shortcut_index])  # (N, 48, H/4, W/4)
        deep = resize_like(self.aspp(features[-1]), shortcut)  # (N, 256, H/4, W/4)
        return self.pred(torch.cat((deep, shortcut), 1))
