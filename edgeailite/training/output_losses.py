"""Losses by the kind of output: class maps and depth, with deep supervision folded in."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from edgeailite.errors import UsageError
from edgeailite.modelcard import REGRESSION, task_type
from edgeailite.models.pixel2pixel import DEEP_SUPERVISION
from edgeailite.training.losses import (
    LossSum,
    cross_entropy_sum,
    depth_relative,
    depth_scale,
    depth_smooth_l1,
    depth_spread,
    dice,
    distilled_classes,
    distilled_values,
    focal,
    lovasz_softmax,
    ohem,
)

TEACHER = "teacher of "  # before the name of an output, among the targets


@dataclass(frozen=True)
class TaskOptions:
    """Options for the losses of outputs. Raises UsageError for an unknown loss and for numbers out of range.

    `segmentation` names a row of PIXEL_LOSSES, for class maps (motion as well), of which cross_entropy has
    `label_smoothing`; `dice` and `lovasz` weigh what is added
    to it. `class_weights` holds weights (C,) by output, on any device. `depth` weighs smooth L1, scale and spread,
    `depth_relative` the relative error; `deep_supervision` the second prediction, 0.4 as in the ADE20K recipes.
    """

    segmentation: str = "cross_entropy"
    label_smoothing: float = 0.0
    dice: float = 0.0
    lovasz: float = 0.0
    class_weights: Mapping[str, Tensor] = field(default_factory=dict)
    depth: tuple[float, float, float] = (0.125, 0.125, 4.0)
    depth_relative: float = 0.0
    deep_supervision: float = 0.4
    focal_gamma: float = 2.0
    ohem_threshold: float = 0.7
    ohem_min_share: float = 0.1

    def __post_init__(self) -> None:
        if self.segmentation not in PIXEL_LOSSES:
            problem = f"segmentation loss {self.segmentation!r} is unknown; known are {', '.join(PIXEL_LOSSES)}"
            raise UsageError(problem, value=self.segmentation, known=tuple(PIXEL_LOSSES), code="unknown-name")
        for name in ("dice", "lovasz", "deep_supervision", "focal_gamma"):
            value = getattr(self, name)
            if not value >= 0:
                raise UsageError(f"{name} is {value}; expected 0 or more")
        if not min(*self.depth, self.depth_relative) >= 0 or not max(*self.depth, self.depth_relative) > 0:
            given = (*self.depth, self.depth_relative)
            raise UsageError(f"depth is {given}; expected weights of 0 or more, one of them above 0")
        if not 0 <= self.label_smoothing < 1:
            raise UsageError(f"label_smoothing is {self.label_smoothing}; expected from 0 to below 1")
        for name in ("ohem_threshold", "ohem_min_share"):
            value = getattr(self, name)
            if not 0 < value <= 1:
                raise UsageError(f"{name} is {value}; expected above 0, at most 1")


PixelLoss = Callable[[Tensor, Tensor, Tensor | None, TaskOptions], LossSum]
PIXEL_LOSSES: dict[str, PixelLoss] = {
    "cross_entropy": lambda x, y, weight, options: cross_entropy_sum(
        x, y, weight=weight, smoothing=options.label_smoothing
    ),
    "ohem": lambda x, y, weight, options: ohem(
        x, y, weight=weight, threshold=options.ohem_threshold, min_share=options.ohem_min_share
    ),
    "focal": lambda x, y, weight, options: focal(x, y, weight=weight, gamma=options.focal_gamma),
}


@dataclass(frozen=True)
class Term:
    """`weight` times a loss: losses of different masses are divided before they are added."""

    weight: float
    loss: LossSum


def output_losses(
    outputs: Mapping[str, Tensor], targets: Mapping[str, Tensor], options: TaskOptions
) -> dict[str, tuple[Term, ...]]:
    """Return the terms of each output's loss, in the order of the outputs; those of weight 0 are left out.

    `outputs` as the network gives them in training: an output's deep supervision is part of its loss. `targets` hold
    class maps (N,H,W) int64 or depth (N,H,W) by output; more than those of the outputs are allowed. Raises UsageError
    for an output without target.
    """
    terms: dict[str, tuple[Term, ...]] = {}
    for output, prediction in outputs.items():
        if output.removesuffix(DEEP_SUPERVISION) in outputs and output.endswith(DEEP_SUPERVISION):
            continue
        if output not in targets:
            raise UsageError(f"output {output!r} has no target; targets are {', '.join(targets) or 'none'}")
        terms[output] = _terms(output, prediction, targets[output], options)
        auxiliary = outputs.get(output + DEEP_SUPERVISION)
        if auxiliary is not None and options.deep_supervision > 0:
            added = _terms(output, auxiliary, targets[output], options)
            terms[output] += tuple(Term(options.deep_supervision * term.weight, term.loss) for term in added)
    return terms


@dataclass(frozen=True)
class Distillation:
    """`weight` of the loss towards a teacher's outputs; `temperature` softens the classes' probabilities."""

    weight: float
    temperature: float = 1.0


def as_targets(outputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return a teacher's outputs under the names by which `distillation_losses` finds them among the targets."""
    return {TEACHER + output: prediction for output, prediction in outputs.items()}


def distillation_losses(
    outputs: Mapping[str, Tensor], targets: Mapping[str, Tensor], options: Distillation
) -> dict[str, tuple[Term, ...]]:
    """Return a term for each output that the teacher has too, towards its classes or values."""
    terms: dict[str, tuple[Term, ...]] = {}
    for output, prediction in outputs.items():
        if TEACHER + output in targets:
            teacher = targets[TEACHER + output]
            if task_type(output, prediction.shape[1]) == REGRESSION:
                loss = distilled_values(prediction, teacher)
            else:
                loss = distilled_classes(prediction, teacher, temperature=options.temperature)
            terms[output] = (Term(options.weight, loss),)
    return terms


def loss_values(
    losses: Mapping[str, tuple[Term, ...]], *, reduce: Callable[[Tensor], Tensor] = lambda masses: masses
) -> dict[str, Tensor]:
    """Return the scalar loss of each output: the sum of weight * total / mass; 0 where nothing is labelled.

    `reduce` is called once, with the masses of all terms as one vector, and gives their *mean* over the processes: then
    the mean over processes of the values, and of their gradients, is the loss of all processes' pixels together.
    """
    terms = [term for output in losses.values() for term in output]
    masses = iter(reduce(torch.stack([term.loss.mass for term in terms])).unbind() if terms else ())
    return {
        output: torch.stack([term.weight * term.loss.over(next(masses)) for term in own]).sum()
        for output, own in losses.items()
    }


def _terms(output: str, prediction: Tensor, target: Tensor, options: TaskOptions) -> tuple[Term, ...]:
    """Terms of one prediction, those of weight 0 left out and not computed."""
    if task_type(output, prediction.shape[1]) == REGRESSION:
        weights = (*options.depth, options.depth_relative)
        kinds = (depth_smooth_l1, depth_scale, depth_spread, depth_relative)
        return tuple(Term(w, loss(prediction, target)) for w, loss in zip(weights, kinds, strict=True) if w > 0)
    weight = options.class_weights.get(output)
    main = PIXEL_LOSSES[options.segmentation](prediction, target, weight, options)
    added = ((options.dice, dice), (options.lovasz, lovasz_softmax))
    return (Term(1.0, main), *(Term(w, loss(prediction, target)) for w, loss in added if w > 0))
