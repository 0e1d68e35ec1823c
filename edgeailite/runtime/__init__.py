"""Runs and re-checks exported files with numpy and their runtime alone, as a device would.

That is onnxruntime for .onnx files and LiteRT for .tflite files; each is imported when the first file is opened.
"""

from __future__ import annotations

from edgeailite.runtime.contract import Golden, Layer, recheck
from edgeailite.runtime.contract_file import load_contract
from edgeailite.runtime.exported import ExportedModel, run, run_picture
from edgeailite.runtime.machine import origin
from edgeailite.runtime.metadata import card_of_metadata
from edgeailite.runtime.openvino_session import Compute, openvino_run
from edgeailite.runtime.session import OnnxModel, load_onnx, open_session, tensors
from edgeailite.runtime.tflite_recheck import recheck_tflite
from edgeailite.runtime.tflite_session import TfliteModel, load_tflite

__all__ = [
    "Compute", "ExportedModel", "Golden", "Layer", "OnnxModel", "TfliteModel", "card_of_metadata", "load_contract",
    "load_onnx", "load_tflite", "open_session", "openvino_run", "origin", "recheck", "recheck_tflite", "run",
    "run_picture", "tensors",
]  # fmt: skip
