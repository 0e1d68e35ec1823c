"""Evaluates an int8 ONNX file of any tool (QDQ or QOperator) as its integers say, on one picture.

Rules:
 1. An operator between DequantizeLinear and QuantizeLinear, or one of the QLinear family, is computed by the rule of
    its integer kernel (`kernels`), if onnxruntime has that kernel there (`placement`).
 2. What copies or picks values (MOVES), and float operations that round once or not at all (ROUND_ONCE), are exact.
 3. A bilinear resize of exact values is rule 4 of `quantization.integer`.
 4. Everything else has no rule: it is computed in float by onnxruntime's single operator, and the result is not exact.
    Where it is quantized, the codes of the file itself are taken instead (`given`), so that what follows is exact
    again; how far the two are apart is kept (`Part`). So are functions that have a result next to a tie.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import prod
from typing import Any

import numpy as np
import onnx
import torch

from edgeailite.export.int8_files.file import Int8File
from edgeailite.export.int8_files.kernels import RULES, Call
from edgeailite.export.int8_files.operators import Operators, label_of
from edgeailite.export.int8_files.placement import Placement
from edgeailite.export.int8_files.values import (
    BYTES,
    Array,
    Kernel,
    Plain,
    Quantized,
    Value,
    attributes_of,
    quantizer,
)
from edgeailite.quantization.arithmetic import Arithmetic
from edgeailite.quantization.convert import Quantize
from edgeailite.quantization.integer import CORNERS_COMPARED, resize_bilinear

MOVES = (
    "DepthToSpace", "Dropout", "Expand", "Flatten", "Gather", "GlobalMaxPool", "Identity", "MaxPool", "ReduceMax",
    "Reshape", "Slice", "SpaceToDepth", "Split", "Squeeze", "Tile", "Transpose", "Unsqueeze",
)  # fmt: skip
ROUND_ONCE = (
    "Abs", "Add", "And", "ArgMax", "ArgMin", "Cast", "CastLike", "Ceil", "Clip", "Concat", "Constant",
    "ConstantOfShape", "Div", "Equal", "Floor", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Max", "Min", "Mul",
    "Neg", "Not", "Or", "Pad", "Range", "ReduceMin", "ReduceProd", "Relu", "Shape", "Sign", "Size", "Sub", "Where",
)  # fmt: skip
LAYERS = ("Conv", "ConvTranspose", "Gemm", "MatMul", "ConvInteger", "MatMulInteger")  # that count MACs
TOLERANCE = 1e-3  # of a step: an activation's limit that lies this near the end of the codes is the end


@dataclass(frozen=True)
class Family:
    """An operator of the QLinear family: the plain one, and where its inputs stand: operands, output, bias."""

    op: str
    operands: tuple[int, ...]
    output: int
    bias: int | None = None


FAMILY = {
    "QGemm": Family("Gemm", (0, 3), 7, 6),
    "QLinearAdd": Family("Add", (0, 3), 6),
    "QLinearAveragePool": Family("AveragePool", (0,), 3),
    "QLinearConcat": Family("Concat", (), 0),
    "QLinearConv": Family("Conv", (0, 3), 6, 8),
    "QLinearGlobalAveragePool": Family("GlobalAveragePool", (0,), 3),
    "QLinearLeakyRelu": Family("LeakyRelu", (0,), 3),
    "QLinearMatMul": Family("MatMul", (0, 3), 6),
    "QLinearMul": Family("Mul", (0, 3), 6),
    "QLinearSigmoid": Family("Sigmoid", (0,), 3),
}


@dataclass
class Part:
    """What is not exact, by the tensor that quantizes it: distance in steps from the file's codes, and equal codes."""

    op: str
    tensor: str
    largest_step: int = 0
    equal: float = 1.0
    read: bool = True


