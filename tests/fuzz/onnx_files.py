"""ONNX files: damaged bytes, metadata that lies, graphs that are no graphs or never end."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from onnx import ModelProto, helper

from tests.fuzz.case import Call, Group, World
from tests.fuzz.mutate import ESCAPES, bad_values, damage, wreck
from tests.fuzz.onnx_graphs import GRAPHS, WRONG
from tests.fuzz.seeds import network
from tests.fuzz.verbs import of_file

COMPUTE = ("infer", "validate", "verify", "compare", "serve")  # verbs that use what the file gives


def _call(world: World, content: bytes, about: str, kind: str, *, honest: bool = False, wrong: bool = False) -> Call:
    file = world.write("model.onnx", content)
    contract = world.seeds / f"files/contract{'' if kind == 'float' else '_int8'}.json"
    lines = of_file(world, file, contract)
    line, serves = lines[0] if honest else world.rng.choice([*lines[:5], *lines])
    wrong = wrong and line[0] in COMPUTE and "--trace" not in line  # a trace compares forms and believes none
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
    "input_size": ["128.5x256", "0x0", "1000000000x1000000000", "64", "x", "64x64x64", "-5x5", "٣٢x٤٨", "1x1",
        "9x" + "9" * 5000, "33x48"],
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
    wrong = way == "settings" or (
        about in ("edgeailite.card", "input_size", "mean", "scale", "channel_order") and way == "gone"
    )
    return _call(world, _set(model, values), f"{way}: {about}", kind, wrong=wrong)


def _graph(world: World) -> Call:
    kind = world.pick(("float", "int8"), after=len(GRAPHS))
    model = network(kind)
    about = world.pick(list(GRAPHS))
    GRAPHS[about](world, model)
    if world.rng.random() < 0.15:
        del model.metadata_props[:]
        about += ", no metadata"
    return _call(
        world,
        model.SerializeToString(),
        about,
        kind,
        wrong=about in WRONG or "no metadata" in about or (kind, about) == ("int8", "weights 0"),
    )


def _exported(world: World) -> Call:
    """`verify RUN` of a run whose file was altered behind its back."""
    run = world.seeds.copy(f"exported/{world.pick(('trained', 'quantized'))}", world.box / "run")
    file = next(run.glob("model*.onnx"))
    model = ModelProto.FromString(file.read_bytes())
    values = {entry.key: entry.value for entry in model.metadata_props}
    way = world.pick(("honest", "bytes", "entry", "gone", "node", "nothing"), after=2)
    content, key = file.read_bytes(), ""
    if way == "bytes":
        content = damage(content, world.rng)[0]
    elif way in ("entry", "gone"):
        key = world.rng.choice(list(values))
        values[key] = _text(world.rng.choice(bad_values(str(world.canary))))
        content = _set(model, values if way == "entry" else {k: v for k, v in values.items() if k != key})
    elif way == "node":
        GRAPHS[world.rng.choice(("node gone", "no opset", "no input", "two inputs", "weights NaN"))](world, model)
        content = model.SerializeToString()
    file.unlink()
    if way != "nothing":
        file.write_bytes(content)
    line = ["verify", Path("run"), "--images", 1, "--sizes", 96, 160, "--threads", 1]
    wrong = (way in ("entry", "gone") and key != "edgeailite.version") or way == "node"
    return Call(f"{file.name}: {way} {key}", line, honest=way == "honest", wrong=wrong, patience=4.0)


GROUPS = (
    Group("onnx-bytes", 12, _bytes),
    Group("onnx-metadata", 22, _metadata),
    Group("onnx-graph", 20, _graph),
    Group("onnx-run", 2, _exported, ("data", "files", "exported")),
)
