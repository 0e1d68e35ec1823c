"""The files that `export` leaves: their names in a run folder, and how they are written."""

from __future__ import annotations

from pathlib import Path

from edgeailite.export.targets import Content, Files
from edgeailite.export.to_tflite import WrittenProgram
from edgeailite.export.vela import CompiledFile
from edgeailite.files import write_result

FILE_NAMES = {False: "model.onnx", True: "model_int8.onnx"}
"""In a run folder, by whether the run is quantized."""
TFLITE_NAME = "model_int8.tflite"


def write_files(path: Path, files: Files) -> list[Path]:
    """Write all files of a target, the first at `path`, the others beside it under its stem; return their paths."""
    stem = path.name.removesuffix(next(iter(files)))
    paths = [path, *(path.with_name(stem + end) for end in list(files)[1:])]
    for file, content in zip(paths, files.values(), strict=True):
        write_result(file, _bytes_of(content), "output")
    return paths


def _bytes_of(content: Content) -> str | bytes:
    if isinstance(content, WrittenProgram | CompiledFile):
        return content.data
    return content if isinstance(content, str) else content.SerializeToString(deterministic=True)
