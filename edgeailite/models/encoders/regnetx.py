"""RegNetX (Radosavovic et al., 2020, https://arxiv.org/abs/2003.13678) as a feature encoder.

Widths, depths and group widths are those of the pycls model zoo (400MF ends at 384 channels, where torchvision has
400), and so are the key names after `features.`, so that its weights load. Published weights expect BGR;
`load_pretrained` flips the first convolution, and the network takes RGB like all others.
Fast downsampling (edgeailite) adds a 3x3 max-pooling of stride 2 to the stem.
"""

from __future__ import annotations

from collections import OrderedDict

from torch import Tensor, nn

from edgeailite.models.encoders.chain import Encoder, Stem

STEM_CHANNELS = 32
# stage widths, stage depths, group width
REGNETX = {
    "400mf": ((32, 64, 160, 384), (1, 2, 7, 12), 16),
    "800mf": ((64, 128, 288, 672), (1, 3, 7, 5), 16),
    "1p6gf": ((72, 168, 408, 912), (2, 4, 10, 2), 24),
    "3p2gf": ((96, 192, 432, 1008), (2, 6, 15, 2), 48),
}


class RegNetBlock(nn.Module):
    """relu(proj(x) + f(x)), f 1x1, grouped 3x3 with the stride, 1x1 (bottleneck ratio 1; paper, figure 2)."""

    def __init__(self, in_channels: int, channels: int, *, stride: int, group_size: int) -> None:
        super().__init__()
        self.has_projection = stride != 1 or in_channels != channels
        if self.has_projection:
            self.proj = nn.Conv2d(in_channels, channels, 1, stride, bias=False)
            self.bn = nn.BatchNorm2d(channels)
        layers: list[tuple[str, nn.Module]] = [
            ("a", nn.Conv2d(in_channels, channels, 1, bias=False)),
            ("a_bn", nn.BatchNorm2d(channels)),
            ("a_relu", nn.ReLU()),
            ("b", nn.Conv2d(channels, channels, 3, stride, 1, groups=channels // group_size, bias=False)),
            ("b_bn", nn.BatchNorm2d(channels)),
            ("b_relu", nn.ReLU()),
            ("c", nn.Conv2d(channels, channels, 1, bias=False)),
            ("c_bn", nn.BatchNorm2d(channels)),
        ]
        self.f = nn.Sequential(OrderedDict(layers))
        self.relu = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """Apply the block and add the shortcut."""
        shortcut = self.bn(self.proj(x)) if self.has_projection else x
        return self.relu(shortcut + self.f(x))


def regnetx(size: str, *, output_stride: int = 32, fast_down: bool = False, inputs: int = 1) -> Encoder:
    """Build RegNetX with features 32@2 (stem) and those of the four stages @4, 8, 16, 32 (C@stride).

    Strides are doubled with `fast_down`. A smaller `output_stride` sets the strides of later stages to 1.
    """
    widths, depths, group_size = REGNETX[size]
    stem_stride = 4 if fast_down else 2
    strides: list[int] = []
    totals: list[int] = []
    for _ in widths:
        total = totals[-1] if totals else stem_stride
        strides.append(2 if total * 2 <= output_stride else 1)
        totals.append(total * strides[-1])

    def make_blocks() -> dict[str, nn.Module]:
        """Return the blocks of the chain by name."""
        blocks: dict[str, nn.Module] = {"features.stem": _stem(fast_down=fast_down)}
        in_channels = STEM_CHANNELS
        for index, (channels, depth) in enumerate(zip(widths, depths, strict=True)):
            stage: OrderedDict[str, nn.Module] = OrderedDict()
            for position in range(depth):
                stride = strides[index] if position == 0 else 1
                stage[f"b{position + 1}"] = RegNetBlock(in_channels, channels, stride=stride, group_size=group_size)
                in_channels = channels
            blocks[f"features.s{index + 1}"] = nn.Sequential(stage)
        return blocks

    taps = {"features.stem": (STEM_CHANNELS, stem_stride)}
    taps |= {f"features.s{i + 1}": (widths[i], totals[i]) for i in range(len(widths))}
    stem = Stem("features.s1", widths[0])
    return Encoder(make_blocks, taps, stem=stem, inputs=inputs, prefix="features.", group_size=group_size)


def _stem(*, fast_down: bool) -> nn.Sequential:
    layers: list[tuple[str, nn.Module]] = [
        ("conv", nn.Conv2d(3, STEM_CHANNELS, 3, 2, 1, bias=False)),
        ("bn", nn.BatchNorm2d(STEM_CHANNELS)),
        ("relu", nn.ReLU()),
    ]
    if fast_down:
        layers.append(("maxpool", nn.MaxPool2d(3, 2, 1)))
    return nn.Sequential(OrderedDict(layers))
