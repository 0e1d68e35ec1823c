"""From a run folder to the files of a device family."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import onnx

from edgeailite.config import ExportConfig
from edgeailite.export.files import FILE_NAMES, write_files
from edgeailite.export.lint import Finding
from edgeailite.export.targets import TARGETS, Request, Target, write
from edgeailite.modelcard import ModelCard
from edgeailite.runs.checkpoint import run_folder
from edgeailite.runs.open import load_network


@dataclass(frozen=True)
class Export:
    """What `export_run` wrote.

    `files` are paths, the ONNX file first; `model` is its content, `size` the (height, width) of its input, None where
    it takes any; `findings` are what the checks of the target warn of.
    """

    files: Sequence[Path]
    model: onnx.ModelProto
    card: ModelCard
    target: Target
    opset: int
    size: tuple[int, int] | None
    findings: Sequence[Finding]


def export_run(config: ExportConfig) -> Export:
    """Write a run's network as an ONNX file, float or int8, for the device family `config.target`; say what was made.

    Raises DataError for a damaged run or a path that cannot be written, UsageError for a network, scheme or option that
    the target does not take.

    >>> made = export_run(ExportConfig(Path("runs/night"), img_resize=(32, 64)))
    >>> str(made.files[0]), made.size, made.opset
    ('runs/night/model.onnx', (32, 64), 21)
    """
    checkpoint, module = load_network(config.run)
    card, target = checkpoint.card, TARGETS[config.target]
    if config.img_resize is not None:
        card = card.with_size(config.img_resize)
    size = None if config.dynamic else card.preprocessing.size
    opset = target.opset if config.opset is None else config.opset
    request = Request(
        module, card, opset, argmax=config.argmax, size=size, simplify=config.simplify, kernels=config.kernels
    )
    contents, findings = write(target.name, request)
    name = FILE_NAMES[checkpoint.quantization is not None] if target.stem is None else f"{target.stem}.onnx"
    files = write_files(config.output or run_folder(config.run) / name, contents)
    model = next(content for content in contents.values() if isinstance(content, onnx.ModelProto))
    return Export(files, model, card, target, opset, size, findings)
