"""Small blocks that encoders and decoders share.

Layout and names follow the published edgeailite code so that its checkpoints load: a block is
`Sequential(conv, bn, activation)`, a separable block is `Sequential(depthwise block, pointwise block)`.
What we changed: sizes of up-sampling come from the target feature, so odd image sizes work.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Activation = type[nn.ReLU] | type[nn.ReLU6]


def conv_bn_act(
    in_channels: int,
    out_channels: int,
    kernel_size: int,
    *,
    stride: int = 1,
    dilation: int = 1,
    groups: int = 1,
    activation: Activation | None = nn.ReLU,
) -> nn.Sequential:
    """Build a convolution without bias, BatchNorm and (unless None) activation; "same" padding at stride 1."""
    padding = dilation * (kernel_size // 2)
    conv = nn.Conv2d(in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias=False)
    block: list[nn.Module] = [conv, nn.BatchNorm2d(out_channels)]
    return nn.Sequential(*block) if activation is None else nn.Sequential(*block, activation())


def separable_conv(
    in_channels: int,
    out_channels: int,
    *,
    stride: int = 1,
    dilation: int = 1,
    groups: int,
    activation: Activation = nn.ReLU,
) -> nn.Sequential:
    """Build a depthwise (or grouped) 3x3 block followed by a 1x1 block, BatchNorm and activation after both."""
    return nn.Sequential(
        conv_bn_act(
            in_channels, in_channels, 3, stride=stride, dilation=dilation, groups=groups, activation=activation
        ),
        conv_bn_act(in_channels, out_channels, 1, activation=activation),
    )


def prediction_head(in_channels: int, num_channels: int, *, groups: int) -> nn.Sequential:
    """Build a depthwise 3x3 + BatchNorm without activation, then a plain 1x1 convolution without bias."""
    return nn.Sequential(
        conv_bn_act(in_channels, in_channels, 3, groups=groups, activation=None),
        nn.Sequential(nn.Conv2d(in_channels, num_channels, 1, bias=False)),
    )


def group_count(channels: int, group_size: int) -> int:
    """Return the number of groups: the largest divisor of `channels` up to channels // group_size.

    The published code takes channels // group_size and fails where it does not divide (25 classes in a RegNetX UNet).
    """
    most = max(1, channels // group_size)
    return next(groups for groups in range(most, 0, -1) if channels % groups == 0)


def resize_like(x: Tensor, reference: Tensor, *, align_corners: bool = False) -> Tensor:
    """Resize `x` (N,C,h,w) bilinearly to the height and width of `reference`; half-pixel centres by default."""
    return F.interpolate(x, size=reference.shape[-2:], mode="bilinear", align_corners=align_corners)


class Bilinear(nn.Module):
    """`up(x, reference)`: bilinear resize to the reference's size."""

    def forward(self, x: Tensor, reference: Tensor) -> Tensor:
        """Resize `x` to the reference's size."""
        return resize_like(x, reference)


class Deconvolution(nn.Module):
    """Depthwise transposed convolution by `factor`, starting as bilinear up-sampling, cut to the reference's size."""

    def __init__(self, channels: int, factor: int, activation: Activation) -> None:
        super().__init__()
        self.deconv = nn.ConvTranspose2d(
            channels, channels, 2 * factor, factor, factor // 2, groups=channels, bias=False
        )
        self.bn, self.act = nn.BatchNorm2d(channels), activation()
        ramp = 1 - (torch.arange(2 * factor) + 0.5 - factor).abs() / factor
        with torch.no_grad():
            self.deconv.weight.copy_(ramp[:, None] * ramp)

    def forward(self, x: Tensor, reference: Tensor) -> Tensor:
        """Enlarge `x` and cut it to the reference's size."""
        return _cut(self.act(self.bn(self.deconv(x))), reference)


class SubPixel(nn.Module):
    """1x1 convolution to factor² as many channels and pixel shuffle (Shi et al., 2016, arXiv:1609.05158), cut."""

    def __init__(self, channels: int, factor: int, activation: Activation) -> None:
        super().__init__()
        self.conv = conv_bn_act(channels, channels * factor**2, 1, activation=activation)
        self.shuffle = nn.PixelShuffle(factor)

    def forward(self, x: Tensor, reference: Tensor) -> Tensor:
        """Enlarge `x` and cut it to the reference's size."""
        return _cut(self.shuffle(self.conv(x)), reference)


UPSAMPLING = ("bilinear", "deconvolution", "subpixel")


def upsampling(method: str, channels: int, factor: int, activation: Activation = nn.ReLU) -> nn.Module:
    """Build a module `up(x, reference)` that enlarges (N,channels,h,w) by `factor`, to the reference's size."""
    if method == "bilinear":
        return Bilinear()
    return {"deconvolution": Deconvolution, "subpixel": SubPixel}[method](channels, factor, activation)


def _cut(x: Tensor, reference: Tensor) -> Tensor:
    return x[:, :, : reference.shape[-2], : reference.shape[-1]]


def initialize_weights(model: nn.Module) -> None:
    """Set the published initial values: kaiming normal (fan out) for convolutions, 1 - 1e-5 and 0 for BatchNorm."""
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.BatchNorm2d):
            nn.init.constant_(module.weight, 1 - 1e-5)
            nn.init.zeros_(module.bias)


def factor_and_offset(norm: nn.Module) -> tuple[Tensor, Tensor]:
    """Return what a BatchNorm in evaluation multiplies with and adds, (C,) each, in double precision."""
    assert isinstance(norm, nn.BatchNorm2d) and norm.running_mean is not None and norm.running_var is not None
    factor = norm.weight.double() / torch.sqrt(norm.running_var.double() + norm.eps)
    return factor, norm.bias.double() - norm.running_mean.double() * factor
