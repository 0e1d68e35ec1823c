"""Operators whose codes are the same in every arithmetic: scales are moved until all of them agree.

The rows of `quantization.arithmetic` add two quantized tensors with roundings of their own, so that they differ where a
sum lies next to the middle between two codes. There are 65,536 pairs of codes: all are tried, and a scale is moved by
steps of 1e-7 until no pair is left; a few steps nearly always suffice. Scales that are powers of two have sums in the
very middle, which no small step moves; those additions stay as they are, and so do scales that a resize reads
(`grids.short_scale`): there a summand's scale is moved instead.

Products and functions of one value (`operator_rules` 9 and 10) are safe where all their results, of 65,536 pairs or 256
codes, lie farther from a tie than float32 arithmetic can err: then every implementation gives the same codes. Their
result's scale is moved by at most 1e-5 or 2e-4; a short scale by whole steps of its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, fx, nn

from edgeailite.quantization.arithmetic import ARITHMETICS, Arithmetic
from edgeailite.quantization.codes import Codes
from edgeailite.quantization.convert import DEFAULT_OPSET, IntegerHardswish, Quantize
from edgeailite.quantization.graph import is_addition, is_module
from edgeailite.quantization.grids import SHORT_BITS
from edgeailite.quantization.modules import INTEGER_BITS, ActivationQuantizer
from edgeailite.quantization.operator_rules import FUNCTION_ERROR, all_products, all_results, no_tie
from edgeailite.quantization.operators import TABLES, Multiply
from edgeailite.quantization.program import Operator, Value
from edgeailite.quantization.tflite_rules import run_operator

STEP = 1e-7  # of a scale, relative
STEPS = 100  # in each direction
COUNT = 256  # codes of 8 bits
ADDITIONS, PRODUCTS, FUNCTIONS = "additions", "products", "functions"
FUNCTION_STEP = 2e-6  # of the scale of a function's result, relative
SHORT_STEPS = 8  # of a short scale: up to 1/16 of it


def agree(a: Quantize, b: Quantize, y: Quantize) -> bool:
    """Tell if all arithmetics give the same code for every pair of codes of an addition y = a + b."""
    first, *others = (all_sums(row, a, b, y) for row in ARITHMETICS.values())
    return all(np.array_equal(other, first) for other in others)


def all_sums(row: Arithmetic, a: Quantize, b: Quantize, y: Quantize) -> NDArray[np.int64]:
    """Codes (256, 256) of y = a + b, for all codes of a (rows) and b (columns), in an arithmetic."""
    if row.add is None:
        return _all_sums_as_int8(row.name, a, b, y)
    first, second = (Codes(torch.arange(*_ends(q)).float(), q.scale, q.zero_point.float()) for q in (a, b))
    codes: Tensor = row.add(Codes(first.codes[:, None], first.scale, first.zero_point), second, y)
    return codes.clamp(*y.codes()).numpy().astype(np.int64)


def _all_sums_as_int8(arithmetic: str, a: Quantize, b: Quantize, y: Quantize) -> NDArray[np.int64]:
    """The same of a `Program`, whose codes are signed."""
    shape = (COUNT, COUNT)
    values = [
        Value(name, shape, "int8", q.scale.reshape(1).numpy(), int(q.zero_point) - q.codes()[0] - COUNT // 2)
        for name, q in zip("aby", (a, b, y), strict=True)
    ]
    codes = np.arange(-COUNT // 2, COUNT // 2).astype(np.int8)
    pairs = [np.broadcast_to(codes[:, None], shape), np.broadcast_to(codes, shape)]
    added = run_operator(Operator("ADD", values[:2], values[2], {"activation": "NONE"}), pairs, arithmetic)
    return added.astype(np.int64) + COUNT // 2 + y.codes()[0]


def _ends(quantize: Quantize) -> tuple[int, int]:
    low, high = quantize.codes()
    return low, high + 1


@dataclass(frozen=True)
class Operation:
    """An operation: the node's module if it has one, and the quantizers of its operands and, last, of its result."""

    kind: str
    quantizers: tuple[ActivationQuantizer, ...]
    module: nn.Module | None = None

    def agrees(self) -> bool:
        """Tell if all arithmetics agree at the present scales; never of codes of 16 bits."""
        if max(quantizer.grid.bits for quantizer in self.quantizers) > INTEGER_BITS:
            return False
        *operands, y = (
            Quantize(q.scale.cpu(), q.zero_point.cpu().to(q.grid.code_type), opset=DEFAULT_OPSET)
            for q in self.quantizers
        )
        if self.kind == ADDITIONS:
            return agree(operands[0], operands[1], y)
        codes = [Codes(torch.empty(0), q.scale, q.zero_point.float(), low=q.codes()[0]) for q in operands]
        if self.kind == PRODUCTS:
            return no_tie(all_products(codes[0], codes[1], y), y)
        assert self.module is not None
        module = IntegerHardswish(operands[0]) if isinstance(self.module, nn.Hardswish) else self.module
        return no_tie(all_results(module, codes[0], y), y, relative=FUNCTION_ERROR)

    def movable(self) -> list[ActivationQuantizer]:
        """Return the quantizers whose scale may be moved, the result's first."""
        if self.kind != ADDITIONS:
            result = self.quantizers[-1]
            return [] if result.fixed or result.grid.scheme.power_of_two else [result]
        return [q for q in dict.fromkeys(reversed(self.quantizers)) if not (q.fixed or q.grid.has_special_scales)]

    def factors(self, quantizer: ActivationQuantizer) -> Iterator[float]:
        """Yield factors to try on a scale, small ones first."""
        if quantizer.grid.has_special_scales:
            yield from (1 + step / 2 ** (SHORT_BITS - 1) for step in range(1, SHORT_STEPS + 1))
            return
        step = FUNCTION_STEP if self.kind == FUNCTIONS else STEP
        yield from (1 + step * count for count in range(1, STEPS + 1))
        yield from (1 - step * count for count in range(1, STEPS + 1))


