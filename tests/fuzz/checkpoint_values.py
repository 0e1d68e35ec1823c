"""Checkpoints whose archive is whole and whose values are not: cards, tensors, the state of training."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import torch

from tests.fuzz.case import Call, Group, World
from tests.fuzz.checkpoints import run_with
from tests.fuzz.mutate import ESCAPES, bad_values, places, plain, wreck

Values = dict[str, Any]


def _network(values: Values) -> Values:
    return values["state_dict"]


def _weight(world: World, values: Values) -> tuple[Values, str]:
    weights = _network(values)
    return weights, world.rng.choice([name for name, value in weights.items() if value.is_floating_point()])


def _strange_tensors(tensor: torch.Tensor) -> dict[str, Callable[[], Any]]:
    """What may stand where a weight is expected."""
    return {
        "NaN": lambda: torch.full_like(tensor, float("nan")),
        "one infinite": lambda: tensor.flatten().index_fill(0, torch.tensor([0]), torch.inf).view_as(tensor),
        "huge": lambda: torch.full_like(tensor, 3e38),
        "zeros": lambda: torch.zeros_like(tensor),
        "int64": lambda: tensor.long(),
        "float64": lambda: tensor.double(),
        "float16": lambda: tensor.half(),
        "bfloat16": lambda: tensor.bfloat16(),
        "complex": lambda: tensor.to(torch.complex64),
        "bool": lambda: tensor.bool(),
        "other shape": lambda: tensor.flatten()[:-1].clone(),
        "no dimension": lambda: torch.tensor(1.0),
        "empty": lambda: torch.zeros(0),
        "meta": lambda: tensor.to("meta"),
        "sparse": lambda: tensor.flatten().to_sparse(),
        "quantized": lambda: torch.quantize_per_tensor(tensor.float(), 0.1, 0, torch.qint8),
        "endless by strides": lambda: torch.zeros(1).expand(30_000, 30_000),
        "transposed": lambda: tensor.flatten().flip(0).view_as(tensor).contiguous(),
        "parameter": lambda: torch.nn.Parameter(tensor.float()),
        "a list": lambda: [1.0, 2.0],
        "a number": lambda: 3,
        "None": lambda: None,
        "text": lambda: "weights",
        "nested": lambda: {"w": tensor},
    }


TENSORS = tuple(_strange_tensors(torch.zeros(1)))


def _tensor(world: World, values: Values) -> str:
    weights, name = _weight(world, values)
    kind = world.pick(TENSORS, after=2)
    weights[name] = _strange_tensors(weights[name])[kind]()
    return f"tensor: {kind}"


def _all_tensors(world: World, values: Values) -> str:
    kind = world.rng.choice(("NaN", "zeros", "float16", "float64", "huge", "meta", "complex"))
    values["state_dict"] = {
        name: _strange_tensors(value)[kind]() if value.is_floating_point() else value
        for name, value in _network(values).items()
    }
    return f"all tensors: {kind}"


def _keys(world: World, values: Values) -> str:
    weights, name = _weight(world, values)
    key = world.rng.choice((5, "", ESCAPES, "x" * 70_000, "module." + name, None, (1, 2), b"bytes", True))
    weights[key] = weights.pop(name)
    return f"key {str(key)[:20]!r}"


def _top(world: World, values: Values) -> str:
    name = world.rng.choice(list(values))
    kind = world.rng.choice(("gone", "bad"))
    if kind == "gone":
        del values[name]
    else:
        values[name] = world.rng.choice([*bad_values(str(world.canary)), torch.zeros(3), torch.zeros(()), {1: 2}, {3}])
    return f"{name} {kind}"


def _part(name: str) -> Callable[[World, Values], str]:
    def change(world: World, values: Values) -> str:
        values[name], about = wreck(values[name], world.rng, str(world.canary), times=world.rng.choice((1, 1, 2)))
        return f"{name}: {about}"

    return change


CARDS: list[tuple[str, Callable[[Values], None]]] = [
    ("a million inputs", lambda card: card.update(options={"inputs": 10**6})),
    ("two inputs", lambda card: card.update(options={"inputs": 2})),
    ("no input", lambda card: card.update(options={"inputs": 0})),
    ("unknown option", lambda card: card.update(options={"colour": "red"})),
    ("a billion classes", lambda card: card.update(outputs={"segmentation": 10**9})),
    ("other classes", lambda card: card.update(outputs={"segmentation": 5})),
    ("no output", lambda card: card.update(outputs={})),
    ("many outputs", lambda card: card.update(outputs={f"segmentation{n}": 3 for n in range(3000)})),
    ("class names that write", lambda card: card.update(classes=[ESCAPES, "a\nerror: b", "x" * 10**6])),
    ("classes missing", lambda card: card.update(classes=["road"])),
    ("size 0", lambda card: card["preprocessing"].update(height=0)),
    ("size 10^9", lambda card: card["preprocessing"].update(height=10**9, width=10**9)),
    ("size 1", lambda card: card["preprocessing"].update(height=1, width=1)),
    ("mean NaN", lambda card: card["preprocessing"].update(mean=[float("nan")] * 3)),
    ("scale 0", lambda card: card["preprocessing"].update(scale=[0.0] * 3)),
    ("order", lambda card: card["preprocessing"].update(channel_order="RBG")),
    ("interpolation", lambda card: card["preprocessing"].update(interpolation="magic")),
    ("unknown network", lambda card: card.update(model_name="evil[bold]" + ESCAPES)),
    ("other network", lambda card: card.update(model_name="resnet18_c1")),
    ("data set", lambda card: card.update(dataset_name="../../etc")),
    ("path", lambda card: card.update(data_path="/dev/zero")),
    ("palette", lambda card: card.update(palette=[[300, -1, 0.5]] * 3)),
    ("range", lambda card: card.update(options={"output_range": {"segmentation": [5, -5]}})),
    ("range of nothing", lambda card: card.update(options={"output_range": {"depth": [0, float("nan")]}})),
]


def _card(world: World, values: Values) -> str:
    about, change = world.pick(CARDS, after=2)
    values["card"] = plain(values["card"])
    change(values["card"])
    return f"card: {about}"


CHANGES = (_card, _tensor, _part("card"), _top, _card, _tensor, _part("config"), _keys, _all_tensors)


WRONG = (
    *(f"tensor: {kind}" for kind in ("NaN", "one infinite", "complex", "other shape", "empty", "meta", "a list",
        "None", "text")),
    *(f"all tensors: {kind}" for kind in ("NaN", "meta", "complex")),
    *(f"card: {kind}" for kind in ("a million inputs", "no input", "a billion classes", "no output", "size 0",
        "size 10^9", "mean NaN",
                                   "order", "interpolation", "unknown network", "other network")),
)  # fmt: skip


def _values(world: World) -> Call:
    values = torch.load(world.seeds / "bare/last.pt", weights_only=True)
    about = world.pick(CHANGES)(world, values)
    file = io.BytesIO()
    torch.save(values, file)
    return run_with(world, file.getvalue(), about, wrong=about in WRONG)


def _state(world: World) -> Call:
    """The state of training of a run to go on with, and the scheme of a quantized one."""
    seed = world.pick(("trained", "quantized"))
    values = torch.load(world.seeds / seed / "last.pt", weights_only=True)
    part = "training" if seed == "trained" else world.rng.choice(("quantization", "quantization", "state_dict"))
    if part == "state_dict":
        about = world.pick((_tensor, _all_tensors))(world, values)
    else:
        inner = dict(values[part])
        found = [
            (container, key)
            for container, key in places(inner)
            if not isinstance(container.get(key) if isinstance(container, dict) else 0, torch.Tensor)
        ]
        container, key = world.rng.choice(found)
        if world.rng.random() < 0.25:
            del container[key]
        else:
            container[key] = world.rng.choice(
                [*bad_values(str(world.canary)), torch.zeros(2), torch.tensor(float("nan"))]
            )
        values[part], about = inner, f"{part}: {key}"
    file = io.BytesIO()
    torch.save(values, file)
    if seed == "quantized":
        return run_with(world, file.getvalue(), about, seed=seed)
    run = world.seeds.copy(seed, world.box / "run")
    for name in ("last.pt", "best.pt"):
        (run / name).unlink()
    (run / "last.pt").write_bytes(file.getvalue())
    return Call(about, ["train", "--resume", "run", "--workers", 0])


GROUPS = (
    Group("checkpoint-values", 18, _values, ("data", "files", "bare")),
    Group("checkpoint-state", 10, _state, ("data", "files", "quantized")),
)
