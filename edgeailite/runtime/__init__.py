"""Exported files at work, with onnxruntime and numpy alone: what a device or another machine needs, and no more."""

from __future__ import annotations

from edgeailite.runtime.by_openvino import Compute, openvino_run
from edgeailite.runtime.contract import Golden, Layer, load_contract, recheck
from edgeailite.runtime.session import OnnxModel, load_onnx, run, run_picture, tensors

__all__ = [
    "Compute", "Golden", "Layer", "OnnxModel", "load_contract", "load_onnx", "openvino_run", "recheck", "run",
    "run_picture", "tensors",
]  # fmt: skip
