"""Sums of uint8 x int8 products that x86 CPUs without VNNI cut off at 16 bits, and how a session avoids that.

With AVX2 or AVX-512, but no VNNI, onnxruntime's matrix kernels add pairs of products with `vpmaddubsw`, which saturates
(onnxruntime/core/mlas/lib/platform.cpp). The session entry `session.x64quantprecision` makes them exact by
moving weights to uint8. It takes 1.3 to 1.4 times as long, 1.8 times on a CPU with VNNI: it is set only where needed.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping

import numpy as np

from edgeailite.onnxfile import OnnxFile
from edgeailite.onnxfile.wire import Node

EXACT_SUMS = {"session.x64quantprecision": "1"}
SEVEN_BITS = "ort_u8s7"  # the scheme whose sums never leave 16 bits
INT8 = 3  # TensorProto.DataType
WEIGHTS = {  # operator: places of weights and of their zero point among its inputs
    "DequantizeLinear": (0, 2), "QLinearConv": (3, 5), "QLinearMatMul": (3, 5), "QGemm": (3, 5),
}  # fmt: skip
ACTIVATION_ZERO = 2  # place of the activations' zero point in the last three
PROBE = bytes.fromhex(  # an ONNX model of one MatMulInteger: (1,4) uint8 x (4,1) int8
    "08083a5c0a180a01610a016212016322"
    "0d4d61744d756c496e74656765721201675a130a0161120e0a0c080212080a0208010a0208045a13"
    "0a0162120e0a0c080312080a0208040a0208016213"
    "0a0163120e0a0c080612080a0208010a02080142040a00100d"
)


@functools.cache
def sums_saturate() -> bool:
    """Tell if onnxruntime cuts off sums of uint8 x int8 products on this CPU: asks it for 4 x 255 x 127.

    Flags of the CPU are not asked, since not every system or emulator tells them.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level, options.intra_op_num_threads = 4, 1
    session = onnxruntime.InferenceSession(PROBE, options, providers=["CPUExecutionProvider"])
    most = {"a": np.full((1, 4), 255, np.uint8), "b": np.full((4, 1), 127, np.int8)}
    return int(session.run(None, most)[0].item()) != 4 * 255 * 127


def exact_sums(file: OnnxFile, settings: Mapping[str, str]) -> dict[str, str]:
    """Return the session entries with which sums of a file's weights are exact on this CPU; none where they are anyway.

    `settings` are the file's own; signed activations need no entry. None either for a file that shares the zero point
    of several weights, as older versions wrote: onnxruntime does not load it with the entry ("Attempt to replace the
    existing tensor").
    """
    weights = [pair for node in file.graph.nodes if (pair := _signed_weights(file, node))]
    names = [name for pair in weights for name in pair]
    if not weights or settings or len(set(names)) < len(names):
        return {}
    if file.graph.metadata.get("edgeailite.scheme") == SEVEN_BITS or not sums_saturate():
        return {}
    return dict(EXACT_SUMS)


def _signed_weights(file: OnnxFile, node: Node) -> tuple[str, ...]:
    """Return the names of a node's int8 weights and their zero point; () without any, or with signed activations."""
    known = file.graph.constants
    if node.op not in WEIGHTS or len(node.inputs) <= WEIGHTS[node.op][0]:
        return ()
    weight, zero_point = WEIGHTS[node.op]
    given = known.get(node.inputs[weight])
    activations = known.get(node.inputs[ACTIVATION_ZERO]) if weight else None
    if given is None or given.data_type != INT8 or (activations is not None and activations.data_type == INT8):
        return ()
    return (node.inputs[weight], *node.inputs[zero_point : zero_point + 1])
