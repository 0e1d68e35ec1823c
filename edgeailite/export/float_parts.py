"""Proves a network with operators that stay in float (`quantization.operators.FLOATS`): all but those, in every bit.

The codes behind each part in float are read from the file and handed to the integer-exact network in place of its own.
Everything else must then agree in every bit. A part itself, handed the same codes as in the file, must give codes that
are at most one step off: sums of float32 have an order of the machine's own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from edgeailite.errors import ParityError
from edgeailite.export.inner_tensors import quantizer_names
from edgeailite.quantization.codes import Codes
from edgeailite.quantization.convert import IntegerConv, Quantize
from edgeailite.quantization.enlarge import shapes_of
from edgeailite.quantization.graph import ACTIVATIONS, is_module, named_outputs
from edgeailite.quantization.integer import IntegerExact
from edgeailite.quantization.operators import FLOATS, FloatPart
from edgeailite.runtime import tensors

LARGEST_STEP = 1  # between a part in float here and in the file, handed the same codes


@dataclass
class Part:
    """Distance of a part in float from the file's: the largest difference in steps, and the share of equal codes."""

    largest_step: int = 0
    equal: float = 1.0


class PartlyFloat(nn.Module):
    """The integer-exact network with the file's codes behind its parts in float; `found` tells how near they are."""

    def __init__(self, converted: fx.GraphModule, data: bytes, arithmetic: str | None = None) -> None:
        super().__init__()
        self.converted, self.data, self.arithmetic = converted, data, arithmetic
        names = quantizer_names(converted)
        parts = {node.name: _float_part(node) for node in converted.graph.nodes}
        self.behind = {node: names[node] for node, part in parts.items() if part}
        self.parts = parts
        self.found: dict[str, Part] = {}

    @torch.no_grad()
    def forward(self, *images: Tensor) -> dict[str, Tensor]:
        """Compute the outputs by name. Raises ParityError for a part that is more than one step off."""
        codes = tensors(self.data, list(self.behind.values()), [image.numpy() for image in images])
        runner = _Substituting(self, {node: codes[name] for node, name in self.behind.items()})
        outputs = named_outputs(runner.run(*images))
        return {name: value.dequantize() if isinstance(value, Codes) else value for name, value in outputs.items()}


class _Substituting(IntegerExact):
    def __init__(self, network: PartlyFloat, given: Mapping[str, Any]) -> None:
        super().__init__(network.converted, arithmetic=network.arithmetic)
        self.network, self.given = network, given

    def run_node(self, node: fx.Node) -> Any:
        result = super().run_node(node)
        if node.name not in self.given:
            return result
        codes = torch.from_numpy(self.given[node.name]).float()
        off = (codes - result.codes).abs()
        name = self.network.parts[node.name]
        part = self.network.found.setdefault(name, Part())
        part.largest_step = max(part.largest_step, int(off.max()))
        part.equal = min(part.equal, float((off == 0).float().mean()))
        if part.largest_step > LARGEST_STEP:
            raise ParityError(f"{name}: in float in the file, and {part.largest_step} steps from the network's")
        return replace(result, codes=codes)


def _float_part(node: fx.Node) -> str:
    """Return the part in float, with or without an activation, that `node` quantizes; "" of others."""
    source = node.args[0] if is_module(node, Quantize) and node.args else None
    if isinstance(source, fx.Node) and is_module(source, ACTIVATIONS):
        source = source.args[0]
    return str(source.target) if isinstance(source, fx.Node) and is_module(source, FLOATS) else ""


def integer_share(converted: fx.GraphModule, size: tuple[int, int]) -> float:
    """Return the share of multiply-accumulates that run as integers, for pictures of this (height, width)."""
    shapes, integer, total = shapes_of(converted, size), 0, 0
    for node in converted.graph.nodes:
        module = converted.get_submodule(str(node.target)) if node.op == "call_module" else None
        macs = _macs(module, node, shapes)
        total += macs
        integer += macs if isinstance(module, IntegerConv) else 0
    return integer / total if total else 1.0


def _macs(module: nn.Module | None, node: fx.Node, shapes: Mapping[fx.Node, torch.Size]) -> int:
    if isinstance(module, IntegerConv):
        return prod(shapes[node]) * prod(module.weight.shape[1:])
    if isinstance(module, nn.ConvTranspose2d):
        return prod(shapes[node.args[0]]) * prod(module.weight.shape[1:])
    if isinstance(module, nn.Linear):
        return prod(shapes[node]) * module.in_features
    if isinstance(module, FloatPart):
        operands = [value for value in (*node.args, *node.kwargs.values()) if isinstance(value, fx.Node)]
        return _macs_of_matrices(module, [shapes[operand] for operand in operands], shapes[node])
    return 0


def _macs_of_matrices(module: FloatPart, operands: Sequence[torch.Size], result: torch.Size) -> int:
    """Count a product of two tensors as matrices, or both of attention: queries by keys, weights by values."""
    if len(operands) < 2:
        return 0
    if module.function is F.scaled_dot_product_attention:
        queries, keys = operands[:2]
        return (prod(queries) + prod(result)) * keys[-2]
    return prod(result) * operands[0][-1]
