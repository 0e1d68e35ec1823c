"""`edgeailite export`: a run to an ONNX file, float or int8, for a device family."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from edgeailite.config import ExportConfig
from edgeailite.console import print_result
from edgeailite.environment import VNNI, cpu_features
from edgeailite.export import export_run
from edgeailite.export.lint import Finding, lines

SATURATION = "saturation"  # a code of the checks


def run(config: ExportConfig) -> int:
    """Write the files and print what the first holds, and what the checks of the target found."""
    made = export_run(config)
    path, *more = made.files
    counts = Counter(node.op_type for node in made.model.graph.node)
    print_result(
        "export",
        {
            "file": str(path),
            "kilobytes": path.stat().st_size // 1000,
            **({"further files": ", ".join(file.name for file in more)} if more else {}),
            "target": made.target.about,
            "opset": made.opset,
            "inputs": ", ".join(made.card.inputs),
            "input": "open size" if made.size is None else f"1x3x{made.size[0]}x{made.size[1]}",
            "outputs": ", ".join(value.name for value in made.model.graph.output),
            "nodes": ", ".join(f"{count} {kind}" for kind, count in counts.most_common()),
            **_found(made.findings),
        },
    )
    return 0


def _found(findings: Sequence[Finding]) -> dict[str, str]:
    """Return the findings of the checks as rows; saturation is one row with the number of convolutions."""
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
