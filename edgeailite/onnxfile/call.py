"""`Call`: a node with the known facts of its inputs. The rules of operators use it and the shape formulas below."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeailite.onnxfile.constants import required_array
from edgeailite.onnxfile.wire import Node, Tensor

Shape = tuple[int, ...]
Array = NDArray[Any]


@dataclass(frozen=True)
class Call:
    """A node with the known facts of its inputs; None stands for an input that is left out."""

    node: Node
    shapes: tuple[Shape | None, ...]
    values: tuple[Array | None, ...]

    def shape(self, index: int) -> Shape:
        """Return the shape of an input, which must be there."""
        found = self.shapes[index]
        if found is None:
            raise ValueError(f"input {index} is missing")
        return found

    def elements(self, index: int) -> int:
        """Return the number of elements of an input."""
        return prod(self.shape(index))

    def value(self, index: int) -> Array:
        """Return the value of an input. Raises ValueError if it is not known."""
        found = self.values[index]
        if found is None:
            raise ValueError(f"input {index} cannot be known before it runs")
        return found

    def numbers(self, index: int, attribute: str) -> list[int] | None:
        """Return an attribute (as in older opsets) or the value of an input as integers; None without either."""
        if attribute in self.node.attributes:
            return [int(number) for number in self.node.attributes[attribute]]
        if index >= len(self.shapes) or self.shapes[index] is None:
            return None
        return [int(number) for number in self.value(index).reshape(-1)]

    def attribute(self, name: str, default: Any) -> Any:
        """Return an attribute's value."""
        value = self.node.attributes.get(name)
        return default if value is None else value

    def sides(self) -> Shape:
        """Return the result of the operator Shape."""
        return self.shape(0)[self.attribute("start", 0) : self.attribute("end", None)]

    def constant(self) -> Array:
        """Return the result of the operator Constant."""
        for name, value in self.node.attributes.items():
            if name == "value" and isinstance(value, Tensor):
                return required_array(value)
            if name in ("value_float", "value_floats"):
                return np.array(value, np.float32)
            if name in ("value_int", "value_ints"):
                return np.array(value, np.int64)
        raise ValueError("a constant without a value that can be read")

    def filling(self) -> Array:
        """Return the value with which the operator ConstantOfShape fills its result."""
        value = self.node.attributes.get("value")
        return required_array(value) if isinstance(value, Tensor) else np.zeros(1, np.float32)


RuleResult = tuple[list[Shape], int]
"""Shapes of a node's outputs, and its operations: multiply-accumulates, or one per element."""
Rule = Callable[[Call], RuleResult]


def as_text(shape: Sequence[int]) -> str:
    """Return a shape as `1x3x4`; a dash for a single value."""
    return "x".join(map(str, shape)) or "-"


def one(shape: Shape, operations: int | None = None) -> RuleResult:
    """Return one output of a shape; counts one operation per element unless `operations` is given."""
    return [shape], prod(shape) if operations is None else operations


def joined(a: Shape, b: Shape) -> Shape:
    """Return the shape that two shapes broadcast to. Raises ValueError."""
    rank = max(len(a), len(b))
    sides = zip((1,) * (rank - len(a)) + a, (1,) * (rank - len(b)) + b, strict=True)
    return tuple(_joined_side(left, right) for left, right in sides)


def _joined_side(left: int, right: int) -> int:
    if left != right and 1 not in (left, right):
        raise ValueError(f"sides of {left} and {right}")
    return max(left, right)
