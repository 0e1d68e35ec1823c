"""Sides of a trace in torch: the float network, the fake-quantized one, the integer-exact one.

Tensors have the names that the exported file gives them (`naming`): that of the module that made it, or of the module
that held the function call.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx, nn

from edgeailite.errors import UsageError, option
from edgeailite.export.naming import FUNCTIONS, function_names
from edgeailite.export.trace.sides import Array, Grid, Place, Reading, Side
from edgeailite.modelcard import input_name
from edgeailite.models.fusing import fuse
from edgeailite.quantization import convert
from edgeailite.quantization.codes import Codes
from edgeailite.quantization.convert import FromCodes, Quantize
from edgeailite.quantization.graph import (
    ACTIVATIONS,
    input_index,
    is_input,
    is_module,
    output_nodes,
    reads_shape,
    trace,
    unused_name,
)
from edgeailite.quantization.integer import IntegerExact
from edgeailite.quantization.modules import ActivationQuantizer, set_state

PASSED_ON = (*ACTIVATIONS, nn.BatchNorm2d, nn.Dropout, nn.Dropout2d, nn.Identity)  # belong to the layer before
OPERATORS = {
    "AdaptiveAvgPool2d": "Pool", "CodePool": "Pool", "Hardtanh": "Clip", "IntegerHardswish": "Hardswish",
    "MaxPool2d": "MaxPool", "ReLU": "Relu", "ReLU6": "Clip",
}  # fmt: skip
Tap = Callable[[fx.Node, Any], Any]


def float_side(label: str, model: nn.Module) -> Side:
    """Open a float network in eval mode, or a prepared one with its quantizers off."""
    if isinstance(model, fx.GraphModule):
        unquantized = copy.deepcopy(model).eval()
        set_state(unquantized, observing=False, enabled=False)
        return _side(label, unquantized, _quantizers(unquantized, ActivationQuantizer), quantized=False)
    traced = trace(fuse(model.eval()))
    return _side(label, traced, {node: name for node, name in _names(traced).items() if _ends_block(node)})


def fake_quantized_side(label: str, prepared: fx.GraphModule) -> Side:
    """Open a prepared and calibrated network that computes in float, with quantizers."""
    return _side(label, prepared.eval(), _quantizers(prepared, ActivationQuantizer))


def integer_exact_side(label: str, prepared: fx.GraphModule, arithmetic: str | None = None) -> Side:
    """Open the emulation of onnxruntime's integer kernels, converted from a prepared network.

    `arithmetic` is a row of `quantization.arithmetic`; None takes the machine's own. Raises UsageError for others.
    """
    converted = convert(prepared)
    IntegerExact(converted, arithmetic=arithmetic)  # refuses now, not with the first picture
    return _side(label, converted, _quantizers(converted, Quantize), arithmetic=arithmetic)


def _side(
    label: str,
    traced: fx.GraphModule,
    held: dict[fx.Node, str],
    *,
    quantized: bool = True,
    arithmetic: str | None = None,
) -> Side:
    """Make a side of a traced network; `held` are the nodes whose values are compared, with their names."""
    outputs = output_nodes(traced.graph)
    held = held | {node: name for name, node in outputs.items()}
    integer = any(isinstance(module, Quantize) for module in traced.modules())
    places = {name: _place(node, name, held) for node, name in held.items()}
    if not quantized:
        places = {name: replace(place, grid=None) for name, place in places.items()}

    def read(images: Sequence[Array], asked: Sequence[str], fed: Mapping[str, Array]) -> Reading:
        values: dict[str, Array] = {}
        wanted = {*asked, *outputs}

        def tap(node: fx.Node, value: Any) -> Any:
            name = held.get(node)
            if name is None or name not in wanted:
                return value
            values[name] = (value.dequantize() if isinstance(value, Codes) else value).numpy()
            return value if name not in fed or name in outputs else _handed_on(value, fed[name], places[name].grid)

        with torch.inference_mode():
            interpreter = _Integer(traced, tap, arithmetic) if integer else _Float(traced, tap)
            interpreter.run(*map(torch.from_numpy, images))
        return Reading(values, {name: values[name] for name in outputs})

    return Side(label, places, _activated(_names(traced), held), integer=integer, feeds=True, read=read)


def _handed_on(own: Codes | Tensor, values: Array, grid: Grid | None) -> Codes | Tensor:
    """Return the other side's values in the form that this network computes with: codes or floats."""
    if isinstance(own, Codes) and grid is not None:
        return replace(own, codes=torch.from_numpy(np.asarray(grid.codes(values))).to(own.codes.dtype))
    return torch.from_numpy(values)


class _Float(fx.Interpreter):
    def __init__(self, module: fx.GraphModule, tap: Tap) -> None:
        super().__init__(module)
        self.tap = tap

    def run_node(self, node: fx.Node) -> Any:
        return self.tap(node, super().run_node(node))


