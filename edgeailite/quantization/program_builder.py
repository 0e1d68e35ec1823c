"""`ProgramBuilder`: appends operators to a `Program`; every tensor has a name of its own.

Tensors with four sides are NHWC; others have the sides of torch's tensor in torch's order.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, cast

import numpy as np
from numpy.typing import NDArray
from torch import nn

from edgeailite.quantization.convert import IntegerConv
from edgeailite.quantization.graph import unused_name
from edgeailite.quantization.program import Kind, Operator, Program, Value

PICTURE = 4  # sides of a tensor (N,C,H,W)
CHANNELS_LAST, CHANNELS_FIRST = (0, 2, 3, 1), (0, 3, 1, 2)


@dataclass(eq=False)
class Waiting:
    """An operator that waits for the scale of its output.

    `shape` is the output's, `limits` those of activations, `conv` the convolution and its path, `table` the module
    whose results for all codes become a table. `finish(name, output)` appends what follows the operator. `narrow` if it
    has no form in 16 bits.
    """

    kind: Kind | Literal["INPUT", "REGIONS", "TABLE", "ENLARGED", "PHASES"]
    inputs: list[Value]
    shape: tuple[int, ...]
    options: dict[str, Any] = field(default_factory=dict)
    limits: tuple[float, float] = (-float("inf"), float("inf"))
    conv: tuple[str, IntegerConv] | None = None
    table: nn.Module | None = None
    finish: Callable[[str, Value], Value] | None = None
    narrow: bool = False


class ProgramBuilder:
    """A program that grows, and the names that are taken in it."""

    def __init__(self, taken: set[str]) -> None:
        self.program, self.taken = Program([], {}, []), taken

    def unused(self, name: str) -> str:
        """Reserve a name: every tensor has its own, though modules may be called twice."""
        found = unused_name(name, self.taken.__contains__)
        self.taken.add(found)
        return found

    def constant(
        self,
        name: str,
        data: NDArray[Any],
        *,
        scale: NDArray[np.float32] | None = None,
        zero_point: int = 0,
        axis: int = 0,
    ) -> Value:
        """Describe numbers that the file holds."""
        return Value(self.unused(name), data.shape, cast(Any, str(data.dtype)), scale, zero_point, axis, data)

    def append(self, kind: Kind, inputs: Sequence[Value], output: Value, **options: Any) -> Value:
        """Add an operator; return its output."""
        self.program.operators.append(Operator(kind, list(inputs), output, options))
        return output

    def copied(self, kind: Kind, name: str, inputs: Sequence[Value], shape: Sequence[int], **options: Any) -> Value:
        """Add an operator whose result has the scale of its first input."""
        output = replace(inputs[0], name=self.unused(name), shape=tuple(shape), data=None)
        return self.append(kind, inputs, output, **options)

    def slice(self, name: str, x: Value, begin: Sequence[int], shape: Sequence[int]) -> Value:
        """Cut out the part of this `shape` that begins at `begin`."""
        ends = [
            self.constant(f"{name}.{end}", np.array(values, np.int32))
            for end, values in (("begin", begin), ("size", shape))
        ]
        return self.copied("SLICE", f"{name}.part", [x, *ends], shape)

    def gather(self, name: str, x: Value, places: NDArray[Any], axis: int) -> Value:
        """Take `places` along an axis."""
        index = self.constant(f"{name}.places", places.astype(np.int32))
        shape = (*x.shape[:axis], len(places), *x.shape[axis + 1 :])
        return self.copied("GATHER", name, [x, index], shape, axis=axis)

    def reshape(self, name: str, x: Value, shape: Sequence[int]) -> Value:
        """Give a tensor another shape; itself where it has that."""
        if x.shape == tuple(shape):
            return x
        sides = self.constant(f"{name}.shape", np.array(shape, np.int32))
        return self.copied("RESHAPE", name, [x, sides], shape)

    def transpose(self, name: str, x: Value, order: Sequence[int]) -> Value:
        """Bring the axes into another order; a reshape does that where only axes of length 1 move."""
        shape = [x.shape[axis] for axis in order]
        moved = [axis for axis in order if x.shape[axis] > 1]
        if moved == sorted(moved):
            return self.reshape(name, x, shape)
        axes = self.constant(f"{name}.order", np.array(order, np.int32))
        return self.copied("TRANSPOSE", name, [x, axes], shape)

    def in_torch_order(self, name: str, x: Value) -> Value:
        """Return a picture as (N,C,H,W), and any other tensor as it is."""
        return self.transpose(f"{name}.first", x, CHANNELS_FIRST) if len(x.shape) == PICTURE else x


def torch_shape(shape: Sequence[int]) -> tuple[int, ...]:
    """Return the shape that torch's tensor has."""
    return tuple(shape[axis] for axis in CHANNELS_FIRST) if len(shape) == PICTURE else tuple(shape)


def program_shape(shape: Sequence[int]) -> tuple[int, ...]:
    """Return the shape that the program's tensor has."""
    return tuple(shape[axis] for axis in CHANNELS_LAST) if len(shape) == PICTURE else tuple(shape)
