"""Small ONNX files made by hand: of anybody, or with the metadata of an exported one."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from edgeailite.modelcard import ModelCard
from edgeailite.preprocessing import Preprocessing

SIZE = (32, 48)
CLASSES = ("road", "sky", "car", "tree")
PALETTE = ((128, 64, 128), (70, 130, 180), (0, 0, 142), (107, 142, 35))
CARD = ModelCard("tiny", {"segmentation": 4}, CLASSES, PALETTE, Preprocessing(*SIZE), "none")
CONV = [helper.make_node("Conv", ["image", "w"], ["segmentation"], name="head/Conv", pads=[1] * 4)]
WEIGHT = {"w": np.ones((4, 3, 3, 3), np.float32)}


def model(
    nodes: Sequence[onnx.NodeProto],
    constants: Mapping[str, Any] = {},
    *,
    shape: Sequence[int | str] = (1, 3, *SIZE),
    outputs: Sequence[str] = ("segmentation",),
) -> onnx.ModelProto:
    """A file without metadata, whose picture is called `image`."""
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, list(shape))
    results = [helper.make_empty_tensor_value_info(name) for name in outputs]
    values = [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()]
    graph = helper.make_graph(list(nodes), "made", [image], results, values)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)


def metadata(card: ModelCard = CARD, *, kind: str = "float", argmax: str = "none") -> dict[str, str]:
    """What export notes."""
    pre = card.preprocessing
    return {
        "edgeailite.card": json.dumps(card.to_dict()),
        "edgeailite.kind": kind,
        "edgeailite.argmax": argmax,
        "edgeailite.tasks": json.dumps(card.tasks),
        "classes": ",".join(card.classes),
        "palette": json.dumps(card.palette),
        "mean": json.dumps(pre.mean),
        "scale": json.dumps(pre.scale),
        "channel_order": pre.channel_order,
        "input_size": f"{pre.height}x{pre.width}",
        "interpolation": pre.interpolation,
    }


def own(made: onnx.ModelProto | None = None, **changed: str | None) -> bytes:
    """An exported file's bytes; entries of the metadata are replaced by name (`edgeailite_` is `edgeailite.`)."""
    made = onnx.load_from_string((made or model(CONV, WEIGHT)).SerializeToString())
    quantized = any(node.op_type == "QuantizeLinear" for node in made.graph.node)
    values = metadata(kind="int8" if quantized else "float")
    for key, value in changed.items():
        name = key.replace("edgeailite_", "edgeailite.")
        values.pop(name, None)
        if value is not None:
            values[name] = value
    helper.set_model_props(made, values)
    return made.SerializeToString()


def card_with(**changed: Any) -> str:
    """The card's JSON with entries replaced; `pre_` are those of the preprocessing."""
    values = json.loads(json.dumps(CARD.to_dict()))
    for key, value in changed.items():
        place = values["preprocessing"] if key.startswith("pre_") else values
        place[key.removeprefix("pre_")] = value
    return json.dumps(values)


def quantized(*, scale: float = 1 / 64) -> onnx.ModelProto:
    """A file of one pair of quantizers and a convolution."""
    nodes = [
        helper.make_node("QuantizeLinear", ["image", "s", "z"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["x"]),
        helper.make_node("Conv", ["x", "w"], ["segmentation"], pads=[1] * 4),
    ]
    return model(nodes, {"s": np.float32(scale), "z": np.uint8(128), **WEIGHT})


def loop(trips: int) -> onnx.ModelProto:
    """A Loop of so many rounds."""
    state = [1, 3, *SIZE]
    body = helper.make_graph(
        [helper.make_node("Identity", ["go"], ["on"]), helper.make_node("Add", ["x", "one"], ["y"])],
        "body",
        [
            helper.make_tensor_value_info("i", TensorProto.INT64, []),
            helper.make_tensor_value_info("go", TensorProto.BOOL, []),
            helper.make_tensor_value_info("x", TensorProto.FLOAT, state),
        ],
        [
            helper.make_tensor_value_info("on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("y", TensorProto.FLOAT, state),
        ],
    )
    node = helper.make_node("Loop", ["m", "t", "image"], ["segmentation"], body=body)
    return model([node], {"m": np.int64(trips), "t": np.bool_(True), "one": np.float32(1)})


def change_preprocessing(made: onnx.ModelProto, key: str, value: str) -> None:
    """Change an entry of the metadata, and the same in the card, in place: a file that says one thing twice."""
    entries = {entry.key: entry for entry in made.metadata_props}
    entries[key].value = value
    card = json.loads(entries["edgeailite.card"].value)
    card["preprocessing"][key] = json.loads(value) if value.startswith("[") else value
    entries["edgeailite.card"].value = json.dumps(card, sort_keys=True)