@dataclass
class Outcome:
    """Outputs by name, all code tensors in order, parts that are not exact, and MACs by layer."""

    outputs: dict[str, Plain] = field(default_factory=dict)
    codes: dict[str, Array] = field(default_factory=dict)
    parts: dict[str, Part] = field(default_factory=dict)
    without_rule: Counter[str] = field(default_factory=Counter)
    macs: dict[str, int] = field(default_factory=dict)


class Evaluation:
    """Evaluates a file in an arithmetic of onnxruntime; `run` takes a picture's input and the file's own codes."""

    def __init__(self, file: Int8File, placement: Placement, arithmetic: Arithmetic) -> None:
        self.file, self.placement, self.arithmetic = file, placement, arithmetic
        self.operators = Operators(file.model, file.constants, file.name)

    @torch.no_grad()
    def run(self, image: Array, given: Mapping[str, Array]) -> Outcome:
        """Evaluate on an input (1,3,H,W); `given` are the codes that the file has, by tensor name."""
        outcome = Outcome()
        values: dict[str, Value] = {name: Plain(array) for name, array in self.file.constants.items()}
        values[self.file.input] = Plain(image)
        readers = Counter(name for node in self.file.model.graph.node for name in node.input)
        readers.update(self.file.outputs)
        for node in self.file.model.graph.node:
            if node.op_type == "Constant" and node.output[0] in self.file.constants:
                continue
            operands = [values[name] if name else None for name in node.input]
            results = _Node(self, node, operands, outcome, given).results()
            values.update(zip(node.output, results, strict=False))
            for name in node.input:
                readers[name] -= 1
                if not readers[name] and name not in self.file.constants:
                    values.pop(name, None)
        outcome.outputs = {name: _plain(values[name]) for name in self.file.outputs}
        return outcome


