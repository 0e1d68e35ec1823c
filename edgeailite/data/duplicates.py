"""Pictures that occur twice: exactly (equal pixels), nearly (equal to the eye), or as neighbouring frames of a video.

Near duplicates are found by a difference hash: the picture shrunk to 17x16 grey values, one bit for each pair of
neighbours in a row (the left one is darker), 256 bits. Two pictures are near if at most NEAR_BITS of them differ. The
bound is measured on CamVid: the same picture brightened, blurred, halved, with noise or as JPEG of quality 50 differs
in at most 13 bits, video frames 1/15 s apart mostly in 9 to 30, and the nearest two pictures of different splits,
which show different streets, in 70. Two frames a second apart are as far as strangers (87 and more of 256): the hash
cannot see that they show one street a moment later, their numbers can. So frames are compared by name as well.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray

SIDE = 16
HASH_BYTES = SIDE * SIDE // 8
DIGEST_BYTES = 16
NEAR_BITS = 32
FLAT = 2.0  # standard deviation of the small picture: below it, bits are chance
ROWS, COLUMNS = 64, 2048  # pictures compared at a time: what is counted stays in the processor's cache
NEIGHBOURS = 3  # times the usual step between frames that still counts as next to each other
SWITCHES = 0.1  # share of neighbours in different splits, above which a numbered series was shuffled and is no video
FRAME = re.compile(r"^(.*?)(\d+)$")


def digest(image: NDArray[np.uint8]) -> bytes:
    """Return 16 bytes that are equal only for pictures with equal pixels; the file format does not matter."""
    hashed = hashlib.blake2b(np.ascontiguousarray(image).data, digest_size=DIGEST_BYTES)
    hashed.update(str(image.shape).encode())
    return hashed.digest()


def fingerprint(image: NDArray[np.uint8]) -> bytes | None:
    """Return the difference hash of a picture (H,W,3) RGB; None if it is too flat to have one."""
    small = cv2.resize(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), (SIDE + 1, SIDE), interpolation=cv2.INTER_AREA)
    if float(small.std()) < FLAT:
        return None
    return np.packbits(small[:, 1:] > small[:, :-1]).tobytes()


def distances(one: bytes, other: bytes) -> int:
    """Count the bits in which two fingerprints differ."""
    return int.bit_count(int.from_bytes(one, "big") ^ int.from_bytes(other, "big"))


def nearest(
    ours: NDArray[np.uint64], theirs: NDArray[np.uint64], *, limit: int = NEAR_BITS
) -> Iterator[tuple[int, int, int]]:
    """Yield (our row, their row, bits) for each of ours whose nearest of theirs is within the limit; (N,4) words."""
    for start in range(0, len(ours), ROWS):
        mine = ours[start : start + ROWS]
        best = np.full(len(mine), limit + 1, np.int64)
        where = np.zeros(len(mine), np.int64)
        for first in range(0, len(theirs), COLUMNS):
            other = theirs[first : first + COLUMNS]
            bits = np.zeros((len(mine), len(other)), np.uint16)
            for word in range(ours.shape[1]):
                bits += np.bitwise_count(mine[:, word, None] ^ other[None, :, word])
            closest = bits.argmin(1)
            found = bits[np.arange(len(mine)), closest]
            closer = found < best
            best[closer], where[closer] = found[closer], closest[closer] + first
        for row in np.flatnonzero(best <= limit).tolist():
            yield start + row, int(where[row]), int(best[row])


def split_sequences(names: Mapping[str, Sequence[str]]) -> list[tuple[str, str, str, str, int, int]]:
    """Find neighbouring frames in two splits: (split, name, split, name, frames apart, usual step).

    `names` are stems by split, such as `0016E5_07959`: a sequence and a frame number. Series whose neighbours are in
    two splits more often than SWITCHES were dealt out at random, and are no videos.
    """
    series: dict[str, list[tuple[int, str, str]]] = {}
    for split, stems in names.items():
        for stem in stems:
            match = FRAME.match(stem)
            if match and match.group(1):
                series.setdefault(match.group(1), []).append((int(match.group(2)), split, stem))
    found = []
    for frames in series.values():
        if len({split for _, split, _ in frames}) < 2:
            continue
        frames.sort()
        steps = [b[0] - a[0] for a, b in pairwise(frames)]
        usual = max((int(np.median([b - a for a, b in pairwise(numbers)])) for numbers in _by_split(frames)), default=0)
        pairs = [(a, b) for a, b in pairwise(frames) if a[1] != b[1]]
        if len(pairs) <= max(2, SWITCHES * len(steps)):
            found += [
                (a[1], a[2], b[1], b[2], b[0] - a[0], usual) for a, b in pairs if 0 < b[0] - a[0] <= NEIGHBOURS * usual
            ]
    return found


def _by_split(frames: Sequence[tuple[int, str, str]]) -> Iterator[list[int]]:
    """Frame numbers of each split that has two or more."""
    for split in {split for _, split, _ in frames}:
        numbers = [number for number, other, _ in frames if other == split]
        if len(numbers) > 1:
            yield numbers
