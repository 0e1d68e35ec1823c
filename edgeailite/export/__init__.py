"""Export to ONNX and .tflite files, and the proof that a file gives what the network gives."""

from __future__ import annotations

from edgeailite.export.int8_files.verify import FileVerification, verify_int8_file
from edgeailite.export.run import Export, export_run
from edgeailite.export.tflite_verification import verify_files, verify_tflite
from edgeailite.export.to_onnx import ARGMAX_MODES, to_onnx
from edgeailite.export.trace.forms import trace_forms
from edgeailite.export.verification import Verification, verify_run

__all__ = [
    "ARGMAX_MODES", "Export", "FileVerification", "Verification", "export_run", "to_onnx", "trace_forms",
    "verify_files", "verify_int8_file", "verify_run", "verify_tflite",
]  # fmt: skip
