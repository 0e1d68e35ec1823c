"""Cross entropy against torch's own mean, and class weights against numbers computed elsewhere."""

import pytest
import torch
import torch.nn.functional as F

from edgeailite.losses import cross_entropy, enet_weights

# Training pixels per class of CamVid (SegNet's 11-class version), and 1/ln(1.02 + share), computed apart from this code
CAMVID_PIXELS = [10682767, 14750079, 623349, 20076880, 2845085, 6166762, 743859, 714595, 3719877, 405385, 184967]
CAMVID_ENET = [5.603, 4.295, 33.574, 3.335, 15.486, 8.739, 31.542, 32.012, 12.829, 38.014, 43.907]


def batch(*, ignored: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits of 5 classes that require a gradient, and labels of which a share is 255."""
    generator = torch.Generator().manual_seed(1)
    logits = torch.randn(2, 5, 6, 7, generator=generator).requires_grad_()
    target = torch.randint(0, 5, (2, 6, 7), generator=generator)
    target[torch.rand(2, 6, 7, generator=generator) < ignored] = 255
    return logits, target


@pytest.mark.parametrize("weight", [None, torch.tensor([0.5, 1.0, 2.0, 0.0, 7.0])], ids=["plain", "weighted"])
@pytest.mark.parametrize("ignored", [0.0, 0.4])
def test_equals_torch(weight, ignored):
    logits, target = batch(ignored=ignored)
    expected = F.cross_entropy(logits, target, weight, ignore_index=255)
    loss = cross_entropy(logits, target, weight=weight)
    assert loss.item() == pytest.approx(expected.item(), rel=1e-6)
    (gradient,) = torch.autograd.grad(loss, logits)
    (reference,) = torch.autograd.grad(expected, logits)
    torch.testing.assert_close(gradient, reference)


@pytest.mark.parametrize("weight", [None, torch.ones(5)], ids=["plain", "weighted"])
def test_batch_of_ignored_pixels_is_zero_with_zero_gradient(weight):
    logits, target = batch(ignored=1.1)
    loss = cross_entropy(logits, target, weight=weight)
    loss.backward()
    assert loss.item() == 0.0
    assert (logits.grad == 0).all()


def test_ignored_pixels_change_nothing():
    logits, target = batch(ignored=0.4)
    disturbed = torch.where((target == 255)[:, None], torch.full_like(logits, 1e4), logits)
    assert cross_entropy(disturbed, target).item() == cross_entropy(logits, target).item()


def test_half_precision_is_summed_in_float():
    logits, target = batch(ignored=0.0)
    loss = cross_entropy(logits.half(), target)
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(cross_entropy(logits, target).item(), rel=1e-3)


def test_enet_weights_of_camvid():
    weights = enet_weights(torch.tensor(CAMVID_PIXELS))
    assert weights.tolist() == pytest.approx(CAMVID_ENET, abs=6e-4)


def test_enet_weights_of_an_absent_class_are_finite():
    assert torch.isfinite(enet_weights(torch.tensor([0, 10]))).all()
    assert torch.isfinite(enet_weights(torch.tensor([0, 0]))).all()
