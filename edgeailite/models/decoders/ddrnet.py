"""The prediction heads of DDRNet (Hong et al., 2021, https://arxiv.org/abs/2101.06085): BatchNorm and ReLU first.

Original code: ydhongHIT/DDRNet, whose names are kept (`final_layer`, and `seghead_extra` for deep supervision) but for
the first normalisation and convolution, which are one module here.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from edgeailite.models.encoders.chain import Encoder
from edgeailite.models.encoders.preactivated import PreActivated

WIDTH = 64


class Head(nn.Module):
    """BatchNorm, ReLU, 3x3, BatchNorm, ReLU, 1x1: (N,in,h,w) -> (N,out,h,w)."""

    def __init__(self, in_channels: int, num_channels: int) -> None:
        super().__init__()
        conv = nn.Conv2d(in_channels, WIDTH, 3, padding=1, bias=False)
        self.first = PreActivated(nn.BatchNorm2d(in_channels), nn.ReLU(), conv)
        self.bn2, self.relu2 = nn.BatchNorm2d(WIDTH), nn.ReLU()
        self.conv2 = nn.Conv2d(WIDTH, num_channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Predict from a feature."""
        return self.conv2(self.relu2(self.bn2(self.first(x))))


class DDRNetHeads(nn.Module):
    """A head on the last feature, and one for deep supervision on the feature before it."""

    def __init__(self, num_channels: int, encoder: Encoder, *, align_corners: bool = False) -> None:
        """`align_corners` must be False: `create_model` refuses it for this family."""
        super().__init__()
        before, last = encoder.channels
        self.final_layer = Head(last, num_channels)
        self.seghead_extra = Head(before, num_channels)

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """Predict (N,C,h,w) at stride 8."""
        return self.final_layer(features[-1])

    def auxiliary(self, features: Sequence[Tensor]) -> Tensor:
        """Return the second prediction, which is used in training alone."""
        return self.seghead_extra(features[0])
