"""From a run folder to the files of a device family."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import onnx

from edgeailite.config import ExportConfig
from edgeailite.errors import UsageError, option
from edgeailite.export.bundle import write_bundle
from edgeailite.export.c_array import c_files
from edgeailite.export.files import FILE_NAMES, TFLITE_NAME, write_files
from edgeailite.export.lint import Finding
from edgeailite.export.targets import TARGETS, Request, Target, write
from edgeailite.export.to_tflite import WrittenProgram
from edgeailite.export.vela import CompiledFile, VelaEstimate
from edgeailite.modelcard import ModelCard
from edgeailite.runs.folder import run_folder
from edgeailite.runs.network import load_network
from edgeailite.runs.weights import chosen_weights

BUNDLED = ("onnxruntime", "openvino")  # targets whose file the camera loop runs


@dataclass(frozen=True)
class Export:
    """The files that `export_run` wrote, and facts about them.

    `files` are paths, the ONNX or .tflite file first; `model` is its content, `opset` that of an ONNX file, `size` the
    (height, width) of its input, None where it takes any; `findings` are what the checks of the target warn of, and
    `estimate` is what a compiler says of the file's cost on its device, None where none has read it.
    """

    files: Sequence[Path]
    model: onnx.ModelProto | WrittenProgram
    card: ModelCard
    target: Target
    opset: int | None
    size: tuple[int, int] | None
    findings: Sequence[Finding]
    estimate: VelaEstimate | None = None


def export_run(config: ExportConfig) -> Export:
    """Write a run's network as a file, float or int8, for the device family `config.target`; say what was made.

    Raises DataError for a damaged run or a path that cannot be written, UsageError for a network, scheme or option that
    the target does not take.

    >>> made = export_run(ExportConfig(Path("runs/night"), img_resize=(32, 64)))
    >>> str(made.files[0]), made.size, made.opset
    ('runs/night/model.onnx', (32, 64), 21)
    """
    if config.run.suffix == ".onnx":
        fix = f"quantize it: edgeailite calibrate {config.run} {option('pictures')} FOLDER, then export that run"
        raise UsageError("is an ONNX file already", path=config.run, fix=fix, code="wrong-kind")
    checkpoint, module = load_network(chosen_weights(config.run, config.weights))
    card, target = checkpoint.card, TARGETS[config.target]
    if config.img_resize is not None:
        card = card.with_size(config.img_resize)
    size = None if config.dynamic else card.preprocessing.size
    opset = target.opset if config.opset is None or target.opset is None else config.opset
    request = Request(
        module,
        card,
        opset or 0,
        argmax=config.argmax,
        size=size,
        simplify=config.simplify,
        kernels=config.kernels,
        head=config.head,
        accelerator=config.accelerator,
    )
    _check_files(config, target)
    _check_maps(config, card)
    contents, findings = write(target.name, request)
    path = config.output or run_folder(config.run) / _name(target, quantized=checkpoint.quantization is not None)
    model = next(content for content in contents.values() if isinstance(content, onnx.ModelProto | WrittenProgram))
    estimate = next((content.estimate for content in contents.values() if isinstance(content, CompiledFile)), None)
    if config.c_array and isinstance(model, WrittenProgram):
        header, source = c_files(model, path.name.removesuffix(".tflite"))
        contents |= {".h": header, ".c": source}
    files = write_files(path, contents)
    if config.bundle is not None:
        files += write_bundle(config.bundle, path, card)
    return Export(files, model, card, target, opset, size, findings, estimate)


def _name(target: Target, *, quantized: bool) -> str:
    if target.opset is None:
        return TFLITE_NAME
    return FILE_NAMES[quantized] if target.stem is None else f"{target.stem}.onnx"


def _check_maps(config: ExportConfig, card: ModelCard) -> None:
    """Raise UsageError for options of maps where the network has none."""
    asked = {"bundle": config.bundle, "argmax": config.argmax if config.argmax != "none" else None}
    for name, value in asked.items():
        if value is not None and not card.maps:
            problem = f"is for maps of classes or depths, the network gives {', '.join(card.outputs)}"
            raise UsageError(problem, about=name, value=value, fix="leave it out", code="wrong-kind")


def _check_files(config: ExportConfig, target: Target) -> None:
    """Raise UsageError for a file name by which the other format would be expected, and for C source of ONNX files."""
    if config.bundle is not None and (target.opset is None or target.name not in BUNDLED):
        problem = "the camera loop runs files of targets " + " and ".join(BUNDLED)
        raise UsageError(problem, about="bundle", value=config.bundle, fix=f"leave out {option('target')}")
    if config.c_array and target.opset is not None:
        problem = f"{option('c_array')}: of a .tflite file; add {option('target')} tflite, or leave it out"
        raise UsageError(problem)
    end = ".onnx" if target.opset is not None else ".tflite"
    if config.output is not None and config.output.suffix in {".onnx", ".tflite"} - {end}:
        raise UsageError(f"{option('output')} {config.output}: {option('target')} {target.name} writes *{end}")
