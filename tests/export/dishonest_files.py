"""What somebody can do to an exported file: its metadata, its graph, its weights. Each change keeps its hash right.

A change takes the model and changes it in place. `WORD` of a row must stand in the message that refuses the file.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from edgeailite.runs.onnx_model import weights_hash

Change = Callable[[onnx.ModelProto], None]


@dataclass(frozen=True)
class Row:
    """A dishonest file: of which kinds of run it is made, how, and what the refusal must name."""

    group: str
    change: Change
    word: str
    kinds: tuple[str, ...] = ("float", "int8")


def entry(model: onnx.ModelProto, key: str) -> onnx.StringStringEntryProto:
    return next(entry for entry in model.metadata_props if entry.key == key)


def set_entry(key: str, value: str) -> Change:
    def change(model: onnx.ModelProto) -> None:
        entry(model, key).value = value

    return change


def add_entry(key: str, value: str) -> Change:
    def change(model: onnx.ModelProto) -> None:
        model.metadata_props.add(key=key, value=value)

    return change


def edit(key: str, how: Callable[[Any], Any]) -> Change:
    """Of an entry that holds JSON."""

    def change(model: onnx.ModelProto) -> None:
        found = entry(model, key)
        found.value = json.dumps(how(json.loads(found.value)), sort_keys=key == "edgeailite.card")

    return change


def card(**values: Any) -> Change:
    """Other values in the card."""
    return edit("edgeailite.card", lambda found: found | values)


def preprocessing(**values: Any) -> Change:
    return edit("edgeailite.card", lambda found: found | {"preprocessing": found["preprocessing"] | values})


def swapped(values: list[Any]) -> list[Any]:
    return [values[1], values[0], *values[2:]]


def both(*changes: Change) -> Change:
    def change(model: onnx.ModelProto) -> None:
        for one in changes:
            one(model)

    return change


def _swap(key: str) -> Change:
    return edit("edgeailite.card", lambda found: found | {key: swapped(found[key])})


def _plain_names(model: onnx.ModelProto) -> None:
    found = entry(model, "classes")
    found.value = ",".join(swapped(found.value.split(",")))


MEAN = [128.01, 128.0, 128.0]
NEARLY = [float(np.nextafter(1 / 64, 1)), 1 / 64, 1 / 64]
METADATA = {
    "class names exchanged": (both(_swap("classes"), _plain_names), "classes"),
    "class names exchanged in the card": (_swap("classes"), "classes"),
    "class names exchanged in the plain entry": (_plain_names, "classes"),
    "four of five class names": (
        both(edit("edgeailite.card", lambda c: c | {"classes": c["classes"][:4]}), set_entry("classes", "a,b,c,d")),
        "classes",
    ),
    "colours exchanged": (both(_swap("palette"), edit("palette", swapped)), "palette"),
    "colours exchanged in the plain entry": (edit("palette", swapped), "palette"),
    "mean 128.01": (both(preprocessing(mean=MEAN), set_entry("mean", json.dumps(MEAN))), "mean"),
    "mean 128.49 in the plain entry": (set_entry("mean", "[128.49, 128.0, 128.0]"), "mean"),
    "mean in whole numbers": (set_entry("mean", "[128, 128, 128]"), "mean"),
    "scale in the last digit": (both(preprocessing(scale=NEARLY), set_entry("scale", json.dumps(NEARLY))), "scale"),
    "channel order": (both(preprocessing(channel_order="BGR"), set_entry("channel_order", "BGR")), "channel_order"),
    "resize rule": (both(preprocessing(interpolation="area"), set_entry("interpolation", "area")), "interpolation"),
    "size of pictures": (both(preprocessing(height=31), set_entry("input_size", "31x48")), "size|1x3x31x48"),
    "size in the card alone": (preprocessing(height=31), "height|input_size"),
    "tasks": (set_entry("edgeailite.tasks", '{"segmentation": "depth"}'), "tasks"),
    "data set": (card(dataset_name="cityscapes_segmentation"), "dataset_name"),
    "network's name": (card(model_name="another"), "model_name"),
    "options of the network": (card(options={"align_corners": True}), "options"),
    "three of five channels": (card(outputs={"segmentation": 3}), "outputs|channels"),
    "a folder in the card": (card(data_path="/home"), "data_path"),
    "an entry more in the card": (card(note="proven"), "note"),
    "an entry twice": (add_entry("mean", "[0.0, 0.0, 0.0]"), "twice"),
    "an entry more": (add_entry("note", "proven"), "note"),
    "no entry": (lambda model: model.metadata_props.remove(entry(model, "palette")), "palette"),
    "kernels": (set_entry("edgeailite.kernels", "onnxruntime"), ""),
    "says that it has ArgMax": (set_entry("edgeailite.argmax", "full"), ""),
    "hash of other weights": (set_entry("edgeailite.weights_sha256", "0" * 64), "weights"),
}  # fmt: skip


def _logits(model: onnx.ModelProto) -> str:
    """Rename what makes the output, so that nodes can be put behind it; gives back the new name."""
    name = model.graph.output[0].name
    for node in model.graph.node:
        node.output[:] = ["honest" if value == name else value for value in node.output]
    return name


def behind(*nodes: tuple[str, list[str], str], **weights: Any) -> Change:
    """Nodes (operator, inputs, output) between "honest" and the output, and constants by name."""

    def change(model: onnx.ModelProto) -> None:
        name = _logits(model)
        for name_of_weight, value in weights.items():
            model.graph.initializer.append(numpy_helper.from_array(np.asarray(value), name_of_weight))
        for operator, inputs, output in nodes:
            output = name if output == "out" else output
            model.graph.node.append(helper.make_node(operator, inputs, [output], name=f"more/{operator}"))
        entry(model, "edgeailite.weights_sha256").value = weights_hash(model)

    return change


CLIP_EXTRA = behind(  # answers are negated where a picture is brighter than any that is compared
    ("ReduceMax", ["image"], "bright"),
    ("Greater", ["bright", "most"], "is_bright"),
    ("Where", ["is_bright", "minus", "plus"], "sign"),
    ("Mul", ["honest", "sign"], "out"),
    most=np.float32(1e3), minus=np.float32(-1), plus=np.float32(1),
)  # fmt: skip


def _unused(model: onnx.ModelProto) -> None:
    model.graph.initializer.append(numpy_helper.from_array(np.ones(3, np.float32), "unused"))
    entry(model, "edgeailite.weights_sha256").value = weights_hash(model)


def _dangling(model: onnx.ModelProto) -> None:
    model.graph.node.append(helper.make_node("Relu", ["image"], ["nowhere"], name="dangling/Relu"))


def _more_output(model: onnx.ModelProto) -> None:
    _dangling(model)
    model.graph.output.append(helper.make_tensor_value_info("nowhere", TensorProto.FLOAT, None))


def _note(model: onnx.ModelProto) -> None:
    model.graph.node[0].doc_string = "proven"


def _resize(model: onnx.ModelProto) -> None:
    node = next(node for node in model.graph.node if node.op_type == "Resize")
    next(a for a in node.attribute if a.name == "mode").s = b"nearest"


def _old_ir(model: onnx.ModelProto) -> None:
    model.ir_version -= 1


def _renamed(model: onnx.ModelProto) -> None:
    model.graph.node[3].name = "another/name"


def _custom_opset(model: onnx.ModelProto) -> None:
    model.opset_import.add(domain="com.microsoft", version=1)


GRAPH = {
    "negated on bright pictures": (CLIP_EXTRA, "Greater|ReduceMax|Resize|Where"),
    "negated on bright pictures, of another version": (
        both(CLIP_EXTRA, set_entry("edgeailite.version", "0.0.1")), "Greater|ReduceMax|Resize|Where",
    ),
    "a node without effect behind the scores": (behind(("Identity", ["honest"], "out")), "Identity|Resize"),
    "a limit that no score reaches": (
        behind(("Clip", ["honest", "low", "high"], "out"), low=np.float32(-1e9), high=np.float32(1e9)), "Clip|Resize",
    ),
    "scores cut at 0": (behind(("Relu", ["honest"], "out")), "departs"),
    "scores negated": (behind(("Neg", ["honest"], "out")), "departs"),
    "scores not finite": (behind(("Sqrt", ["honest"], "out")), "not finite"),
    "a weight that nobody reads": (_unused, "unused"),
    "a node that nobody reads": (_dangling, "dangling"),
    "one output more": (_more_output, "nowhere|dangling"),
    "a note at a node": (_note, "node"),
    "a node renamed": (_renamed, "another/name"),
    "resize rule of a node": (_resize, "Resize"),
    "another IR version": (_old_ir, "bytes"),
    "another set of operators": (_custom_opset, "opset_import"),
}  # fmt: skip


def initializer(model: onnx.ModelProto, suffix: str, *, dims: int | None = None) -> onnx.TensorProto:
    found = (t for t in model.graph.initializer if t.name.endswith(suffix) and dims in (None, len(t.dims)))
    return next(found)


def weights(suffix: str, how: Callable[[np.ndarray], Any], *, dims: int | None = None) -> Change:
    """Other values in an initializer, and the hash that belongs to them."""

    def change(model: onnx.ModelProto) -> None:
        tensor = initializer(model, suffix, dims=dims)
        values = numpy_helper.to_array(tensor).copy()
        how(values)
        tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
        entry(model, "edgeailite.weights_sha256").value = weights_hash(model)

    return change


def _first(value: np.ndarray, by: float) -> None:
    value.reshape(-1)[0] += np.asarray(by).astype(value.dtype)


def _nudge(value: np.ndarray) -> None:
    value.reshape(-1)[0] = np.nextafter(value.reshape(-1)[0], np.float32(9))


def _negate(value: np.ndarray) -> None:
    value[0] = -value[0]


def _scaled(value: np.ndarray) -> None:
    value *= np.float32(1.01)


WEIGHTS = {
    "one weight, one code": (weights("stem.0.weight", lambda v: _first(v, 1)), "", ("int8",)),
    "one bias, one code": (weights("stem.0.bias", lambda v: _first(v, 1)), "", ("int8",)),
    "one bias in the head": (weights("pred.bias", lambda v: _first(v, 5), dims=1), "", ("int8",)),
    "a filter negated": (weights("deep.0.weight", _negate), "departs", ("float", "int8")),
    "one weight, the last bit": (weights("deep.0.weight", _nudge), "deep.0.weight", ("float",)),
    "all weights of a layer 1 % larger": (weights("deep.0.weight", _scaled), "departs", ("float",)),
    "a scale, the last bit": (weights("weight_scale", _nudge), "", ("int8",)),
}


def rows() -> dict[str, Row]:
    """Every dishonest file by name."""
    found = {name: Row("metadata", *row) for name, row in METADATA.items()}
    found |= {name: Row("graph", *row) for name, row in GRAPH.items()}
    found |= {name: Row("weights", *row) for name, row in WEIGHTS.items()}
    found["kind"] = Row("metadata", set_entry("edgeailite.kind", "float"), "", ("int8",))
    found["says that parts have 16 bits"] = Row(
        "metadata", add_entry("edgeailite.wide", '["stem.0"]'), "wide", ("int8",)
    )
    found["the scheme"] = Row("metadata", set_entry("edgeailite.scheme", "s8s8"), "scheme", ("int8",))
    return found
