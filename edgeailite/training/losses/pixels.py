"""Losses that are means over pixels: cross entropy, its hardest pixels (OHEM), focal.

All take logits (N,C,H,W) and classes (N,H,W) int64, `ignore` (0..255) where not labelled, and `weight` (C,) per class.
With weights, `mass` is the sum of the weights of the pixels that count, as torch divides; the published edgeailite code
divides by all pixels, ignored ones included, and applies weights to one batch in five.

Other exact forms of the cross entropy were timed against torch's on channels_last logits (8,11,240,320), forward and
backward, CPU time of one thread: logsumexp minus the gathered logit takes 1.5 times as long, rows of pixels x classes
3.5 times, a copy to NCHW first 1.04 times; a backward of our own would gain 7 %, not worth its lines.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from edgeailite.training.losses.sums import IGNORE, LossSum, at_least_float32


def cross_entropy(logits: Tensor, target: Tensor, *, weight: Tensor | None = None, ignore: int = IGNORE) -> Tensor:
    """Return the mean over labelled pixels of the class-weighted cross entropy; 0 when every pixel is ignored."""
    return cross_entropy_sum(logits, target, weight=weight, ignore=ignore).mean()


def cross_entropy_sum(
    logits: Tensor, target: Tensor, *, weight: Tensor | None = None, smoothing: float = 0.0, ignore: int = IGNORE
) -> LossSum:
    """Sum the class-weighted cross entropy; mass is the sum of the weights of the labelled pixels.

    `smoothing` (0..1) is the share of a pixel's label that is spread evenly over all classes, each then weighted as
    its class (Szegedy et al., 2016, https://arxiv.org/abs/1512.00567, as torch computes it).
    """
    logits = at_least_float32(logits)
    if weight is not None:
        weight = weight.to(logits)
    total = F.cross_entropy(logits, target, weight, ignore_index=ignore, reduction="sum", label_smoothing=smoothing)
    return LossSum(total, _pixel_weights(logits, target, weight, ignore).sum())


def ohem(
    logits: Tensor,
    target: Tensor,
    *,
    weight: Tensor | None = None,
    threshold: float = 0.7,
    min_share: float = 1 / 16,
    ignore: int = IGNORE,
) -> LossSum:
    """Sum the cross entropy of hard pixels: those whose class has a probability of at most `threshold` (0..1).

    At least `min_share` (0..1) of a picture's labelled pixels are kept, the hardest, rounded up. Threshold 1 keeps
    all. Online hard example mining is of Shrivastava et al. (2016, https://arxiv.org/abs/1604.03540), for regions;
    for pixels, Wu et al. (2016, https://arxiv.org/abs/1604.04339) call it online bootstrapping. Changed: the smallest
    number is a share, independent of the resolution, and counted per picture, so that the loss does not depend on
    how pictures are spread over batches and processes.
    """
    logits = at_least_float32(logits)
    losses = F.cross_entropy(logits, target, ignore_index=ignore, reduction="none")
    with torch.no_grad():
        labelled = target != ignore
        hard = losses >= torch.minimum(_hardest(losses, labelled, min_share), losses.new_tensor(_bound(threshold)))
        weights = _pixel_weights(logits, target, weight, ignore) * hard
    return LossSum((losses * weights).sum(), weights.sum())


def focal(
    logits: Tensor, target: Tensor, *, weight: Tensor | None = None, gamma: float = 2.0, ignore: int = IGNORE
) -> LossSum:
    """Sum (1 - p)^gamma times the cross entropy, p the probability of the pixel's class; gamma 0 is the cross entropy.

    Lin et al. (2017, https://arxiv.org/abs/1708.02002), for a softmax. Changed: divided by the weights of the
    labelled pixels and not by a number of objects, which pixels do not have.
    """
    logits = at_least_float32(logits)
    losses = F.cross_entropy(logits, target, ignore_index=ignore, reduction="none")
    # Bounded: at p = 1 the slope of a power below 1 is infinite
    wrong = (1 - torch.exp(-losses)).clamp(min=torch.finfo(losses.dtype).tiny)
    weights = _pixel_weights(logits, target, weight, ignore)
    return LossSum((wrong**gamma * losses * weights).sum(), weights.sum())


def _pixel_weights(logits: Tensor, target: Tensor, weight: Tensor | None, ignore: int) -> Tensor:
    """(N,H,W) weight of each pixel: that of its class, 0 where ignored."""
    num_classes = logits.shape[1]
    table = logits.new_zeros(max(num_classes, ignore + 1))
    table[:num_classes] = 1 if weight is None else weight.to(logits)
    table[ignore] = 0
    return table.index_select(0, target.flatten()).view_as(target)  # a tenth of the time of comparing and choosing


def _hardest(losses: Tensor, labelled: Tensor, share: float) -> Tensor:
    """(N,1,1): the loss that `share` of a picture's labelled pixels reach."""
    losses, labelled = losses.flatten(1), labelled.flatten(1)
    kept = (labelled.sum(1, keepdim=True) * share).ceil().long()
    most = max(1, math.ceil(losses.shape[1] * share))  # a fixed number, so that a device need not be waited for
    largest = torch.where(labelled, losses, losses.new_tensor(-1.0)).topk(most, 1).values
    return largest.gather(1, (kept - 1).clamp(min=0))[..., None]


def _bound(threshold: float) -> float:
    """The loss at a probability."""
    return -math.log(threshold) if threshold > 0 else math.inf
