"""What is read from tallies, by hand, and that merging adds."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from edgeailite.evaluation import ClassTally, DepthTally, PictureTally, as_plain, empty, from_plain, merge
from edgeailite.metrics import DepthSums, Placing

NAN = math.nan
COUNTS = np.array([[1, 2], [0, 4], [0, 0]])


def tally(*contours: list[float]) -> ClassTally:
    return ClassTally(np.diag([3, 2, 0]), COUNTS, tuple(map(np.array, contours)))


def test_boundary_iou_is_a_mean_over_classes():
    assert tally().boundary_iou() == pytest.approx((1 / 2 + 0) / 2)
    assert tally().boundary_iou(absent="zero") == pytest.approx((1 / 2 + 0) / 3)


def test_boundary_f_is_a_mean_over_pictures_then_over_classes():
    assert tally([1.0, 0.5, NAN], [0.0, NAN, NAN]).boundary_f() == pytest.approx((1 / 2 + 0.5) / 2)
    assert math.isnan(tally().boundary_f())
    assert math.isnan(tally([NAN, NAN, NAN]).boundary_f())


def test_merged_tallies_add():
    first = {"a": tally([1.0, 0.5, NAN]), "b": DepthTally((DepthSums(1.0, 2.0, 3),))}
    second = {"a": tally([0.0, NAN, NAN]), "b": DepthTally((DepthSums(4.0, 5.0, 6),))}
    merged = merge([first, empty({"a": 3, "b": None}), second])
    assert np.array_equal(merged["a"].confusion, np.diag([6, 4, 0]))
    assert np.array_equal(merged["a"].boundary, 2 * COUNTS)
    assert merged["a"].boundary_f() == tally([0.0, NAN, NAN], [1.0, 0.5, NAN]).boundary_f()
    assert merged["b"].scores().ard == pytest.approx(5 / 9)
    assert merged["b"].scores().rmse == pytest.approx(math.sqrt(7 / 9))


def test_a_tally_survives_json_in_every_bit():
    """Workers of a job send tallies as JSON."""
    rng = np.random.default_rng(0)
    depth = tuple(DepthSums(*rng.random(2).tolist(), 3) for _ in range(4))
    sent = {
        "s": ClassTally(
            rng.integers(0, 2**62, (3, 3)), rng.integers(0, 9, (3, 2)), (np.array([0.1, math.nan, 1 / 3]),) * 2
        ),
        "d": DepthTally((*depth, DepthSums(1e-310, 1e300, 0))),
    }
    found = from_plain(json.loads(json.dumps(as_plain(sent))))
    assert found["d"] == sent["d"]
    assert (found["s"].confusion == sent["s"].confusion).all() and found["s"].confusion.dtype == np.int64
    assert (found["s"].boundary == sent["s"].boundary).all()
    assert np.array(found["s"].contours).tobytes() == np.array(sent["s"].contours).tobytes()


def test_classes_of_whole_pictures_add_and_survive_json():
    first = {"classification": PictureTally(7, (Placing(0, 0, 0), Placing(1, 2, 4)))}
    second = {"classification": PictureTally(7, (Placing(1, 3, 6),))}
    merged = merge([empty({"classification": 7}), first, second])["classification"]
    assert merged.scores() == pytest.approx({"top1": 1 / 3, "top5": 2 / 3})
    assert [tuple(each) for each in np.argwhere(merged.confusion)] == [(0, 0), (1, 2), (1, 3)]
    assert from_plain(json.loads(json.dumps(as_plain({"classification": merged})))) == {"classification": merged}
    assert list(PictureTally(5).scores()) == ["top1"]
