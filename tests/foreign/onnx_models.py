"""Small ONNX files as other exporters write them, and the comparison of what is read with onnxruntime."""

import numpy as np
import onnx
import onnxruntime
import torch
from onnx import TensorProto, helper, numpy_helper

from edgeailite.foreign.read_onnx import read_onnx

SIZES = ((48, 64), (33, 45))  # the second odd
LARGEST = 1e-4  # relative to the largest value of onnxruntime


def weights(*shape, seed=0, scale=0.3):
    return (np.random.default_rng([seed, *shape]).normal(size=shape) * scale).astype(np.float32)


def numbers(*values):
    return np.array(values, np.int64)


def model(nodes, constants=None, *, shape=("N", 3, "H", "W"), outputs=("y",), opset=18, name="image"):
    """An ONNX file of nodes (operator, inputs, outputs, attributes) with one picture as input."""
    made = [
        helper.make_node(kind, inputs.split(), results.split(), name=f"node_{i}", **attributes)
        for i, (kind, inputs, results, attributes) in enumerate(nodes)
    ]
    graph = helper.make_graph(
        made,
        "graph",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, list(shape))],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, None) for output in outputs],
        [numpy_helper.from_array(np.asarray(value), key) for key, value in (constants or {}).items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=9)


def compare(file: onnx.ModelProto, sizes=SIZES, batch=2):
    """Read a file and compare it with onnxruntime at some sizes; return the network."""
    session = onnxruntime.InferenceSession(file.SerializeToString(), providers=["CPUExecutionProvider"])
    network = read_onnx(file)
    for size in sizes:
        x = np.random.default_rng(5).normal(size=(batch, 3, *size)).astype(np.float32) * 2
        expected = dict(
            zip([value.name for value in session.get_outputs()], session.run(None, {"image": x}), strict=True)
        )
        with torch.no_grad():
            got = network(torch.from_numpy(x))
        assert list(got) == list(expected)
        for name, value in expected.items():
            assert got[name].shape == value.shape
            assert np.abs(got[name].numpy() - value).max() <= LARGEST * max(np.abs(value).max(), 1e-6), name
    return network


def kinds(network):
    """Names of the classes of modules and of functions that a network calls, in order."""
    return [
        type(network.get_submodule(node.target)).__name__ if node.op == "call_module" else node.target.__name__
        for node in network.graph.nodes
        if node.op in ("call_module", "call_function") and not str(node.name).startswith("getitem_images")
    ][1:]
