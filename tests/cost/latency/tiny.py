"""A small ONNX file without metadata, as any exporter may have written it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from onnx import TensorProto, helper, numpy_helper, save_model


def tiny_file(
    path: Path,
    *,
    size: tuple[int | str, int | str] = (32, 48),
    element_type: int = TensorProto.FLOAT,
    batch: int = 1,
) -> Path:
    """Convolution, ReLU and resize of pictures (batch,3,H,W); gives back the path."""
    weight = np.random.default_rng(0).normal(size=(8, 3, 3, 3)).astype(np.float32)
    scales = np.array([1, 1, 2, 2], np.float32)
    nodes = [
        helper.make_node("Cast", ["image"], ["picture"], name="cast", to=TensorProto.FLOAT),
        helper.make_node("Conv", ["picture", "weight"], ["stem"], name="stem/Conv", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["stem"], ["relu"], name="relu/Relu"),
        helper.make_node("Resize", ["relu", "", "scales"], ["logits"], name="logits/Resize", mode="linear"),
    ]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("image", element_type, [batch, 3, *size])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(weight, "weight"), numpy_helper.from_array(scales, "scales")],
    )
    save_model(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=9), str(path))
    return path
