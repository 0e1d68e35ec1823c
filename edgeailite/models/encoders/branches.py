"""Blocks with several branches in training that are one convolution in use (structural re-parameterization).

RepVGG (Ding et al., 2021, https://arxiv.org/abs/2101.03697) and MobileOne (Vasu et al., 2022,
https://arxiv.org/abs/2206.04040) train sums of convolutions, each with BatchNorm, and of BatchNorm alone. All of these
are linear in evaluation, so that one convolution with a bias computes their sum. Quantization and export fuse first
(`models.fusing`); training, and evaluation in torch, compute the branches. Source of the layout: timm's `byobnet.py`;
what we changed: one class for both, and sums are fused in double precision.
"""

from __future__ import annotations

import copy
from collections import OrderedDict

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edgeailite.models.layers import conv_bn_act, factor_and_offset


class Branches(nn.Module):
    """relu(sum of `repeats` kxk convolutions, one 1x1 convolution if k > 1, and the input if `identity`).

    Each term has a BatchNorm of its own. (N,in,H,W) -> (N,out,H/stride,W/stride); `identity` needs equal shapes.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        *,
        stride: int = 1,
        groups: int = 1,
        repeats: int = 1,
        identity: bool = False,
    ) -> None:
        super().__init__()

        def convolution(size: int) -> nn.Sequential:
            return conv_bn_act(in_channels, out_channels, size, stride=stride, groups=groups, activation=None)

        self.branches = nn.ModuleList([convolution(kernel_size) for _ in range(repeats)])
        self.point = convolution(1) if kernel_size > 1 else None
        self.identity = nn.BatchNorm2d(out_channels) if identity else None
        self.act = nn.ReLU()

    def terms(self) -> list[nn.Module]:
        """Return what is added up: blocks of convolution and BatchNorm, the identity's BatchNorm last."""
        return [*self.branches, *(part for part in (self.point, self.identity) if part is not None)]

    def forward(self, x: Tensor) -> Tensor:
        """Add the branches and apply the activation."""
        first, *others = self.terms()
        total = first(x)
        for term in others:
            total = total + term(x)
        return self.act(total)

    @torch.no_grad()
    def fused(self) -> nn.Sequential:
        """Return `conv` and `act`: the same function of the input, with BatchNorm's running statistics."""
        first = self.branches.get_submodule("0.0")
        assert isinstance(first, nn.Conv2d)
        like = first.weight
        weight, bias = torch.zeros_like(like, dtype=torch.float64), like.new_zeros(len(like), dtype=torch.float64)
        for term in self.terms():
            *conv, norm = term.children() if isinstance(term, nn.Sequential) else (term,)
            kernel = conv[0].get_parameter("weight") if conv else _identity_like(like, first.groups)
            factor, offset = factor_and_offset(norm)
            weight += _widened(kernel.double(), like) * factor.view(-1, 1, 1, 1)
            bias += offset
        fused = copy.deepcopy(first)
        fused.weight.copy_(weight)
        fused.bias = nn.Parameter(bias.to(like.dtype))
        return nn.Sequential(OrderedDict(conv=fused, act=self.act)).train(self.training)


def _widened(weight: Tensor, like: Tensor) -> Tensor:
    """A 1x1 kernel in the middle of one as large as `like`; others as they are."""
    return F.pad(weight, [(like.shape[2] - weight.shape[2]) // 2] * 4)


def _identity_like(weight: Tensor, groups: int) -> Tensor:
    """The kernel (C,C/groups,k,k) with which a convolution gives its input back."""
    kernel = torch.zeros_like(weight)
    middle, channels = weight.shape[2] // 2, torch.arange(weight.shape[0], device=weight.device)
    kernel[channels, channels % (weight.shape[0] // groups), middle, middle] = 1
    return kernel
