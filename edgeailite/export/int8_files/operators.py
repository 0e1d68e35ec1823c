"""Single operators of a file, run by onnxruntime without optimization: what has no rule in integers, and moves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from edgeailite.runtime.failures import run_session, said
from edgeailite.runtime.session import cpu_session

Array = NDArray[Any]


class Operators:
    """Runs nodes of a file one at a time; sessions are kept by node and types of its inputs."""

    def __init__(self, model: onnx.ModelProto, constants: Mapping[str, Array], name: str) -> None:
        self.model, self.constants, self.name = model, constants, name
        self.sessions: dict[tuple[Any, ...], onnxruntime.InferenceSession] = {}

    def run(self, node: onnx.NodeProto, values: Sequence[Array | None]) -> list[Array]:
        """Return the node's outputs for the values of its inputs, None for one that is left out."""
        feed = {f"i{index}": value for index, value in enumerate(values) if value is not None}
        fixed = {f"i{index}" for index, name in enumerate(node.input) if name in self.constants}
        key = (node.output[0], tuple((name, str(value.dtype), _sides(value)) for name, value in feed.items()))
        if key not in self.sessions:
            self.sessions[key] = self._session(node, feed, fixed)
        session = self.sessions[key]
        taken = {port.name for port in session.get_inputs()}
        fed = {name: value for name, value in feed.items() if name in taken}
        found = run_session(session, fed, where=f"{self.name}: {label_of(node)}")
        return [found[name] for name in node.output if name in found]

    def _session(
        self, node: onnx.NodeProto, feed: Mapping[str, Array], fixed: set[str]
    ) -> onnxruntime.InferenceSession:
        alone = onnx.NodeProto()
        alone.CopyFrom(node)
        del alone.input[:]
        alone.input.extend(f"i{index}" if f"i{index}" in feed else "" for index in range(len(node.input)))
        ports = [
            helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(value.dtype), _sides(value))
            for name, value in feed.items()
            if name not in fixed
        ]
        constants = [numpy_helper.from_array(np.asarray(value), name) for name, value in feed.items() if name in fixed]
        outputs = [onnx.ValueInfoProto(name=name) for name in node.output if name]
        graph = helper.make_graph([alone], "operator", ports, outputs, constants)
        model = helper.make_model(graph, opset_imports=self.model.opset_import, ir_version=self.model.ir_version)
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.intra_op_num_threads = 1
        with said(f"{self.name}: onnxruntime cannot run {label_of(node)} alone"):
            return cpu_session(model.SerializeToString(), options)


def _sides(value: Array) -> tuple[int | None, ...]:
    """Sides of an input as they are declared: open, but for lists, whose length tells the rank of a result."""
    return value.shape if value.ndim < 2 else (None,) * value.ndim


def label_of(node: onnx.NodeProto) -> str:
    """Return a node's name in messages: its own, or its first output's."""
    return str(node.name or (node.output[0] if node.output else node.op_type))
