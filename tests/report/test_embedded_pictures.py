"""Pictures as data URIs within a number of bytes."""

import base64

import cv2
import numpy as np
import pytest

from edgeailite.drawing.html import map_uri, photo_uri
from edgeailite.report.embedded_pictures import STEPS, fit_pictures
from edgeailite.report.record import Example

NOISE = np.random.default_rng(0).integers(0, 256, (60, 700, 3), np.uint8)
EXAMPLES = {"segmentation": [Example(f"{index}.png", "", NOISE, NOISE, NOISE, NOISE) for index in range(3)]}
LAST = {"segmentation": "overlay"}


def decoded(uri: str) -> np.ndarray:
    return cv2.imdecode(np.frombuffer(base64.b64decode(uri.partition(",")[2]), np.uint8), cv2.IMREAD_COLOR)


def bytes_of(room: int) -> tuple[int, int, str]:
    found = fit_pictures(EXAMPLES, LAST, room=room)
    pictures = found.shown["segmentation"]
    return sum(len(uri) for picture in pictures for _, uri in picture["views"]), len(pictures), found.note


@pytest.mark.parametrize("room", [10_000_000, 600_000, 200_000, 60_000, 0])
def test_never_more_than_the_room(room):
    size, count, note = bytes_of(room)
    assert size <= room
    assert (count == 3) == ("of 3 fit" not in note)


def test_more_room_means_larger_pictures():
    sizes = [bytes_of(room)[0] for room in (100_000, 300_000, 600_000, 10_000_000)]
    assert sizes == sorted(sizes)
    assert f"at most {STEPS[0][0]} pixels" in bytes_of(10_000_000)[2]


def test_the_worst_stay():
    found = fit_pictures(EXAMPLES, LAST, room=70_000).shown["segmentation"]
    assert [picture["name"] for picture in found] == ["0.png", "1.png", "2.png"][: len(found)]


def test_maps_keep_their_colours_and_small_pictures_their_size():
    colors = np.kron(np.array([[[255, 0, 0], [0, 255, 0]]], np.uint8), np.ones((40, 40, 1), np.uint8))
    shrunk = decoded(map_uri(colors, 20))
    assert shrunk.shape == (10, 20, 3)
    assert set(map(tuple, shrunk.reshape(-1, 3))) == {(0, 0, 255), (0, 255, 0)}  # BGR
    assert decoded(photo_uri(colors, 640)).shape == colors.shape
