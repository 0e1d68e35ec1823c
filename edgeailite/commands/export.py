"""`edgeailite export`: a run to an ONNX file, float or int8, for a device family."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import onnx

from edgeailite.config import ExportConfig
from edgeailite.console import print_result
from edgeailite.environment import VNNI, cpu_features
from edgeailite.export.files import FILE_NAMES, write_files
from edgeailite.export.lint import Finding, lines
from edgeailite.export.targets import TARGETS, Request, write
from edgeailite.runs.checkpoint import run_folder
from edgeailite.runs.open import load_network

SATURATION = "saturation"  # a code of the checks


def run(config: ExportConfig) -> int:
    """Write the files and print what the first holds, and what the checks of the target found."""
    checkpoint, module = load_network(config.run)
    card, target = checkpoint.card, TARGETS[config.target]
    if config.img_resize is not None:
        height, width = config.img_resize
        card = replace(card, preprocessing=replace(card.preprocessing, height=height, width=width))
    size = None if config.dynamic else card.preprocessing.size
    opset = target.opset if config.opset is None else config.opset
    request = Request(
        module, card, opset, argmax=config.argmax, size=size, simplify=config.simplify, kernels=config.kernels
    )
    files, findings = write(target.name, request)
    name = FILE_NAMES[checkpoint.quantization is not None] if target.stem is None else f"{target.stem}.onnx"
    path = config.output or run_folder(config.run) / name
    written = write_files(path, files)
    model = next(content for content in files.values() if isinstance(content, onnx.ModelProto))
    counts = Counter(node.op_type for node in model.graph.node)
    print_result(
        "export",
        {
            "file": str(path),
            "kilobytes": path.stat().st_size // 1000,
            **({"further files": ", ".join(file.name for file in written[1:])} if len(written) > 1 else {}),
            "target": target.about,
            "opset": opset,
            "inputs": ", ".join(card.inputs),
            "input": "open size" if size is None else f"1x3x{size[0]}x{size[1]}",
            "outputs": ", ".join(value.name for value in model.graph.output),
            "nodes": ", ".join(f"{count} {kind}" for kind, count in counts.most_common()),
            **_found(findings),
        },
    )
    return 0


def _found(findings: Sequence[Finding]) -> dict[str, str]:
    """Rows of what the checks found; saturation, of many convolutions or of none, as a short one."""
    rows = lines([finding for finding in findings if finding.code != SATURATION])
    count = sum(finding.code == SATURATION for finding in findings)
    if count:
        here = bool(VNNI & set(cpu_features()))
        level, has = ("note", "has it") if here else ("warning", "has not")
        rows[f"{level}: {SATURATION}"] = (
            f"{count} convolution{'' if count == 1 else 's'}, on x86 CPUs without VNNI (this one {has}; edgeailite "
            "doctor): --scheme ort_u8s7, docs/targets.md"
        )
    return rows