@dataclass(frozen=True)
class _Node:
    """A node with its operands, while a picture is evaluated."""

    evaluation: Evaluation
    node: onnx.NodeProto
    operands: Sequence[Value | None]
    outcome: Outcome
    given: Mapping[str, Array]

    @property
    def label(self) -> str:
        return label_of(self.node)

    @property
    def attributes(self) -> Mapping[str, Any]:
        return attributes_of(self.node)

    def results(self) -> list[Value]:
        """Compute the node's outputs."""
        op = self.node.op_type
        if op == "DequantizeLinear" and (found := self._dequantized()) is not None:
            return [found]
        if op == "QuantizeLinear" and (plain := self._quantized()) is not None:
            return [plain]
        if op in FAMILY and (codes := self._of_family(FAMILY[op])) is not None:
            return [codes]
        if op in ("Relu", "Clip") and isinstance(self.operands[0], Kernel):
            return [self._activated(self.operands[0])]
        if op in RULES and (kernel := self._kernel()) is not None:
            return [kernel]
        if (moved := self._moved()) is not None:
            return list(moved)
        if op == "Resize" and (resized := self._resized()) is not None:
            return [resized]
        return list(self._in_float())

    # --- quantizers

    def _dequantized(self) -> Quantized | None:
        codes, scale = self.operands[0], self.operands[1]
        zero = self.operands[2] if len(self.operands) > 2 else None
        if not isinstance(codes, Plain) or not isinstance(scale, Plain) or codes.array.dtype.kind not in "iu":
            return None
        if scale.array.dtype != np.float32 or scale.array.ndim > 1 or self.attributes.get("block_size"):
            return None
        zeros = np.zeros(scale.array.shape, codes.array.dtype) if zero is None else _plain(zero).array
        return Quantized(codes.array, scale.array, zeros, int(self.attributes.get("axis", 1)))

    def _quantized(self) -> Plain | None:
        """Quantize: a kernel's codes, or rule 5 on values; None of types and scales that have no rule."""
        source, scale, zero = self._quantizer_inputs()
        if scale.size != 1 or zero.dtype not in BYTES or scale.dtype != np.float32:
            return None
        if isinstance(source, Kernel):
            output = quantizer(scale, zero, unsigned=source.unsigned)
            if self._implied(source, output):
                codes = _clamped(source.finish(output), output, zero)
                source.count(codes.shape)
                return self._settled(codes, exact=not source.near_tie(output), what=source.label)
        if isinstance(source, Quantized) and _same_grid(source, scale, zero):
            return self._settled(source.codes, exact=True, what=self.label)
        values = _plain(source)
        output = quantizer(scale, zero, unsigned=False)
        steps = torch.round(torch.from_numpy(values.array) / output.scale) + output.zero_point.float()
        return self._settled(_clamped(steps, output, zero), exact=values.exact, what=self.label)

    def _quantizer_inputs(self) -> tuple[Value, Array, Array]:
        source, scale = self.operands[0], self.operands[1]
        assert source is not None
        zero = self.operands[2] if len(self.operands) > 2 else None
        kind = _plain(zero).array if zero is not None else np.zeros((), np.uint8)
        return source, _plain(scale).array, kind

    def _implied(self, kernel: Kernel, output: Quantize) -> bool:
        """Tell if the codes end where the activations behind a kernel do, so that the kernel needs none."""
        low, high = output.bounds()
        step = TOLERANCE * float(output.scale)
        return kernel.low <= low + step and kernel.high >= high - step

    def _settled(self, codes: Array, *, exact: bool, what: str) -> Plain:
        """Keep the codes of a tensor; where they are not exact, take the file's own and keep the distance."""
        name = self.node.output[0]
        if not exact:
            own, part = in_shape(self.given.get(name), codes), Part(self.node.op_type, name)
            self.outcome.parts[what] = part
            if own is None:
                part.read = False
            else:
                off = np.abs(own.astype(np.int16) - codes.astype(np.int16))
                part.largest_step, part.equal = int(off.max(initial=0)), float((off == 0).mean())
                codes = own
        self.outcome.codes[name] = codes
        return Plain(codes)

    # --- kernels

    def _call(self, operands: Sequence[Value | None]) -> Call:
        unsigned = self.evaluation.placement.is_unsigned(self.label)
        return Call(operands, self.attributes, self.evaluation.arithmetic, unsigned)

    def _kernel(self) -> Kernel | None:
        """Return the integer kernel that waits for its quantizer; None where onnxruntime has none here."""
        if self.label in self.evaluation.placement.in_float or not self._reads_codes():
            return None
        call = self._call(self.operands)
        finish = RULES[self.node.op_type](call)
        if finish is None:
            return None

        def floats() -> Plain:
            result = self._in_float()[0]
            assert isinstance(result, Plain)
            return result

        return Kernel(finish.codes, floats, self.label, call.unsigned, near_tie=finish.near_tie, count=self._count)

    def _reads_codes(self) -> bool:
        return any(isinstance(operand, Quantized) for operand in self.operands)

    def _of_family(self, family: Family) -> Plain | None:
        """Compute an operator of the QLinear family; None of forms without a rule."""
        arrays = [None if operand is None else _plain(operand).array for operand in self.operands]
        scale = arrays[family.output] if len(arrays) > family.output else None
        if scale is None or self.attributes.get("channels_last"):
            return None
        zero = arrays[family.output + 1] if len(arrays) > family.output + 1 else None
        zero = np.zeros((), np.uint8) if zero is None else zero
        finish = RULES[family.op](self._call(self._operands_of(family, arrays)))
        if finish is None or scale.size != 1 or zero.dtype not in BYTES:
            return None
        output = quantizer(scale, zero, unsigned=False)
        codes = _clamped(finish.codes(output), output, zero)
        self._count(codes.shape)
        return self._settled(codes, exact=not finish.near_tie(output), what=self.label)

    def _operands_of(self, family: Family, arrays: Sequence[Array | None]) -> list[Quantized | None]:
        places = family.operands or tuple(range(2, len(arrays), 3))
        found: list[Quantized | None] = []
        for index in places:
            codes, scale, zero = arrays[index : index + 3]
            assert codes is not None
            assert scale is not None
            zeros = np.zeros(scale.shape, codes.dtype) if zero is None else zero
            rows = family.op == "Conv" or self.attributes.get("transB")
            found.append(Quantized(codes, scale, zeros, 0 if rows else 1))
        if family.bias is not None and len(arrays) > family.bias and (bias := arrays[family.bias]) is not None:
            first, second = found[0], found[1]
            assert first is not None
            assert second is not None
            product = first.scale.reshape(()) * second.scale.reshape(-1)
            found.append(Quantized(bias, product, np.zeros(product.shape, np.int32), 0))
        return found

    def _activated(self, kernel: Kernel) -> Value:
        """Let a kernel carry the limits of an activation behind it."""
        low, high = (0.0, kernel.high) if self.node.op_type == "Relu" else self._limits()

        def floats() -> Plain:
            values = kernel.floats()
            return replace(values, array=np.clip(values.array, np.float32(low), np.float32(high)))

        return replace(kernel, floats=floats, low=max(kernel.low, low), high=min(kernel.high, high))

    def _limits(self) -> tuple[float, float]:
        found = [-np.inf, np.inf]
        for place, name in enumerate(("min", "max")):
            if name in self.attributes:
                found[place] = float(self.attributes[name])
            if len(self.operands) > place + 1 and (operand := self.operands[place + 1]) is not None:
                found[place] = float(_plain(operand).array.reshape(()))
        return found[0], found[1]

    # --- everything else

    def _moved(self) -> list[Value] | None:
        """Move codes that have one scale; None of what does not only move values."""
        source, op = self.operands[0] if self.operands else None, self.node.op_type
        moves = op in MOVES or (op == "Pad" and self._pads_zeros()) or (op == "Resize" and self._is_nearest())
        if not moves or not isinstance(source, Quantized) or not source.whole or self._has_other_codes():
            return None
        rest = [None if operand is None else _plain(operand).array for operand in self.operands[1:]]
        zero = source.zero_point.reshape(())
        results = self.evaluation.operators.run(self.node, [source.distances, *rest])
        moved = (np.clip(array + np.float32(zero), -128, 255).astype(source.codes.dtype) for array in results)
        return [replace(source, codes=codes) for codes in moved]

    def _has_other_codes(self) -> bool:
        return any(isinstance(operand, (Quantized, Kernel)) for operand in self.operands[1:])

    def _pads_zeros(self) -> bool:
        mode = self.attributes.get("mode", b"constant")
        value = self.operands[2] if len(self.operands) > 2 else None
        return mode != b"constant" or value is None or not _plain(value).array.any()

    def _is_nearest(self) -> bool:
        return bool(self.attributes.get("mode", b"nearest") == b"nearest")

    def _resized(self) -> Plain | None:
        """Resize bilinearly by rule 4, as far as it was compared."""
        values, given = _plain(self.operands[0]), self.attributes
        how = given.get("coordinate_transformation_mode", b"half_pixel")
        arithmetic = self.evaluation.arithmetic
        corners = how == b"align_corners"
        known = how == b"half_pixel" or (corners and arithmetic.name in CORNERS_COMPARED)
        if given.get("mode") != b"linear" or not known or not values.exact or values.array.ndim != 4:
            return None
        if values.array.dtype != np.float32 or given.get("antialias") or given.get("exclude_outside"):
            return None
        height_width = self._new_size(values.array.shape)
        if height_width is None or arithmetic.blend is None:
            return None
        resized = resize_bilinear(torch.from_numpy(values.array), height_width, arithmetic.blend, corners=corners)
        return Plain(resized.numpy())

    def _new_size(self, shape: tuple[int, ...]) -> tuple[int, int] | None:
        """Return height and width after a resize of the last two sides alone."""
        scales = self.operands[2] if len(self.operands) > 2 else None
        sizes = self.operands[3] if len(self.operands) > 3 else None
        if "axes" in self.attributes or "keep_aspect_ratio_policy" in self.attributes:
            return None
        if sizes is not None:
            new = [int(side) for side in _plain(sizes).array]
            return (new[2], new[3]) if len(new) == 4 and tuple(new[:2]) == shape[:2] else None
        factors = [] if scales is None else _plain(scales).array.astype(float).tolist()
        if len(factors) != 4 or factors[:2] != [1, 1] or any(factor != int(factor) for factor in factors):
            return None  # the kernel's positions follow the factor, which sizes give only where it is whole
        return shape[2] * int(factors[2]), shape[3] * int(factors[3])

    def _in_float(self) -> list[Plain]:
        """Compute the node alone, in onnxruntime; exact only if it rounds once (rule 2)."""
        plain = [None if operand is None else _plain(operand) for operand in self.operands]
        results = self.evaluation.operators.run(self.node, [None if p is None else p.array for p in plain])
        op = self.node.op_type
        nearest = op == "Resize" and self._is_nearest()
        exact = all(p is None or p.exact for p in plain) and (op in MOVES or op in ROUND_ONCE or nearest)
        if results:
            self._count(results[0].shape)
        if not exact and all(p is None or p.exact for p in plain):
            self.outcome.without_rule[f"{op} {self.label}"] += 1
        if not exact and results[0].dtype in BYTES:
            return [self._settled(results[0], exact=False, what=self.label)]
        return [Plain(array, exact) for array in results]

    def _count(self, output: tuple[int, ...]) -> None:
        """Keep the multiply-accumulates of a layer."""
        op = FAMILY[self.node.op_type].op if self.node.op_type in FAMILY else self.node.op_type
        if op in LAYERS and output:
            weight = self.operands[3 if self.node.op_type in FAMILY else 1]
            shape = weight.codes.shape if isinstance(weight, Quantized) else _plain(weight).array.shape
            self.outcome.macs[self.label] = _macs(op, output, shape, self.attributes, self.operands[0])


