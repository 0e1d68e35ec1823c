"""Cross entropy against torch's own mean; OHEM and focal against numpy, pixel by pixel."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from edgeailite.training.losses import cross_entropy, cross_entropy_sum, focal, ohem


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


WEIGHT = torch.tensor([0.5, 1.0, 2.0, 0.0, 7.0])


def probabilities(logits: torch.Tensor, target: torch.Tensor) -> list[list[tuple[float, int]]]:
    """Per picture, (probability of its class, class) of each labelled pixel, in numpy's double."""
    x = logits.detach().double().numpy()
    p = np.exp(x) / np.exp(x).sum(1, keepdims=True)
    pictures = []
    for picture, labels in zip(p, target.numpy(), strict=True):
        seen = np.argwhere(labels != 255)
        pictures.append([(picture[labels[y, x], y, x], int(labels[y, x])) for y, x in seen])
    return pictures


def test_mass_is_the_weight_of_labelled_pixels():
    target = torch.tensor([[[0, 4, 255, 2]]])
    loss = cross_entropy_sum(torch.zeros(1, 5, 1, 4), target, weight=WEIGHT)
    assert loss.mass.item() == 0.5 + 7 + 2
    assert loss.total.item() == pytest.approx(9.5 * np.log(5), rel=1e-6)


@pytest.mark.parametrize("weight", [None, WEIGHT], ids=["plain", "weighted"])
def test_ohem_with_threshold_one_and_focal_with_gamma_zero_are_the_cross_entropy(weight):
    logits, target = batch(ignored=0.4)
    expected = cross_entropy(logits, target, weight=weight)
    (reference,) = torch.autograd.grad(expected, logits)
    for loss in (ohem(logits, target, weight=weight, threshold=1.0), focal(logits, target, weight=weight, gamma=0.0)):
        assert loss.mean().item() == pytest.approx(expected.item(), rel=1e-6)
        (gradient,) = torch.autograd.grad(loss.mean(), logits)
        torch.testing.assert_close(gradient, reference)


@pytest.mark.parametrize("weight", [torch.ones(5), WEIGHT], ids=["plain", "weighted"])
@pytest.mark.parametrize(("threshold", "min_share"), [(0.1, 0.01), (0.1, 0.6), (0.9, 0.2)])
def test_ohem_is_the_mean_of_the_hard_pixels(threshold, min_share, weight):
    logits, target = batch(ignored=0.4)
    total = mass = 0.0
    for pixels in probabilities(logits, target):
        least = int(np.ceil(min_share * len(pixels)))
        hard = [pixel for pixel in pixels if pixel[0] <= threshold]
        kept = hard if len(hard) >= least else sorted(pixels)[:least]
        total += sum(-np.log(p) * weight[c].item() for p, c in kept)
        mass += sum(weight[c].item() for _, c in kept)
    loss = ohem(logits, target, weight=weight, threshold=threshold, min_share=min_share)
    assert loss.mass.item() == pytest.approx(mass, rel=1e-6)
    assert loss.total.item() == pytest.approx(total, rel=1e-5)


def test_ohem_of_a_picture_without_labels_beside_one_with():
    logits, target = batch(ignored=0.0)
    alone = ohem(logits[:1], target[:1], threshold=0.1, min_share=0.5)
    target[1] = 255
    both = ohem(logits, target, threshold=0.1, min_share=0.5)
    assert both.mass.item() == alone.mass.item()
    assert both.total.item() == pytest.approx(alone.total.item(), rel=1e-6)


@pytest.mark.parametrize("gamma", [0.5, 2.0, 5.0])
def test_focal_is_the_papers_formula(gamma):
    logits, target = batch(ignored=0.4)
    pixels = [pixel for picture in probabilities(logits, target) for pixel in picture]
    expected = np.mean([-((1 - p) ** gamma) * np.log(p) for p, _ in pixels])
    assert focal(logits, target, gamma=gamma).mean().item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("weight", [None, WEIGHT], ids=["plain", "weighted"])
def test_a_class_may_be_the_ignored_value(weight):
    logits, target = batch(ignored=0.0)
    expected = F.cross_entropy(logits, target, weight, ignore_index=1).item()
    for loss in (cross_entropy_sum, focal, ohem):
        options = {focal: {"gamma": 0.0}, ohem: {"threshold": 1.0}}.get(loss, {})
        assert loss(logits, target, weight=weight, ignore=1, **options).mean().item() == pytest.approx(expected)


@pytest.mark.parametrize("weight", [None, WEIGHT], ids=["plain", "weighted"])
def test_smoothing_spreads_a_share_of_each_label_over_the_classes(weight):
    logits, target = batch(ignored=0.4)
    x = logits.detach().double().numpy()
    surprise = np.log(np.exp(x).sum(1, keepdims=True)) - x
    w = np.ones(5) if weight is None else weight.numpy()
    total = 0.0
    for n, y, x_ in np.argwhere(target.numpy() != 255):
        label = np.full(5, 0.1 / 5)
        label[target[n, y, x_]] += 0.9
        total += (label * w * surprise[n, :, y, x_]).sum()
    loss = cross_entropy_sum(logits, target, weight=weight, smoothing=0.1)
    assert loss.total.item() == pytest.approx(total, rel=1e-5)
    assert loss.mass == cross_entropy_sum(logits, target, weight=weight).mass
