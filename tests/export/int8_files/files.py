"""Small int8 files as other tools write them, made with onnx and onnxruntime alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

SIZE = (16, 24)
FORMATS = {
    "QDQ u8s8 per channel": (QuantFormat.QDQ, QuantType.QUInt8, QuantType.QInt8, True),
    "QDQ u8u8": (QuantFormat.QDQ, QuantType.QUInt8, QuantType.QUInt8, False),
    "QDQ s8s8 per channel": (QuantFormat.QDQ, QuantType.QInt8, QuantType.QInt8, True),
    "QOperator u8s8 per channel": (QuantFormat.QOperator, QuantType.QUInt8, QuantType.QInt8, True),
    "QOperator u8u8": (QuantFormat.QOperator, QuantType.QUInt8, QuantType.QUInt8, False),
    "QOperator s8s8": (QuantFormat.QOperator, QuantType.QInt8, QuantType.QInt8, False),
}


def numbers(*shape: int, seed: int = 0, scale: float = 0.3) -> np.ndarray:
    return (np.random.default_rng([seed, *shape]).normal(size=shape) * scale).astype(np.float32)


def model(nodes, constants, *, outputs=("y",), shape=(1, 3, *SIZE), opset=17, domains=()):
    """A file with one picture as input; nodes are (operator, inputs, outputs, attributes)."""
    made = [
        helper.make_node(
            kind, list(inputs), list(results), name=f"node_{index}", domain=attributes.pop("domain", ""), **attributes
        )
        for index, (kind, inputs, results, attributes) in enumerate(nodes)
    ]
    ports = [helper.make_tensor_value_info("image", TensorProto.FLOAT, list(shape))]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs]
    held = [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()]
    opsets = [helper.make_opsetid(name, version) for name, version in (("", opset), *domains)]
    return helper.make_model(helper.make_graph(made, "graph", ports, ends, held), opset_imports=opsets, ir_version=8)


def network() -> onnx.ModelProto:
    """A float network of the operators that int8 kernels exist for: a map and an answer for the picture."""
    constants = {
        "w1": numbers(8, 3, 3, 3), "b1": numbers(8), "w2": numbers(8, 1, 3, 3, seed=1), "b2": numbers(8, seed=1),
        "w3": numbers(8, 8, 1, 1, seed=2), "wg": numbers(16, 16, 1, 1, seed=3), "w4": numbers(4, 16, 3, 3, seed=4),
        "wl": numbers(5, 16, seed=5), "bl": numbers(5, seed=5),
        "zero": np.float32(0), "six": np.float32(6), "twice": np.array([1, 1, 2, 2], np.float32),
    }  # fmt: skip
    nodes = [
        ("Conv", ["image", "w1", "b1"], ["c1"], {"pads": [0, 0, 1, 1], "strides": [2, 2]}),
        ("Relu", ["c1"], ["r1"], {}),
        ("Conv", ["r1", "w2", "b2"], ["c2"], {"pads": [1, 1, 1, 1], "group": 8}),
        ("Clip", ["c2", "zero", "six"], ["r2"], {}),
        ("Conv", ["r2", "w3"], ["c3"], {}),
        ("Add", ["c3", "r1"], ["a1"], {}),
        ("AveragePool", ["r1"], ["p1"], {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}),
        ("Concat", ["a1", "p1"], ["k1"], {"axis": 1}),
        ("GlobalAveragePool", ["k1"], ["g1"], {}),
        ("Conv", ["g1", "wg"], ["g2"], {}),
        ("Sigmoid", ["g2"], ["g3"], {}),
        ("Mul", ["k1", "g3"], ["m1"], {}),
        ("LeakyRelu", ["m1"], ["l1"], {"alpha": 0.1}),
        ("MaxPool", ["l1"], ["x1"], {"kernel_shape": [2, 2], "strides": [2, 2]}),
        ("Resize", ["x1", "", "twice"], ["n1"], {"mode": "nearest", "nearest_mode": "floor",
                                                 "coordinate_transformation_mode": "asymmetric"}),
        ("Conv", ["n1", "w4"], ["map"], {"pads": [1, 1, 1, 1]}),
        ("GlobalAveragePool", ["n1"], ["g4"], {}),
        ("Flatten", ["g4"], ["f1"], {}),
        ("Gemm", ["f1", "wl", "bl"], ["answer"], {"transB": 1}),
    ]  # fmt: skip
    return model(nodes, constants, outputs=("map", "answer"))


class Pictures(CalibrationDataReader):
    """Random normalised pictures."""

    def __init__(self, count: int = 3) -> None:
        self.left = [{"image": numbers(1, 3, *SIZE, seed=seed, scale=1.0)} for seed in range(count)]

    def get_next(self):
        return self.left.pop() if self.left else None


def quantized(folder: Path, kind: str, float_model: onnx.ModelProto | None = None) -> Path:
    """A file that onnxruntime's own tool quantized, in one of FORMATS."""
    form, activations, weights, per_channel = FORMATS[kind]
    source, path = folder / "float.onnx", folder / "theirs.onnx"
    onnx.save(float_model or network(), str(source))
    quantize_static(
        str(source), str(path), Pictures(), quant_format=form, activation_type=activations, weight_type=weights,
        per_channel=per_channel,
    )  # fmt: skip
    return path


def pictures(count: int = 2, size: tuple[int, int] = SIZE) -> list[np.ndarray]:
    """Random uint8 pictures (H,W,3)."""
    return [np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8) for seed in range(count)]
