"""Losses: plain functions `(prediction, target, ...) -> LossSum`, and class weights.

A loss is given as numerator and denominator so that several processes divide by the denominator of all of them.
Ignored pixels (255; depth 0) count neither above nor below the line. Half precision is computed in float32.
"""

from edgeailite.training.losses.depth import depth_relative, depth_scale, depth_smooth_l1, depth_spread
from edgeailite.training.losses.distillation import distilled_classes, distilled_values
from edgeailite.training.losses.pixels import cross_entropy, cross_entropy_sum, focal, ohem
from edgeailite.training.losses.regions import dice, lovasz_softmax
from edgeailite.training.losses.sums import LossSum
from edgeailite.training.losses.weights import enet_weights, median_frequency_weights

__all__ = [
    "LossSum",
    "cross_entropy",
    "cross_entropy_sum",
    "ohem",
    "focal",
    "dice",
    "lovasz_softmax",
    "depth_smooth_l1",
    "depth_relative",
    "depth_scale",
    "depth_spread",
    "distilled_classes",
    "distilled_values",
    "enet_weights",
    "median_frequency_weights",
]
