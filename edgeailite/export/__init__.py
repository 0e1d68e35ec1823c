"""Export to ONNX, and the proof that the file gives what the network gives."""

from __future__ import annotations

from edgeailite.export.to_onnx import ARGMAX_MODES, to_onnx

__all__ = ["ARGMAX_MODES", "to_onnx"]
