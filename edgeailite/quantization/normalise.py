"""`normalise`: brings a traced network to one spelling per operator, so that a spelling never changes an answer.

The same layer can be written `nn.ReLU()(x)`, `F.relu(x)`, `x.relu()`, `torch.relu(x)`. What follows knows:

 1. call_module: torch's layers and the modules of `quantization.operators`, each called once if it has no parameters;
 2. call_function: `operator.add` of two tensors, `torch.cat(list, dim)`, `F.interpolate(x, size=, mode=,
    align_corners=)`, `images[i]`, and arithmetic on sizes (`x.shape`);
 3. get_attr: a constant or parameter that is added, multiplied or subtracted; numbers become such constants.

Everything else is brought to that form, or left as it is and refused by name in `prepare`. A graph in this form comes
back unchanged: networks of this package, and those that `edgeailite.foreign` reads from files.
"""

from __future__ import annotations

import copy
import operator
from collections.abc import Callable, Mapping
from functools import partial
from numbers import Number
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from edgeailite.errors import UsageError
from edgeailite.foreign.unpooling import max_unpool
from edgeailite.quantization.graph import NEAREST, is_module, of_sizes, unused_name
from edgeailite.quantization.layer_calls import give_norms_convolutions, read_sizes_late, separate_calls
from edgeailite.quantization.operators import (
    Chunk,
    Divide,
    FloatPart,
    Function,
    MaxUnpool,
    Move,
    Multiply,
    Pad,
    Subtract,
    Total,
)
from edgeailite.quantization.pooling import per_axis
from edgeailite.quantization.spellings import (
    DROPPED,
    DROPPED_FUNCTIONS,
    DROPPED_METHODS,
    DROPPED_NAMES,
    IN_FLOAT,
    METHODS,
    MODULES,
    MOVED,
    NEEDED,
    ONE_VALUE,
    SHAPED,
    arguments,
    batch_norm_of,
    called,
    complete_statistics,
    convolution_of,
    has_attribute,
    has_module,
    is_length,
    is_one_size,
    linear_of,
    operands,
    pad_value,
    tensor,
)

LAYER_TENSORS = ("weight", "bias", "running_mean", "running_var")
MOVING = (Move, Chunk)  # results are views of their input


def normalise(graph_module: fx.GraphModule) -> None:
    """Rewrite a traced network in place; raises UsageError for a spelling whose meaning would be lost."""
    normaliser = _Normaliser(graph_module)
    for node in graph_module.graph.nodes:  # a live list: nodes that are erased are not met
        normaliser.rewrite(node)
    read_sizes_late(graph_module)
    give_norms_convolutions(graph_module)
    separate_calls(graph_module)
    graph_module.graph.lint()
    graph_module.recompile()


