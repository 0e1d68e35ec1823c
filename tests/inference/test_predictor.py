"""Small pictures go to threads together: the groups, and that order and problems stay."""

from __future__ import annotations

import hashlib

import cv2
import numpy as np
import pytest

from edgeailite.inference.predictor import Predictor, small_together
from tests.small_file import small_file


def pictures(sizes):
    return [(str(index), bytes(size), "") for index, size in enumerate(sizes)]


GROUPS = {
    "none": ([], []),
    "by their number": ([1] * 5, [2, 2, 1]),
    "by their size": ([6, 6, 1, 20, 1], [2, 2, 1]),
    "large ones alone": ([10, 10, 3], [1, 1, 1]),
}


@pytest.mark.parametrize("case", GROUPS)
def test_groups(case):
    sizes, lengths = GROUPS[case]
    given = pictures(sizes)
    groups = list(small_together(given, most=2, size=10))
    assert [len(group) for group in groups] == lengths
    assert [picture for group in groups for picture in group] == given


def test_order_problems_and_hashes_stay(tmp_path):
    predictor = Predictor(small_file(tmp_path), threads=1)
    data = [cv2.imencode(".png", np.full((4, 4 + index, 3), index, np.uint8))[1].tobytes() for index in range(40)]
    rows = [(str(index), bytes(each), "") for index, each in enumerate(data)]
    rows[7] = ("7", b"no picture", "")
    rows[8] = ("8", b"", "gone")
    found = list(predictor.labelled(rows))
    assert [one.entry.name for one in found] == [name for name, _, _ in rows]
    assert [one.size[1] for one in found if not one.problem] == [4 + i for i in range(40) if i not in (7, 8)]
    assert found[7].problem and found[8].problem == "gone"
    assert found[9].entry.input == hashlib.sha256(data[9]).hexdigest()
    result = (found[0].files or {})["label.png"]
    [again] = predictor.labelled([("a", result, "")])
    assert "earlier result" in again.problem and again.entry.failed
