"""A quantized network as a list of integer operators for one input size, with TensorFlow Lite's names and layout.

`quantization.lowering` makes a `Program` from a converted graph. It is the one source of the `.tflite` file
(`export.tflite_file`) and of the arithmetics of its runtimes (`quantization.tflite_rules`), as the converted graph is
for ONNX. Tensors are NHWC with batch 1; activations are int8 (the graph's uint8 codes minus 128) or int16.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Kind = Literal[
    "ADD",
    "ARG_MAX",
    "CAST",
    "CONCATENATION",
    "CONV_2D",
    "DEPTHWISE_CONV_2D",
    "DEPTH_TO_SPACE",
    "DEQUANTIZE",
    "GATHER",
    "MAX_POOL_2D",
    "MEAN",
    "MIRROR_PAD",
    "MUL",
    "PAD",
    "QUANTIZE",
    "REDUCE_MAX",
    "REDUCE_MIN",
    "RESHAPE",
    "RESIZE_BILINEAR",
    "RESIZE_NEAREST_NEIGHBOR",
    "SLICE",
    "SPACE_TO_DEPTH",
    "SUB",
    "TRANSPOSE",
]
"""TensorFlow Lite's names of the operators that a program may hold."""
ElementType = Literal["int8", "int16", "int32", "int64", "float32"]


@dataclass(eq=False)
class Value:
    """A tensor of a program.

    `scale` is float32 of shape (1,), or (channels,) along `axis` for weights and biases; None where the numbers are not
    quantized. `data` holds the numbers of a constant in this shape; None for what an operator or the caller gives.
    """

    name: str
    shape: tuple[int, ...]
    type: ElementType = "int8"
    scale: NDArray[np.float32] | None = None
    zero_point: int = 0
    axis: int = 0
    data: NDArray[Any] | None = None


@dataclass(eq=False)
class Operator:
    """One integer operator: its inputs in TensorFlow Lite's order (input, weight, bias; input, size; ...).

    `options` are the fields of its option table: `stride`, `dilation`, `kernel` as (height, width), `padding` ("SAME"
    or "VALID"), `activation` ("NONE", "RELU", "RELU6"), `depth_multiplier`, `axis`, `keep_dims`, `align_corners`,
    `half_pixel_centers`, `mode` of MIRROR_PAD ("SYMMETRIC"), `block_size`.
    """

    kind: Kind
    inputs: list[Value]
    output: Value
    options: dict[str, Any] = field(default_factory=dict)


@dataclass
class Program:
    """Operators in the order in which they run; inputs in the network's order, outputs by the network's names."""

    inputs: list[Value]
    outputs: dict[str, Value]
    operators: list[Operator]


@dataclass(frozen=True)
class Window:
    """Geometry of a convolution or pooling, each as (height, width)."""

    kernel: Sequence[int]
    stride: Sequence[int]
    padding: Sequence[int]
    dilation: Sequence[int]

    def on(self, size: Sequence[int]) -> tuple[list[int], list[tuple[int, int]], bool]:
        """Give the output's size, the rows that torch adds before and behind and that are read, and if that is SAME."""
        out, pads, same = [], [], True
        for n, k, s, p, d in zip(size, self.kernel, self.stride, self.padding, self.dilation, strict=True):
            reach = d * (k - 1) + 1
            count = (n + 2 * p - reach) // s + 1
            total = max((-(-n // s) - 1) * s + reach - n, 0)
            same = same and count == -(-n // s) and total // 2 == p
            pads.append((p, max((count - 1) * s + reach - n - p, 0)))
            out.append(count)
        return out, pads, same
