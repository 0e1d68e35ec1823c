"""`Codes`: a quantized tensor of the integer-exact mode; `Pending`: a kernel that waits for its output scale."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from edgeailite.quantization.convert import Quantize

EXACT_IN_FLOAT32 = 2**24
LARGEST_CODE = 255  # distance of an 8-bit code from its zero point


@dataclass(frozen=True)
class Codes:
    """A quantized tensor: integer codes held in float32, their scale and zero point.

    `wide` if of 16 bits; `low` is the smallest code of the type.
    """

    codes: Tensor
    scale: Tensor
    zero_point: Tensor
    wide: bool = False
    low: int = 0

    @property
    def shape(self) -> torch.Size:
        """Shape of the codes, under the name that the graph uses for tensors."""
        return self.codes.shape

    def dequantize(self) -> Tensor:
        """float32 values."""
        return (self.codes - self.zero_point) * self.scale


Pending = Callable[["Quantize"], Tensor]
"""A kernel that waits for its output scale; gives codes not yet clamped."""


def rounded(values: Tensor, output: Quantize) -> Tensor:
    """Quantize float32 values (rule 5 of `integer`): codes, not yet clamped."""
    return torch.round(values / output.scale) + output.zero_point.float()
