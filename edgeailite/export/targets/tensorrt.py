"""TensorRT: explicit quantization, symmetric, as its documentation and its ONNX reader state it.

Rules that `checks` hold on the graph (no TensorRT has read these files):
 1. activations and weights are int8 with zero point 0;
 2. weight scales are one, or one per output channel, axis 0 of the weight;
 3. a bias is float32: its reader takes no DequantizeLinear of int32;
 4. quantizers stand behind the activation, so that convolution, bias and ReLU fuse to one layer.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from edgeailite.export.lint import Finding, Graph, attribute, dead_channels, half_pixel_resizes, scales
from edgeailite.export.targets.record import LAYERS, QUANTIZERS, SHAPE_ARITHMETIC, Files, Request, Target
from edgeailite.export.to_onnx import to_onnx
from edgeailite.quantization.convert import Form

FORM = Form(float_bias=True, activation_first=True)
ACTIVATIONS = ("Relu", "Clip")


def files(request: Request) -> Files:
    """Return one file with QuantizeLinear and DequantizeLinear pairs."""
    model = to_onnx(
        request.module,
        request.card,
        opset=request.opset,
        argmax=request.argmax,
        size=request.size,
        simplify=request.simplify,
        form=FORM,
    )
    return {".onnx": model}


def symmetric_codes(graph: Graph) -> Iterator[Finding]:
    """Check rule 1."""
    for node in graph.of("QuantizeLinear", "DequantizeLinear"):
        zero = graph.constants.get(node.input[2]) if len(node.input) > 2 else np.zeros(1, np.uint8)
        if zero is None or zero.dtype not in (np.int8, np.int32):  # int32 is rule 3's
            yield Finding("code-type", node.name, str(None if zero is None else zero.dtype))
        elif zero.any():
            yield Finding("zero-point", node.name, str(zero.flatten()[0]))


def weight_axes(graph: Graph) -> Iterator[Finding]:
    """Check rule 2, and find convolutions that stay float."""
    for node in graph.of("Conv"):
        weight, source = graph.weight_codes(node), graph.producer.get(node.input[0])
        if weight is None or source is None or source.op_type != "DequantizeLinear":
            yield Finding("float-layer", node.name)
            continue
        axis, (codes, scale) = attribute(graph.producer[node.input[1]], "axis", 1), weight
        if scale.size > 1 and (axis != 0 or scale.size != len(codes)):
            yield Finding("weight-axis", node.name, f"{scale.size} scales along axis {axis} of {codes.shape}")


def float_biases(graph: Graph) -> Iterator[Finding]:
    """Check rule 3."""
    for node in graph.of("Conv"):
        if len(node.input) > 2 and node.input[2] in graph.producer:
            yield Finding("bias-codes", node.name, graph.producer[node.input[2]].op_type)


def quantized_behind_activation(graph: Graph) -> Iterator[Finding]:
    """Check rule 4."""
    for node in graph.of(*ACTIVATIONS):
        source = graph.producer.get(node.input[0])
        if source is not None and source.op_type == "DequantizeLinear":
            yield Finding("before-activation", node.name, f"behind {source.name}")


TARGET = Target(
    "tensorrt",
    "NVIDIA TensorRT, explicit quantization",
    files,
    operators=LAYERS | QUANTIZERS | SHAPE_ARITHMETIC,
    checks=(
        scales,
        symmetric_codes,
        weight_axes,
        float_biases,
        quantized_behind_activation,
        half_pixel_resizes,
        dead_channels,
    ),
    opset=17,
    newest_opset=21,
    schemes=("s8s8",),
    stem="model_tensorrt",
)
