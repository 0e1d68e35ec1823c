"""Losses that compare regions and not pixels: Dice and Lovász-softmax, over the classes that occur in the batch.

They take logits (N,C,H,W) and classes (N,H,W) int64 with `ignore` where not labelled. They are no means over pixels:
mass is 1, or 0 when nothing is labelled.
"""

from __future__ import annotations

import torch
from torch import Tensor

from edgeailite.training.losses.sums import IGNORE, LossSum, at_least_float32, once, split_ignored


def dice(logits: Tensor, target: Tensor, *, ignore: int = IGNORE) -> LossSum:
    """Compute 1 - 2 sum(p y) / (sum(p) + sum(y)) of probabilities p and labels y; mean over classes that occur.

    Sums run over the labelled pixels of the batch. Milletari et al. (2016, https://arxiv.org/abs/1606.04797); as
    usual since, without their squares. No smoothing term: a class that occurs has a sum above 0.
    """
    labelled, classes = split_ignored(target, ignore)
    shares = at_least_float32(logits).softmax(1) * labelled[:, None]
    truth = _one_hot(classes, labelled, shares.shape[1]).to(shares.dtype)
    common = (shares * truth).sum((0, 2, 3))
    size = truth.sum((0, 2, 3))
    occurs = size > 0
    both = torch.where(occurs, shares.sum((0, 2, 3)) + size, torch.ones_like(size))
    lost = torch.where(occurs, 1 - 2 * common / both, torch.zeros_like(size))
    return once(lost.sum() / occurs.sum().clamp(min=1), labelled.any())


def lovasz_softmax(logits: Tensor, target: Tensor, *, ignore: int = IGNORE) -> LossSum:
    """Compute the Lovász extension of 1 - IoU at the softmax's errors; mean over the classes that occur.

    Berman et al. (2018, https://arxiv.org/abs/1705.08790), over the batch (their `per_image=False`). For certain
    predictions it is 1 - IoU.
    """
    labelled, classes = split_ignored(target, ignore)
    shares = at_least_float32(logits).softmax(1).contiguous()
    present = classes[labelled].unique().tolist()
    of_class = shares.unbind(1)  # its gradient is made once, that of an index once per class
    lost = [_lovasz_of_class(of_class[c], (classes == c) & labelled, labelled) for c in present]
    total = torch.stack(lost).mean() if lost else shares.sum() * 0  # times 0: a gradient exists, and is 0
    return once(total, labelled.any())


def _lovasz_of_class(shares: Tensor, truth: Tensor, labelled: Tensor) -> Tensor:
    """One class, from its probabilities and two bool maps, all (N,H,W)."""
    errors = ((truth.to(shares.dtype) - shares).abs() * labelled).flatten()
    with torch.no_grad():
        # An ignored pixel has error 0: it is sorted last and adds 0, so it need not be taken out
        order = (~_as_integers(errors)).sort().indices  # hardest first
        steps = torch.empty_like(errors)
        steps[order] = _steps_of_jaccard(truth.flatten()[order], errors.dtype)
    return (errors * steps).sum()


def _as_integers(errors: Tensor) -> Tensor:
    """Bits of floats from 0 on, which have the order of the floats; integers sort in a quarter of the time on CPUs."""
    return errors.view(torch.int64 if errors.dtype == torch.float64 else torch.int32)


def _steps_of_jaccard(truth: Tensor, dtype: torch.dtype) -> Tensor:
    """Return the growth of 1 - IoU as pixels, hardest first, turn wrong: (P,) bool -> (P,). Exact, in integers."""
    hit = truth.cumsum(0, dtype=torch.int32)
    size = hit[-1]
    others = torch.arange(1, len(hit) + 1, dtype=torch.int32, device=hit.device) - hit
    jaccard = 1 - (size - hit).to(dtype) / (size + others).to(dtype)
    return torch.diff(jaccard, prepend=jaccard.new_zeros(1))


def _one_hot(classes: Tensor, labelled: Tensor, num_classes: int) -> Tensor:
    """(N,C,H,W) bool, all False where not labelled."""
    return (classes[:, None] == torch.arange(num_classes, device=classes.device).view(1, -1, 1, 1)) & labelled[:, None]
