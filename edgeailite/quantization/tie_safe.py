"""Additions whose codes are the same in every arithmetic: scales are moved until all of them agree.

The rows of `quantization.arithmetic` add two quantized tensors with roundings of their own, so that they differ where a
sum lies next to the middle between two codes. There are 65,536 pairs of codes: all are tried, and a scale is moved by
steps of 1e-7 until no pair is left; a few steps nearly always suffice. Scales that are powers of two have sums in the
very middle, which no small step moves; those additions stay as they are, and so do scales that a resize reads
(`grids.short_scale`): there a summand's scale is moved instead.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, fx

from edgeailite.quantization.arithmetic import ARITHMETICS, Arithmetic
from edgeailite.quantization.convert import DEFAULT_OPSET, Quantize
from edgeailite.quantization.graph import is_addition, is_module
from edgeailite.quantization.integer import Codes
from edgeailite.quantization.modules import INTEGER_BITS, ActivationQuantizer
from edgeailite.quantization.program import Operator, Value
from edgeailite.quantization.tflite_rules import run_operator

STEP = 1e-7  # of a scale, relative
STEPS = 100  # in each direction
COUNT = 256  # codes of 8 bits


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
class Addition:
    """The quantizers of an addition's summands and result, in this order."""

    quantizers: tuple[ActivationQuantizer, ActivationQuantizer, ActivationQuantizer]

    def agrees(self) -> bool:
        """Tell if all arithmetics agree at the present scales; never of codes of 16 bits."""
        if max(quantizer.grid.bits for quantizer in self.quantizers) > INTEGER_BITS:
            return False
        a, b, y = (
            Quantize(q.scale.cpu(), q.zero_point.cpu().to(q.grid.code_type), opset=DEFAULT_OPSET)
            for q in self.quantizers
        )
        return agree(a, b, y)

    def movable(self) -> list[ActivationQuantizer]:
        """Return the quantizers whose scale may be moved, the result's first."""
        return [q for q in dict.fromkeys(reversed(self.quantizers)) if not (q.fixed or q.grid.has_special_scales)]


def tie_safe_additions(model: fx.GraphModule) -> tuple[int, int]:
    """Count the additions of a prepared network that every arithmetic computes alike, and all additions."""
    found = list(additions_of(model))
    return sum(addition.agrees() for addition in found), len(found)


@torch.no_grad()
def settle_scales(model: fx.GraphModule) -> None:
    """Give a network in training the scales that its file may have: of its present ranges, additions tie-safe."""
    for module in model.modules():
        if isinstance(module, ActivationQuantizer):
            module.update_scale()
    make_additions_tie_safe(model)


@torch.no_grad()
def make_additions_tie_safe(model: fx.GraphModule) -> tuple[int, int]:
    """Move scales of a prepared and calibrated network until all arithmetics add alike; count as `tie_safe_additions`.

    A scale moves by at most 1e-5 of itself, its zero point stays. An addition that cannot be helped keeps its scales.
    """
    settled: list[Addition] = []
    safe = 0
    for addition in additions_of(model):
        settled.append(addition)
        safe += addition.agrees() or any(_move(quantizer, settled) for quantizer in addition.movable())
    return safe, len(settled)


def _move(quantizer: ActivationQuantizer, settled: Sequence[Addition]) -> bool:
    """Find a scale near the present one with which the last addition agrees, and those that agreed still do."""
    touched = [addition for addition in settled if any(quantizer is q for q in addition.quantizers)]
    touched = [addition for addition in touched[:-1] if addition.agrees()] + touched[-1:]
    before = {name: value.clone() for name, value in quantizer.state_dict().items()}
    for step in range(1, 2 * STEPS + 1):
        quantizer.stretch(1 + STEP * (step if step <= STEPS else STEPS - step))
        same_zero = int(quantizer.zero_point) == int(before["zero_point"])
        if same_zero and all(addition.agrees() for addition in reversed(touched)):
            return True
        quantizer.load_state_dict(before)
    return False


def additions_of(model: fx.GraphModule) -> Iterator[Addition]:
    """Yield the additions of a prepared network, in graph order."""
    for node in model.graph.nodes:
        if is_addition(node):
            result = next(iter(node.users))
            if not is_module(result, ActivationQuantizer):
                result = next(user for user in result.users if is_module(user, ActivationQuantizer))
            a, b, y = (model.get_submodule(str(n.target)) for n in (*node.args[:2], result))
            assert isinstance(a, ActivationQuantizer)
            assert isinstance(b, ActivationQuantizer)
            assert isinstance(y, ActivationQuantizer)
            yield Addition((a, b, y))
