"""Contracts made by hand: OpenCV resizes, onnxruntime computes; nothing of the package's arithmetic is in them."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnxruntime
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper, save_model

from edgeailite.runtime.contract import Golden

MEAN, SCALE = (123.675, 116.28, 103.53), (0.017125, 0.017507, 0.017429)
SETTINGS = {"session.qdqisint8allowed": "1"}


def write_model(path: Path, kind: str, height: int, width: int) -> Path:
    """One convolution, float or between QuantizeLinear and DequantizeLinear."""
    weight = np.random.default_rng(0).normal(size=(4, 3, 3, 3)).astype(np.float32)
    values = {"w": weight}
    if kind == "float":
        nodes = [helper.make_node("Conv", ["image", "w"], ["segmentation"], pads=[1] * 4)]
    else:
        codes = np.clip(np.rint(weight / 0.03), -127, 127).astype(np.int8)
        values = {
            "w": codes,
            "sx": np.float32(1 / 64),
            "sw": np.float32(0.03),
            "sy": np.float32(0.25),
            "z": np.uint8(128),
            "zw": np.int8(0),
        }
        nodes = [
            helper.make_node("QuantizeLinear", ["image", "sx", "z"], ["q"]),
            helper.make_node("DequantizeLinear", ["q", "sx", "z"], ["x"]),
            helper.make_node("DequantizeLinear", ["w", "sw", "zw"], ["wf"]),
            helper.make_node("Conv", ["x", "wf"], ["y"], pads=[1] * 4),
            helper.make_node("QuantizeLinear", ["y", "sy", "z"], ["yq"]),
            helper.make_node("DequantizeLinear", ["yq", "sy", "z"], ["segmentation"]),
        ]
    shapes = [("image", 3), ("segmentation", 4)]
    infos = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, n, height, width]) for name, n in shapes]
    initial = [numpy_helper.from_array(np.asarray(value), name) for name, value in values.items()]
    graph = helper.make_graph(nodes, "tiny", infos[:1], infos[1:], initial)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=9)
    helper.set_model_props(model, {"edgeailite.session": json.dumps(SETTINGS if kind == "int8" else {})})
    save_model(model, str(path))
    return path


def write_contract(
    folder: Path,
    kind: str,
    *,
    size: tuple[int, int] = (48, 64),
    pictures: tuple[tuple[int, int], ...],
    order: str = "RGB",
) -> dict[str, Any]:
    """model.onnx and contract.json of pictures of these sizes (height, width)."""
    model = write_model(folder / "model.onnx", kind, *size)
    rng = np.random.default_rng(1)
    golden = []
    for height, width in pictures:
        picture = rng.integers(0, 256, (height, width, 3), np.uint8)
        image = normalised(cv2.resize(picture, size[::-1], interpolation=cv2.INTER_LINEAR_EXACT), order)
        session = onnxruntime.InferenceSession(str(model), providers=["CPUExecutionProvider"])
        (output,) = session.run(["segmentation"], {"image": image})
        golden.append(Golden((picture,), (image,), {"segmentation": output}, ()).to_dict())
    contract = {
        "format": 2,
        "file": model.name,
        "kind": kind,
        "sha256": hashlib.sha256(model.read_bytes()).hexdigest(),
        "preprocessing": {
            "height": size[0],
            "width": size[1],
            "mean": MEAN,
            "scale": SCALE,
            "channel_order": order,
            "interpolation": "linear_exact",
        },
        "golden": golden,
    }
    (folder / "contract.json").write_text(json.dumps(contract))
    return contract


def normalised(resized: NDArray[np.uint8], order: str) -> NDArray[np.float32]:
    """(H,W,3) RGB -> (1,3,H,W), channel by channel."""
    channels = (2, 1, 0) if order == "BGR" else (0, 1, 2)
    planes = [
        (resized[..., channel].astype(np.float32) - np.float32(MEAN[place])) * np.float32(SCALE[place])
        for place, channel in enumerate(channels)
    ]
    return np.stack(planes)[None]
