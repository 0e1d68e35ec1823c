"""Which pictures are called the worst."""

import math

import numpy as np

from edgeailite.evaluation import ClassTally, DepthTally
from edgeailite.metrics import DepthSums
from edgeailite.report.examples import picture_scores, worst_pictures

BOUNDARY = np.zeros((2, 2), np.int64)


def of(confusion) -> float:
    return picture_scores({"segmentation": ClassTally(np.array(confusion), BOUNDARY)})["segmentation"]


def test_order():
    right, wrong, half, nothing = of([[4, 0], [0, 4]]), of([[0, 4], [4, 0]]), of([[2, 2], [0, 4]]), of([[0, 0], [0, 0]])
    assert math.isnan(nothing)
    assert worst_pictures(list(enumerate([right, nothing, half, wrong])), 2) == [(3, 0.0), (2, half)]


def test_depth_is_worst_where_the_error_is_large():
    near, far = (picture_scores({"depth": DepthTally((DepthSums(s, 1.0, 10),))})["depth"] for s in (1.0, 5.0))
    assert worst_pictures([(0, near), (1, far)], 1) == [(1, -0.5)]
