"""`Reader`: the torch.fx graph that is built from an ONNX file, and what is known of the file's tensors on the way.

A file's sizes may be open. They are computed for a few sample sizes (`onnxfile.shapes`): what is equal in all samples
is a constant, and what differs is found again among the sizes of tensors that exist already (`Reader.length`).
"""

from __future__ import annotations

import keyword
import operator
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import fx, nn

from edgeailite.errors import UsageError
from edgeailite.onnxfile import OnnxFile, Sizes
from edgeailite.onnxfile.call import Call
from edgeailite.onnxfile.constants import BFLOAT16, TYPES, array_of
from edgeailite.onnxfile.shapes import FAULTS
from edgeailite.onnxfile.values import VALUES
from edgeailite.onnxfile.wire import Node
from edgeailite.untrusted import printable

Array = NDArray[Any]
Length = int | fx.Node
"""A side of a tensor: a number, or a node that computes it."""
FLOATS = ("float16", "float32", "float64")
MOST_FOLDED = 2**26  # elements of all constants that are computed from others, and of the kernel of one layer
FACTORS = range(1, 65)  # of an open side that is computed from another one
DIVISORS = (2, 4, 8, 16, 32, 64)
FIXED_SIZE = "give the file a fixed height and width"
LONGEST_PATH, DEEPEST = 200, 20  # characters and parts of a module's name
UNNAMEABLE = re.compile(r"[^A-Za-z0-9_]")
RESERVED = frozenset((*dir(fx.GraphModule), *vars(nn.Module())))
LEAF = re.compile(r"\.(weight|bias|scale|gamma|beta)$")


