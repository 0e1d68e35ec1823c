"""Runs and re-checks exported files with onnxruntime and numpy alone, as a device or another machine would."""

from __future__ import annotations

from edgeailite.runtime.contract import Golden, Layer, recheck
from edgeailite.runtime.contract_file import load_contract
from edgeailite.runtime.machine import origin
from edgeailite.runtime.metadata import card_of_metadata
from edgeailite.runtime.openvino_session import Compute, openvino_run
from edgeailite.runtime.session import OnnxModel, load_onnx, open_session, run, run_picture, tensors

__all__ = [
    "Compute", "Golden", "Layer", "OnnxModel", "card_of_metadata", "load_contract", "load_onnx", "open_session",
    "openvino_run", "origin", "recheck", "run",
    "run_picture", "tensors",
]  # fmt: skip
