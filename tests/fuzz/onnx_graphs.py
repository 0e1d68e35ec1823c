"""ONNX graphs that are none, that lie about themselves, that never end or never fit; each changes an honest one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from onnx import AttributeProto, ModelProto, TensorProto, external_data_helper, helper, numpy_helper

from tests.fuzz.case import World
from tests.fuzz.mutate import ESCAPES
from tests.fuzz.seeds import HEIGHT, WIDTH

Change = Callable[[World, ModelProto], None]


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
    "names that write": lambda world,
    model: [setattr(node, "name", ESCAPES + "\nerror: x") for node in model.graph.node],
    "name of an input": _rename,
    "name of an output": lambda world,
    model: setattr(model.graph.output[0], "name", world.rng.choice(("x", "", ESCAPES))),
    "attribute": _attribute,
    "no input": lambda world, model: model.graph.ClearField("input"),
    "no output": lambda world, model: model.graph.ClearField("output"),
    "two inputs": lambda world,
    model: model.graph.input.append(helper.make_tensor_value_info("image1", 1, [1, 3, HEIGHT, WIDTH])),
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
    "weights of random values": _initializer(lambda world,
        array: (array + world.rng.randrange(1, 200)).astype(array.dtype)),
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
    "external data above", "external data absolute", "external data of a device", "external data missing", "no node",
    "no graph",
    "no opset", "unknown operator", "unknown domain", "no input", "no output", "two inputs", "input flat",
    "input of 5 sides",
    "input of 1 channel", "input text", "input of size 0", "input huge", "output of other channels", "output flat",
    "output a number", "output text", "output of nothing", "weights NaN", "weights infinite", "lying sides",
    "no initializer",
    "cycle",
)  # fmt: skip
