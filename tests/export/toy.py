"""A small network with everything that targets look at: it exports in seconds."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from edgeailite.modelcard import ModelCard
from edgeailite.preprocessing import Preprocessing
from edgeailite.quantization import calibrate, prepare, set_input_range

SIZE = (32, 48)


def block(channels: int, out: int, *, kernel: int = 3, stride: int = 1, groups: int = 1) -> nn.Sequential:
    conv = nn.Conv2d(channels, out, kernel, stride, kernel // 2, groups=groups, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(out), nn.ReLU())


class Toy(nn.Module):
    """Stem, a residual depthwise block, a resized branch concatenated with a shortcut, prediction, last resize."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = block(3, 8, stride=2)
        self.depthwise = block(8, 8, groups=8)
        self.project = nn.Sequential(nn.Conv2d(8, 8, 1, bias=False), nn.BatchNorm2d(8))
        self.deep = block(8, 8, stride=2)
        self.pred = nn.Conv2d(16, 5, 1, bias=False)

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        stem = self.stem(image)
        stem = self.project(self.depthwise(stem)) + stem
        up = F.interpolate(self.deep(stem), size=stem.shape[2:], mode="bilinear", align_corners=False)
        logits = self.pred(torch.cat([up, stem], 1))
        return {"segmentation": F.interpolate(logits, size=image.shape[2:], mode="bilinear", align_corners=False)}


def toy_card() -> ModelCard:
    names, palette = tuple(f"class {i}" for i in range(5)), tuple((i, i, i) for i in range(5))
    return ModelCard("toy", {"segmentation": 5}, names, palette, Preprocessing(*SIZE), "none")


def toy() -> nn.Module:
    torch.manual_seed(3)
    network = Toy()
    with torch.no_grad():
        for _ in range(3):
            network.train()(image())
    return network.eval()


def image(seed: int = 0) -> Tensor:
    return (torch.randint(0, 256, (1, 3, *SIZE), generator=torch.Generator().manual_seed(seed)).float() - 128) / 64


def toy_quantized(scheme: str, *, exact_resizes: bool = True) -> fx.GraphModule:
    model = prepare(toy(), scheme, exact_resizes=exact_resizes)
    set_input_range(model, *toy_card().preprocessing.input_range)
    calibrate(model, [image(), image(1)])
    return model.eval()
