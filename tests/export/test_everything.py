"""A network of one of each: every geometry, activation and join, from float to the file, at odd sizes.

The file must equal the integer-exact network in every bit, and that one the float network but for steps of its codes:
a fault that the conversion brings to both sides is none of the first comparison's.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from edgeailite.export import to_onnx
from edgeailite.modelcard import ModelCard
from edgeailite.quantization import calibrate, integer_exact, prepare, set_input_range
from edgeailite.runtime import load_onnx, run
from edgeailite.runtime.contract import PROVEN_LEVELS
from tests.golden import golden_card
from tests.quantization.tiny import pixels

SIZE = (24, 40)
CARD: ModelCard = replace(golden_card(SIZE, num_classes=5), outputs={"segmentation": 5, "depth": 1})
SIZES = [SIZE, (25, 33), (7, 9), (37, 12)]


class Everything(nn.Module):
    """Grouped, depthwise, dilated, uneven; limits on both sides; a shared scale of a ReLU and of negative values."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, (3, 5), 2, (1, 2)), nn.BatchNorm2d(8), nn.ReLU6())
        self.grouped = nn.Sequential(nn.Conv2d(8, 12, 3, 1, 1, groups=4, bias=False), nn.BatchNorm2d(12), nn.ReLU())
        self.depthwise = nn.Sequential(nn.Conv2d(12, 12, 3, 1, (2, 4), (2, 4), groups=12), nn.Hardtanh(-0.75, 0.5))
        self.negative = nn.Conv2d(12, 12, 1)
        self.shrink = nn.MaxPool2d(3, 2, 1)
        self.pool = nn.AdaptiveAvgPool2d((2, 3))
        self.pooled = nn.Sequential(nn.Conv2d(12, 4, 1), nn.ReLU())
        self.segmentation = nn.Conv2d(28, 5, 1)
        self.depth = nn.Conv2d(28, 1, 3, 1, 1, bias=False)

    def forward(self, *images: Tensor) -> dict[str, Tensor]:
        size = images[0].shape[2:]
        x = self.grouped(self.stem(images[0]))
        y = self.negative(self.depthwise(x)) + x
        pooled = F.interpolate(self.pooled(self.pool(y)), size=x.shape[2:], mode="bilinear", align_corners=False)
        small = F.interpolate(self.shrink(y), size=x.shape[2:], mode="bilinear", align_corners=False)
        joined = torch.cat([x, small, pooled], 1)
        heads = {"segmentation": self.segmentation(joined), "depth": self.depth(joined)}
        return {name: F.interpolate(v, size=size, mode="bilinear", align_corners=False) for name, v in heads.items()}


def everything() -> Everything:
    torch.manual_seed(5)
    network = Everything()
    with torch.no_grad():
        for name, value in network.state_dict().items():
            if name.endswith(("running_mean", "bias")):
                value.uniform_(-0.7, 0.7)
            elif name.endswith("running_var"):
                value.uniform_(0.3, 2)
    return network.eval()


@pytest.fixture(scope="module")
def network() -> Everything:
    return everything()


@pytest.fixture(scope="module")
def quantized(network) -> fx.GraphModule:
    model = prepare(network, percentile=100.0)
    set_input_range(model, *CARD.preprocessing.input_range)
    calibrate(model, pixels(3, SIZE, seed=1))
    return model.eval()


@pytest.fixture(scope="module")
def written(quantized) -> bytes:
    """Open size."""
    return to_onnx(quantized, CARD).SerializeToString()


@pytest.mark.parametrize("level", PROVEN_LEVELS)
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_the_file_has_every_bit_of_the_integer_exact_network(size, level, quantized, written):
    image = pixels(1, size, seed=2)[0][0]
    got = run(load_onnx(written, level=level, threads=1), image.numpy())
    for name, value in integer_exact(quantized)(image).items():
        np.testing.assert_array_equal(got[name], value.numpy(), err_msg=name)


def test_without_fused_kernels_the_file_says_the_same_but_for_ties(quantized, written):
    """As other runtimes read it: weights dequantized along their axis, which the fused kernels do not look at."""
    image = pixels(1, SIZE, seed=2)[0][0]
    got = run(load_onnx(written, level="DISABLED", threads=1), image.numpy())
    for name, value in integer_exact(quantized)(image).items():
        assert np.abs(got[name] - value.numpy()).mean() < 0.1 * float(quantized.ranges.get_submodule(name).scale), name


def test_the_integer_exact_network_is_the_float_one_but_for_steps_of_codes(network, quantized):
    image = pixels(1, SIZE, seed=1)[0][0]
    with torch.no_grad():
        expected, exact, faked = network(image), integer_exact(quantized)(image), quantized(image)
    for name, value in expected.items():
        step = float(quantized.ranges.get_submodule(name).scale)
        assert (exact[name] - faked[name]).abs().mean() < 0.25 * step, name
        assert (exact[name] - value).abs().mean() < 1.5 * step, name
        assert (exact[name] - value).abs().max() < 10 * step, name
