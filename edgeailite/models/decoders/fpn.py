"""FPN decoder of the edgeailite family.

Feature Pyramid Network is Lin et al., 2017 (https://arxiv.org/abs/1612.03144). The edgeailite variant starts from the
deepest feature through `DWASPP` (or, in `fpn_mobilenetv2_tv`, through two strided separable convolutions, the RF
block), smooths with separable convolutions *inside* the top-down path, and predicts from its finest level alone.
Key names are the published ones: `rfblock`, `fpn.shortcuts.<i>`, `fpn.smooth_convs.<i>`, i from 1.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from edgeailite.models.decoders.aspp import DWASPP
from edgeailite.models.encoders.chain import Encoder
from edgeailite.models.layers import conv_bn_act, group_count, prediction_head, separable_conv, upsampling


class FPN(nn.Module):
    """Top-down path from the receptive-field block to the feature at `finest_stride`: y = smooth(up(y) + 1x1(tap))."""

    def __init__(
        self,
        num_channels: int,
        encoder: Encoder,
        *,
        width: int = 256,
        finest_stride: int = 4,
        rf_block: bool = False,
        separable: bool = True,
        method: str = "bilinear",
    ) -> None:
        """`rf_block` replaces the ASPP by two strides of 2; `separable` false smooths with 3x3 convolutions over all
        channels, as SwiftNet does; `method` is the up-sampling's."""
        super().__init__()
        group_size, activation, deepest = encoder.group_size, encoder.activation, encoder.channels[-1]
        groups = group_count(deepest, group_size)
        taps = [i for i, stride in enumerate(encoder.strides) if stride >= finest_stride][::-1]  # deep to shallow
        self.rf_block, self.taps = rf_block, taps if rf_block else taps[1:]
        tapped = [encoder.channels[i] for i in self.taps]
        if rf_block:
            tapped = [deepest, *tapped]  # the block's first result, at twice the deepest stride
            self.rfblock: nn.Sequential | DWASPP = nn.Sequential(
                separable_conv(deepest, deepest, stride=2, groups=groups, activation=activation),
                separable_conv(deepest, width, stride=2, groups=groups, activation=activation),
            )
        else:
            self.rfblock = DWASPP(deepest, width, width, group_size=group_size, activation=activation)
        self.fpn = TopDown(tapped, width, encoder, method, separable=separable)
        self.pred = prediction_head(width, num_channels, groups=group_count(width, group_size))

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """Predict (N,C,h,w) at `finest_stride` from features, shallow to deep."""
        taps = [features[i] for i in self.taps]
        if not self.rf_block:
            return self.pred(self.fpn(self.rfblock(features[-1]), taps))
        first, second = self.rfblock.children()
        middle = first(features[-1])  # (N, C, H/64, W/64)
        return self.pred(self.fpn(second(middle), [middle, *taps]))


class TopDown(nn.Module):
    """Top-down path from the coarsest map through the shallower features."""

    def __init__(
        self, tapped: Sequence[int], width: int, encoder: Encoder, method: str, *, separable: bool = True
    ) -> None:
        super().__init__()
        activation, groups = encoder.activation, group_count(width, encoder.group_size)
        self.shortcuts, self.smooth_convs, self.upsamples = nn.ModuleDict(), nn.ModuleDict(), nn.ModuleDict()
        for level, channels in enumerate(tapped, start=1):
            self.shortcuts[str(level)] = conv_bn_act(channels, width, 1, activation=activation)
            self.smooth_convs[str(level)] = (
                separable_conv(width, width, groups=groups, activation=activation)
                if separable
                else conv_bn_act(width, width, 3, activation=activation)
            )
            self.upsamples[str(level)] = upsampling(method, width, 2, activation)

    def forward(self, y: Tensor, taps: Sequence[Tensor]) -> Tensor:
        """Merge the coarsest map `y` with `taps`, deep to shallow; return a map of the last one's size."""
        for level, tap in enumerate(taps, start=1):
            shortcut = self.shortcuts[str(level)](tap)
            y = self.smooth_convs[str(level)](shortcut + self.upsamples[str(level)](y, shortcut))
        return y
