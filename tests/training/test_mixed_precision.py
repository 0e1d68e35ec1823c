"""Mixed precision: what is computed in which type, on a CPU."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edgeailite.models import create_model
from edgeailite.training.mixed_precision import mixed_precision


def _pair(groups: int) -> tuple[nn.Conv2d, Tensor]:
    torch.manual_seed(3)
    return nn.Conv2d(8, 8, 3, padding=1, groups=groups, bias=False), torch.randn(2, 8, 9, 7)


def test_depthwise_convolutions_are_float32_and_give_the_type_of_the_others() -> None:
    layer, x = _pair(8)
    with mixed_precision("cpu", torch.bfloat16):
        y = layer(x)
    assert y.dtype == torch.bfloat16
    assert torch.equal(y, layer(x).bfloat16())
    rounded = F.conv2d(x.bfloat16().float(), layer.weight.bfloat16().float(), padding=1, groups=8).bfloat16()
    assert not torch.equal(y, rounded)  # so inputs and weights were not rounded on the way


@pytest.mark.parametrize("groups", [1, 4])
def test_other_convolutions_are_in_autocast(groups: int) -> None:
    layer, x = _pair(groups)
    with mixed_precision("cpu", torch.bfloat16):
        y = layer(x)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(y, layer(x))


def test_words_of_a_call_do_not_matter() -> None:
    layer, x = _pair(8)
    with mixed_precision("cpu", torch.bfloat16):
        spelled = F.conv2d(input=x, weight=layer.weight, padding=1, groups=8)
        assert torch.equal(spelled, layer(x))
        assert F.conv2d(x, layer.weight.repeat(1, 8, 1, 1)).dtype == torch.bfloat16


def test_none_is_float32_and_nothing_stays_after_the_block() -> None:
    layer, x = _pair(8)
    with mixed_precision("cpu", None):
        assert layer(x).dtype == torch.float32
    with mixed_precision("cpu", torch.bfloat16):
        pass
    assert layer(x).dtype == torch.float32


def test_gradients_are_those_of_float32_but_for_rounding() -> None:
    torch.manual_seed(0)
    model = create_model("fpn_aspp_mobilenetv2_tv_edgeailite", 5).eval()
    x = torch.randn(1, 3, 64, 64)
    gradients = []
    for dtype in (None, torch.bfloat16):
        model.zero_grad()
        with mixed_precision("cpu", dtype):
            y = model(x)["segmentation"]
        y.float().square().mean().backward()
        gradients.append(torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None]))
    exact, mixed = gradients
    assert torch.cosine_similarity(exact, mixed, dim=0) > 0.99
    assert torch.isfinite(mixed).all()
