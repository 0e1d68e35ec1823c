"""Where onnxruntime computes each operator of an int8 file here, and the codes that it has inside.

The graph is asked for as onnxruntime has it after optimization. Fused operators keep the names of those they replace,
or of their tensors. That graph, run again without optimization, gives every code tensor without a change to the
kernels: asking the file itself for them would keep signed codes from becoming unsigned ones, which the kernels on x86
take.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import onnx
from onnxruntime import InferenceSession

from edgeailite.export.int8_files.file import Int8File
from edgeailite.export.int8_files.kernels import FUNCTIONS, RULES
from edgeailite.export.int8_files.values import BYTES, Array
from edgeailite.runtime import open_session
from edgeailite.runtime.failures import run_session
from edgeailite.runtime.session import with_outputs

FUSED = {"FusedConv": "Conv", "NhwcFusedConv": "Conv", "FusedGemm": "Gemm", "FusedMatMul": "MatMul"}
COMPUTES = {*RULES, "ConvTranspose"} - FUNCTIONS.keys()  # a function is a table, whoever computes it
FIRST_ZERO_POINT = {"QLinearConcat": 1}  # where a kernel has it; 2 of others
SHIFT = 128  # of signed codes that became unsigned ones


@dataclass(frozen=True)
class Placement:
    """The graph that onnxruntime runs at a level: `in_float` names nodes of the file that it computes in float."""

    level: str
    data: bytes
    tensors: Mapping[str, str]  # code tensors of the file -> of the optimized graph
    in_float: frozenset[str] = frozenset()
    unsigned: frozenset[str] = field(default=frozenset())
    threads: int | None = None

    def is_unsigned(self, label: str) -> bool:
        """Tell if a node's kernel takes unsigned codes, whatever the file has."""
        return label in self.unsigned

    @cached_property
    def session(self) -> InferenceSession:
        """Open the graph once, with its code tensors as outputs."""
        data = with_outputs(self.data, list(dict.fromkeys(self.tensors.values())))
        return open_session(data, threads=self.threads, level="DISABLED")

    def codes(self, file: Int8File, image: Array) -> dict[str, Array]:
        """Return the code tensors of one input (1,3,H,W), by their names in the file, as the file has them."""
        names = list(dict.fromkeys(self.tensors.values()))
        found = run_session(self.session, {file.input: image}, names, where=file.name)
        types = _code_types(file)
        return {
            name: _as_in_file(found[inner], types.get(name))
            for name, inner in self.tensors.items()
            if found[inner].dtype in BYTES
        }


def placement_of(file: Int8File, level: str, *, threads: int | None = None) -> Placement:
    """Ask onnxruntime for the graph that it makes of a file at a level."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "optimized.onnx"
        open_session(file.model.SerializeToString(), threads=threads, level=level, save_optimized=path)
        optimized = onnx.load(str(path))
    kept = {node.name: node for node in optimized.graph.node if node.name}
    makers = {name: node for node in optimized.graph.node for name in node.output if name}
    sources = {name: node for node in file.model.graph.node for name in node.output}
    in_float, unsigned = set(), set()
    zeros = {tensor.name: tensor for tensor in optimized.graph.initializer}
    for node in file.model.graph.node:
        left = kept.get(node.name)
        for other in [left] if left is not None else [makers[name] for name in node.output if name in makers]:
            if node.op_type in COMPUTES and FUSED.get(other.op_type, other.op_type) == node.op_type:
                in_float.add(node.name)
        if left is not None and left.op_type.startswith("Q") and _takes_unsigned(left, zeros):
            unsigned.add(node.name)
    tensors = {}
    for node in file.model.graph.node:
        if node.op_type == "QuantizeLinear" or node.op_type.startswith(("QLinear", "QGemm")):
            inner = _inner_name(node, kept, makers, sources)
            if inner is not None:
                tensors[node.output[0]] = inner
    return Placement(level, optimized.SerializeToString(), tensors, frozenset(in_float), frozenset(unsigned), threads)


def _takes_unsigned(kernel: onnx.NodeProto, zeros: Mapping[str, onnx.TensorProto]) -> bool:
    place = FIRST_ZERO_POINT.get(kernel.op_type, 2)
    name = kernel.input[place] if len(kernel.input) > place else ""
    return name in zeros and zeros[name].data_type == onnx.TensorProto.UINT8


def _inner_name(
    node: onnx.NodeProto,
    kept: Mapping[str, onnx.NodeProto],
    makers: Mapping[str, onnx.NodeProto],
    sources: Mapping[str, onnx.NodeProto],
) -> str | None:
    """Name a code tensor of the file in the optimized graph; None where it is gone."""
    if node.output[0] in makers:
        return node.output[0]
    if node.name in kept:
        return str(kept[node.name].output[0])
    name = node.input[0]
    maker = sources.get(name)
    while maker is not None and maker.op_type in ("Relu", "Clip"):
        name = maker.input[0]
        maker = sources.get(name)
    if maker is not None and maker.name in kept:
        outputs, index = kept[maker.name].output, list(maker.output).index(name)
        return str(outputs[index]) if index < len(outputs) else None
    return None


def _code_types(file: Int8File) -> dict[str, np.dtype[np.generic]]:
    """Types of the code tensors that quantizers of a file give."""
    found = {}
    for node in file.model.graph.node:
        place = 2 if node.op_type == "QuantizeLinear" else None
        if place is not None and len(node.input) > place and node.input[place] in file.constants:
            found[node.output[0]] = file.constants[node.input[place]].dtype
    return found


def _as_in_file(codes: Array, kind: np.dtype[np.generic] | None) -> Array:
    """Give codes that became unsigned the type and the values that they have in the file."""
    if kind == np.int8 and codes.dtype == np.uint8:
        return (codes.astype(np.int16) - SHIFT).astype(np.int8)
    return codes
