"""Resizes by a factor: exact at short scales in whatever order they are added, and the same as a convolution."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from edgeailite.quantization import calibrate, convert, prepare, set_input_range
from edgeailite.quantization.convert import IntegerConv
from edgeailite.quantization.enlarge import convolve_resizes
from edgeailite.quantization.enlarge_codes import EnlargeCodes
from edgeailite.quantization.grids import short_scale
from edgeailite.quantization.integer import IntegerModel, _axis, resize_bilinear
from edgeailite.quantization.schemes import Plan
from tests.quantization.tiny import WITH_TIES, pixels, quantized, tiny

FACTORS = (2, 4, 8)


def fused(x: Tensor, size: tuple[int, int], order: tuple[int, int, int, int]) -> Tensor:
    """Bilinear with fused multiply-add in any order of the four corners, as compilers of other CPUs may choose."""
    top, bottom, top_distance, bottom_distance = _axis(x.shape[2], size[0], x.device)
    left, right, left_distance, right_distance = _axis(x.shape[3], size[1], x.device)
    near_top, near_bottom = bottom_distance[:, None], top_distance[:, None]
    corners = [
        (right_distance * near_top, x[:, :, top][..., left]),
        (left_distance * near_top, x[:, :, top][..., right]),
        (right_distance * near_bottom, x[:, :, bottom][..., left]),
        (left_distance * near_bottom, x[:, :, bottom][..., right]),
    ]
    weight, value = corners[order[0]]
    result = weight * value
    for index in order[1:]:
        weight, value = corners[index]
        result = (weight.double() * value.double() + result.double()).float()
    return result


ORDERS: list[tuple[int, int, int, int]] = [(1, 0, 2, 3), (0, 1, 2, 3), (3, 2, 1, 0), (2, 0, 3, 1)]


def random_codes(height: int, width: int) -> Tensor:
    codes = torch.randint(0, 256, (1, 64, height, width), generator=torch.Generator().manual_seed(0))
    return codes.float() - 101


@pytest.mark.parametrize("factor", FACTORS)
def test_a_resize_at_a_short_scale_is_exact_in_any_order(factor):
    for raw in (0.0173, 0.9999, 3.1e-5):
        scale = short_scale(torch.tensor(raw))
        values = random_codes(9, 7) * scale
        size = (9 * factor, 7 * factor)
        exact = F.interpolate(values.double(), size=size, mode="bilinear", align_corners=False)
        expected = resize_bilinear(values, size)
        assert torch.equal(expected.double(), exact)
        assert all(torch.equal(fused(values, size, order), expected) for order in ORDERS)


def test_at_other_scales_the_order_shows():
    values = random_codes(9, 7) * torch.tensor(0.0173)
    expected = resize_bilinear(values, (18, 14))
    assert not all(torch.equal(fused(values, (18, 14), order), expected) for order in ORDERS)


@pytest.mark.parametrize("factor", [*FACTORS, 6])
def test_enlarging_and_a_mean_are_bilinear(factor):
    """In float64, so that the sums tell."""
    taps = torch.full((factor + 1,), 2.0, dtype=torch.float64)
    taps[0] = taps[-1] = 1
    weight = torch.outer(taps, taps).expand(64, 1, -1, -1) / (4 * factor**2)
    values = random_codes(5, 7).double()
    got = F.conv2d(EnlargeCodes(factor)(values), weight, groups=64)
    expected = F.interpolate(values, scale_factor=factor, mode="bilinear", align_corners=False)
    torch.testing.assert_close(got / 255, expected / 255, rtol=0, atol=1e-15)


class Enlarging(nn.Module):
    """An inner resize from a stride of `stride` to 1."""

    def __init__(self, stride: int | tuple[int, int]) -> None:
        super().__init__()
        self.fine, self.coarse = nn.Conv2d(3, 4, 1), nn.Conv2d(3, 4, 1, stride)
        self.head = nn.Conv2d(8, 3, 1)

    def forward(self, *images: Tensor) -> dict[str, Tensor]:
        fine, coarse = self.fine(images[0]), self.coarse(images[0])
        coarse = F.interpolate(coarse, size=fine.shape[2:], mode="bilinear", align_corners=False)
        logits, size = self.head(torch.cat([fine, coarse], 1)), images[0].shape[2:]
        return {"segmentation": F.interpolate(logits, size=size, mode="bilinear", align_corners=False)}


def enlarging(stride: int | tuple[int, int]) -> nn.Module:
    torch.manual_seed(0)
    return Enlarging(stride)


def count(graph: fx.GraphModule, kind: type[nn.Module]) -> int:
    return sum(isinstance(module, kind) for module in graph.modules())


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "tiny": tiny,
    "x 4": lambda: enlarging(4),
    "x 8": lambda: enlarging(8),
}


@pytest.mark.parametrize("scheme", WITH_TIES)
@pytest.mark.parametrize("network", NETWORKS)
def test_convolutions_give_every_bit_of_the_resizes(network, scheme):
    converted = convert(quantized(NETWORKS[network](), scheme))
    convolved = convolve_resizes(converted, (24, 32))
    assert (count(convolved, EnlargeCodes), count(converted, EnlargeCodes)) == (1, 0)
    assert count(convolved, IntegerConv) == count(converted, IntegerConv) + 1
    (image,) = pixels(1, seed=5)[0]
    expected, got = IntegerModel(converted)(image), IntegerModel(convolved)(image)
    assert all(torch.equal(got[name], value) for name, value in expected.items())


@pytest.mark.parametrize(
    ("network", "size"),
    [
        (tiny, (25, 33)),  # 13x17 from 7x9
        (tiny, (24, 34)),  # the width alone
        (lambda: enlarging(3), (24, 30)),
        (lambda: enlarging((2, 4)), (24, 32)),
        (lambda: enlarging(1), (24, 32)),
    ],
)
def test_other_factors_stay_resizes(network, size):
    converted = convert(quantized(network()))
    assert count(convolve_resizes(converted, size), EnlargeCodes) == 0


def test_16_bit_codes_stay_resizes():
    model = prepare(tiny(), plan=Plan(activations={"encoder_2_2": 16}), percentile=100.0)
    set_input_range(model, -2.0, 127 / 64)
    calibrate(model, pixels(seed=1))
    assert count(convolve_resizes(convert(model), (24, 32)), EnlargeCodes) == 0


def test_scales_of_earlier_checkpoints_are_kept():
    """`exact_resizes` False: the scale is that of the range."""
    found = {}
    for exact in (False, True):
        model = prepare(enlarging(2), percentile=100.0, exact_resizes=exact)
        set_input_range(model, -2.0, 127 / 64)
        calibrate(model, pixels(seed=1))
        (found[exact],) = {float(m.scale) for m in model.modules() if getattr(getattr(m, "grid", None), "bits", 0) == 8
                           and len(getattr(m, "nonnegative", ())) > 1}  # fmt: skip
    assert found[True] == float(short_scale(torch.tensor(found[False]))) < found[False]
