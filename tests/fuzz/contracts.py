"""Contracts: damaged text, values of every wrong kind, packed pictures that lie, nothing to compare."""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Callable
from typing import Any

from tests.fuzz.case import Call, Group, World
from tests.fuzz.mutate import ESCAPES, bomb, damage_text, nested, wreck

Contract = dict[str, Any]


def _end(world: World) -> str:
    return world.pick(("", "_int8"))


def _load(world: World, end: str) -> Contract:
    return json.loads((world.seeds / f"files/contract{end}.json").read_text())


def _call(
    world: World, content: bytes | str, about: str, end: str, *, honest: bool = False, wrong: bool = False
) -> Call:
    """The contract beside its file: for `verify FILE contract`, now and then for a report of the folder."""
    file = world.write(f"model{end}.onnx", (world.seeds / f"files/model{end}.onnx").read_bytes())
    contract = world.write(f"contract{end}.json", content)
    line: list[object] = ["verify", file, contract, "--threads", 1]
    way = world.rng.random()
    if not (honest or wrong) and way < 0.15:
        line = ["report", file, "--data_path", world.seeds / "data", "--threads", 1]
    elif not honest and way < 0.5:
        line += ["--json", "True", "--skip_hash", "True"]
    return Call(about, line, honest=honest, wrong=wrong)


def _text(world: World) -> Call:
    end = _end(world)
    whole = (world.seeds / f"files/contract{end}.json").read_text()
    if world.number < 2:
        return _call(world, whole, "honest", end, honest=True)
    content, about = damage_text(whole, world.rng)
    return _call(world, content, about, end)


def _values(world: World) -> Call:
    end = _end(world)
    contract = _load(world, end)
    part = world.pick(("all", "golden", "picture", "preprocessing", "outputs", "all"), after=2)
    golden = contract["golden"][0]
    if part == "golden":
        contract["golden"][0], about = wreck(golden, world.rng, str(world.canary), times=world.rng.choice((1, 2)))
    elif part == "picture":
        golden["pictures"][0], about = wreck(golden["pictures"][0], world.rng, str(world.canary))
    elif part == "outputs":
        golden["outputs"], about = wreck(golden["outputs"], world.rng, str(world.canary))
    elif part == "preprocessing":
        contract[part], about = wreck(contract[part], world.rng, str(world.canary))
    else:
        contract, about = wreck(contract, world.rng, str(world.canary), times=world.rng.choice((1, 1, 3)))
    return _call(world, _json(contract), f"{part}: {about}", end)


def _json(value: Any) -> str:
    try:
        return json.dumps(value)
    except ValueError:  # more digits than Python writes
        return '{"format": ' + "9" * 5000 + "}"


def _packed(shape: list[Any], data: bytes) -> dict[str, Any]:
    return {"shape": shape, "zlib_base64": base64.b64encode(data).decode()}


def _picture(packed: Any) -> Callable[[Contract], None]:
    def change(contract: Contract) -> None:
        contract["golden"][0]["pictures"] = [packed]

    return change


def _labels(packed: Any) -> Callable[[Contract], None]:
    def change(contract: Contract) -> None:
        contract["golden"][0]["outputs"]["segmentation"]["labels"] = packed

    return change


def _output(**values: Any) -> Callable[[Contract], None]:
    return lambda contract: contract["golden"][0]["outputs"]["segmentation"].update(values)


def _golden(**values: Any) -> Callable[[Contract], None]:
    return lambda contract: contract["golden"][0].update(values)


def _top(**values: Any) -> Callable[[Contract], None]:
    return lambda contract: contract.update(values)


