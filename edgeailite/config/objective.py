"""Options of what training minimises: a part of `TrainConfig`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from edgeailite.config.checks import check


@dataclass(frozen=True)
class Objective:
    """Losses of the outputs, and how several outputs are weighed."""

    loss: Literal["cross_entropy", "ohem", "focal"] = "cross_entropy"
    """Loss per pixel of outputs with classes: cross entropy, of the hard pixels only (ohem), or focal."""
    ohem_threshold: float = 0.7
    """Loss ohem: pixels whose true class has a lower probability count."""
    ohem_share: float = 0.1
    """Loss ohem: at least this share of the labelled pixels count, the hardest."""
    focal_gamma: float = 2.0
    """Loss focal: exponent of 1 - probability; 0 is cross entropy."""
    dice: float = 0.0
    """Weight of the Dice loss, added to that of the pixels."""
    lovasz: float = 0.0
    """Weight of the Lovasz-softmax loss, added to that of the pixels."""
    class_weights: Literal["none", "auto", "enet", "median_frequency", "published"] = "none"
    """Loss weight per class: none; from the labels 1/ln(1.02 + share) (ENet) or median frequency / frequency;
    the data set's published ones; or auto: published where there are, else enet."""
    class_weight_values: tuple[float, ...] | None = None
    """Loss weights of your own, one per class of the segmentation output; instead of class_weights."""
    depth_weights: tuple[float, float, float] = (0.125, 0.125, 4.0)
    """Outputs of depth: weights of smooth L1, of the scale loss, and of the variance of the error."""
    depth_relative: float = 0.0
    """Outputs of depth: weight of the error over the true depth, which ARD measures (not in the published recipe)."""
    deep_supervision: float = 0.4
    """Weight of the second prediction of networks with deep supervision."""
    task_balancing: Literal["fixed", "uncertainty", "grad_norm", "dwa", "learned", "dwa_grad_norm"] = "fixed"
    """Several outputs: fixed weights, learned uncertainty, equal gradient norms, dynamic weight average; learned and
    dwa_grad_norm are the published code's names."""
    task_weights: tuple[float, ...] | None = None
    """Weights of the outputs with task_balancing fixed, in the order of the data set's name; default 1 each."""

    def check_objective(self) -> None:
        """Raise UsageError for a value out of range."""
        check(0 < self.ohem_threshold <= 1, "ohem_threshold", self.ohem_threshold, "above 0, at most 1")
        check(0 < self.ohem_share <= 1, "ohem_share", self.ohem_share, "a share above 0, at most 1")
        check(self.focal_gamma >= 0, "focal_gamma", self.focal_gamma, "0 or more")
        check(self.dice >= 0, "dice", self.dice, "0 or more")
        check(self.lovasz >= 0, "lovasz", self.lovasz, "0 or more")
        check(min(self.depth_weights) >= 0, "depth_weights", self.depth_weights, "0 or more each")
        check(self.depth_relative >= 0, "depth_relative", self.depth_relative, "0 or more")
        check(max(*self.depth_weights, self.depth_relative) > 0, "depth_weights", self.depth_weights, "one above 0")
        check(self.deep_supervision >= 0, "deep_supervision", self.deep_supervision, "0 or more")
        weights = self.class_weight_values
        if weights is not None:
            check(min(weights, default=-1) >= 0 < max(weights), "class_weight_values", weights, "0 or more, not all 0")
            alone = self.class_weights == "none"
            check(alone, "class_weight_values", weights, f"--class_weights none with it, not {self.class_weights}")
        if self.task_weights is not None:
            fixed = self.task_balancing == "fixed"
            check(fixed, "task_weights", self.task_weights, f"--task_balancing fixed, not {self.task_balancing}")
            check(min(self.task_weights, default=-1) >= 0, "task_weights", self.task_weights, "0 or more each")
