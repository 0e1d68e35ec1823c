"""Dice and Lovász-softmax against their definitions, counted in sets of pixels, and against IoU."""

import itertools

import numpy as np
import pytest
import torch

from edgeailite.metrics import confusion_matrix, scores
from edgeailite.training.losses import dice, lovasz_softmax

CLASSES = 4


def labels_and_logits(seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Labels of 3 of 4 classes, a fifth of them ignored, and random logits."""
    generator = torch.Generator().manual_seed(seed)
    target = torch.randint(0, CLASSES - 1, (2, 4, 5), generator=generator)
    target[torch.rand(2, 4, 5, generator=generator) < 0.2] = 255
    return target, 2 * torch.randn(2, CLASSES, 4, 5, generator=generator)


def labelled_pixels(target: torch.Tensor, logits: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
    """((P,) classes, (P,C) probabilities) in double."""
    seen = target.numpy() != 255
    x = np.moveaxis(logits.double().numpy(), 1, 3)[seen]
    return target.numpy()[seen], np.exp(x) / np.exp(x).sum(1, keepdims=True)


def jaccard_loss(truth: set[int], wrong: set[int]) -> float:
    """1 - IoU of a class when the pixels `wrong` are mistaken: the set function of the paper."""
    return 1 - len(truth - wrong) / len(truth | wrong)


@pytest.mark.parametrize("seed", range(5))
def test_lovasz_is_the_extension_of_the_jaccard_set_function(seed):
    target, logits = labels_and_logits(seed)
    classes, p = labelled_pixels(target, logits)
    expected = []
    for c in np.unique(classes):
        truth = set(np.flatnonzero(classes == c).tolist())
        errors = np.abs((classes == c) - p[:, c])
        order = np.argsort(-errors).tolist()
        lost = [jaccard_loss(truth, set(order[:count])) for count in range(len(order) + 1)]
        expected.append(sum(errors[i] * (b - a) for i, (a, b) in zip(order, itertools.pairwise(lost), strict=True)))
    assert lovasz_softmax(logits, target).mean().item() == pytest.approx(np.mean(expected), rel=1e-5)


@pytest.mark.parametrize("seed", range(5))
def test_dice_is_its_formula(seed):
    target, logits = labels_and_logits(seed)
    classes, p = labelled_pixels(target, logits)
    share = [2 * p[classes == c, c].sum() / (p[:, c].sum() + (classes == c).sum()) for c in np.unique(classes)]
    assert dice(logits, target).mean().item() == pytest.approx(1 - np.mean(share), rel=1e-5)


@pytest.mark.parametrize("seed", range(5))
def test_of_certain_predictions_they_are_1_minus_iou_and_1_minus_f1(seed):
    target, logits = labels_and_logits(seed)
    guess = logits.argmax(1)
    certain = 1000.0 * torch.nn.functional.one_hot(guess, CLASSES).movedim(3, 1)
    iou = np.array(scores(confusion_matrix(target.numpy(), guess.numpy(), CLASSES)).iou)[:-1]  # 3 never is the truth
    assert lovasz_softmax(certain, target).mean().item() == pytest.approx(1 - iou.mean(), rel=1e-6)
    assert dice(certain, target).mean().item() == pytest.approx(1 - (2 * iou / (1 + iou)).mean(), rel=1e-6)


@pytest.mark.parametrize("loss", [dice, lovasz_softmax])
def test_zero_for_perfect_and_one_for_all_wrong(loss):
    target = torch.tensor([[[0, 1], [1, 255]]])
    right = torch.nn.functional.one_hot(target % 255, 2).movedim(3, 1) * 1000.0
    assert loss(right, target).mean().item() == 0.0
    assert loss(-right, target).mean().item() == 1.0
