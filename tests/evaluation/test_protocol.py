"""Which pictures a part of a split has, and at which size they come."""

from __future__ import annotations

import numpy as np
import pytest

from edgeailite.evaluation import Protocol, Views, part_of
from edgeailite.preprocessing import Preprocessing


@pytest.mark.parametrize(
    "total, epoch_size, expected",
    [
        (5, 0, [0, 1, 2, 3, 4]),
        (10, 0.3, [0, 3, 6]),
        (10, 4, [0, 2, 5, 7]),
        (10, 1, [0]),
        (3, 99, [0, 1, 2]),
        (3, 0.01, [0]),
    ],
)
def test_parts(total, epoch_size, expected):
    assert part_of(total, epoch_size) == expected


@pytest.mark.parametrize(
    "protocol, size",
    [
        (Protocol(), (32, 64)),
        (Protocol(img_resize=(16, 24)), (16, 24)),
        (Protocol(window=(16, 16)), (50, 70)),
        (Protocol(window=(16, 16), img_resize=(40, 40)), (40, 40)),
        (Protocol(Views(short_edges=(300,))), (50, 70)),
        (Protocol(Views((0.5, 2.0), flip=True)), (32, 64)),
    ],
)
def test_size_of_pictures(protocol, size):
    picture = np.zeros((50, 70, 3), np.uint8)
    (shown,), _ = protocol.transform(Preprocessing(32, 64))((picture,), {}, np.random.default_rng(0))
    assert shown.shape == (*size, 3)
