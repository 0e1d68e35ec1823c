"""OpenVINO: the file of onnxruntime, whose pairs of quantizers it reads as FakeQuantize; its operators are checked."""

from __future__ import annotations

from edgeailite.export.lint import dead_channels, saturation_of_any_pair, scales
from edgeailite.export.targets.onnxruntime import run_files
from edgeailite.export.targets.record import LAYERS, QUANTIZERS, SHAPE_ARITHMETIC, Target

PYRAMID_POOLING = frozenset(  # products with 0/1 matrices made from the size at hand
    ("MatMul", "Transpose", "Less", "Greater", "And", "Range", "ReduceSum", "Reshape", "Neg", "Identity")
)
UPSAMPLING = frozenset(("ConvTranspose", "DepthToSpace"))

TARGET = Target(
    "openvino",
    "OpenVINO",
    run_files,
    operators=LAYERS | QUANTIZERS | SHAPE_ARITHMETIC | PYRAMID_POOLING | UPSAMPLING,
    checks=(scales, saturation_of_any_pair, dead_channels),
    opset=21,
    newest_opset=21,
)
