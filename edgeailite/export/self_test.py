"""Does the integer-exact emulation hold on this machine? Tests a small network that uses every rule, in seconds.

The network is quantized, exported and run by onnxruntime at the levels that are proven. Each layer of the emulation is
fed onnxruntime's own values, so every rule that departs shows, not only the first. Larger networks have other sizes:
`edgeailite verify` tests those.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from edgeailite.export.to_onnx import to_onnx
from edgeailite.export.trace.compare import trace
from edgeailite.export.trace.file_side import file_side
from edgeailite.export.trace.sides import Array
from edgeailite.export.trace.torch_side import integer_exact_side
from edgeailite.modelcard import ModelCard
from edgeailite.preprocessing import Preprocessing
from edgeailite.quantization import calibrate, prepare, set_input_range
from edgeailite.runtime.contract import PROVEN_LEVELS

SIZE = (45, 68)  # odd on purpose
CLASSES = 5
RULES = {  # of `quantization/integer.py`
    "Conv": "1 (convolution)", "Add": "2 (addition)", "Concat": "3 (concatenation)", "MaxPool": "3 (max pooling)",
    "Resize": "4 (bilinear resize)", "Input": "5 (quantization)", "Relu": "5 (activation)", "Pool": "6 (pooling)",
}  # fmt: skip
CHECKED_ON = (
    "onnxruntime 1.31.1 and 1.32.0 on x86 with AVX-512 VNNI and AMX, and 1.32.0 on emulated x86 without AVX2 and on "
    "emulated Cortex-A53, A72, A76 and Neoverse-N2"
)


class SmallNetwork(nn.Module):
    """A network with every kind of layer that has an integer rule, with BatchNorm."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = _block(3, 16, stride=2)
        self.depthwise = _block(16, 16, groups=16)
        self.project = nn.Sequential(nn.Conv2d(16, 16, 1, bias=False), nn.BatchNorm2d(16))
        self.shrink = nn.MaxPool2d(3, 2, 1)
        self.deep = _block(16, 24)
        self.pool = nn.AdaptiveAvgPool2d(3)
        self.pooled = _block(24, 8, kernel=1)
        self.head = nn.Conv2d(16 + 24 + 8, CLASSES, 1)

    def forward(self, *images: Tensor) -> dict[str, Tensor]:
        """Return logits at the size of the picture."""
        stem = self.stem(images[0])
        early = stem + self.project(self.depthwise(stem))
        deep = self.deep(self.shrink(early))
        pooled = self.pooled(self.pool(deep))
        joined = torch.cat([early, _resize(deep, early), _resize(pooled, early)], 1)
        return {"segmentation": _resize(self.head(joined), images[0])}


def small_network(seed: int = 0) -> nn.Module:
    """Build the network in eval mode with random weights and statistics; the global random state is left alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = SmallNetwork()
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                nn.init.uniform_(module.weight, 0.7, 1.4)
                nn.init.normal_(module.bias, std=0.3)
                nn.init.normal_(module.running_mean, std=0.1)
    return network.eval()


def small_card(size: tuple[int, int] = SIZE) -> ModelCard:
    """Return a card for the network's file."""
    names = tuple(f"class {index}" for index in range(CLASSES))
    palette = tuple((40 * index, 255 - 40 * index, 80) for index in range(CLASSES))
    return ModelCard("rehearsal", {"segmentation": CLASSES}, names, palette, Preprocessing(*size), "none")


def random_images(count: int, size: tuple[int, int] = SIZE) -> list[tuple[Array, ...]]:
    """Return random pictures as network inputs (1,3,H,W): coarse blocks with noise."""
    rng = np.random.default_rng(0)
    images = []
    for _ in range(count):
        blocks = rng.integers(0, 256, (3, -(-size[0] // 8), -(-size[1] // 8))).repeat(8, 1).repeat(8, 2)
        pixels = np.clip(blocks[:, : size[0], : size[1]] + rng.integers(-20, 21, (3, *size)), 0, 255)
        images.append((((pixels[None] - 128) / 64).astype(np.float32),))
    return images


def quantized(network: nn.Module, images: Sequence[tuple[Array, ...]]) -> fx.GraphModule:
    """Prepare a network and calibrate it on these inputs."""
    prepared = prepare(network)
    set_input_range(prepared, *small_card().preprocessing.input_range)
    calibrate(prepared, [torch.from_numpy(image) for (image,) in images])
    return prepared.eval()


def emulation_facts() -> dict[str, Any]:
    """Return, by level, the rules of `quantization/integer.py` that depart here; none where the emulation holds."""
    images = random_images(2)
    prepared = quantized(small_network(), images)
    emulated = integer_exact_side("integer_exact", prepared)
    departs: dict[str, list[str]] = {}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rehearsal.onnx"
        path.write_bytes(to_onnx(prepared, small_card(), size=SIZE, simplify=False).SerializeToString())
        for level in PROVEN_LEVELS:
            rows = trace(file_side(level, path, runtime=level), emulated, images, local=True).rows
            operators = [emulated.places[row.second].operator for row in rows if row.departs]
            departs[level] = list(dict.fromkeys(RULES.get(operator, operator) for operator in operators))
    return {"onnxruntime": onnxruntime.__version__, "departs": departs, "checked_on": CHECKED_ON}


def _block(inputs: int, outputs: int, *, kernel: int = 3, stride: int = 1, groups: int = 1) -> nn.Sequential:
    conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(outputs), nn.ReLU())


def _resize(x: Tensor, like: Tensor) -> Tensor:
    return F.interpolate(x, size=like.shape[-2:], mode="bilinear", align_corners=False)
