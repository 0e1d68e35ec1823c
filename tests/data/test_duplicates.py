"""Pictures that occur twice: what counts as equal, as near, and as neighbours."""

import cv2
import numpy as np
import pytest

from edgeailite.data.duplicates import NEAR_BITS, digest, distances, fingerprint, nearest, split_sequences
from tests.data.corruption import encoded, smooth

RNG = np.random.default_rng(1)
SCENES = [cv2.GaussianBlur(cv2.resize(smooth(40, 60, seed), (240, 180)), (5, 5), 1) for seed in range(30)]


def as_jpeg(image: np.ndarray, quality: int = 60) -> np.ndarray:
    data = encoded(".jpg", image, cv2.IMWRITE_JPEG_QUALITY, quality)
    return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)


EDITS = {
    "compressed": as_jpeg,
    "halved": lambda image: cv2.resize(image, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA),
    "brighter": lambda image: np.clip(image * 1.15 + 9, 0, 255).astype(np.uint8),
    "blurred": lambda image: cv2.GaussianBlur(image, (5, 5), 1.5),
    "noisy": lambda image: np.clip(image + RNG.normal(0, 6, image.shape), 0, 255).astype(np.uint8),
}


def prints(images: list[np.ndarray]) -> np.ndarray:
    return np.frombuffer(b"".join(fingerprint(image) or bytes(32) for image in images), np.uint64).reshape(-1, 4)


@pytest.mark.parametrize("edit", EDITS)
def test_an_edited_picture_is_near_its_own_and_no_other(edit):
    edited = [EDITS[edit](image) for image in SCENES]
    found = list(nearest(prints(edited), prints(SCENES)))
    assert [(row, column) for row, column, _ in found] == [(index, index) for index in range(len(SCENES))]
    others = [distances(fingerprint(a) or b"", fingerprint(b) or b"") for a in edited[:9] for b in SCENES[9:]]
    assert min(others) > NEAR_BITS


def test_digest_is_of_pixels():
    image = SCENES[0]
    assert digest(image) == digest(image.copy()) == digest(np.asfortranarray(image))
    changed = image.copy()
    changed[0, 0, 0] ^= 1
    assert digest(changed) != digest(image)
    assert digest(np.zeros((2, 8, 3), np.uint8)) != digest(np.zeros((4, 4, 3), np.uint8))


def test_flat_pictures_have_no_fingerprint():
    assert fingerprint(np.full((50, 60, 3), 90, np.uint8)) is None
    assert fingerprint(SCENES[0]) is not None


def test_nearest_over_more_than_one_block():
    words = RNG.integers(0, 2**63, (5000, 4)).astype(np.uint64)
    ours = words[[4999, 17, 2048]] ^ np.array([[1, 0, 0, 0]], np.uint64)
    assert list(nearest(ours, words)) == [(0, 4999, 1), (1, 17, 1), (2, 2048, 1)]
    assert list(nearest(ours, words[:0])) == []


def frames(*numbers: int, sequence: str = "drive_") -> list[str]:
    return [f"{sequence}{number:05d}" for number in numbers]


def test_a_sequence_cut_in_two():
    found = split_sequences({"train": frames(*range(0, 300, 30)), "val": frames(*range(300, 600, 30))})
    assert found == [("train", "drive_00270", "val", "drive_00300", 30, 30)]


def test_apart_in_time_in_name_or_dealt_out_at_random():
    assert split_sequences({"train": frames(0, 30, 60), "val": frames(600, 630)}) == []
    assert split_sequences({"train": frames(0, 30, 60), "val": frames(90, 120, sequence="other_")}) == []
    numbers = RNG.permutation(200).tolist()
    assert split_sequences({"train": frames(*numbers[:150]), "val": frames(*numbers[150:])}) == []
    assert split_sequences({"train": ["1", "2", "3"], "val": ["4", "5"]}) == []  # numbers alone name no sequence
