"""`edgeailite export`: a run to an ONNX file, float or int8."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import onnx

from edgeailite.checkpoint import run_folder
from edgeailite.commands.common import print_result
from edgeailite.commands.opening import load_network
from edgeailite.config import ExportConfig
from edgeailite.errors import DataError
from edgeailite.export import to_onnx

FILE_NAMES = {False: "model.onnx", True: "model_int8.onnx"}


def run(config: ExportConfig) -> int:
    """Write the file and print what it holds."""
    checkpoint, module = load_network(config.run)
    card = checkpoint.card
    if config.img_resize is not None:
        height, width = config.img_resize
        card = replace(card, preprocessing=replace(card.preprocessing, height=height, width=width))
    path = config.output or run_folder(config.run) / FILE_NAMES[checkpoint.quantization is not None]
    size = None if config.dynamic else (card.preprocessing.height, card.preprocessing.width)
    model = to_onnx(
        module,
        card,
        opset=config.opset,
        argmax=config.argmax,
        size=size,
        simplify=config.simplify,
        kernels=config.kernels,
    )
    write_model(path, model)
    counts = Counter(node.op_type for node in model.graph.node)
    print_result(
        "export",
        {
            "file": str(path),
            "kilobytes": path.stat().st_size // 1000,
            "opset": config.opset,
            "inputs": ", ".join(card.inputs),
            "input": "open size" if size is None else f"1x3x{size[0]}x{size[1]}",
            "outputs": ", ".join(value.name for value in model.graph.output),
            "nodes": ", ".join(f"{count} {kind}" for kind, count in counts.most_common()),
        },
    )
    return 0


def write_model(path: Path, model: onnx.ModelProto) -> None:
    """Write atomically. Raises DataError if the folder cannot be written."""
    partial = path.with_name(path.name + ".partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_bytes(model.SerializeToString(deterministic=True))
        partial.replace(path)
    except OSError as error:
        raise DataError(f"{path}: cannot be written ({error.strerror}); choose another --output") from None
