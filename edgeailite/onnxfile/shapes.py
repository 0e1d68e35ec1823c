"""Computes the sizes of all tensors of a graph, and its number of operations, before anything is executed.

`RULES` also lists the operators that a file of ours may hold: those that export writes, and similar ones. None of them
contains a graph, draws random numbers or gives a result whose size depends on the pictures; so the cost of a picture is
known before a session is made. Sizes that a file computes itself (by Shape, Gather, Concat, Range, ...) are computed
here, too, from values of at most MOST_VALUES elements.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import prod

import numpy as np

from edgeailite.onnxfile.call import Array, Call, Shape, as_text
from edgeailite.onnxfile.constants import array_of
from edgeailite.onnxfile.layers import LAYERS
from edgeailite.onnxfile.moving import MOVING
from edgeailite.onnxfile.values import KNOWN_WITHOUT_VALUES, VALUES
from edgeailite.onnxfile.wire import Damaged, Graph, Node
from edgeailite.untrusted import shown

RULES = LAYERS | MOVING
MOST_VALUES = 65_536  # elements of a value that takes part in the computation of sizes
FAULTS = (ArithmeticError, AttributeError, IndexError, KeyError, TypeError, ValueError)  # of a rule on wrong input


@dataclass
class Sizes:
    """Shape of every tensor; values of small ones that do not depend on pictures; operations in total."""

    shapes: dict[str, Shape] = field(default_factory=dict)
    values: dict[str, Array] = field(default_factory=dict)
    operations: int = 0


@dataclass(frozen=True)
class Limits:
    """Limits of a graph: elements of one tensor, and operations (multiply-accumulates, comparisons) in total."""

    elements: int
    operations: int


def sizes_of(graph: Graph, inputs: Mapping[str, Shape], limits: Limits) -> Sizes:
    """Compute all sizes of a graph from `inputs`.

    Raises Damaged with the node's name if an operator or a limit is not allowed.
    """
    found = Sizes(dict(inputs))
    for name, tensor in graph.constants.items():
        found.shapes[name] = tensor.dims
        if prod(tensor.dims) <= MOST_VALUES and (value := array_of(tensor)) is not None:
            found.values[name] = value
    for node in graph.nodes:
        _add(found, node, limits)
    return found


def _add(found: Sizes, node: Node, limits: Limits) -> None:
    rule = None if node.domain else RULES.get(node.op)
    if rule is None:
        raise Damaged(f"{node.op} ({node.label}) is no operator that export writes")
    unknown = next((name for name in node.inputs if name and name not in found.shapes), None)
    if unknown is not None:
        raise Damaged(f"{node.op} ({node.label}) takes {shown(unknown)}, whose sides are not known")
    call = Call(
        node,
        tuple(found.shapes[name] if name else None for name in node.inputs),
        tuple(found.values.get(name) if name else None for name in node.inputs),
    )
    try:
        shapes, operations = rule(call)
    except FAULTS as error:
        raise Damaged(f"{node.op} ({node.label}) does not fit its inputs ({error})") from None
    for name, shape in zip(node.outputs, shapes, strict=False):
        _check_elements(node, shape, limits)
        found.shapes[name] = shape
    found.operations += operations
    if found.operations > limits.operations:
        raise Damaged(
            f"{node.op} ({node.label}) brings it to {found.operations:.3g} operations for a picture; at most "
            f"{limits.operations:.3g} are taken"
        )
    if len(shapes) == 1 and prod(shapes[0]) <= MOST_VALUES and node.outputs:
        _compute(found, call, shapes[0])


def _check_elements(node: Node, shape: Shape, limits: Limits) -> None:
    if min(shape, default=1) < (1 if len(shape) > 1 else 0):
        raise Damaged(f"{node.op} ({node.label}) gives a tensor without elements, {as_text(shape)}")
    if prod(shape) > limits.elements:
        raise Damaged(f"{node.op} ({node.label}) gives {as_text(shape)} values; at most {limits.elements} are taken")


def _compute(found: Sizes, call: Call, shape: Shape) -> None:
    """Keep the value of a node's output, where it is made of known ones."""
    compute = VALUES.get(call.node.op)
    if compute is None or (None in _absent(call) and call.node.op not in KNOWN_WITHOUT_VALUES):
        return
    try:
        with np.errstate(all="ignore"):
            value = np.asarray(compute(call, shape))
    except FAULTS:
        return  # it stays unknown, which is an error where a size depends on it
    if value.shape == shape:
        found.values[call.node.outputs[0]] = value


def _absent(call: Call) -> list[bool | None]:
    """List the inputs of a call: None for each one that exists and whose value is not known."""
    return [
        None if shape is not None and value is None else True
        for shape, value in zip(call.shapes, call.values, strict=True)
    ]
