"""UPerNet (Xiao et al., 2018, https://arxiv.org/abs/1807.10221), of the ADE20K family (CSAIL
semantic-segmentation-pytorch): pyramid pooling on the deepest feature, then a feature pyramid.

The order in the pooling differs from `PPM`: pool, resize, 1x1 block. The top-down path goes on with the sum *before*
its 3x3 block. Key names are the published ones. What we changed: the widths of the lateral convolutions come from the
encoder (published code has those of ResNet50), so every encoder with several features can be used.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from edgeailite.models.decoders.ppm import POOL_SCALES, WIDTH
from edgeailite.models.encoders.chain import Encoder
from edgeailite.models.layers import conv_bn_act, resize_like


class UPerNet(nn.Module):
    """All levels at the size of the shallowest feature, concatenated, 3x3 block, 1x1. `width` is that of a level."""

    def __init__(self, num_channels: int, encoder: Encoder, *, width: int = 512, align_corners: bool = False) -> None:
        """Raises ValueError if the encoder has one feature only."""
        super().__init__()
        *shallow, deepest = encoder.channels
        if not shallow:
            raise ValueError(f"encoder channels {encoder.channels}: UPerNet needs two features or more")
        self.align_corners = align_corners
        self.ppm_pooling = nn.ModuleList(nn.AdaptiveAvgPool2d(scale) for scale in POOL_SCALES)
        self.ppm_conv = nn.ModuleList(conv_bn_act(deepest, WIDTH, 1) for _ in POOL_SCALES)
        self.ppm_last_conv = conv_bn_act(deepest + len(POOL_SCALES) * WIDTH, width, 3)
        self.fpn_in = nn.ModuleList(conv_bn_act(channels, width, 1) for channels in shallow)
        self.fpn_out = nn.ModuleList(nn.Sequential(conv_bn_act(width, width, 3)) for _ in shallow)
        self.conv_last = nn.Sequential(
            conv_bn_act((len(shallow) + 1) * width, width, 3), nn.Conv2d(width, num_channels, 1)
        )

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """Predict (N,C,h,w) at the shallowest feature's stride from features, shallow to deep."""
        deepest = features[-1]
        pooled = [
            block(self._resized(pool(deepest), deepest))
            for pool, block in zip(self.ppm_pooling, self.ppm_conv, strict=True)
        ]
        y = self.ppm_last_conv(torch.cat([deepest, *pooled], 1))
        levels = [y]  # deep to shallow
        for index in reversed(range(len(self.fpn_in))):
            lateral = self.fpn_in[index](features[index])
            y = lateral + self._resized(y, lateral)
            levels.append(self.fpn_out[index](y))
        finest = levels.pop()
        return self.conv_last(torch.cat([finest, *[self._resized(level, finest) for level in reversed(levels)]], 1))

    def _resized(self, x: Tensor, reference: Tensor) -> Tensor:
        return resize_like(x, reference, align_corners=self.align_corners)