KINDS: dict[str, Callable[[Contract], None]] = {
    "no golden picture": _top(golden=[]),
    "golden is null": _top(golden=None),
    "a golden picture twice": lambda contract: contract["golden"].append(contract["golden"][0]),
    "a thousand golden pictures": lambda contract: contract.update(golden=contract["golden"] * 1000),
    "kind null": _top(kind=None),
    "kind 5": _top(kind=5),
    "other kind": lambda contract: contract.update(kind="int8" if contract["kind"] == "float" else "float"),
    "exact text": _top(exact="no"),
    "exact false": _top(exact=False),
    "format 1": _top(format=1),
    "format true": _top(format=True),
    "format 99": _top(format=99),
    "hash of something": _top(sha256="0" * 64),
    "hash a number": _top(sha256=12),
    "file outside": _top(file="../canary/victim.txt"),
    "file that writes": _top(file=ESCAPES + "\nerror: x"),
    "results deep": _top(results=nested(60)),
    "results of nothing": _top(results={"ALL": {"equal_argmax": "x"}, "EXTENDED": {"equal_argmax": None}, "sizes": 3}),
    "results that are not finite": _top(results={"ALL": {"equal_argmax": float("nan"), "max_difference": "x"}}),
    "order": lambda contract: contract["preprocessing"].update(channel_order="GRAY"),
    "size 0": lambda contract: contract["preprocessing"].update(height=0, width=0),
    "size text": lambda contract: contract["preprocessing"].update(height="32"),
    "preprocessing gone": lambda contract: contract.pop("preprocessing"),
    "preprocessing a list": _top(preprocessing=[1, 2]),
    "picture bomb": _picture(_packed([40_000, 40_000, 3], bomb(4578))),
    "picture bomb of one pixel": _picture(_packed([1, 1, 3], bomb(900))),
    "picture of no pixel": _picture(_packed([0, 0, 3], zlib.compress(b""))),
    "picture grey": _picture(_packed([4, 4], zlib.compress(bytes(16)))),
    "picture of 4 channels": _picture(_packed([2, 2, 4], zlib.compress(bytes(16)))),
    "picture with a negative side": _picture(_packed([-1, 2, 3], zlib.compress(bytes(12)))),
    "picture with sides of text": _picture(_packed(["2", "2", "3"], zlib.compress(bytes(12)))),
    "picture too short": _picture(_packed([9, 9, 3], zlib.compress(bytes(12)))),
    "picture no base64": _picture({"shape": [2, 2, 3], "zlib_base64": "§§§"}),
    "picture no zlib": _picture(_packed([2, 2, 3], b"not zlib")),
    "picture cut": _picture(_packed([2, 2, 3], zlib.compress(bytes(12))[:-5])),
    "picture null": _picture(None),
    "no picture": _golden(pictures=[]),
    "two pictures": lambda contract: contract["golden"][0].update(pictures=contract["golden"][0]["pictures"] * 2),
    "no image": _golden(images=[]),
    "labels bomb": _labels(_packed([1, 32, 48], bomb(900))),
    "labels of other shape": _labels(_packed([1, 2, 2], zlib.compress(bytes(4)))),
    "labels null": _labels(None),
    "labels lie": _labels(_packed([1, 32, 48], zlib.compress(bytes([9]) * 32 * 48))),
    "no output": _golden(outputs={}),
    "unknown output": _golden(outputs={"evil" + ESCAPES: {"shape": [1], "sha256": "", "std": 1, "sample": [0]}}),
    "std Infinity": _output(std=float("inf")),
    "std 1e9": _output(std=1e9),
    "std negative": _output(std=-1.0),
    "std text": _output(std="1"),
    "sample empty": _output(sample=[]),
    "sample long": _output(sample=[0.0] * 100_000),
    "sample text": _output(sample=["a"] * 64),
    "sample NaN": _output(sample=[float("nan")] * 64),
    "sample number": _output(sample=3),
    "shape text": _output(shape="1x3"),
    "shape huge": _output(shape=[10**9] * 4),
    "layers gone": lambda contract: contract["golden"][0].pop("layers"),
    "layers a number": _golden(layers=5),
    "layer of nothing": _golden(layers=[{}]),
    "layer unknown": _golden(layers=[{"tensor": "nowhere", "nodes": ["a"], "shape": [1], "sha256": "", "std": 1.0,
        "sample": [0.0]}]),
    "layer that writes": _golden(layers=[{"tensor": ESCAPES, "nodes": [ESCAPES, "\n"], "shape": [1], "sha256": "",
        "std": 1.0, "sample": [0.0]}]),
    "layer nodes null": _golden(layers=[{"tensor": "hidden", "nodes": None, "shape": [1], "sha256": "", "std": 1.0,
        "sample": [0.0]}]),
}  # fmt: skip


WRONG = (
    "no golden picture", "golden is null", "kind null", "kind 5", "other kind", "format 99", "order", "size 0",
    "size text",
    "preprocessing a list", "picture bomb", "picture bomb of one pixel", "picture of no pixel", "picture grey",
    "picture too short",
    "picture no base64", "picture no zlib", "picture cut", "picture null", "no picture", "two pictures", "no image",
    "labels bomb",
    "labels of other shape", "labels null", "labels lie", "no output", "unknown output", "std Infinity",
    "std negative", "std text",
    "sample empty", "sample text", "sample NaN", "sample number", "shape text", "shape huge",
)  # fmt: skip


def _kinds(world: World) -> Call:
    about = world.pick(list(KINDS))
    end = world.pick(("", "_int8"), after=len(KINDS))
    contract = _load(world, end)
    KINDS[about](contract)
    if about.startswith(("labels", "std", "sample", "layer", "shape")):  # is it looked at where something departs?
        for expected in contract["golden"][0]["outputs"].values():
            expected["sha256"] = "0" * 64
    return _call(world, _json(contract), about, end, wrong=about in WRONG)


GROUPS = (
    Group("contract-text", 8, _text, ("data", "files")),
    Group("contract-values", 16, _values, ("data", "files")),
    Group("contract-kinds", 8, _kinds, ("data", "files")),
)
