"""Depth losses against numbers by hand and numpy."""

import numpy as np
import pytest
import torch

from edgeailite.training.losses import depth_relative, depth_scale, depth_smooth_l1, depth_spread

# Two pictures of 1x4; errors of known pixels: +0.5, -2, +3 and +4, +4; the others are not known
TARGET = torch.tensor([[[10.0, 20.0, 0.0, 30.0]], [[0.0, 5.0, 6.0, 0.0]]])
PREDICTION = torch.tensor([[[[10.5, 18.0, 99.0, 33.0]]], [[[7.0, 9.0, 10.0, 8.0]]]])


def test_smooth_l1_by_hand():
    loss = depth_smooth_l1(PREDICTION, TARGET)
    assert loss.mass.item() == 5
    assert loss.total.item() == pytest.approx(0.125 + 1.5 + 2.5 + 3.5 + 3.5)


def test_scale_is_the_size_of_the_mean_error_of_a_picture():
    loss = depth_scale(PREDICTION, TARGET)
    assert loss.mass.item() == 2
    assert loss.mean().item() == pytest.approx((0.5 + 4.0) / 2, abs=1.1e-3)


def test_spread_is_the_standard_deviation_of_the_error():
    loss = depth_spread(PREDICTION, TARGET)
    assert loss.mass.item() == 2
    assert loss.mean().item() == pytest.approx((np.std([0.5, -2, 3]) + 0) / 2, abs=1.1e-3)


def test_relative_is_the_error_over_the_true_depth():
    loss = depth_relative(PREDICTION, TARGET)
    assert loss.mass.item() == 5
    assert loss.mean().item() == pytest.approx((0.5 / 10 + 2 / 20 + 3 / 30 + 4 / 5 + 4 / 6) / 5)


def test_a_constant_offset_is_scale_and_no_spread():
    target = torch.rand(1, 8, 8) * 50 + 1
    offset = (target + 3)[:, None]
    assert depth_spread(offset, target).mean().item() == pytest.approx(0, abs=1e-6)
    assert depth_scale(offset, target).mean().item() == pytest.approx(3, abs=1.1e-3)


@pytest.mark.parametrize("loss", [depth_smooth_l1, depth_scale, depth_spread, depth_relative])
def test_perfect_depth_is_zero_with_a_finite_gradient(loss):
    target = torch.rand(2, 4, 4) * 50 + 1
    prediction = target[:, None].clone().requires_grad_()
    value = loss(prediction, target).mean()
    value.backward()
    assert value.item() == pytest.approx(0, abs=1e-9)
    assert (prediction.grad == 0).all()


def test_a_picture_without_known_depth_is_not_counted():
    target = TARGET.clone()
    target[1] = 0
    for loss in (depth_smooth_l1, depth_scale, depth_spread):
        assert loss(PREDICTION, target).mean().item() == loss(PREDICTION[:1], TARGET[:1]).mean().item()
