"""TensorFlow Lite: an int8 .tflite file for LiteRT, TensorFlow Lite Micro and the compilers that read it.

The file computes in integers from picture to scores: also additions and resizes, for which an ONNX file has float forms
of its own. What it computes is known to the last bit for two kinds of kernels (`quantization.tflite_rules`), and
`verify` proves that. The checks look at the program that the file was written of; those of Arm's Ethos-U are the
constraints that Vela 5.2 prints, found by compiling.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from torch import fx

from edgeailite.errors import UsageError, option
from edgeailite.export.lint import Finding
from edgeailite.export.targets.record import Files, Request, Target
from edgeailite.export.to_tflite import to_tflite
from edgeailite.quantization.program import Operator, Program

CONVOLUTIONS = ("CONV_2D", "DEPTHWISE_CONV_2D")
MOST_CLASSES = 127  # of an ArgMax on an Ethos-U55 or U65
MOST_WEIGHT = 127 * 2**16  # of |weight - zero point|, summed over a channel


def files(request: Request, *, name: str = "tflite") -> Files:
    """Return the one .tflite file, of target `name`.

    Raises UsageError for what it cannot be: of open size, or with labels up-sampled.
    """
    assert isinstance(request.module, fx.GraphModule)
    target = f"{option('target')} {name}"
    if request.size is None:
        raise UsageError(f"{target}: a file of one size; leave {option('dynamic')} out")
    if request.argmax == "before_upsampling":
        raise UsageError(f"{option('argmax')} before_upsampling: {target} has full; or take {option('head')} codes")
    if request.argmax == "full" and request.head != "logits":
        raise UsageError(f"{option('head')} {request.head}: with {option('argmax')} full outputs are class numbers")
    head = "argmax" if request.argmax == "full" else request.head
    return {".tflite": to_tflite(request.module, request.card, size=request.size, head=head)}


def npu_resizes(program: Program) -> Iterator[Finding]:
    """Find resizes that an Ethos-U55 or U65 leaves to its CPU: not by 2, or in float. A U85 takes powers of two."""
    for operator in _of(program, "RESIZE_BILINEAR"):
        before, after = operator.inputs[0].shape[1:3], operator.output.shape[1:3]
        factors = [new / old for old, new in zip(before, after, strict=True)]
        in_float = operator.output.type == "float32"
        if (factors == [2, 2] or before == (1, 1)) and not in_float:
            continue
        powers = all(factor >= 1 and np.frexp(factor)[0] == 0.5 for factor in factors) and not in_float
        sizes = f"{before[0]}x{before[1]} to {after[0]}x{after[1]}"
        yield Finding("npu-resize", operator.output.name, f"{sizes}; U85: {'NPU' if powers else 'CPU'}")


def npu_classes(program: Program) -> Iterator[Finding]:
    """Find an ArgMax over more classes than an Ethos-U55 or U65 takes."""
    for operator in _of(program, "ARG_MAX"):
        classes = operator.inputs[0].shape[-1]
        if classes > MOST_CLASSES:
            yield Finding("npu-classes", operator.output.name, f"{classes}, at most {MOST_CLASSES}")


def npu_weights(program: Program) -> Iterator[Finding]:
    """Find convolutions whose weights add up to more than an Ethos-U takes."""
    for operator in _of(program, *CONVOLUTIONS):
        largest = int(_by_channel(operator).sum(1).max())
        if largest > MOST_WEIGHT:
            yield Finding("npu-weights", operator.output.name, f"{largest}, at most {MOST_WEIGHT}")


def micro_operators(program: Program) -> Iterator[Finding]:
    """Find operators that TensorFlow Lite Micro has no kernel of."""
    for operator in micro_lacks(program):
        yield Finding("micro-operator", operator.output.name, f"{operator.kind} of {operator.inputs[0].type}")


def micro_lacks(program: Program) -> list[Operator]:
    """Return the operators that TensorFlow Lite Micro has no kernel of: bilinear resizes of 16 bits."""
    return [operator for operator in _of(program, "RESIZE_BILINEAR") if operator.inputs[0].type == "int16"]


def dead_channels(program: Program) -> Iterator[Finding]:
    """Find convolutions with output channels whose weight codes are all 0."""
    for operator in _of(program, *CONVOLUTIONS):
        weights = _by_channel(operator)
        if dead := int((weights == 0).all(1).sum()):
            yield Finding("dead-channel", operator.output.name, f"{dead} of {len(weights)}")


def _of(program: Program, *kinds: str) -> Iterator[Operator]:
    return (operator for operator in program.operators if operator.kind in kinds)


def _by_channel(operator: Operator) -> np.ndarray[tuple[int, int], np.dtype[np.int64]]:
    """Sizes of a convolution's weight codes, a row per output channel."""
    weight = operator.inputs[1]
    codes = np.abs(np.asarray(weight.data, np.int64))
    return np.moveaxis(codes, weight.axis, 0).reshape(codes.shape[weight.axis], -1)


TARGET = Target(
    "tflite",
    "TensorFlow Lite: LiteRT, TFLite Micro, Vela",
    files,
    program_checks=(npu_resizes, npu_classes, npu_weights, micro_operators, dead_channels),
    schemes=("ort_u8s8", "ort_u8s7", "ort_u8s8_tensor", "s8s8", "tidl_pow2", "portable"),
)
