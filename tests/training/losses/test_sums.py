"""What holds for every loss of the package; a new one must be entered in CLASS_LOSSES or DEPTH_LOSSES."""

from collections.abc import Callable
from functools import partial
from typing import get_type_hints

import pytest
import torch
from torch import Tensor

from edgeailite.training import losses
from edgeailite.training.losses import LossSum

CLASSES = 4
WEIGHT = torch.tensor([0.5, 1.0, 2.5, 0.25])

CLASS_LOSSES: dict[str, Callable[..., LossSum]] = {
    "cross_entropy_sum": losses.cross_entropy_sum,
    "cross_entropy_sum weighted": partial(losses.cross_entropy_sum, weight=WEIGHT),
    "ohem": partial(losses.ohem, threshold=0.25, min_share=0.2),
    "ohem weighted": partial(losses.ohem, threshold=0.25, min_share=0.2, weight=WEIGHT),
    "focal": losses.focal,
    "focal weighted": partial(losses.focal, gamma=0.5, weight=WEIGHT),
    "dice": losses.dice,
    "lovasz_softmax": losses.lovasz_softmax,
}
DEPTH_LOSSES: dict[str, Callable[..., LossSum]] = {
    "depth_smooth_l1": losses.depth_smooth_l1,
    "depth_scale": losses.depth_scale,
    "depth_spread": losses.depth_spread,
    "depth_relative": losses.depth_relative,
}
LOSSES = CLASS_LOSSES | DEPTH_LOSSES
REGIONS = ("dice", "lovasz_softmax")


def batch(name: str, *, ignored: float = 0.3, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
    """A prediction that requires a gradient and a target for the loss of that name, 4 pictures of 5x6."""
    generator = torch.Generator().manual_seed(3)
    unknown = torch.rand(4, 5, 6, generator=generator) < ignored
    if name in DEPTH_LOSSES:
        prediction = 20 + 5 * torch.randn(4, 1, 5, 6, generator=generator)
        target = torch.where(unknown, 0, 20 + 5 * torch.randn(4, 5, 6, generator=generator))
    else:
        prediction = 2 * torch.randn(4, CLASSES, 5, 6, generator=generator)
        target = torch.where(unknown, 255, torch.randint(0, CLASSES, (4, 5, 6), generator=generator))
    return prediction.to(dtype).requires_grad_(), target


@pytest.mark.parametrize("name", LOSSES)
class TestEveryLoss:
    def test_gradient_is_that_of_the_value(self, name):
        prediction, target = batch(name, dtype=torch.float64)
        assert torch.autograd.gradcheck(lambda x: LOSSES[name](x, target).mean(), prediction)

    def test_nothing_labelled_is_zero_with_zero_gradient_under_a_scaler_too(self, name):
        prediction, target = batch(name, ignored=1.1)
        loss = LOSSES[name](prediction, target)
        (loss.mean() * 65536.0).backward()
        assert (loss.total.item(), loss.mass.item(), loss.mean().item()) == (0, 0, 0)
        assert (prediction.grad == 0).all()

    def test_ignored_pixels_change_nothing(self, name):
        prediction, target = batch(name)
        ignored = ((target == 0) if name in DEPTH_LOSSES else (target == 255))[:, None]
        disturbed = torch.where(ignored, 50 + 7 * torch.arange(6), prediction)
        loss, other = LOSSES[name](prediction, target), LOSSES[name](disturbed, target)
        assert other.mean().item() == loss.mean().item()
        (gradient,) = torch.autograd.grad(loss.mean(), prediction)
        assert (gradient[ignored.expand_as(gradient)] == 0).all()

    def test_halves_add_up(self, name):
        prediction, target = batch(name)
        whole = LOSSES[name](prediction, target)
        parts = [LOSSES[name](prediction[i : i + 2], target[i : i + 2]) for i in (0, 2)]
        if name in REGIONS:  # no sum over pixels: each part counts once
            assert [part.mass.item() for part in parts] == [whole.mass.item()] * 2 == [1, 1]
        else:
            torch.testing.assert_close(parts[0].total + parts[1].total, whole.total)
            torch.testing.assert_close(parts[0].mass + parts[1].mass, whole.mass)

    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
    def test_half_precision_is_computed_in_float32(self, name, dtype):
        prediction, target = batch(name)
        rounded = prediction.detach().to(dtype)
        loss = LOSSES[name](rounded, target)
        assert loss.total.dtype == loss.mass.dtype == torch.float32
        assert loss.mean().item() == LOSSES[name](rounded.float(), target).mean().item()

    def test_double_stays_double(self, name):
        prediction, target = batch(name, dtype=torch.float64)
        loss = LOSSES[name](prediction, target)
        assert loss.total.dtype == loss.mass.dtype == torch.float64
        assert LOSSES[name](prediction.float(), target).mean().item() == pytest.approx(loss.mean().item(), rel=1e-5)

    def test_mass_has_no_gradient(self, name):
        prediction, target = batch(name)
        assert not LOSSES[name](prediction, target).mass.requires_grad


@pytest.mark.parametrize("name", CLASS_LOSSES)
class TestEveryLossOfClasses:
    def test_names_of_classes_do_not_matter(self, name):
        prediction, target = batch(name)
        order = torch.tensor([2, 0, 3, 1])
        renamed = torch.where(target == 255, 255, order.argsort()[target % 255])
        given = getattr(CLASS_LOSSES[name], "keywords", {})
        weight = {"weight": WEIGHT[order]} if "weight" in given else {}
        permuted = CLASS_LOSSES[name](prediction[:, order], renamed, **weight)
        assert permuted.mean().item() == pytest.approx(CLASS_LOSSES[name](prediction, target).mean().item(), rel=1e-5)

    def test_memory_layout_does_not_matter(self, name):
        prediction, target = batch(name)
        other = prediction.to(memory_format=torch.channels_last)
        expected = CLASS_LOSSES[name](prediction, target).mean().item()
        assert CLASS_LOSSES[name](other, target).mean().item() == pytest.approx(expected, rel=1e-6)

    def test_nearly_zero_for_a_sure_and_right_prediction(self, name):
        _, target = batch(name)
        sure = 40.0 * torch.nn.functional.one_hot(target % 255, CLASSES).movedim(3, 1)
        loss = CLASS_LOSSES[name](sure.requires_grad_(), target).mean()
        assert 0 <= loss.item() < 1e-6
        loss.backward()
        assert torch.isfinite(sure.grad).all()


def test_every_loss_of_the_package_is_in_the_tables():
    of_a_teacher = ("distilled_classes", "distilled_values")  # no labels: tests/training/losses/test_distillation.py
    functions = [name for name in losses.__all__ if name not in ("LossSum", *of_a_teacher)]
    sums = {name for name in functions if get_type_hints(getattr(losses, name))["return"] is LossSum}
    assert sums == {name.split()[0] for name in LOSSES}


def test_over_divides_by_the_mass_of_all_processes():
    loss = LossSum(torch.tensor(6.0), torch.tensor(3.0))
    assert (loss.mean().item(), loss.over(torch.tensor(12.0)).item()) == (2.0, 0.5)


def test_a_process_without_labels_takes_part_with_zero():
    nothing = LossSum(torch.tensor(0.0), torch.tensor(0.0))
    assert nothing.over(torch.tensor(5.0)).item() == 0.0
