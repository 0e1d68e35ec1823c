"""UNet decoder of the edgeailite family.

UNet is Ronneberger et al., 2015 (https://arxiv.org/abs/1505.04597). The edgeailite variant starts from the deepest
feature through `DWASPP` and joins every shallower feature raw, by concatenation, each followed by one separable
convolution. The width of a level is that of its feature, but at least twice the number of classes and at least 32.
Key names are the published ones: `rfblock`, `unet.smooth_convs.<i>`, i from 1.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from edgeailite.models.decoders.aspp import DWASPP
from edgeailite.models.encoders.chain import Encoder
from edgeailite.models.layers import group_count, prediction_head, separable_conv, upsampling

LEAST_WIDTH = 32


class UNet(nn.Module):
    """UNet decoder: from the deepest to the shallowest feature, y = separable(concat(up(y), feature))."""

    def __init__(self, num_channels: int, encoder: Encoder, *, width: int = 256, method: str = "bilinear") -> None:
        """`width` is that of the ASPP, `method` the up-sampling's."""
        super().__init__()
        group_size, activation = encoder.group_size, encoder.activation
        self.rfblock = DWASPP(encoder.channels[-1], width, width, group_size=group_size, activation=activation)
        self.unet = Expanding(encoder, width, max(2 * num_channels, LEAST_WIDTH), method)
        channels = self.unet.out_channels
        self.pred = prediction_head(channels, num_channels, groups=group_count(channels, group_size))

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """Predict (N,C,h,w) at the shallowest feature's stride from features, shallow to deep."""
        return self.pred(self.unet(self.rfblock(features[-1]), features))


class Expanding(nn.Module):
    """Expanding path from the coarsest map through the shallower features."""

    def __init__(self, encoder: Encoder, width: int, least: int, method: str) -> None:
        super().__init__()
        activation, channels = encoder.activation, width
        self.smooth_convs, self.upsamples = nn.ModuleDict(), nn.ModuleDict()
        for level, tapped in enumerate(encoder.channels[-2::-1], start=1):
            merged, out_channels = channels + tapped, max(least, tapped)
            self.upsamples[str(level)] = upsampling(method, channels, 2, activation)
            self.smooth_convs[str(level)] = separable_conv(
                merged, out_channels, groups=group_count(merged, encoder.group_size), activation=activation
            )
            channels = out_channels
        self.levels, self.out_channels = len(self.smooth_convs), channels

    def forward(self, y: Tensor, features: Sequence[Tensor]) -> Tensor:
        """Merge the coarsest map `y` with the shallower features; return a map of the shallowest one's size."""
        for level in range(1, self.levels + 1):
            tap = features[self.levels - level]
            y = self.smooth_convs[str(level)](torch.cat((self.upsamples[str(level)](y, tap), tap), 1))
        return y
