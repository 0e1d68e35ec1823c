"""onnxruntime on CPUs: the file that `edgeailite verify` proves, float or QuantizeLinear/DequantizeLinear."""

from __future__ import annotations

import onnx.defs

from edgeailite.export.lint import dead_channels, saturation, scales
from edgeailite.export.targets.record import Files, Request, Target
from edgeailite.export.to_onnx import to_onnx


def run_files(request: Request) -> Files:
    """Return the one ONNX file of a run."""
    model = to_onnx(
        request.module,
        request.card,
        opset=request.opset,
        argmax=request.argmax,
        size=request.size,
        simplify=request.simplify,
        kernels=request.kernels,
    )
    return {".onnx": model}


TARGET = Target(
    "onnxruntime",
    "onnxruntime on CPUs",
    run_files,
    operators=frozenset(schema.name for schema in onnx.defs.get_all_schemas()),
    checks=(scales, saturation, dead_channels),
    opset=21,
    newest_opset=23,
)
