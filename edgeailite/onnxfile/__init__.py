"""Strangers' ONNX files, read with numpy alone and checked before onnxruntime, OpenVINO or onnx see them."""

from __future__ import annotations

from edgeailite.onnxfile.reading import OWN, OnnxFile, own_sizes, read_onnx, unreadable, with_outside_data
from edgeailite.onnxfile.shapes import Sizes

__all__ = ["OWN", "OnnxFile", "Sizes", "own_sizes", "read_onnx", "unreadable", "with_outside_data"]
