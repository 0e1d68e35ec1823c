"""`edgeailite export`: a run to an ONNX or .tflite file, float or int8, for a device family."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import onnx

from edgeailite.config import ExportConfig
from edgeailite.console import print_result
from edgeailite.environment import VNNI, cpu_features
from edgeailite.errors import counted
from edgeailite.export import Export, export_run
from edgeailite.export.lint import Finding, lines
from edgeailite.export.to_tflite import WrittenProgram
from edgeailite.export.vela import estimate_lines

SATURATION = "saturation"  # a code of the checks


def run(config: ExportConfig) -> int:
    """Write the files and print what the first holds, and what the checks of the target found."""
    made = export_run(config)
    path, *more = made.files
    kinds, outputs = _content(made.model)
    counts = Counter(kinds)
    print_result(
        "export",
        {
            "file": str(path),
            "kilobytes": path.stat().st_size // 1000,
            **({"further files": ", ".join(_place(file, path) for file in more)} if more else {}),
            "target": made.target.about,
            **({} if made.opset is None else {"opset": made.opset}),
            "inputs": ", ".join(made.card.inputs),
            "input": _input(made),
            "outputs": ", ".join(outputs),
            "nodes": ", ".join(f"{count} {kind}" for kind, count in counts.most_common()),
            **({} if made.estimate is None else estimate_lines(made.estimate)),
            **_found(made.findings),
        },
    )
    return 0


def _place(file: Path, first: Path) -> str:
    """Return a file's name, with its folder where that is not the first file's."""
    return file.name if file.parent == first.parent else str(file)


def _content(model: onnx.ModelProto | WrittenProgram) -> tuple[list[str], list[str]]:
    """Return the kinds of a file's operators and the names of its outputs."""
    if isinstance(model, WrittenProgram):
        return [operator.kind for operator in model.program.operators], list(model.program.outputs)
    return [node.op_type for node in model.graph.node], [value.name for value in model.graph.output]


def _input(made: Export) -> str:
    """Return the form of the input: channels last in .tflite files."""
    if made.size is None:
        return "open size"
    height, width = made.size
    return f"1x{height}x{width}x3 int8" if isinstance(made.model, WrittenProgram) else f"1x3x{height}x{width}"


def _found(findings: Sequence[Finding]) -> dict[str, str]:
    """Return the findings of the checks as rows; saturation is one row with the number of convolutions."""
    rows = lines([finding for finding in findings if finding.code != SATURATION])
    count = sum(finding.code == SATURATION for finding in findings)
    if count:
        here = bool(VNNI & set(cpu_features()))
        level, has = ("note", "has it") if here else ("warning", "has not")
        convolutions = counted(count, "convolution")
        rows[f"{level}: {SATURATION}"] = (
            f"other programs than edgeailite may cut sums off in {convolutions}, on x86 CPUs without VNNI "
            f"(this one {has}; edgeailite doctor); --scheme ort_u8s7 avoids it, docs/targets.md"
        )
    return rows
