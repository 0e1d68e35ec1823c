"""HRNetV2 (Wang et al., 2020, https://arxiv.org/abs/1908.07919) as in the ADE20K family (CSAIL
semantic-segmentation-pytorch).

Two to four branches at strides 4 to 32 run side by side; every module ends by adding each branch to each other one. At
the end all are resized to stride 4 and concatenated: one feature. Blocks between `layer1` and `join` take and give the
list of branches. Key names are the published ones. What we changed: a ReLU of its own for every sum; several inputs.
"""

from __future__ import annotations

from functools import reduce
from operator import add

import torch
from torch import Tensor, nn

from edgeailite.models.encoders.chain import Encoder, Stem
from edgeailite.models.encoders.residual import BasicBlock, Bottleneck, stage
from edgeailite.models.layers import conv_bn_act, resize_like

STEM_CHANNELS = 64
BLOCKS = 4  # per branch and module, and in layer1
MODULES = (1, 4, 3)  # of stages 2, 3 and 4; a stage has as many branches as its number


class Branching(nn.ModuleList):
    """First branching: one feature becomes two branches, of stride 1 and stride 2."""

    def __init__(self, in_channels: int, widths: list[int]) -> None:
        same, halved = widths
        super().__init__(
            [conv_bn_act(in_channels, same, 3), nn.Sequential(conv_bn_act(in_channels, halved, 3, stride=2))]
        )

    def forward(self, x: Tensor) -> list[Tensor]:
        """Return the two branches of a feature."""
        return [branch(x) for branch in self]


class AddBranch(nn.Module):
    """The branches and one more, made from the last by a 3x3 convolution of stride 2; the key is its number."""

    def __init__(self, widths: list[int]) -> None:
        """`widths` of the branches, the new one included."""
        super().__init__()
        self.new = str(len(widths) - 1)
        self.add_module(self.new, nn.Sequential(conv_bn_act(widths[-2], widths[-1], 3, stride=2)))

    def forward(self, branches: list[Tensor]) -> list[Tensor]:
        """Return the branches and the new one."""
        return [*branches, self.get_submodule(self.new)(branches[-1])]


class HighResolutionModule(nn.Module):
    """Four basic blocks on every branch, then each branch becomes relu(sum of all, brought to its size and width)."""

    def __init__(self, widths: list[int]) -> None:
        super().__init__()
        self.branches = nn.ModuleList(stage(BasicBlock, width, width, BLOCKS) for width in widths)
        self.fuse_layers = nn.ModuleList(
            nn.ModuleDict({str(j): _carrier(widths, j, i) for j in range(len(widths)) if j != i})
            for i in range(len(widths))
        )
        self.relus = nn.ModuleList(nn.ReLU() for _ in widths)

    def forward(self, branches: list[Tensor]) -> list[Tensor]:
        """Return the branches after blocks and fusion, each in its own size and width."""
        x = [run(branch) for run, branch in zip(self.branches, branches, strict=True)]
        return [relu(reduce(add, [self._carried(x, j, i) for j in range(len(x))])) for i, relu in enumerate(self.relus)]

    def _carried(self, x: list[Tensor], j: int, i: int) -> Tensor:
        """Branch j in the shape of branch i."""
        if j == i:
            return x[i]
        y = self.get_submodule(f"fuse_layers.{i}.{j}")(x[j])
        return resize_like(y, x[i]) if j > i else y


class Join(nn.Module):
    """All branches at the size of the first, concatenated."""

    def forward(self, branches: list[Tensor]) -> Tensor:
        """Return one feature of all branches' channels at the size of the first."""
        return torch.cat([branches[0], *[resize_like(x, branches[0]) for x in branches[1:]]], 1)


def hrnetv2(*, width: int = 48, inputs: int = 1) -> Encoder:
    """Build HRNetV2, whose one feature has 15 * `width` channels at stride 4.

    `width` is that of the first branch (48: HRNetV2-W48).
    """
    widths = [width * 2**i for i in range(len(MODULES) + 1)]
    layer1_channels = STEM_CHANNELS * Bottleneck.expansion

    def make_blocks() -> dict[str, nn.Module]:
        """Return the blocks of the chain by name."""
        blocks: dict[str, nn.Module] = {}
        for index, in_channels in enumerate((3, STEM_CHANNELS), start=1):
            blocks[f"conv{index}"] = nn.Conv2d(in_channels, STEM_CHANNELS, 3, 2, 1, bias=False)
            blocks[f"bn{index}"] = nn.BatchNorm2d(STEM_CHANNELS)
            blocks[f"relu{index}"] = nn.ReLU()
        blocks["layer1"] = stage(Bottleneck, STEM_CHANNELS, STEM_CHANNELS, BLOCKS)
        for index, modules in enumerate(MODULES, start=1):
            present = widths[: index + 1]
            blocks[f"transition{index}"] = Branching(layer1_channels, present) if index == 1 else AddBranch(present)
            blocks[f"stage{index + 1}"] = nn.Sequential(*[HighResolutionModule(present) for _ in range(modules)])
        blocks["join"] = Join()
        return blocks

    return Encoder(make_blocks, {"join": (sum(widths), 4)}, stem=Stem("layer1", layer1_channels), inputs=inputs)


def _carrier(widths: list[int], j: int, i: int) -> nn.Sequential:
    """Layers from branch j to branch i: 1x1 upwards, one 3x3 of stride 2 per level downwards."""
    if j > i:
        return conv_bn_act(widths[j], widths[i], 1, activation=None)
    steps = [conv_bn_act(widths[j], widths[j], 3, stride=2) for _ in range(i - j - 1)]
    return nn.Sequential(*steps, conv_bn_act(widths[j], widths[i], 3, stride=2, activation=None))
