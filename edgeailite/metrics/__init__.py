"""Metrics of a split. All are made from sums over pictures, so that results of parts add up to that of the whole."""

from edgeailite.metrics.boundary import BOUNDARY_RATIO, CONTOUR_RATIO, boundary_counts, contour_scores
from edgeailite.metrics.confusion import Confusion, confusion_matrix
from edgeailite.metrics.depth import DepthScores, DepthSums, depth_scores, depth_sums
from edgeailite.metrics.scores import ABSENT, Scores, scores
from edgeailite.metrics.whole_pictures import TOP, Placing, placing, top

__all__ = [
    "ABSENT",
    "BOUNDARY_RATIO",
    "CONTOUR_RATIO",
    "Confusion",
    "DepthScores",
    "DepthSums",
    "Placing",
    "Scores",
    "TOP",
    "boundary_counts",
    "confusion_matrix",
    "contour_scores",
    "depth_scores",
    "depth_sums",
    "placing",
    "scores",
    "top",
]
