"""How export describes a device family: its operators, checks and files."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import onnx
from torch import nn

from edgeailite.export.lint import Check, Finding
from edgeailite.export.passes import Kernels
from edgeailite.export.to_tflite import WrittenProgram
from edgeailite.export.vela import CompiledFile
from edgeailite.modelcard import ModelCard
from edgeailite.quantization.program import Program

# What carries sizes about and is folded away at a fixed size; with an open size it stays.
SHAPE_ARITHMETIC = frozenset(
    (
        "Shape",
        "Gather",
        "Cast",
        "Concat",
        "Constant",
        "Slice",
        "Unsqueeze",
        "Squeeze",
        "Reshape",
        "Mul",
        "Div",
        "Add",
        "Sub",
    )
)
LAYERS = frozenset(("Conv", "Relu", "Clip", "Add", "Concat", "Resize", "MaxPool", "ArgMax"))
QUANTIZERS = frozenset(("QuantizeLinear", "DequantizeLinear"))


@dataclass(frozen=True)
class Request:
    """A float or quantized network, and the options of its file."""

    module: nn.Module
    card: ModelCard
    opset: int
    argmax: str = "none"
    size: tuple[int, int] | None = None
    simplify: bool = True
    kernels: Kernels = "plain"
    head: str = "logits"
    accelerator: str | None = None


Content = onnx.ModelProto | WrittenProgram | CompiledFile | str
Files = dict[str, Content]
"""What is written: ends of file names, the main file's (`.onnx`, `.tflite`) first -> a model, or text."""
ProgramCheck = Callable[[Program], Iterator[Finding]]


@dataclass(frozen=True)
class Target:
    """A device family.

    `files` makes its files, and `checks` are applied to every ONNX file among them, `program_checks` to .tflite files.
    `schemes` are those it computes, empty for any and for float; `stem` names the files, None names them after the run;
    `opset` is the default of ONNX files, None where there is none.
    """

    name: str
    about: str
    files: Callable[[Request], Files]
    operators: frozenset[str] = frozenset()
    checks: tuple[Check, ...] = ()
    opset: int | None = None
    newest_opset: int = 0
    program_checks: tuple[ProgramCheck, ...] = ()
    schemes: tuple[str, ...] = ()
    stem: str | None = None
