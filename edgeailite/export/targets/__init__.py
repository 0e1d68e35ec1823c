"""Device families: `write(name, request)` gives a target's files, checked. One module and one row of `TARGETS` each."""

from __future__ import annotations

import onnx
from torch import fx

from edgeailite.errors import UsageError, option
from edgeailite.export.lint import Finding, lint, lint_ranges, refuse_errors
from edgeailite.export.targets import ethos_u, onnxruntime, openvino, tensorrt, tflite, tidl
from edgeailite.export.targets.record import Content, Files, Request, Target
from edgeailite.export.to_tflite import WrittenProgram
from edgeailite.quantization import scheme_of

__all__ = ["TARGETS", "Content", "Files", "Request", "Target", "write"]

TARGETS: dict[str, Target] = {
    target.name: target
    for target in (
        onnxruntime.TARGET,
        openvino.TARGET,
        tensorrt.TARGET,
        tidl.TARGET,
        tflite.TARGET,
        ethos_u.TARGET,
    )
}


def write(name: str, request: Request) -> tuple[Files, list[Finding]]:
    """Make and check the files of a target; return them with warnings. Raises UsageError for an unfit network."""
    target = TARGETS[name]
    _check_scheme(target, request)
    files = target.files(request)
    findings = lint_ranges(request.module) if isinstance(request.module, fx.GraphModule) else []
    for content in files.values():
        if isinstance(content, onnx.ModelProto):
            findings += lint(content, target.checks, operators=target.operators, newest_opset=target.newest_opset)
        elif isinstance(content, WrittenProgram):
            findings += [finding for check in target.program_checks for finding in check(content.program)]
    refuse_errors(findings, name)
    return files, findings


def _check_scheme(target: Target, request: Request) -> None:
    """Raise UsageError for a scheme that the target does not compute, or kernels of another runtime."""
    if request.kernels != "plain" and target.name != request.kernels:
        raise UsageError(
            f"{option('kernels')} {request.kernels}: not for {option('target')} {target.name}; leave one of the two out"
        )
    if request.head != "logits" and target.opset is not None:
        raise UsageError(
            f"{option('head')} {request.head}: of a .tflite file; add {option('target')} tflite, or leave it out"
        )
    if request.accelerator is not None and target.name != ethos_u.TARGET.name:
        raise UsageError(
            f"not for {option('target')} {target.name}",
            about="accelerator",
            value=request.accelerator,
            fix=f"add {option('target')} {ethos_u.TARGET.name}, or leave it out",
        )
    if not target.schemes:
        return
    known = " or ".join(target.schemes)
    if not isinstance(request.module, fx.GraphModule):
        raise UsageError(
            f"{option('target')} {target.name}: a float run; calibrate or quantize it with {option('scheme')} "
            f"{known} first",
            code="wrong-kind",
        )
    if scheme_of(request.module).name not in target.schemes:
        scheme = scheme_of(request.module).name
        raise UsageError(
            f"{option('target')} {target.name}: scheme {scheme}",
            fix=f"quantize the float run with {option('scheme')} {known}",
            code="wrong-kind",
        )