class _Normaliser:
    """Rewrites nodes, one after the other; new modules are named after the call, where the call stood."""

    def __init__(self, graph_module: fx.GraphModule) -> None:
        self.root, self.graph = graph_module, graph_module.graph
        self.rules = self._rules()

    def rewrite(self, node: fx.Node) -> None:
        """Bring a node to its normal form, if it has one."""
        if node.op == "call_method":
            self._method(node)
        if node.op == "call_module":
            self._module(node)
        elif node.op == "call_function":
            self._function(node)

    def _method(self, node: fx.Node) -> None:
        """A method is the function of the same meaning."""
        name = str(node.target)
        if name == "size":
            shape = self._insert(node, getattr, (node.args[0], "shape"))
            if len(node.args) > 1 or node.kwargs:
                axis = node.args[1] if len(node.args) > 1 else node.kwargs["dim"]
                shape = self._insert(node, operator.getitem, (shape, axis))
            self._replace(node, shape)
        elif name in DROPPED_METHODS:
            self._replace(node, tensor(node))
        elif name in METHODS:
            self._in_place(node, name.endswith("_"))
            node.op, node.target = "call_function", METHODS[name]

    def _module(self, node: fx.Node) -> None:
        module = self.root.get_submodule(str(node.target))
        if isinstance(module, DROPPED):
            self._replace(node, tensor(node))
        elif isinstance(module, nn.Upsample):
            how = {"size": module.size, "scale_factor": module.scale_factor, "mode": module.mode}
            how["align_corners"] = module.align_corners
            self._call(node, F.interpolate, (tensor(node),), how)
            self._resize(node)
        elif isinstance(module, nn.Flatten):
            self._call(node, torch.flatten, (tensor(node), module.start_dim, module.end_dim), {})
            self._function(node)
        elif isinstance(module, (nn.ZeroPad2d, nn.ConstantPad2d, nn.ReflectionPad2d, nn.ReplicationPad2d)):
            mode = {nn.ReflectionPad2d: "reflect", nn.ReplicationPad2d: "replicate"}.get(type(module), "constant")
            self._call(node, F.pad, (tensor(node), module.padding, mode, getattr(module, "value", 0.0)), {})
            self._function(node)
        else:
            self._in_place(node, bool(getattr(module, "inplace", False)))
            if isinstance(module, nn.AvgPool2d):
                self._average(node, module)
            elif isinstance(module, nn.BatchNorm2d):
                complete_statistics(str(node.target), module)

    def _average(self, node: fx.Node, pool: nn.AvgPool2d) -> None:
        """Count padding only where torch and onnxruntime do it alike: with ceil_mode it becomes zeros of its own."""
        sides = per_axis(pool.padding)
        if pool.count_include_pad and pool.ceil_mode and any(sides) and not pool.divisor_override:
            padded = self._insert(node, F.pad, (tensor(node), [sides[1], sides[1], sides[0], sides[0]]))
            self._pad(padded)
            node.args, node.kwargs, pool.padding, sides = (padded,), {}, 0, (0, 0)
        pool.count_include_pad &= any(sides)  # without padding both mean the same, but onnxruntime's is False

    def _function(self, node: fx.Node) -> None:
        if node.target is torch._assert or (node.target is getattr and not node.users):  # of an assertion's message
            self._erase_with_sources(node)
        elif of_sizes(node):
            return
        elif node.target in DROPPED_FUNCTIONS or called(node) in DROPPED_NAMES:
            self._replace(node, tensor(node))
        elif node.target in MODULES:
            kind, defaults = MODULES[node.target]
            options = arguments(node, **defaults)
            self._in_place(node, bool(options.pop("inplace", False)))
            self._as_module(node, kind(**options), tensor(node))
            self._module(node)
        elif node.target in self.rules:
            self.rules[node.target](node)

    def _rules(self) -> Mapping[Any, Callable[[fx.Node], None]]:
        """Functions that need more than another name."""
        rules: dict[Any, Callable[[fx.Node], None]] = {
            F.interpolate: self._resize,
            F.upsample: self._resize,
            F.pad: self._pad,
            F.batch_norm: self._layer(batch_norm_of),
            F.conv2d: self._layer(convolution_of),
            torch.conv2d: self._layer(convolution_of),
            F.linear: self._layer(linear_of),
            operator.getitem: self._item,
            torch.mean: self._mean,
            torch.sum: self._sum,
            torch.max: self._maximum,
            torch.split: self._split,
            torch.chunk: self._chunk,
            torch.clamp: self._clamp,
            torch.clip: self._clamp,
            torch.pow: self._power,
            operator.pow: self._power,
        }
        rules |= dict.fromkeys((torch.cat, torch.concat, torch.concatenate), self._concatenate)
        rules |= dict.fromkeys((operator.add, operator.iadd, torch.add), self._add)
        rules |= dict.fromkeys((operator.sub, operator.isub, torch.sub, torch.subtract), self._subtract)
        rules |= dict.fromkeys((operator.mul, operator.imul, torch.mul, torch.multiply), self._multiply)
        rules |= dict.fromkeys((operator.truediv, torch.div, torch.divide, torch.true_divide), self._divide)
        rules[max_unpool] = self._unpool
        rules |= dict.fromkeys(MOVED, self._move)
        rules |= dict.fromkeys(IN_FLOAT, self._float_part)
        return rules | dict.fromkeys(ONE_VALUE, self._one_value)

    # --- arithmetic

    def _add(self, node: fx.Node) -> None:
        a, b, alpha = operands(node)
        if isinstance(a, Number):
            a, b = b, a
        if alpha != 1:
            b = b * alpha if isinstance(b, Number) else self._scaled(node, b, alpha)
        if b == 0:
            self._replace(node, a)
        else:
            self._call(node, operator.add, (a, self._operand(node, b)), {})

    def _subtract(self, node: fx.Node) -> None:
        a, b, alpha = operands(node)
        if isinstance(b, Number):
            self._call(node, operator.add, (a, -b * alpha), {})
            self._add(node)
            return
        if alpha != 1:
            b = self._scaled(node, b, alpha)
        if isinstance(a, Number):
            self._as_module(node, Function(operator.sub, a, first=False), b)
        else:
            self._as_module(node, Subtract(), a, b)

    def _multiply(self, node: fx.Node) -> None:
        a, b, _ = operands(node)
        if isinstance(a, Number):
            a, b = b, a
        if b == 1:
            self._replace(node, a)
        else:
            self._as_module(node, Multiply(), a, self._operand(node, b))

    def _divide(self, node: fx.Node) -> None:
        a, b, _ = operands(node)
        if isinstance(a, Number) or node.kwargs.get("rounding_mode") is not None:
            return
        by_number = isinstance(b, Number)
        self._as_module(node, *((Multiply(), a, self._operand(node, 1 / b)) if by_number else (Divide(), a, b)))

    def _scaled(self, node: fx.Node, b: fx.Node, alpha: float) -> fx.Node:
        """`alpha` times `b`, in front of `node`."""
        scaled = self._insert(node, operator.mul, (b, alpha))
        self._multiply(scaled)
        return scaled

    def _operand(self, node: fx.Node, value: Any) -> Any:
        """Return a node for an operand: a number becomes a constant of the network."""
        if not isinstance(value, Number):
            return value
        name = self._unused(f"{node.name}_constant")
        self.root.register_buffer(name, torch.tensor(float(value)), persistent=False)
        with self.graph.inserting_before(node):
            return self.graph.get_attr(name)

    def _power(self, node: fx.Node) -> None:
        base, exponent = node.args
        if isinstance(base, fx.Node) and isinstance(exponent, int | float):
            self._as_module(node, Function(torch.pow, exponent), base)

    def _one_value(self, node: fx.Node) -> None:
        self._as_module(node, Function(node.target), tensor(node))

    def _float_part(self, node: fx.Node) -> None:
        node.kwargs = {k: v for k, v in node.kwargs.items() if not k.startswith("_") and v is not None}
        self._as_module(node, FloatPart(node.target), *node.args, keep_options=True)

    def _clamp(self, node: fx.Node) -> None:
        low, high = arguments(node, min=None, max=None).values()
        if isinstance(low, fx.Node) or isinstance(high, fx.Node):
            return
        if low == 0 and high is None:
            module: nn.Module = nn.ReLU()
        else:
            ends = (-float("inf") if low is None else low, float("inf") if high is None else high)
            module = nn.Hardtanh(*ends)
        self._as_module(node, module, tensor(node))

    # --- what moves values

    def _move(self, node: fx.Node) -> None:
        arguments = node.args[1:]
        if node.target in SHAPED and (len(arguments) > 1 or is_length(arguments[:1])):
            arguments = (arguments,)
        node.kwargs = {key: value for key, value in node.kwargs.items() if key not in ("input", "self")}
        self._as_module(node, Move(node.target), tensor(node), *arguments, keep_options=True)

    def _unpool(self, node: fx.Node) -> None:
        values, pooled, *window = node.args
        self._as_module(node, MaxUnpool(*window), values, pooled)

    def _item(self, node: fx.Node) -> None:
        """Slices of a tensor; `images[i]` stays."""
        source, index = node.args
        if source.op == "placeholder" and str(source.target).startswith("*"):
            return
        parts = index if isinstance(index, tuple) else (index,)
        if all(isinstance(part, slice | int | None) or part is Ellipsis for part in parts):
            self._as_module(node, Move(operator.getitem), source, index)

    def _split(self, node: fx.Node) -> None:
        sizes, dim = arguments(node, split_size_or_sections=NEEDED, dim=0).values()
        for part in list(node.users):
            if part.target is not operator.getitem:
                return
            index = int(part.args[1])
            if isinstance(sizes, int):
                first, last = index * sizes, (index + 1) * sizes
            else:
                first, last = sum(sizes[:index]), sum(sizes[: index + 1])
            place = (*[slice(None)] * dim, slice(first, last)) if dim >= 0 else None
            if place is None:
                problem, fix = "split along an axis counted from the end", "give dim from 0"
                raise UsageError(problem, path=node.name, fix=fix, code="no-integer-form")
            self._as_module(part, Move(operator.getitem), tensor(node), place)
        self.graph.erase_node(node)

    def _chunk(self, node: fx.Node) -> None:
        count, dim = arguments(node, chunks=NEEDED, dim=0).values()
        if all(part.target is operator.getitem for part in node.users):
            for part in list(node.users):
                self._as_module(part, Chunk(count, dim, int(part.args[1])), tensor(node))
            self.graph.erase_node(node)

    def _pad(self, node: fx.Node) -> None:
        how = arguments(node, pad=NEEDED, mode="constant", value=0.0)
        self._as_module(node, Pad(how["mode"]), tensor(node), how["pad"], *pad_value(node, how))

    def _concatenate(self, node: fx.Node) -> None:
        tensors = node.args[0] if node.args else node.kwargs["tensors"]
        dim = node.args[1] if len(node.args) > 1 else node.kwargs.get("dim", node.kwargs.get("axis", 0))
        self._call(node, torch.cat, (tensors, dim), {})

    def _maximum(self, node: fx.Node) -> None:
        """`x.max(dim)` gives values and indices."""
        if not {"dim", "other"} & node.kwargs.keys() and len(node.args) < 2:
            return
        how = arguments(node, dim=NEEDED, keepdim=False)
        if isinstance(how["dim"], int) and all(user.args[1] == 0 for user in node.users if user.op == "call_function"):
            values = self._insert(node, torch.amax, (tensor(node), how["dim"], how["keepdim"]))
            for user in list(node.users):
                self._replace(user, values)
            self.graph.erase_node(node)
            self._move(values)

    # --- what adds values

    def _mean(self, node: fx.Node) -> None:
        how = arguments(node, dim=None, keepdim=False)
        if how["dim"] is None:
            return
        dims = how["dim"] if isinstance(how["dim"], tuple | list) else (how["dim"],)
        if sorted(dims) in ([2, 3], [-2, -1]):
            if how["keepdim"]:
                self._as_module(node, nn.AdaptiveAvgPool2d(1), tensor(node))
                return
            pooled = self._insert(node, torch.mean, (tensor(node), (2, 3), True))
            self._mean(pooled)
            self._call(node, torch.flatten, (pooled, 1), {})
            self._move(node)
            return
        self._as_module(node, Total(dims, keepdim=how["keepdim"], mean=True), tensor(node))

    def _sum(self, node: fx.Node) -> None:
        how = arguments(node, dim=None, keepdim=False)
        if how["dim"] is not None:
            dims = how["dim"] if isinstance(how["dim"], tuple | list) else (how["dim"],)
            self._as_module(node, Total(dims, keepdim=how["keepdim"], mean=False), tensor(node))

    # --- resizes

    def _resize(self, node: fx.Node) -> None:
        """`size=` and `mode=` are given; what already says so stays as it is."""
        defaults = {"size": None, "scale_factor": None, "mode": NEAREST, "align_corners": None}
        how = arguments(node, **defaults, recompute_scale_factor=None, antialias=False)
        size, x = how["size"], tensor(node)
        if how["antialias"]:
            return
        if size is None:
            size = self._scaled_size(node, x, how["scale_factor"], recompute=bool(how["recompute_scale_factor"]))
            how = how | {"scale_factor": None, "recompute_scale_factor": None}
        elif isinstance(size, int) or (isinstance(size, fx.Node) and is_one_size(size)):
            size = (size, size)
        self._call(node, F.interpolate, (x,), how | {"size": size})

    def _scaled_size(self, node: fx.Node, x: fx.Node, factors: Any, *, recompute: bool) -> tuple[fx.Node, ...]:
        """Return the sides of `x` times whole factors; for others torch's positions depend on more than the sizes."""
        both = factors if isinstance(factors, tuple | list) else (factors, factors)
        shape, sides = self._insert(node, getattr, (x, "shape")), []
        for axis, factor in zip((2, 3), both, strict=True):
            side = self._insert(node, operator.getitem, (shape, axis))
            if float(factor) == int(factor):
                sides.append(self._insert(node, operator.mul, (side, int(factor))))
            elif recompute and float(1 / factor) == int(1 / factor):
                sides.append(self._insert(node, operator.floordiv, (side, int(1 / factor))))
            else:
                raise UsageError(
                    f"scale_factor {factor} depends on the size of the picture",
                    path=node.name,
                    fix="give a resize size= instead",
                    code="no-integer-form",
                )
        return tuple(sides)

    # --- functions of layers

    def _layer(self, build: Callable[[fx.Node, Mapping[str, Tensor]], nn.Module]) -> Callable[[fx.Node], None]:
        """Return the rule for a function whose tensors are those of one module: that becomes a layer of torch."""

        def rule(node: fx.Node) -> None:
            names = [str(source.target) for source in node.all_input_nodes if source.op == "get_attr"]
            owners = {name.rpartition(".")[0] for name in names}
            leaves = {name.rpartition(".")[2] for name in names}
            path = next(iter(owners), "")
            if len(owners) != 1 or not path or not leaves <= set(LAYER_TENSORS):
                return
            owner = self.root.get_submodule(path)
            layer = build(node, {name: getattr(owner, name) for name in leaves})
            for name in leaves:
                kind = layer._parameters if name in owner._parameters else layer._buffers
                kind[name] = getattr(owner, name)
            for name, child in owner.named_children():
                layer.add_module(name, child)
            self.root.set_submodule(path, layer.train(self.root.training))
            node.op, node.target, node.args, node.kwargs = "call_module", path, (tensor(node),), {}
            self._module(node)

        return rule

    def _erase_with_sources(self, node: fx.Node) -> None:
        """Erase an assertion, with what only it reads."""
        sources = node.all_input_nodes
        self.graph.erase_node(node)
        for source in sources:
            if not source.users and source.op != "placeholder":
                self._erase_with_sources(source)

    # --- the graph

    def _insert(self, before: fx.Node, function: Callable[..., Any], arguments: tuple[Any, ...]) -> fx.Node:
        with self.graph.inserting_before(before):
            node = self.graph.call_function(function, arguments)
        node.meta = copy.copy(before.meta)
        return node

    def _call(self, node: fx.Node, function: Any, arguments: tuple[Any, ...], options: dict[str, Any]) -> None:
        node.op, node.target, node.args, node.kwargs = "call_function", function, arguments, options

    def _as_module(self, node: fx.Node, module: nn.Module, *arguments: Any, keep_options: bool = False) -> None:
        """Let `node` call a new module, called after the node, in the module that held the call."""
        stack = node.meta.get("nn_module_stack") or {}
        parent = next((str(key) for key in reversed(list(stack))), "").split("@")[0]
        path = self._unused(f"{parent}.{node.name}" if parent and has_module(self.root, parent) else node.name)
        self.root.add_submodule(path, module.train(self.root.training))
        options = node.kwargs if keep_options else {}
        node.op, node.target, node.args, node.kwargs = "call_module", path, arguments, options

    def _replace(self, node: fx.Node, by: fx.Node) -> None:
        node.replace_all_uses_with(by)
        self.graph.erase_node(node)

    def _in_place(self, node: fx.Node, changes_input: bool) -> None:
        """Let what reads a tensor after an operation in place read the result. Raises UsageError for a part of it."""
        x = tensor(node)
        if not changes_input or (len(x.users) == 1 and not is_module(x, MOVING)):
            return
        nodes = {other: place for place, other in enumerate(self.graph.nodes)}
        base = x
        while is_module(base, MOVING):
            base = base.args[0]
            if any(nodes[user] > nodes[node] and not of_sizes(user) for user in base.users):
                raise UsageError(
                    "changes a part of a tensor in place that is read later",
                    path=node.name,
                    fix="give it a result",
                    code="no-integer-form",
                )
        for user in list(x.users):
            if nodes[user] > nodes[node] and not of_sizes(user):
                user.replace_input_with(x, node)

    def _unused(self, path: str) -> str:
        return unused_name(path, partial(has_attribute, self.root))
