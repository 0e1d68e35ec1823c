"""DWASPP: atrous spatial pyramid pooling with depthwise-separable branches.

ASPP is from DeepLabV3 (Chen et al., 2017, https://arxiv.org/abs/1706.05587). The edgeailite variant has no
image-pooling branch and applies the dilated 3x3 convolutions depthwise (grouped where the encoder is) before
the 1x1 convolutions. Attribute names are the published ones (`conv1x1`, `aspp_bra1..3`, `aspp_out`).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from edgeailite.models.layers import Activation, conv_bn_act, group_count, separable_conv


class DWASPP(nn.Module):
    """(N,in,h,w) -> (N,out,h,w); branches 1x1 and three dilated 3x3, concatenated in that order."""

    def __init__(
        self,
        in_channels: int,
        branch_channels: int,
        out_channels: int,
        *,
        dilations: tuple[int, int, int] = (6, 12, 18),
        group_size: int = 1,
        activation: Activation = nn.ReLU,
        dropout: float = 0.2,
    ) -> None:
        super().__init__()
        groups = group_count(in_channels, group_size)
        branches = [
            separable_conv(in_channels, branch_channels, dilation=d, groups=groups, activation=activation)
            for d in dilations
        ]
        self.conv1x1 = conv_bn_act(in_channels, branch_channels, 1, activation=activation)
        self.aspp_bra1, self.aspp_bra2, self.aspp_bra3 = branches
        self.dropout = nn.Dropout2d(dropout)
        self.aspp_out = conv_bn_act(4 * branch_channels, out_channels, 1, activation=activation)

    def forward(self, x: Tensor) -> Tensor:
        """Pool a map (N,in,h,w) to (N,out,h,w)."""
        pyramid = torch.cat((self.conv1x1(x), self.aspp_bra1(x), self.aspp_bra2(x), self.aspp_bra3(x)), 1)
        return self.aspp_out(self.dropout(pyramid))
