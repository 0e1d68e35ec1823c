"""Fingerprints of tensors for contracts: made from a tensor, later compared with another."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeailite.files import sha256_of
from edgeailite.runtime.contract_file import FLOAT_TOLERANCE, SAMPLE, SUMS, unpack

Array = NDArray[Any]
EQUAL_LABELS = 0.999  # share of pixels of a float file: rounding decides where two scores are equal
WIDE_TOLERANCE = 0.1  # of the standard deviation, mean |difference|: outputs without classes
ROUNDING = 1e-6  # of the largest score, or of 1: what float32 cannot tell apart
CHUNK = 2**20  # values that are summed at a time


def fingerprint(value: Array) -> dict[str, Any]:
    """Shape, sha256, standard deviation and a fixed sample of a tensor."""
    flat = np.ascontiguousarray(value).ravel()
    return {
        "shape": list(value.shape),
        "sha256": sha256_of(flat.tobytes()),
        "std": float(flat.std(dtype=np.float64)),
        "sample": [float(v) for v in flat[_sample_index(flat.size)]],
    }


def seed_of(sha256: str) -> int:
    """Derive the seed of the factors in `sums_of` from the expected content, so that no two cases share factors."""
    return int(sha256[:16], 16)


def sums_of(value: Array, seed: int) -> NDArray[np.float64]:
    """SUMS sums that every value is part of, with random factors: sum b has the values b, b + SUMS, b + 2 SUMS, ...

    Factors have mean 0 and variance 1, and a sum is divided by the root of its count: it moves by as much as the
    values move, in root mean square, wherever that is and whatever the sign.
    """
    flat = np.ascontiguousarray(value).ravel()
    total, step = np.zeros(SUMS), CHUNK - CHUNK % SUMS
    for start in range(0, flat.size, step):
        part = flat[start : start + step].astype(np.float64)
        part *= _factors(seed, start, part.size)
        total += np.pad(part, (0, -part.size % SUMS)).reshape(-1, SUMS).sum(0)
    counts = (flat.size - np.arange(SUMS) + SUMS - 1) // SUMS
    return np.asarray(total / np.sqrt(np.maximum(counts, 1)))


def _factors(seed: int, start: int, count: int) -> NDArray[np.float64]:
    """Random numbers of the places from `start`: SplitMix64 (Steele, Lea and Flood, 2014), easily done in C, too."""
    with np.errstate(over="ignore"):
        z = np.arange(start + 1, start + 1 + count, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(seed)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z ^= z >> np.uint64(31)
    unit = (z >> np.uint64(40)).astype(np.float64) / 2**23 - 1  # evenly in -1..1
    return np.asarray(unit * np.sqrt(3.0))


def departs(value: Array, expected: Mapping[str, Any], *, exact: bool) -> bool:
    """Tell if a tensor differs from its fingerprint: in any bit if `exact`, else by more than the tolerance."""
    if list(value.shape) != expected["shape"]:
        return True
    flat = np.ascontiguousarray(value).ravel()
    if exact:
        return sha256_of(flat.tobytes()) != str(expected["sha256"])
    sample = flat[_sample_index(flat.size)].astype(np.float64)
    if (
        value.ndim == 3 and value.dtype.kind != "f"
    ):  # a label map: which labels tie is not known, `equal_labels` judges it
        return False
    # a contract cannot widen it: the deviation is the file's own where that is smaller
    allowed = FLOAT_TOLERANCE * min(expected["std"], float(flat.std(dtype=np.float64)))
    allowed += ROUNDING * max(1.0, float(np.abs(sample).max()))
    gaps = [np.abs(sample - np.array(expected["sample"])).max()]
    if "sums" in expected:
        sums = sums_of(value, seed_of(expected["sha256"]))
        gaps.append(np.abs(sums - np.array(expected["sums"])).max())
    return not all(gap <= allowed for gap in gaps)  # `not`: NaN departs


def labels_of(value: Array) -> NDArray[np.uint8] | None:
    """Class map (N,H,W) of logits (N,C,H,W), classes (N,) of (N,C), or the labels themselves.

    None of one channel (a regression), and of scores in other shapes.
    """
    if value.ndim in (2, 4):
        return None if value.shape[1] == 1 else value.argmax(1).astype(np.uint8)
    return None if value.dtype.kind == "f" else value.astype(np.uint8)


def equal_labels(value: Array, known: Mapping[str, Any]) -> float | None:
    """Share of pixels with the contract's label; None of an output without classes."""
    mine = labels_of(value)
    if mine is None:
        return None
    labels = unpack(known["labels"]) if "labels" in known else np.zeros((0, 0, 0), np.uint8)
    return float((mine == labels).mean()) if mine.shape == labels.shape else 0.0


def float_departs(value: Array, known: Mapping[str, Any]) -> bool:
    """Tell if an output of a float file differs from the expected one: in labels (beyond ties) or in scores."""
    share, labels = equal_labels(value, known), labels_of(value)
    few = share is not None and labels is not None and not nearly_all_equal(share, labels.size)
    return few or departs(value, known, exact=False)


def nearly_all_equal(share: float, count: int) -> bool:
    """Tell if all labels are equal but for ties: a share of EQUAL_LABELS, or all but one on a small map."""
    return (1 - share) * count <= max(1.0, (1 - EQUAL_LABELS) * count) + 1e-6


def is_near(value: Array, expected: Mapping[str, Any]) -> bool:
    """Tell if the sample of an output without classes is within tolerance, as for files with 16-bit parts."""
    if list(value.shape) != expected["shape"]:
        return False
    gap = np.abs(value.ravel()[_sample_index(value.size)] - np.array(expected["sample"])).mean()
    return bool(gap <= WIDE_TOLERANCE * min(expected["std"], float(value.std(dtype=np.float64))))


def _sample_index(size: int) -> NDArray[np.int64]:
    return np.random.default_rng(size).integers(0, size, min(size, SAMPLE))