class _Integer(IntegerExact):
    def __init__(self, module: fx.GraphModule, tap: Tap, arithmetic: str | None) -> None:
        super().__init__(module, arithmetic=arithmetic)
        self.tap = tap

    def run_node(self, node: fx.Node) -> Any:
        return self.tap(node, super().run_node(node))


def _names(traced: fx.GraphModule) -> dict[fx.Node, str]:
    """Map nodes to the names of their tensors in the file."""
    names: dict[fx.Node, str] = {}
    taken: set[str] = set()
    functions = function_names(traced.graph)
    for node in traced.graph.nodes:
        if is_input(node):
            names[node] = input_name(input_index(node))
        elif node in functions:
            names[node] = functions[node]
        elif is_module(node, nn.BatchNorm2d) and is_module(node.args[0], nn.Conv2d):
            names[node] = str(node.args[0].target)
        elif node.op == "call_module":
            names[node] = unused_name(str(node.target), taken.__contains__)  # called again, as in the converted network
            taken.add(names[node])
    return names


def _quantizers(traced: fx.GraphModule, kind: type[nn.Module]) -> dict[fx.Node, str]:
    """Map quantizers to the name of the tensor they quantize."""
    names = _names(traced)
    nodes = [n for n in traced.graph.nodes if is_module(n, kind) and not is_module(n, FromCodes)]
    return {node: names[node.args[0]] for node in nodes if node.args[0] in names}  # constants have no place


def _ends_block(node: fx.Node) -> bool:
    users = [user for user in node.users if not reads_shape(user)]
    return not (len(users) == 1 and is_module(users[0], PASSED_ON))


def _activated(names: Mapping[fx.Node, str], held: Mapping[fx.Node, str]) -> dict[str, str]:
    """Map each tensor before an activation to the tensor at the end of the block."""
    found = {}
    for node, name in names.items():
        if node not in held and not _ends_block(node):
            end = node
            while not _ends_block(end):
                end = next(user for user in end.users if not reads_shape(user))
            if names.get(end, name) != name:
                found[name] = names[end]
    return found


def _place(node: fx.Node, name: str, held: Mapping[fx.Node, str]) -> Place:
    layer, grid = node, None
    root = node.graph.owning_module
    if is_module(node, (ActivationQuantizer, Quantize)):
        grid = _grid(root.get_submodule(str(node.target)))
        layer = _before(node)
    while is_module(layer, PASSED_ON) and not is_module(_before(layer), (ActivationQuantizer, Quantize)):
        layer = _before(layer)
    sources = dict.fromkeys(_sources(layer if layer is not node and not is_input(layer) else node, held))
    module = root.get_submodule(str(layer.target)) if layer.op == "call_module" else None
    weight = getattr(module, "weight", None)
    return Place(
        name,
        _layer_name(layer, name),
        _operator(layer, module),
        tuple(weight.shape) if isinstance(weight, Tensor) else (),
        tuple(sources),
        grid,
    )


def _before(node: fx.Node) -> fx.Node:
    before = node.args[0]
    assert isinstance(before, fx.Node)
    return before


def _layer_name(layer: fx.Node, name: str) -> str:
    return str(layer.target) if layer.op == "call_module" else name


def _operator(layer: fx.Node, module: nn.Module | None) -> str:
    if module is None:
        return FUNCTIONS.get(layer.target, "Input")
    return OPERATORS.get(type(module).__name__, "Conv" if hasattr(module, "weight") else type(module).__name__)


def _sources(node: fx.Node, held: Mapping[fx.Node, str]) -> list[str]:
    """Return the nearest places that a node is computed from."""
    found: list[str] = []
    for before in node.all_input_nodes:
        if before in held:
            found.append(held[before])
        elif before.op != "get_attr" and not reads_shape(before):
            found += _sources(before, held)
    return found


def _grid(module: nn.Module) -> Grid:
    if isinstance(module, ActivationQuantizer):
        return Grid(float(module.scale), int(module.zero_point), module.grid.low, module.grid.high)
    assert isinstance(module, Quantize)
    info = torch.iinfo(module.zero_point.dtype)
    return Grid(float(module.scale), int(module.zero_point), info.min, info.max)


def torch_side(word: str, module: nn.Module) -> Side:
    """Open the form `float`, `fake_quant`, `integer_exact` or `integer_exact:ARITHMETIC` of a run's network.

    Raises UsageError for a float run, and for an arithmetic that is unknown or has no inner tensors in torch.
    """
    if word == "float":
        return float_side(word, module)
    if not isinstance(module, fx.GraphModule):
        raise UsageError(
            f"{option('trace')} {word}: the run is float; give the quantized run first (edgeailite quantize)",
            code="wrong-kind",
        )
    form, _, arithmetic = word.partition(":")
    if form == "fake_quant":
        return fake_quantized_side(word, module)
    return integer_exact_side(word, module, arithmetic or None)
