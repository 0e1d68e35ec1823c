"""The files that `export` leaves: their names in a run folder, and how they are written."""

from __future__ import annotations

from pathlib import Path

import onnx

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
        _write(file, _bytes_of(content))
    return paths


def _bytes_of(content: Content) -> str | bytes:
    if isinstance(content, WrittenProgram | CompiledFile):
        return content.data
    return content if isinstance(content, str) else content.SerializeToString(deterministic=True)


def write_model(path: Path, model: onnx.ModelProto) -> None:
    """Write an ONNX model, whole or not at all. Raises DataError if the folder cannot be written."""
    _write(path, model.SerializeToString(deterministic=True))


def _write(path: Path, content: str | bytes) -> None:
    write_result(path, content, "output")
