"""The first tensor in which a runtime departs from a `Program`, named with its operator."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeailite.quantization.program import Program, Value
from edgeailite.quantization.tflite_rules import run_program

Array = NDArray[Any]


@dataclass(frozen=True)
class Departure:
    """A tensor that differs though all before it agree: its operator, and how much of it differs by how much.

    `differing` of `count` numbers differ, by at most `largest` codes (values, of float32).
    """

    tensor: str
    operator: str
    differing: int
    count: int
    largest: float

    def __str__(self) -> str:
        return f"{self.operator} {self.tensor}: {self.differing} of {self.count} differ, by {self.largest:g} at most"


def inner_tensors(program: Program, images: Sequence[Array], arithmetic: str) -> dict[str, Array]:
    """Compute every tensor that an operator gives, by name, with the rules of `run_program`."""
    found: dict[str, Array] = {}

    def keep(value: Value, numbers: Array) -> None:
        found[value.name] = numbers

    run_program(program, images, arithmetic, seen=keep)
    return found


def first_departure(program: Program, mine: Mapping[str, Array], theirs: Mapping[str, Array]) -> Departure | None:
    """Find the first tensor, in the order of operators, that is not equal in every bit; None where all are.

    `mine` and `theirs` hold tensors by name. Tensors that `theirs` lacks are passed over: TensorFlow Lite Micro hands
    out the outputs alone. A tensor of another shape or type differs in all its numbers.
    """
    for op in program.operators:
        name = op.output.name
        if name not in theirs:
            continue
        a, b = mine[name], theirs[name]
        if a.shape != b.shape or a.dtype != b.dtype:
            return Departure(name, op.kind, a.size, a.size, float("inf"))
        if not np.array_equal(a, b):
            return Departure(name, op.kind, int((a != b).sum()), a.size, _largest(a, b))
    return None


def _largest(a: Array, b: Array) -> float:
    return float(np.abs(a.astype(np.float64) - b.astype(np.float64)).max())
