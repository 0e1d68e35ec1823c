"""The last resize as matrix products: the same bits for every code, and where the resize must stay.

tests/export/test_passes.py has whole networks, tests/export/test_passes_rules.py the other rewrites.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from edgeailite.export.passes import apply_passes

SHORT, LONG = 181 / 1024, 0.1767  # of 8 significant bits, and of more
TYPES = {np.uint8: TensorProto.UINT8, np.int8: TensorProto.INT8, np.uint16: TensorProto.UINT16}
BILINEAR = {"mode": "linear", "coordinate_transformation_mode": "half_pixel"}


def resizing(
    small: Sequence[int] = (1, 3, 8, 12),
    large: Sequence[int] = (1, 3, 32, 48),
    *,
    scale: float = SHORT,
    kind: Any = np.uint8,
    zero_point: int = 113,
    quantized_again: bool = False,
    shape_known: bool = True,
    **how: Any,
) -> onnx.ModelProto:
    """A file that dequantizes its input and enlarges it."""
    nodes = [
        helper.make_node("DequantizeLinear", ["codes", "scale", "zero"], ["values"], "values/DequantizeLinear"),
        helper.make_node("Resize", ["values", "", "", "size"], ["scores"], "scores/Resize", **BILINEAR | how),
    ]
    output, element = "scores", TensorProto.FLOAT
    if quantized_again:
        nodes.append(helper.make_node("QuantizeLinear", ["scores", "scale", "zero"], ["again"], "again"))
        output, element = "again", TYPES[kind]
    constants = {
        "scale": np.array(scale, np.float32),
        "zero": np.array(zero_point, kind),
        "size": np.array(large, np.int64),
    }
    graph = helper.make_graph(
        nodes,
        "resizing",
        [helper.make_tensor_value_info("codes", TYPES[kind], small)],
        [helper.make_tensor_value_info(output, element, large)],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
        value_info=[helper.make_tensor_value_info("values", TensorProto.FLOAT, small)] if shape_known else [],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    onnx.checker.check_model(model, full_check=True)
    return model


def rewritten(model: onnx.ModelProto) -> onnx.ModelProto:
    result = apply_passes(copy.deepcopy(model), "onnxruntime")
    onnx.checker.check_model(result, full_check=True)
    return result


def kinds(model: onnx.ModelProto) -> list[str]:
    return [node.op_type for node in model.graph.node]


def answer(model: onnx.ModelProto, level: str, codes: NDArray[Any]) -> NDArray[Any]:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, f"ORT_{level}")
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(None, {"codes": codes})[0]


EXACT = {
    "by 4": {},
    "by 2": {"large": (1, 3, 16, 24)},
    "by 8": {"large": (1, 3, 64, 96)},
    "19 channels": {"small": (1, 19, 8, 12), "large": (1, 19, 32, 48)},
    "one channel": {"small": (1, 1, 8, 12), "large": (1, 1, 32, 48)},
    "blocks of 9 and 5": {"small": (1, 3, 9, 25), "large": (1, 3, 36, 100)},
    "blocks of 7 and 4": {"small": (1, 3, 49, 4), "large": (1, 3, 196, 16)},
    "signed codes": {"kind": np.int8, "zero_point": -128},
    "largest distance from the zero point": {"zero_point": 0, "scale": 255 / 2**12},
    "small scale": {"scale": 129 / 2**40},
    "a power of two": {"scale": 2.0**-3},
}


@pytest.mark.parametrize("name", EXACT)
def test_products_give_every_bit_of_the_resize(name):
    """Compared as bits, at every level, on random codes and on the largest and smallest next to each other."""
    plain = resizing(**EXACT[name])
    product = rewritten(plain)
    assert kinds(product).count("MatMul") == 2
    assert "Resize" not in kinds(product)
    limits = np.iinfo(EXACT[name].get("kind", np.uint8))
    shape = [side.dim_value for side in plain.graph.input[0].type.tensor_type.shape.dim]
    rng = np.random.default_rng(0)
    ends = np.where(rng.integers(0, 2, shape), limits.min, limits.max).astype(limits.dtype)
    for codes in (rng.integers(limits.min, limits.max + 1, shape).astype(limits.dtype), ends):
        for level in ("DISABLE_ALL", "ENABLE_EXTENDED", "ENABLE_ALL"):
            expected, got = answer(plain, level, codes), answer(product, level, codes)
            np.testing.assert_array_equal(got.view(np.int32), expected.view(np.int32))


KEPT = {
    "a scale of more than 8 bits": {"scale": LONG},
    "a scale of 9 bits": {"scale": 361 / 2**11},
    "two pictures": {"small": (2, 3, 8, 12), "large": (2, 3, 32, 48)},
    "by 3": {"large": (1, 3, 24, 36)},
    "by 16": {"large": (1, 3, 128, 192)},
    "another factor per axis": {"large": (1, 3, 16, 48)},
    "no whole factor": {"large": (1, 3, 31, 47)},
    "a smaller result": {"large": (1, 3, 4, 6)},
    "a side without blocks": {"small": (1, 3, 11, 12), "large": (1, 3, 44, 48)},
    "a shape that is not known": {"shape_known": False},
    "an open size": {"small": ("n", 3, "h", "w"), "large": (1, 3, 32, 48)},
    "codes of 16 bits": {"kind": np.uint16},
    "inside the network": {"quantized_again": True},
    "nearest neighbour": {"mode": "nearest"},
    "corners aligned": {"coordinate_transformation_mode": "align_corners"},
    "asymmetric": {"coordinate_transformation_mode": "asymmetric"},
    "anti-aliased": {"antialias": 1},
}


@pytest.mark.parametrize("name", KEPT)
def test_other_resizes_stay(name):
    plain = resizing(**KEPT[name])
    assert kinds(rewritten(plain)) == kinds(plain)


def test_a_scale_per_channel_keeps_the_resize():
    plain = resizing()
    ends = {"scale": np.full(3, SHORT, np.float32), "zero": np.full(3, 113, np.uint8)}
    for tensor in plain.graph.initializer:
        if tensor.name in ends:
            tensor.CopyFrom(numpy_helper.from_array(ends[tensor.name], tensor.name))
    assert kinds(rewritten(plain)) == kinds(plain)


def test_values_that_others_read_stay():
    """A second reader of the dequantized values keeps them; without one they go, and no constant is left over."""
    plain = resizing()
    assert "values" not in {name for node in rewritten(plain).graph.node for name in node.output}
    plain.graph.output.append(helper.make_tensor_value_info("values", TensorProto.FLOAT, (1, 3, 8, 12)))
    product = rewritten(plain)
    assert "values" in {name for node in product.graph.node for name in node.output}
    read = {name for node in product.graph.node for name in node.input}
    assert {tensor.name for tensor in product.graph.initializer} <= read
