"""DeepLabV3+Lite decoder.

DeepLabV3+ is Chen et al., 2018 (https://arxiv.org/abs/1802.02611). The edgeailite variant replaces its ASPP by
`DWASPP` and its two 3x3 convolutions by one depthwise 3x3 without activation and a 1x1 without BatchNorm.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from edgeailite.models.decoders.aspp import DWASPP
from edgeailite.models.encoders.chain import Encoder
from edgeailite.models.layers import conv_bn_act, group_count, prediction_head, upsampling


class DeepLabV3PlusLite(nn.Module):
    """ASPP of the deepest feature, up-sampled to the shortcut's stride, beside a 1x1 of that feature."""

    def __init__(
        self,
        num_channels: int,
        encoder: Encoder,
        *,
        width: int = 256,
        shortcut_channels: int = 48,
        shortcut_stride: int = 4,
        method: str = "bilinear",
    ) -> None:
        """`method` is the up-sampling's. Raises ValueError if the encoder has no feature at `shortcut_stride`."""
        super().__init__()
        if shortcut_stride not in encoder.strides:
            raise ValueError(f"encoder strides {encoder.strides}: DeepLabV3+ needs a feature at {shortcut_stride}")
        self.shortcut_index = encoder.strides.index(shortcut_stride)
        activation, group_size = encoder.activation, encoder.group_size
        merged = width + shortcut_channels
        self.shortcut = conv_bn_act(encoder.channels[self.shortcut_index], shortcut_channels, 1, activation=activation)
        self.aspp = DWASPP(encoder.channels[-1], width, width, group_size=group_size, activation=activation)
        self.up = upsampling(method, width, encoder.strides[-1] // shortcut_stride, activation)
        self.pred = prediction_head(merged, num_channels, groups=group_count(merged, group_size))

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """Predict (N,C,h,w) at the shortcut's stride from features, shallow to deep."""
        shortcut = self.shortcut(features[self.shortcut_index])  # (N, 48, H/4, W/4)
        deep = self.up(self.aspp(features[-1]), shortcut)  # (N, 256, H/4, W/4)
        return self.pred(torch.cat((deep, shortcut), 1))
