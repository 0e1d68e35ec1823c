"""Losses between two networks' predictions, against probabilities written out."""

import pytest
import torch

from edgeailite.training.losses import distilled_classes, distilled_values


def logits(seed: int) -> torch.Tensor:
    return 3 * torch.randn(2, 4, 3, 5, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_classes_differ_by_the_divergence_of_their_probabilities(temperature):
    ours, theirs = logits(0), logits(1)
    p, q = ((x / temperature).exp() for x in (theirs, ours))
    p, q = p / p.sum(1, keepdim=True), q / q.sum(1, keepdim=True)
    expected = temperature**2 * (p * (p / q).log()).sum()
    loss = distilled_classes(ours, theirs, temperature=temperature)
    torch.testing.assert_close(loss.total, expected)
    assert loss.mass == 2 * 3 * 5
    assert distilled_classes(ours, ours + 7.0, temperature=temperature).total.item() == pytest.approx(0, abs=1e-12)


def test_the_gradient_of_classes_is_the_difference_of_probabilities():
    """And keeps its size at high temperatures: there it is the difference of logits over their number."""
    ours, theirs = logits(0).requires_grad_(), logits(1)
    distilled_classes(ours, theirs).total.backward()
    torch.testing.assert_close(ours.grad, ours.detach().softmax(1) - theirs.softmax(1))
    ours.grad = None
    distilled_classes(ours, theirs, temperature=1e4).total.backward()
    centred = (ours - theirs - (ours - theirs).mean(1, keepdim=True)).detach()
    torch.testing.assert_close(ours.grad, centred / 4, rtol=1e-2, atol=1e-3)


def test_values_differ_by_their_distance():
    ours, theirs = torch.tensor([[[[1.0, 2.0]]], [[[3.0, 4.0]]]]), torch.tensor([[[[1.5, 2.0]]], [[[1.0, 4.0]]]])
    loss = distilled_values(ours, theirs)
    assert loss.mean().item() == pytest.approx((0.5 + 2.0) / 4)


def test_half_precision_is_computed_in_float32():
    ours, theirs = logits(0).half(), logits(1).half()
    assert distilled_classes(ours, theirs).total.dtype == torch.float32
    assert distilled_values(ours, theirs).total.dtype == torch.float32