def tie_safe_operations(model: fx.GraphModule) -> dict[str, tuple[int, int]]:
    """Count, by kind, the operations of a prepared network that every arithmetic computes alike, and all of them."""
    return _counted((operation.kind, operation.agrees()) for operation in _operations(model))


def tie_safe_additions(model: fx.GraphModule) -> tuple[int, int]:
    """Count the additions of a prepared network that every arithmetic computes alike, and all additions."""
    return _counted((one.kind, one.agrees()) for one in additions_of(model))[ADDITIONS]


@torch.no_grad()
def settle_scales(model: fx.GraphModule) -> None:
    """Give a network in training the scales that its file may have: of its present ranges, operations tie-safe."""
    for module in model.modules():
        if isinstance(module, ActivationQuantizer):
            module.update_scale()
    make_tie_safe(model)


@torch.no_grad()
def make_tie_safe(model: fx.GraphModule) -> dict[str, tuple[int, int]]:
    """Move scales of a prepared and calibrated network until all arithmetics agree; count as `tie_safe_operations`.

    A scale moves by at most 1e-5 of itself (2e-4 behind a function), its zero point stays. An operation that cannot be
    helped keeps its scales.
    """
    settled: list[Operation] = []
    found = []
    for operation in _operations(model):
        settled.append(operation)
        safe = operation.agrees() or any(_move(quantizer, settled) for quantizer in operation.movable())
        found.append((operation.kind, safe))
    return _counted(found)


def _counted(found: Iterable[tuple[str, bool]]) -> dict[str, tuple[int, int]]:
    counts = dict.fromkeys((ADDITIONS, PRODUCTS, FUNCTIONS), (0, 0))
    for kind, safe in found:
        counts[kind] = (counts[kind][0] + safe, counts[kind][1] + 1)
    return counts


def _move(quantizer: ActivationQuantizer, settled: Sequence[Operation]) -> bool:
    """Find a scale near the present one with which the last operation agrees, and those that agreed still do."""
    touched = [operation for operation in settled if any(quantizer is q for q in operation.quantizers)]
    touched = [operation for operation in touched[:-1] if operation.agrees()] + touched[-1:]
    before = {name: value.clone() for name, value in quantizer.state_dict().items()}
    for factor in settled[-1].factors(quantizer):
        quantizer.stretch(factor)
        same_zero = int(quantizer.zero_point) == int(before["zero_point"])
        if same_zero and all(operation.agrees() for operation in reversed(touched)):
            return True
        quantizer.load_state_dict(before)
    return False


def additions_of(model: fx.GraphModule) -> Iterator[Operation]:
    """Yield the additions of a prepared network, in graph order."""
    return (operation for operation in _operations(model) if operation.kind == ADDITIONS)


def _operations(model: fx.GraphModule) -> Iterator[Operation]:
    for node in model.graph.nodes:
        if not (is_addition(node) or is_module(node, (Multiply, *TABLES))):
            continue
        result = next(iter(node.users))
        if not is_module(result, ActivationQuantizer):
            result = next(user for user in result.users if is_module(user, ActivationQuantizer))
        modules = tuple(model.get_submodule(str(n.target)) for n in (*node.args[:2], result))
        quantizers = tuple(module for module in modules if isinstance(module, ActivationQuantizer))
        assert len(quantizers) == len(modules)
        if is_addition(node):
            yield Operation(ADDITIONS, quantizers)
        elif is_module(node, Multiply):
            yield Operation(PRODUCTS, quantizers)
        else:
            yield Operation(FUNCTIONS, quantizers, model.get_submodule(str(node.target)))
