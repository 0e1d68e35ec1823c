"""How export describes a device family: its operators, checks and files."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import onnx
from torch import nn

from edgeailite.export.lint import Check
from edgeailite.export.passes import Kernels
from edgeailite.modelcard import ModelCard

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


Files = dict[str, onnx.ModelProto | str]
"""What is written: ends of file names, the main file's (`.onnx`) first -> a model, or text."""


@dataclass(frozen=True)
class Target:
    """A device family.

    `files` makes its files, and `checks` are applied to every ONNX file among them. `schemes` are those it computes,
    empty for any and for float; `stem` names the files, None names them after the run; `opset` is the default.
    """

    name: str
    about: str
    files: Callable[[Request], Files]
    operators: frozenset[str]
    checks: tuple[Check, ...]
    opset: int
    newest_opset: int
    schemes: tuple[str, ...] = ()
    stem: str | None = None
