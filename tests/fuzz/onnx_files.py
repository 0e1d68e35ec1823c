"""ONNX files: damaged bytes, metadata that lies, graphs that are no graphs or never end."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from onnx import AttributeProto, ModelProto, TensorProto, external_data_helper, helper, numpy_helper

from tests.fuzz.case import Call, Group, World
from tests.fuzz.mutate import ESCAPES, bad_values, damage, wreck
from tests.fuzz.seeds import HEIGHT, WIDTH, network
from tests.fuzz.verbs import of_file

Change = Callable[[World, ModelProto], None]


COMPUTE = ("infer", "validate", "verify", "compare", "serve")  # verbs that use what the file gives


def _call(
    world: World, content: bytes, about: str, kind: str, *, honest: bool = False, wrong: bool = False
) -> Call:
    file = world.write("model.onnx", content)
    contract = world.seeds / f"files/contract{'' if kind == 'float' else '_int8'}.json"
    lines = of_file(world, file, contract)
    line, serves = lines[0] if honest else world.rng.choice([*lines[:5], *lines])
    wrong = wrong and line[0] in COMPUTE
    return Call(f"{kind}: {about}", line, serves=serves, honest=honest, wrong=wrong)


def _kind(world: World) -> str:
    return world.pick(("float", "int8"))


def _bytes(world: World) -> Call:
    kind = _kind(world)
    whole = network(kind).SerializeToString(deterministic=True)
    if world.number < 2:
        return _call(world, whole, "honest", kind, honest=True)
    content, about = damage(whole, world.rng, beside=(world.seeds / "files/contract.json").read_bytes())
    return _call(world, content, about, kind)


# --- metadata


def _text(value: Any) -> str:
    """A value as metadata that may stand there: JSON, or the text itself."""
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    try:
        return json.dumps(value)
    except ValueError:
        return "9" * 5000


def _set(model: ModelProto, values: dict[str, str]) -> bytes:
    del model.metadata_props[:]
    helper.set_model_props(model, values)
    return model.SerializeToString()


def _hostile_settings(world: World) -> list[dict[str, Any]]:
    target = str(world.canary / "victim.txt")
    return [
        {"session.collect_node_memory_stats_to_file": target},
        {"session.collect_node_memory_stats_to_file": "../canary/victim.txt"},
        {"session.qdqisint8allowed": "1", "session.collect_node_memory_stats_to_file": target},
        {"session.moe_expert_counter_state_file": target},
        {"session.model_external_initializers_file_folder_path": "/etc"},
        {"ep.context_enable": "1", "ep.context_file_path": target},
        {"session.intra_op_thread_affinities": "1;2;3"},
        {"session.load_model_format": "ORT"},
        {"session.disable_prepacking": "x"},
        {"session.qdqisint8allowed": "2"},
        {"session.qdqisint8allowed": 1},
        {"session.qdqisint8allowed": ["1"]},
        {"": ""},
        {ESCAPES: "1"},
        {"x" * 5000: "1"},
    ]


PLAIN: dict[str, list[str]] = {
    "input_size": ["128.5x256", "0x0", "1000000000x1000000000", "64", "x", "64x64x64", "-5x5", "٣٢x٤٨", "1x1", "9x" + "9" * 5000, "33x48"],
    "mean": ["[NaN, 1, 2]", "[1]", "128", "[[1],[2],[3]]", '["1", "2", "3"]', "null", "[1e999, 0, 0]", "[" * 100_000],
    "scale": ["[0, 0, 0]", "[NaN, NaN, NaN]", "[1, 2]", "{}", "[true, true, true]", "[-1, 1, 1]", "[1e-320, 1, 1]"],
    "channel_order": ["RBG", "GRAY", "", "rgb", "BGR\n", ESCAPES],
    "interpolation": ["magic", "", "area", "LINEAR_EXACT", ESCAPES],
    "edgeailite.kind": ["", "int4", "float32", "INT8", ESCAPES, "int8", "float"],
    "edgeailite.argmax": ["", "full", "before_upsampling", "yes", ESCAPES],
    "edgeailite.tasks": ["{}", '{"segmentation": "depth"}', "[]", "x"],
    "edgeailite.kernels": ["x", "onnxruntime", ""],
    "edgeailite.scheme": ["x", "s8s8", "", ESCAPES],
    "edgeailite.weights_sha256": ["", "0" * 64, "x"],
    "edgeailite.wide": ["[]", "{}", "x", '["second"]'],
    "classes": ["", "a,b", ESCAPES, "," * 100_000],
    "palette": ["[]", "x", "[[1, 2]]", "[[256, 0, 0]]"],
}  # fmt: skip


def _metadata(world: World) -> Call:
    kind = _kind(world)
    model = network(kind)
    values = {entry.key: entry.value for entry in model.metadata_props}
    way = world.pick(("card", "plain", "any", "gone", "settings", "names", "plain", "more"))
    if way == "card":
        card, about = wreck(
            json.loads(values["edgeailite.card"]), world.rng, str(world.canary), times=world.rng.choice((1, 1, 2))
        )
        values["edgeailite.card"] = _text(card)
    elif way == "plain":
        about = world.rng.choice(list(PLAIN))
        values[about] = world.rng.choice(PLAIN[about])
    elif way == "names":
        card, about = json.loads(values["edgeailite.card"]), world.rng.choice(("classes", "model_name", "dataset_name"))
        bad = world.rng.choice((ESCAPES, "a\nerror: b", "\u202eab", "[bold]x", "x" * 10**6, "<script>", "\x9b2J"))
        card[about] = [bad, "b", "c"] if about == "classes" else bad
        values["edgeailite.card"] = json.dumps(card)
        values["classes"] = ",".join(card["classes"])
    elif way == "settings":
        settings = world.pick(_hostile_settings(world), after=8)
        values["edgeailite.session"], about = json.dumps(settings), str(settings)[:60]
        model.graph.node[0].name = "\ntouch owned\n"
    elif way == "gone":
        about = world.rng.choice(list(values))
        del values[about]
    elif way == "more":
        about, values = "many entries", values | {f"key{n}": ESCAPES for n in range(world.rng.choice((1, 50_000)))}
    else:
        about = world.rng.choice([*values, "edgeailite.session", "edgeailite.wide"])
        values[about] = _text(world.rng.choice(bad_values(str(world.canary))))
    wrong = way == "settings" or about in ("edgeailite.card", "input_size", "mean", "scale", "channel_order") and way == "gone"
    return _call(world, _set(model, values), f"{way}: {about}", kind, wrong=wrong)


# --- graphs


def _input(world: World, model: ModelProto, **shape: Any) -> None:
    del model.graph.input[:]
    kind = shape.pop("kind", TensorProto.FLOAT)
    model.graph.input.append(helper.make_tensor_value_info("image", kind, shape["shape"]))


def _output(world: World, model: ModelProto, shape: list[Any], kind: int = TensorProto.FLOAT) -> None:
    del model.graph.output[:]
    model.graph.output.append(helper.make_tensor_value_info("segmentation", kind, shape))


def _through(model: ModelProto, *nodes: Any, **values: np.ndarray) -> None:
    """Nodes between the last one and the output."""
    model.graph.node[-1].output[0] = "before"
    model.graph.node.extend(nodes)
    model.graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in values.items())


def _tile(world: World, model: ModelProto) -> None:
    """4 GB from a few bytes."""
    repeats = np.array([1, 1, 30_000, 30_000], np.int64)
    _through(model, helper.make_node("Tile", ["before", "repeats"], ["segmentation"]), repeats=repeats)
    _output(world, model, ["n", "c", "h", "w"])


def _loop(world: World, model: ModelProto) -> None:
    """A loop that does not end."""
    yes = helper.make_tensor_value_info("go", TensorProto.BOOL, [])
    count = helper.make_tensor_value_info("count", TensorProto.INT64, [])
    value = helper.make_tensor_value_info("value", TensorProto.FLOAT, None)
    again = helper.make_tensor_value_info("again", TensorProto.BOOL, [])
    out = helper.make_tensor_value_info("next", TensorProto.FLOAT, None)
    nodes = [helper.make_node("Identity", ["go"], ["again"]), helper.make_node("Identity", ["value"], ["next"])]
    body = helper.make_graph(nodes, "body", [count, yes, value], [again, out])
    loop = helper.make_node("Loop", ["", "forever", "before"], ["segmentation"], body=body)
    _through(model, loop, forever=np.array(True))


def _external(location: str) -> Change:
    def change(world: World, model: ModelProto) -> None:
        where = location.format(canary=world.canary)
        external_data_helper.set_external_data(model.graph.initializer[0], where)
        model.graph.initializer[0].ClearField("raw_data")
        model.graph.initializer[0].data_location = TensorProto.EXTERNAL

    return change


def _initializer(change: Callable[[World, np.ndarray], np.ndarray]) -> Change:
    def altered(world: World, model: ModelProto) -> None:
        at = world.rng.randrange(len(model.graph.initializer))
        tensor = model.graph.initializer[at]
        model.graph.initializer[at].CopyFrom(
            numpy_helper.from_array(change(world, numpy_helper.to_array(tensor)), tensor.name)
        )

    return altered


def _floats(value: float) -> Change:
    """All floating-point initialisers, or scales, become one value."""

    def change(world: World, model: ModelProto) -> None:
        for tensor in model.graph.initializer:
            if tensor.data_type == TensorProto.FLOAT:
                array = np.full_like(numpy_helper.to_array(tensor), value)
                tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))

    return change


def _lying_dims(dims: list[int]) -> Change:
    def change(world: World, model: ModelProto) -> None:
        tensor = world.rng.choice(model.graph.initializer)
        tensor.ClearField("dims")
        tensor.dims.extend(dims)

    return change


def _attribute(world: World, model: ModelProto) -> None:
    node = world.rng.choice([node for node in model.graph.node if node.attribute])
    attribute = world.rng.choice(node.attribute)
    if attribute.type == AttributeProto.INTS:
        attribute.ints[0] = world.rng.choice((-1, 0, 2**31, 2**62))
    else:
        attribute.s = world.rng.choice((b"", b"\xff\xfe", b"magic"))


def _rename(world: World, model: ModelProto) -> None:
    node = world.rng.choice(model.graph.node)
    field = world.rng.choice((node.input, node.output))
    field[0] = world.rng.choice(("", "nowhere", "image", ESCAPES, "x" * 100_000))


GRAPHS: dict[str, Change] = {
    "endless loop": _loop,
    "tile bomb": _tile,
    "external data above": _external("../canary/victim.txt"),
    "external data absolute": _external("{canary}/victim.txt"),
    "external data of a device": _external("/dev/zero"),
    "external data missing": _external("gone.bin"),
    "node gone": lambda world, model: model.graph.node.remove(world.rng.choice(model.graph.node)),
    "node twice": lambda world, model: model.graph.node.append(world.rng.choice(model.graph.node)),
    "nodes reversed": lambda world, model: model.graph.node.sort(key=lambda node: -len(node.output[0])),
    "no node": lambda world, model: model.graph.ClearField("node"),
    "no graph": lambda world, model: model.ClearField("graph"),
    "no opset": lambda world, model: model.ClearField("opset_import"),
    "opset 999": lambda world, model: setattr(model.opset_import[0], "version", 999),
    "opset -1": lambda world, model: setattr(model.opset_import[0], "version", -1),
    "opset 1": lambda world, model: setattr(model.opset_import[0], "version", 1),
    "IR 999": lambda world, model: setattr(model, "ir_version", 999),
    "IR -1": lambda world, model: setattr(model, "ir_version", -1),
    "unknown operator": lambda world, model: setattr(world.rng.choice(model.graph.node), "op_type", "Evil" + ESCAPES),
    "unknown domain": lambda world, model: setattr(world.rng.choice(model.graph.node), "domain", "evil"),
    "names that write": lambda world, model: [setattr(node, "name", ESCAPES + "\nerror: x") for node in model.graph.node],
    "name of an input": _rename,
    "name of an output": lambda world, model: setattr(model.graph.output[0], "name", world.rng.choice(("x", "", ESCAPES))),
    "attribute": _attribute,
    "no input": lambda world, model: model.graph.ClearField("input"),
    "no output": lambda world, model: model.graph.ClearField("output"),
    "two inputs": lambda world, model: model.graph.input.append(helper.make_tensor_value_info("image1", 1, [1, 3, HEIGHT, WIDTH])),
    "input flat": lambda world, model: _input(world, model, shape=[1, 3 * HEIGHT * WIDTH]),
    "input without shape": lambda world, model: _input(world, model, shape=None),
    "input without sides": lambda world, model: _input(world, model, shape=[]),
    "input of 5 sides": lambda world, model: _input(world, model, shape=[1, 1, 3, HEIGHT, WIDTH]),
    "input of 1 channel": lambda world, model: _input(world, model, shape=[1, 1, HEIGHT, WIDTH]),
    "input open": lambda world, model: _input(world, model, shape=["n", "c", "h", "w"]),
    "input of another size": lambda world, model: _input(world, model, shape=[1, 3, HEIGHT * 2, WIDTH]),
    "input of size 0": lambda world, model: _input(world, model, shape=[1, 3, 0, 0]),
    "input huge": lambda world, model: _input(world, model, shape=[1, 3, 2**31, 2**31]),
    "input negative": lambda world, model: _input(world, model, shape=[1, 3, -5, -5]),
    "batch of 8": lambda world, model: _input(world, model, shape=[8, 3, HEIGHT, WIDTH]),
    "input text": lambda world, model: _input(world, model, shape=[1, 3, HEIGHT, WIDTH], kind=TensorProto.STRING),
    "input float16": lambda world, model: _input(world, model, shape=[1, 3, HEIGHT, WIDTH], kind=TensorProto.FLOAT16),
    "input uint8": lambda world, model: _input(world, model, shape=[1, 3, HEIGHT, WIDTH], kind=TensorProto.UINT8),
    "output of other channels": lambda world, model: _output(world, model, [1, 5, HEIGHT, WIDTH]),
    "output open": lambda world, model: _output(world, model, ["a", "b", "c", "d"]),
    "output flat": lambda world, model: _through(
        model, helper.make_node("Flatten", ["before"], ["segmentation"])
    ) or _output(world, model, ["a", "b"]),
    "output a number": lambda world, model: _through(
        model, helper.make_node("ReduceMean", ["before"], ["segmentation"], keepdims=0)
    ) or _output(world, model, []),
    "output int64": lambda world, model: _through(
        model, helper.make_node("Cast", ["before"], ["segmentation"], to=TensorProto.INT64)
    ) or _output(world, model, [1, 3, HEIGHT, WIDTH], TensorProto.INT64),
    "output text": lambda world, model: _through(
        model, helper.make_node("Cast", ["before"], ["segmentation"], to=TensorProto.STRING)
    ) or _output(world, model, [1, 3, HEIGHT, WIDTH], TensorProto.STRING),
    "output labels": lambda world, model: _through(
        model, helper.make_node("ArgMax", ["before"], ["segmentation"], axis=1, keepdims=0)
    ) or _output(world, model, [1, HEIGHT, WIDTH], TensorProto.INT64),
    "output of nothing": lambda world, model: _through(
        model, helper.make_node("Slice", ["before", "zero", "zero", "axis"], ["segmentation"]),
        zero=np.array([0], np.int64), axis=np.array([1], np.int64),
    ) or _output(world, model, ["a", "b", "c", "d"]),
    "divided by zero": lambda world, model: _through(
        model, helper.make_node("Div", ["before", "zero"], ["segmentation"]), zero=np.float32(0)[None]
    ),
    "weights NaN": _floats(float("nan")),
    "weights 0": _floats(0.0),
    "weights infinite": _floats(float("inf")),
    "weights negative": _floats(-1.0),
    "weights denormal": _floats(1e-42),
    "weights of other shape": _initializer(lambda world, array: array.reshape(-1)),
    "weights of other type": _initializer(lambda world, array: array.astype(np.float64)),
    "weights of no value": _initializer(lambda world, array: array.reshape(-1)[:0]),
    "weights of random values": _initializer(lambda world, array: (array + world.rng.randrange(1, 200)).astype(array.dtype)),
    "lying sides": _lying_dims([2**31, 2**31]),
    "negative sides": _lying_dims([-1, -1]),
    "too many sides": _lying_dims([1] * 3000),
    "no initializer": lambda world, model: model.graph.ClearField("initializer"),
    "initializer twice": lambda world, model: model.graph.initializer.append(model.graph.initializer[0]),
    "cycle": lambda world, model: model.graph.node[0].input.__setitem__(0, model.graph.node[-1].output[0]),
    "100,000 nodes": lambda world, model: model.graph.node.extend(
        helper.make_node("Identity", ["image"], [f"i{n}"]) for n in range(100_000)
    ),
    "doc string": lambda world, model: setattr(model, "doc_string", "x" * 10**7),
    "producer": lambda world, model: setattr(model, "producer_name", ESCAPES),
}  # fmt: skip


WRONG = (
    "external data above", "external data absolute", "external data of a device", "external data missing", "no node", "no graph",
    "no opset", "unknown operator", "unknown domain", "no input", "no output", "two inputs", "input flat", "input of 5 sides",
    "input of 1 channel", "input text", "input of size 0", "input huge", "output of other channels", "output flat",
    "output a number", "output text", "output of nothing", "weights NaN", "weights infinite", "lying sides", "no initializer",
    "cycle",
)  # fmt: skip


def _graph(world: World) -> Call:
    kind = world.pick(("float", "int8"), after=len(GRAPHS))
    model = network(kind)
    about = world.pick(list(GRAPHS))
    GRAPHS[about](world, model)
    if world.rng.random() < 0.15:
        del model.metadata_props[:]
        about += ", no metadata"
    return _call(world, model.SerializeToString(), about, kind, wrong=about in WRONG or "no metadata" in about)


def _exported(world: World) -> Call:
    """`verify RUN` of a run whose file was altered behind its back."""
    run = world.seeds.copy(f"proven/{world.pick(('trained', 'quantized'))}", world.box / "run")
    file = next(run.glob("model*.onnx"))
    model = ModelProto.FromString(file.read_bytes())
    values = {entry.key: entry.value for entry in model.metadata_props}
    way = world.pick(("honest", "bytes", "entry", "gone", "node", "nothing"), after=2)
    content = file.read_bytes()
    if way == "bytes":
        content = damage(content, world.rng)[0]
    elif way in ("entry", "gone"):
        key = world.rng.choice(list(values))
        values[key] = _text(world.rng.choice(bad_values(str(world.canary))))
        content = _set(model, values if way == "entry" else {k: v for k, v in values.items() if k != key})
    elif way == "node":
        GRAPHS[world.rng.choice(("node gone", "no opset", "no input", "output open", "weights NaN"))](world, model)
        content = model.SerializeToString()
    file.unlink()
    if way != "nothing":
        file.write_bytes(content)
    line = ["verify", Path("run"), "--images", 1, "--sizes", 96, 160, "--threads", 1]
    return Call(f"{file.name}: {way}", line, honest=way == "honest", patience=4.0)


GROUPS = (
    Group("onnx-bytes", 12, _bytes),
    Group("onnx-metadata", 22, _metadata),
    Group("onnx-graph", 20, _graph),
    Group("onnx-run", 2, _exported, ("data", "files", "proven")),
)
