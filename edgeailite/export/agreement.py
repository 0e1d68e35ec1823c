"""How near two answers are, and whether that keeps the promise made for a file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeailite.runtime.contract import labels_of
from edgeailite.runtime.contract_file import FLOAT_LOGIT_TOLERANCE, WIDE_EQUAL_ARGMAX
from edgeailite.runtime.fingerprint import ROUNDING, WIDE_TOLERANCE, nearly_all_equal

Array = NDArray[Any]


@dataclass(frozen=True)
class Agreement:
    """The nearness of a file's answers to those expected, over all pictures.

    `equal_argmax` is the share of pixels with equal class, None where no output has classes (depth alone); the
    differences are absolute, of logits or depths. `std` and `largest` (of absolute values) are those of the
    answers expected.
    """

    pictures: int
    equal_argmax: float | None
    max_difference: float
    mean_difference: float
    std: float
    largest: float = 0.0


def compare(reference: Array, candidate: Array) -> Agreement:
    """Compare two answers for one picture: logits (1,C,H,W) or label maps (1,H,W)."""
    gap = np.abs(reference.astype(np.float64) - candidate)
    labels, others = labels_of(reference), labels_of(candidate)
    equal = None if labels is None or others is None else float((labels == others).mean())
    std, largest = float(reference.std(dtype=np.float64)), float(np.abs(reference).max())
    return Agreement(1, equal, float(gap.max()), float(gap.mean()), std, largest)


def combine(parts: Sequence[Agreement]) -> Agreement:
    """Join the agreements of several pictures, or of several outputs of one picture."""
    shares = [part.equal_argmax for part in parts if part.equal_argmax is not None]
    return Agreement(
        sum(part.pictures for part in parts),
        float(np.mean(shares)) if shares else None,
        max(part.max_difference for part in parts),
        float(np.mean([part.mean_difference for part in parts])),
        float(np.mean([part.std for part in parts])),
        max(part.largest for part in parts),
    )


def holds(result: Agreement, kind: str, *, wide: bool = False, label_map: int = 0) -> bool:
    """Return whether an agreement keeps the promise: every bit for int8, rounding for float, most classes if `wide`.

    `label_map` is the number of pixels of an output that holds classes (ArgMax in the file); a float file's may differ
    where two classes tie.
    """
    if wide:
        near = result.mean_difference <= WIDE_TOLERANCE * result.std
        return near if result.equal_argmax is None else result.equal_argmax >= WIDE_EQUAL_ARGMAX
    if kind == "int8":
        return result.max_difference == 0.0
    if label_map and result.equal_argmax is not None:
        return nearly_all_equal(result.equal_argmax, label_map)
    return result.max_difference <= FLOAT_LOGIT_TOLERANCE * result.std + ROUNDING * result.largest
