"""Copies of codes: the part of an integer resize that comes before its convolution."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from edgeailite.quantization.tie_free import nearest_rows


class EnlargeCodes(nn.Module):
    """Copies each value about `factor` (even) times in both directions, and the edges another `factor` / 2 times."""

    def __init__(self, factor: int) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, x: Tensor, size: Sequence[int] | None = None) -> Tensor:
        """(N,C,h,w) -> (N,C,H+k,W+k) for size (H,W), by default (kh,kw); `nearest_rows` are copied."""
        height, width = size or (self.factor * x.shape[2], self.factor * x.shape[3])
        x = x.index_select(3, nearest_rows(x.shape[3], width, self.factor, x.device))
        return x.index_select(2, nearest_rows(x.shape[2], height, self.factor, x.device))