def in_shape(codes: Array | None, like: Array) -> Array | None:
    """Return codes in the layout of others: kernels may have channels last. None where neither layout fits."""
    if codes is None:
        return None
    layouts = [codes, codes.transpose(0, 3, 1, 2)] if codes.ndim == 4 else [codes]
    fitting = [layout for layout in layouts if layout.shape == like.shape]
    return min(fitting, key=lambda layout: int((layout != like).sum()), default=None)


def _macs(op: str, output: tuple[int, ...], weight: tuple[int, ...], given: Mapping[str, Any], x: Any) -> int:
    if op in ("Conv", "ConvInteger"):
        return prod(output) * prod(weight[1:])
    if op == "ConvTranspose":
        shape = x.codes.shape if isinstance(x, Quantized) else _plain(x).array.shape
        return prod(shape) * prod(weight[1:])
    return prod(output) * (weight[-1] if op == "Gemm" and given.get("transB") else weight[-2])


def _plain(value: Value | None) -> Plain:
    """Return a value as a tensor; of codes their float32 values."""
    assert value is not None
    if isinstance(value, Plain):
        return value
    return value.floats() if isinstance(value, Kernel) else Plain(value.floats())


def _clamped(codes: Any, output: Quantize, zero_point: Array) -> Array:
    """Clamp codes and give them the type of the file's zero point."""
    low, high = output.codes()
    found = codes.clamp(low, high).numpy().astype(np.int16)
    if zero_point.dtype == np.int8 and output.zero_point.dtype == torch.uint8:
        found = found - 128
    return np.asarray(found.astype(zero_point.dtype))


def _same_grid(source: Quantized, scale: Array, zero_point: Array) -> bool:
    """Tell if a quantizer has the grid of the codes that it reads: a copy, whatever the scale."""
    same = source.codes.dtype == zero_point.dtype and source.scale.size == 1
    return bool(same and source.scale.reshape(()) == scale.reshape(()) and source.zero_point == zero_point)
