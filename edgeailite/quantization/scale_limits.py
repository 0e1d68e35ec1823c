"""Limits of scales in TensorFlow Lite's runtimes, checked before a program is written or computed."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from edgeailite.errors import UsageError
from edgeailite.quantization.program import Operator, Program
from edgeailite.quantization.tflite_rules import LARGEST_DISTANCE, XNNPACK_RATIOS

OTHER_RANGE = "calibrate on more pictures; a dead or exploding layer shows in `edgeailite analyze`"


def check_scales(program: Program) -> None:
    """Refuse scales for which a runtime stops, or computes something else than its rules say.

    XNNPACK takes multipliers of convolutions below 256 (`operators/convolution-nhwc.c`). The reference kernels shift
    sums left where a multiplier is 1 or more, and sums and shifted sums must fit in int32; with int16 they take
    multipliers below 128 and sums below 2^47 (`common.cc`). An addition of int16 that has 2^14 steps of its output in
    one of an input ends the process (`quantization_util.cc`). One of int8 that XNNPACK leaves to LiteRT's own kernels
    wraps beyond 16 bits there (`optimized/integer_ops/add.h`). Raises UsageError with the layer's name.
    """
    for op in program.operators:
        if op.kind in ("CONV_2D", "DEPTHWISE_CONV_2D"):
            _check_convolution(op)
        elif op.kind in ("ADD", "SUB") and op.output.type != "int32":
            ratios = [float(value.scale[0] / op.output.scale[0]) for value in op.inputs]
            most = (
                2**14 if op.output.type == "int16" else XNNPACK_RATIOS[1] if min(ratios) >= XNNPACK_RATIOS[0] else 2**7
            )
            _refuse_unless(max(ratios) < most, op, "scales of its inputs", ratios)


def _check_convolution(op: Operator) -> None:
    x, weight, bias = op.inputs
    distance, bits, most = (LARGEST_DISTANCE, 31, 2**8) if x.type == "int8" else (2**15, 47, 2**7)
    multiplier = np.float64(x.scale) * weight.scale / op.output.scale
    axes = tuple(axis for axis in range(4) if axis != weight.axis)
    largest = distance * np.abs(weight.data.astype(np.int64)).sum(axes) + np.abs(bias.data.astype(np.int64))
    shifted = largest * np.exp2(np.maximum(np.frexp(multiplier)[1], 0))
    _refuse_unless(bool((shifted < 2**bits).all()), op, "largest sums", [int(largest.max())])
    _refuse_unless(bool((multiplier < most).all()), op, "multipliers", [float(multiplier.max())])


def _refuse_unless(holds: bool, op: Operator, what: str, values: Collection[float]) -> None:
    if not holds:
        found = ", ".join(f"{value:.3g}" for value in values)
        problem = f"{op.kind}: {what} ({found}, relative to its output) are beyond what integer kernels take"
        raise UsageError(problem, path=op.output.name, fix=OTHER_RANGE, value=list(values))
