"""Learning rates by formula, and optimizers by what one step does to a number."""

import math

import pytest
import torch
from torch import nn

from edgeailite.optim import learning_rate, make_optimizer


def rate(epoch: float, scheduler: str, *, warmup: float = 0.0) -> float:
    return learning_rate(
        0.1, epoch, epochs=10, scheduler=scheduler, warmup_epochs=warmup, milestones=(4, 8), gamma=0.25
    )


@pytest.mark.parametrize(
    "scheduler, expected",
    [
        ("step", {0: 0.1, 3.99: 0.1, 4: 0.025, 7.5: 0.025, 8: 0.00625, 10: 0.00625}),
        ("cosine", {0: 0.1, 2.5: 0.1 * (1 + math.sqrt(0.5)) / 2, 5: 0.05, 10: 0.0, 11: 0.0}),
        ("poly", {0: 0.1, 5: 0.1 * 0.5**0.9, 9: 0.1 * 0.1**0.9, 10: 0.0, 11: 0.0}),
    ],
)
def test_schedule_by_hand(scheduler, expected):
    for epoch, value in expected.items():
        assert rate(epoch, scheduler) == pytest.approx(value, abs=1e-12), epoch


@pytest.mark.parametrize("scheduler", ["step", "cosine", "poly"])
def test_warm_up_is_linear_and_starts_above_zero(scheduler):
    assert rate(0, scheduler, warmup=2) == pytest.approx(0.1 * 1e-3)
    assert rate(0.5, scheduler, warmup=2) == pytest.approx(0.025)
    assert rate(1, scheduler, warmup=2) == pytest.approx(0.05)
    assert rate(2, scheduler, warmup=2) == rate(2, scheduler)


def stepped(name: str) -> float:
    """A parameter at 1 with gradient 0.5, after one step of lr 0.1 and weight decay 0.2."""
    parameter = nn.Parameter(torch.ones(1))
    optimizer = make_optimizer(name, [parameter], lr=0.1, weight_decay=0.2)
    parameter.grad = torch.full((1,), 0.5)
    optimizer.step()
    return parameter.item()


def test_one_step_by_hand():
    assert stepped("sgd") == pytest.approx(1 - 0.1 * (0.5 + 0.2))
    assert stepped("adam") == pytest.approx(1 - 0.1)  # Adam's first step is lr whatever the gradient
    assert stepped("adamw") == pytest.approx(1 * (1 - 0.1 * 0.2) - 0.1)


def test_sgd_has_momentum():
    assert make_optimizer("sgd", [nn.Parameter(torch.ones(1))], lr=1, weight_decay=0).param_groups[0]["momentum"] == 0.9


def test_frozen_parameters_are_left_out():
    trained, frozen = nn.Parameter(torch.ones(1)), nn.Parameter(torch.ones(1), requires_grad=False)
    assert make_optimizer("adam", [frozen, trained], lr=1, weight_decay=0).param_groups[0]["params"] == [trained]
