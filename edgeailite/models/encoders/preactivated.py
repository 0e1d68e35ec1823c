"""Convolutions whose BatchNorm and ReLU come first, after average pooling or none.

Source: He et al., 2016, https://arxiv.org/abs/1603.05027; here DDRNet has them. Average pooling with zero padding that
counts, then a BatchNorm, is a depthwise convolution of equal weights with a bias, which `models.fusing` makes of them:
8 bits hold such weights without error, as all weights of a channel are one code.
"""

from __future__ import annotations

import torch
from torch import nn

from edgeailite.models.layers import factor_and_offset


class PreActivated(nn.Sequential):
    """Average pooling or none, BatchNorm, ReLU, convolution: the keys are the published networks'."""

    def fused(self) -> nn.Sequential:
        """Return pooling and BatchNorm as one depthwise convolution, then ReLU and convolution."""
        *pools, norm, act, conv = self
        if pools and isinstance(pools[0], nn.AvgPool2d):
            return nn.Sequential(_averaging(norm, pools[0]), act, conv)
        return nn.Sequential(*pools, _averaging(norm), act, conv)


@torch.no_grad()
def _averaging(norm: nn.Module, pool: nn.Module | None = None) -> nn.Conv2d:
    """Return the depthwise convolution that averages as `pool` does (None: not at all), then scales as `norm` does."""
    factor, offset = factor_and_offset(norm)
    size, stride, padding = (1, 1, 0) if pool is None else _geometry(pool)
    conv = nn.Conv2d(len(factor), len(factor), size, stride, padding, groups=len(factor), device=factor.device)
    conv.weight.copy_((factor / size**2).view(-1, 1, 1, 1).expand_as(conv.weight))
    assert conv.bias is not None
    conv.bias.copy_(offset)
    return conv.train(norm.training)


def _geometry(pool: nn.Module) -> tuple[int, int, int]:
    """Size, stride and padding of a square average pooling whose padding counts."""
    assert isinstance(pool, nn.AvgPool2d) and pool.count_include_pad and not pool.ceil_mode
    size, stride, padding = pool.kernel_size, pool.stride, pool.padding
    assert isinstance(size, int) and isinstance(stride, int) and isinstance(padding, int)
    return size, stride, padding
