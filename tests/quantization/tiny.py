"""Networks of a few convolutions with everything that quantization knows, and one with a planted outlier."""

from __future__ import annotations

import itertools

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from edgeailite.quantization import SCHEMES, Plan, calibrate, prepare, set_input_range

WITH_TIES = [name for name, scheme in SCHEMES.items() if not scheme.tie_free]
"""Schemes that take average pooling and plans, and whose weights have all codes."""


def block(channels: int, width: int, *, stride: int = 1, groups: int = 1) -> nn.Sequential:
    """Convolution, BatchNorm, ReLU in place as in the real networks."""
    conv = nn.Conv2d(channels, width, 3, stride, 1, groups=groups, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(width), nn.ReLU6(inplace=True))


class Tiny(nn.Module):
    """An encoder with an addition, two decoders that take a concatenation of a resized feature."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.ModuleList([block(3, 8, stride=2), block(8, 8, groups=8), block(8, 8, stride=2)])
        self.decoders = nn.ModuleList([nn.Conv2d(16, channels, 1) for channels in (4, 1)])

    def forward(self, *images: Tensor) -> dict[str, Tensor]:
        fine = self.encoder[0](images[0])
        fine = fine + self.encoder[1](fine)
        coarse = F.interpolate(self.encoder[2](fine), size=fine.shape[2:], mode="bilinear", align_corners=False)
        joined, size = torch.cat([fine, coarse], 1), images[0].shape[2:]
        names = ("segmentation", "depth")
        return {
            name: F.interpolate(decoder(joined), size=size, mode="bilinear", align_corners=False)
            for name, decoder in zip(names, self.decoders, strict=True)
        }


class Chain(nn.Module):
    """Convolutions one after another; `plant` scales a channel of one by 100 and takes it back in the next."""

    def __init__(self, depth: int = 5, *, plant: int | None = None) -> None:
        super().__init__()
        widths = [3, *[12] * (depth - 1), 6]
        pairs = itertools.pairwise(widths)
        self.layers = nn.ModuleList([nn.Conv2d(a, b, 3, 1, 1) for a, b in pairs])
        if plant is not None:
            with torch.no_grad():
                self.layers[plant].weight[0] *= 100
                self.layers[plant].bias[0] *= 100
                self.layers[plant + 1].weight[:, 0] /= 100

    def forward(self, *images: Tensor) -> dict[str, Tensor]:
        x = images[0]
        for layer in self.layers[:-1]:
            x = layer(x)
        return {"segmentation": self.layers[-1](x)}


def pixels(count: int = 2, size: tuple[int, int] = (24, 32), *, seed: int = 0) -> list[tuple[Tensor, ...]]:
    """Normalised pictures on the uint8 grid, one per batch."""
    generator = torch.Generator().manual_seed(seed)
    shape = (1, 3, *size)
    return [((torch.randint(0, 256, shape, generator=generator).float() - 128) / 64,) for _ in range(count)]


def quantized(network: nn.Module, scheme: str = "ort_u8s8", plan: Plan | None = None) -> fx.GraphModule:
    """Prepared and calibrated."""
    model = prepare(network.eval(), scheme, plan=plan or Plan(), percentile=100.0)
    set_input_range(model, -2.0, 127 / 64)
    calibrate(model, pixels(seed=1))
    return model.eval()


def tiny(seed: int = 0) -> Tiny:
    """With random weights and statistics of their own."""
    torch.manual_seed(seed)
    network = Tiny()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.bias, 0.0, 0.5)
    return network.eval()


def chain(*, plant: int | None = None, seed: int = 0) -> Chain:
    """The same weights with and without the outlier: the same function in float."""
    torch.manual_seed(seed)
    return Chain(plant=plant).eval()
