"""The convolutional MobileNetV4 networks (Qin et al., 2024, https://arxiv.org/abs/2404.10518) as feature encoders.

The universal inverted bottleneck (paper, figure 4) has a depthwise convolution before the expansion, after it, both or
neither; the tables below are the paper's (appendix D), and those of timm's `mobilenetv4_conv_*`. What we changed: no
last 960-channel convolution and head; fast downsampling adds a 3x3 max-pooling of stride 2 after the first convolution.
Key names: `features.<block>.conv.<part>.0` (convolution) and `.1` (BatchNorm).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor, nn

from edgeailite.models.encoders.chain import Encoder, Stem
from edgeailite.models.encoders.mobilenetv2 import make_divisible
from edgeailite.models.layers import conv_bn_act


@dataclass(frozen=True)
class Conv:
    """A plain convolution block: kernel size, channels, stride."""

    kernel: int
    channels: int
    stride: int = 1


@dataclass(frozen=True)
class Fused:
    """Fused inverted bottleneck: 3x3 expansion with the stride, 1x1 projection."""

    channels: int
    expansion: int
    stride: int


@dataclass(frozen=True)
class Universal:
    """Universal inverted bottleneck: kernels of the depthwise convolutions before and after the expansion (0: none)."""

    start: int
    middle: int
    channels: int
    expansion: int
    stride: int = 1


Row = Conv | Fused | Universal

# Stages of total stride 4, 8, 16, 32 after a 3x3 convolution of stride 2.
SMALL: tuple[tuple[Row, ...], ...] = (
    (Conv(3, 32, 2), Conv(1, 32)),
    (Conv(3, 96, 2), Conv(1, 64)),
    (Universal(5, 5, 96, 3, 2), *[Universal(0, 3, 96, 2)] * 4, Universal(3, 0, 96, 4)),
    (
        Universal(3, 3, 128, 6, 2),
        Universal(5, 5, 128, 4),
        Universal(0, 5, 128, 4),
        Universal(0, 5, 128, 3),
        *[Universal(0, 3, 128, 4)] * 2,
    ),
)
MEDIUM: tuple[tuple[Row, ...], ...] = (
    (Fused(48, 4, 2),),
    (Universal(3, 5, 80, 4, 2), Universal(3, 3, 80, 2)),
    (
        Universal(3, 5, 160, 6, 2),
        *[Universal(3, 3, 160, 4)] * 2,
        Universal(3, 5, 160, 4),
        Universal(3, 3, 160, 4),
        Universal(3, 0, 160, 4),
        Universal(0, 0, 160, 2),
        Universal(3, 0, 160, 4),
    ),
    (
        Universal(5, 5, 256, 6, 2),
        Universal(5, 5, 256, 4),
        *[Universal(3, 5, 256, 4)] * 2,
        Universal(0, 0, 256, 4),
        Universal(3, 0, 256, 4),
        Universal(3, 5, 256, 2),
        Universal(5, 5, 256, 4),
        *[Universal(0, 0, 256, 4)] * 2,
        Universal(5, 0, 256, 2),
    ),
)
LARGE: tuple[tuple[Row, ...], ...] = (
    (Fused(48, 4, 2),),
    (Universal(3, 5, 96, 4, 2), Universal(3, 3, 96, 4)),
    (
        Universal(3, 5, 192, 4, 2),
        *[Universal(3, 3, 192, 4)] * 3,
        Universal(3, 5, 192, 4),
        *[Universal(5, 3, 192, 4)] * 5,
        Universal(3, 0, 192, 4),
    ),
    (
        Universal(5, 5, 512, 4, 2),
        *[Universal(5, 5, 512, 4)] * 3,
        Universal(5, 0, 512, 4),
        Universal(5, 3, 512, 4),
        *[Universal(5, 0, 512, 4)] * 2,
        Universal(5, 3, 512, 4),
        Universal(5, 5, 512, 4),
        *[Universal(5, 0, 512, 4)] * 3,
    ),
)
# stages, channels of the first convolution, width multiplier (which leaves the first convolution alone)
VARIANTS = {
    "small": (SMALL, 32, 1.0),
    "small_050": (SMALL, 32, 0.5),
    "medium": (MEDIUM, 32, 1.0),
    "large": (LARGE, 24, 1.0),
}


class Bottleneck(nn.Module):
    """The parts one after the other; the input is added where the shape stays."""

    def __init__(self, parts: list[nn.Module], *, shortcut: bool) -> None:
        super().__init__()
        self.conv = nn.Sequential(*parts)
        self.shortcut = shortcut

    def forward(self, x: Tensor) -> Tensor:
        """Apply the block; the input is added if the shape stays."""
        return x + self.conv(x) if self.shortcut else self.conv(x)


def mobilenetv4_conv(variant: str, *, output_stride: int = 32, fast_down: bool = False, inputs: int = 1) -> Encoder:
    """Build MobileNetV4-Conv with features of the first convolution @2 and of the four stages @4, 8, 16, 32.

    Strides are doubled with `fast_down`. Channels are 32, 32, 64, 96, 128 (small), 32, 48, 80, 160, 256 (medium), 24,
    48, 96, 192, 512 (large). A smaller `output_stride` sets the strides of later stages to 1.
    """
    table, stem_channels, width = VARIANTS[variant]
    names = [f"features.{stage}.{index}" for stage, rows in enumerate(table, 1) for index in range(len(rows))]
    totals = _total_strides(len(table), 4 if fast_down else 2, output_stride)

    def make_blocks() -> dict[str, nn.Module]:
        """Return the blocks of the chain by name."""
        blocks: dict[str, nn.Module] = {"features.0": _first(stem_channels, fast_down=fast_down)}
        in_channels, rows = (
            stem_channels,
            [(row, stage) for stage, stage_rows in enumerate(table) for row in stage_rows],
        )
        for name, (row, stage) in zip(names, rows, strict=True):
            channels = make_divisible(row.channels * width)
            stride = row.stride if totals[stage + 1] > totals[stage] else 1
            blocks[name] = _MAKE[type(row)](row, in_channels, channels, stride)
            in_channels = channels
        return blocks

    lasts = [f"features.{stage}.{len(rows) - 1}" for stage, rows in enumerate(table, 1)]
    widths = [make_divisible(rows[-1].channels * width) for rows in table]
    taps = {"features.0": (stem_channels, totals[0])} | {
        name: (channels, total) for name, channels, total in zip(lasts, widths, totals[1:], strict=True)
    }
    return Encoder(make_blocks, taps, stem=Stem(lasts[0], widths[0]), inputs=inputs, prefix="features.")


def _total_strides(stages: int, first: int, output_stride: int) -> list[int]:
    """Total stride after the first convolution and after every stage."""
    totals = [first]
    for _ in range(stages):
        totals.append(totals[-1] * (2 if totals[-1] * 2 <= output_stride else 1))
    return totals


def _first(channels: int, *, fast_down: bool) -> nn.Sequential:
    block = conv_bn_act(3, channels, 3, stride=2)
    return block.append(nn.MaxPool2d(3, 2, 1)) if fast_down else block


def _conv(row: Conv, in_channels: int, channels: int, stride: int) -> nn.Module:
    return Bottleneck([conv_bn_act(in_channels, channels, row.kernel, stride=stride)], shortcut=False)


def _fused(row: Fused, in_channels: int, channels: int, stride: int) -> nn.Module:
    hidden = make_divisible(in_channels * row.expansion)
    parts: list[nn.Module] = [
        conv_bn_act(in_channels, hidden, 3, stride=stride),
        conv_bn_act(hidden, channels, 1, activation=None),
    ]
    return Bottleneck(parts, shortcut=False)


def _universal(row: Universal, in_channels: int, channels: int, stride: int) -> nn.Module:
    hidden = make_divisible(in_channels * row.expansion)
    at_start = stride if not row.middle else 1  # the stride is the last depthwise convolution's
    parts: list[nn.Module] = []
    if row.start:
        parts.append(
            conv_bn_act(in_channels, in_channels, row.start, stride=at_start, groups=in_channels, activation=None)
        )
    parts.append(conv_bn_act(in_channels, hidden, 1))
    if row.middle:
        parts.append(conv_bn_act(hidden, hidden, row.middle, stride=stride, groups=hidden))
    parts.append(conv_bn_act(hidden, channels, 1, activation=None))
    return Bottleneck(parts, shortcut=row.stride == 1 and in_channels == channels)


_MAKE: dict[type, Callable[..., nn.Module]] = {Conv: _conv, Fused: _fused, Universal: _universal}