@dataclass
class Reader:
    """State of one reading: the graph so far, its modules, the nodes of tensors by their names in the file."""

    file: OnnxFile
    samples: Sequence[Sizes]
    root: nn.Module = field(default_factory=nn.Module)
    graph: fx.Graph = field(default_factory=fx.Graph)
    tensors: dict[str, fx.Node] = field(default_factory=dict)
    folded: dict[str, Array] = field(default_factory=dict)
    parameters: dict[str, nn.Parameter] = field(default_factory=dict)
    makers: dict[str, Node] = field(default_factory=dict)
    elements: int = 0  # of the constants that were computed

    def __post_init__(self) -> None:
        self.makers = {name: node for node in self.file.graph.nodes for name in node.outputs}

    def refuse(self, node: Node, why: str, *, fix: str = "") -> UsageError:
        """Return the error for an operator that is not read."""
        problem = f"operator {printable(node.op)} ({printable(node.label)[:200]}) {why}"
        fix = fix or "export the network without it, or cut the graph in front of it"
        return UsageError(problem, path=self.file.name, value=node.op, fix=fix, code="wrong-kind")

    def constant(self, name: str) -> Array | None:
        """Return the value of a tensor that does not depend on pictures or their size; None for others."""
        if name not in self.folded:
            found = self._constant(name)
            if found is None:
                return None
            self.folded[name] = found
        return self.folded[name]

    def _constant(self, name: str) -> Array | None:
        tensor = self.file.graph.constants.get(name)
        if tensor is not None:
            values = array_of(tensor)
            if values is not None and tensor.data_type == BFLOAT16:
                values = (values.astype(np.uint32) << 16).view(np.float32)
            return values
        found = [sizes.values.get(name) for sizes in self.samples]
        first = found[0]
        if first is None or any(other is None or not np.array_equal(first, other) for other in found):
            return None
        return first

    def fold(self, node: Node) -> bool:
        """Compute a node of constants; False where it depends on pictures or cannot be computed here."""
        values = [self.constant(name) if name else None for name in node.inputs]
        if node.op not in VALUES or any(
            name and value is None for name, value in zip(node.inputs, values, strict=True)
        ):
            return False
        shape = self.shape(node.outputs[0])
        self.elements += prod(shape)
        if self.elements > MOST_FOLDED or len(node.outputs) != 1:
            return False
        shapes = tuple(None if value is None else value.shape for value in values)
        try:
            with np.errstate(all="ignore"):
                self.folded[node.outputs[0]] = np.asarray(VALUES[node.op](Call(node, shapes, tuple(values)), shape))
        except FAULTS as error:
            raise self.refuse(node, f"does not fit its inputs ({printable(str(error))[:100]})") from None
        return True

    def is_size(self, name: str) -> bool:
        """Tell if a tensor is computed from sizes alone, and differs from one size of the picture to the next."""
        return all(name in sizes.values for sizes in self.samples)

    def is_zeros(self, name: str) -> bool:
        """Tell if a tensor holds zeros alone, whatever its size."""
        while (maker := self.makers.get(name)) is not None and maker.op == "Expand":
            name = maker.inputs[0]
        if maker is not None and maker.op == "ConstantOfShape":
            given = maker.attributes.get("value")
            filling = np.zeros(1) if given is None else array_of(given)
        else:
            filling = self.constant(name)
        return filling is not None and not filling.any()

    def row(self, name: str) -> Array | None:
        """Return what a constant, or one that is repeated for each picture of a batch, holds for a picture (1,...)."""
        value = self.constant(name)
        found = [sizes.values.get(name) for sizes in self.samples] if value is None else [value]
        first = found[0]
        if first is None or first.ndim == 0:
            return None
        alike = all(value is not None and np.array_equal(value, np.repeat(first[:1], len(value), 0)) for value in found)
        return first[:1] if alike else None

    def tensor(self, name: str) -> fx.Node:
        """Return the node of a tensor that depends on pictures, or of a constant as a buffer."""
        if name in self.tensors:
            return self.tensors[name]
        value = self.constant(name)
        assert value is not None, name
        return self.buffer(name, value)

    def buffer(self, name: str, value: Array) -> fx.Node:
        """Store a constant and return the node that reads it."""
        path = self.free_path(name)
        parent = self._container(path)
        parent.register_buffer(path.rpartition(".")[2], torch.from_numpy(as_float(value)))
        return self.graph.get_attr(path)

    def parameter(self, name: str, change: Callable[[Array], Array] | None = None) -> nn.Parameter:
        """Return a constant as a parameter, the same one at each call where nothing is changed."""
        value = self.constant(name)
        assert value is not None, name
        if change is not None:
            return nn.Parameter(torch.from_numpy(as_float(change(value))))
        if name not in self.parameters:
            self.parameters[name] = nn.Parameter(torch.from_numpy(as_float(value)))
        return self.parameters[name]

    def call(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> fx.Node:
        """Append a function call."""
        return self.graph.call_function(function, args, kwargs)

    def module(self, node: Node, module: nn.Module, x: fx.Node, *, weight: str = "") -> fx.Node:
        """Append a module that is called once, named after its `weight` in the file, or after its node."""
        path = self.free_path(LEAF.sub("", weight) if LEAF.search(weight) else node.label)
        self._container(path).add_module(path.rpartition(".")[2], module)
        return self.graph.call_module(path, (x,))

    def free_path(self, name: str) -> str:
        """Return a path of attributes that is not in use, near a name of the file."""
        parts = [UNNAMEABLE.sub("_", part) for part in name[:LONGEST_PATH].split(".")]
        if not all(parts) or len(parts) > DEEPEST or any(part in RESERVED or keyword.iskeyword(part) for part in parts):
            parts = ["_".join(["at", *parts])]
        path, count = ".".join(parts), 1
        while self._is_used(found := path if count == 1 else f"{path}_{count}"):
            count += 1
        return found

    def _is_used(self, path: str) -> bool:
        """Tell if a path exists, or leads through something that is no plain container."""
        at: Any = self.root
        for part in path.split("."):
            if type(at) is not nn.Module:
                return True
            if not hasattr(at, part):
                return False
            at = getattr(at, part)
        return True

    def _container(self, path: str) -> nn.Module:
        at = self.root
        for part in path.split(".")[:-1]:
            if not hasattr(at, part):
                at.add_module(part, nn.Module())
            at = getattr(at, part)
        return at

    def shape(self, name: str) -> tuple[int, ...]:
        """Return the shape of a tensor at the first sample size."""
        return tuple(map(int, self.samples[0].shapes[name]))

    def sides(self, name: str, axis: int) -> tuple[int, ...]:
        """Return a side of a tensor at each sample size."""
        return tuple(int(sizes.shapes[name][axis]) for sizes in self.samples)

    def known_sides(self, name: str) -> tuple[int | None, ...]:
        """Return the sides of a tensor, None for those that depend on the picture's size."""
        alike = [set(self.sides(name, axis)) for axis in range(len(self.shape(name)))]
        return tuple(sides.pop() if len(sides) == 1 else None for sides in alike)

    def numbers(self, node: Node, index: int, attribute: str) -> list[int] | None:
        """Return an attribute, as in older opsets, or the constant input at `index` as whole numbers."""
        if attribute in node.attributes:
            return [int(number) for number in node.attributes[attribute]]
        if index >= len(node.inputs) or not node.inputs[index]:
            return None
        value = self.constant(node.inputs[index])
        if value is None:
            raise self.refuse(node, f"has {attribute} that depend on the picture's size", fix=FIXED_SIZE)
        return [int(number) for number in value.reshape(-1)]

    def axis(self, node: Node, axis: int, rank: int) -> int:
        """Return an axis counted from the start. Raises UsageError where there is none of that number."""
        if not -rank <= axis < rank:
            raise self.refuse(node, f"names side {axis} of {rank}", fix="export it again")
        return axis % rank

    def sources(self, names: Iterable[str]) -> list[str]:
        """Return the tensors of pictures whose sizes were used to compute these values, the nearest first."""
        found: list[str] = []
        seen: set[str] = set()
        waiting = [name for name in names if name]
        while waiting:
            name = waiting.pop(0)
            if name in self.tensors:
                found.append(name)
            elif name in self.makers and name not in seen:
                waiting += [source for source in self.makers[name].inputs if source]
            seen.add(name)
        return list(dict.fromkeys(found))

    def same_sides(self, name: str, among: Iterable[str]) -> str | None:
        """Return a tensor with the height and width of another one at every sample size."""
        wanted = [sizes.shapes[name][2:] for sizes in self.samples]
        return next(
            (one for one in among if len(self.shape(one)) == 4 and wanted == [s.shapes[one][2:] for s in self.samples]),
            None,
        )

    def read_side(self, name: str, axis: int) -> fx.Node:
        """Append `x.shape[axis]`."""
        return self.call(operator.getitem, self.call(getattr, self.tensors[name], "shape"), axis)

    def length(self, node: Node, values: Sequence[int], among: Iterable[str]) -> Length:
        """Return a side with these values at the sample sizes: a number, or one computed from sides of tensors.

        Raises UsageError where it is neither equal to a side nor (side * a + b) // c.
        """
        if len(set(values)) == 1:
            return int(values[0])
        places = [(name, axis) for name in among for axis in range(len(self.shape(name)))]
        for name, axis in places:
            if self.sides(name, axis) == tuple(values):
                return self.read_side(name, axis)
        for formula in (_scaled, _linear):  # the likelier one first: few samples fit many formulas
            for name, axis in places:
                found = formula(self.sides(name, axis), values)
                if found is not None:
                    return self._computed(self.read_side(name, axis), *found)
        raise self.refuse(node, "has a size that cannot be found again", fix=FIXED_SIZE)

    def _computed(self, side: fx.Node, factor: int, more: int, divisor: int) -> fx.Node:
        for function, number, neutral in ((operator.mul, factor, 1), (operator.add, more, 0)):
            if number != neutral:
                side = self.call(function, side, number)
        return side if divisor == 1 else self.call(operator.floordiv, side, divisor)


def _scaled(sides: Sequence[int], values: Sequence[int]) -> tuple[int, int, int] | None:
    """Find (factor, 0, 1) or (1, summand, divisor) that make the values of the sides."""
    pairs = list(zip(sides, values, strict=True))
    if len(set(sides)) < 2:
        return None
    for factor in FACTORS:
        if all(side * factor == value for side, value in pairs):
            return factor, 0, 1
    for divisor in DIVISORS:
        for more in range(divisor):
            if all((side + more) // divisor == value for side, value in pairs):
                return 1, more, divisor
    return None


def _linear(sides: Sequence[int], values: Sequence[int]) -> tuple[int, int, int] | None:
    """Find (factor, summand, 1) that make the values of the sides."""
    if len(set(sides)) < 2:
        return None
    for factor in FACTORS:
        more = values[0] - factor * sides[0]
        if all(side * factor + more == value for side, value in zip(sides, values, strict=True)):
            return factor, more, 1
    return None


def as_float(value: Array) -> Array:
    """Return a copy of a constant in float32, in memory of its own."""
    return np.array(value, np.float32, order="C")


def is_float(node: Node, attribute: str = "to") -> bool:
    """Tell if a node casts to a type of floating point numbers."""
    kind = node.attributes.get(attribute)
    return kind == BFLOAT16 or (isinstance(kind, int) and kind in TYPES and np.dtype(TYPES[kind]).name in FLOATS)


Translate = Callable[[Reader, Node], "fx.Node | list[fx.Node]"]
"""Appends what computes an ONNX operator; returns the node of its output, or one per output."""
Table = Mapping[str, Translate]
