"""Checkpoints: damaged bytes, archives that lie, values and tensors of every wrong kind, foreign weights."""

from __future__ import annotations

import io
import pickle
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save as save_safetensors

from tests.fuzz.case import Call, Group, World
from tests.fuzz.mutate import ESCAPES, bad_values, damage, places, plain, raw_bomb, wreck
from tests.fuzz.seeds import TRAIN
from tests.fuzz.verbs import data, of_run

Values = dict[str, Any]


def _run(
    world: World, content: bytes, about: str, *, seed: str = "bare", honest: bool = False, wrong: bool = False
) -> Call:
    """A run folder whose last checkpoint is `content`, and a verb that opens it."""
    run = world.seeds.copy(seed, world.box / "run")
    for name in ("last.pt", "best.pt"):
        (run / name).unlink(missing_ok=True)
    (run / "last.pt").write_bytes(content)
    lines = of_run(world, Path("run"))
    if seed == "bare":
        lines = [line for line in lines if "--resume" not in line[0]]
    line, serves = world.rng.choice([*lines[:3], *lines])
    patience = 3.0 if line[0] in ("export", "verify", "analyze") else 1.0
    wrong = wrong and "--pretrained" not in line
    return Call(about, line, serves=serves, honest=honest, wrong=wrong, patience=patience)


# --- bytes


def _bytes(world: World) -> Call:
    whole = (world.seeds / "bare/last.pt").read_bytes()
    if world.number == 0:
        return _run(world, whole, "honest", honest=True)
    content, about = damage(whole, world.rng, beside=(world.seeds / "files/model.onnx").read_bytes())
    return _run(world, content, about)


# --- archives


class _Payload:
    """What a hostile pickle holds."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.target,)


def _entries(world: World) -> dict[str, bytes]:
    with zipfile.ZipFile(world.seeds / "bare/last.pt") as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def _archive(entries: dict[str, bytes], *, method: int = zipfile.ZIP_STORED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    return file.getvalue()


def _small(value: Any = None) -> bytes:
    file = io.BytesIO()
    torch.save({"format": 1, "card": {}, "state_dict": {}} if value is None else value, file)
    return file.getvalue()


def _pickled(world: World) -> bytes:
    """The list of contents altered, with a right checksum."""
    entries = _entries(world)
    name = next(name for name in entries if name.endswith("data.pkl"))
    entries[name] = damage(entries[name], world.rng)[0]
    return _archive(entries)


def _entry(world: World, change: Callable[[dict[str, bytes], str], None]) -> bytes:
    entries = _entries(world)
    change(entries, world.rng.choice(list(entries)))
    return _archive(entries)


def _pop(entries: dict[str, bytes], name: str) -> None:
    del entries[name]


def _shorter(entries: dict[str, bytes], name: str) -> None:
    entries[name] = entries[name][: len(entries[name]) // 2]


def _outside(entries: dict[str, bytes], name: str) -> None:
    entries["../../canary/victim.txt"] = b"owned"


def _overlapping(world: World) -> bytes:
    """Thousands of entries of the central directory that are one deflated gigabyte."""
    packed = raw_bomb(1024)
    sizes = (0, len(packed), 1 << 30)
    local = struct.pack("<4sHHHHHIIIHH", b"PK\3\4", 20, 0, 8, 0, 0, *sizes, 1, 0) + b"a" + packed
    names = [f"archive/data/{number}".encode() for number in range(2000)]
    head = struct.Struct("<4sHHHHHHIIIHHHHHII")
    central = b"".join(
        head.pack(b"PK\1\2", 20, 20, 0, 8, 0, 0, *sizes, len(name), 0, 0, 0, 0, 0, 0) + name for name in names
    )
    end = struct.pack("<4sHHHHIIH", b"PK\5\6", 0, 0, len(names), len(names), len(central), len(local), 0)
    return local + central + end


def _deep_pickle(world: World) -> bytes:
    return _archive({"archive/data.pkl": b"\x80\x02" + b"]" * 50_000 + b"a" * 49_999 + b".", "archive/version": b"3\n"})


def _huge_string(world: World) -> bytes:
    return _archive({"archive/data.pkl": b"\x80\x02X\xff\xff\xff\x7f" + b"x", "archive/version": b"3\n"})


def _lying_storage(world: World) -> bytes:
    """A tensor whose storage says to be larger than its entry."""
    data = _small({"format": 1, "state_dict": {"w": torch.zeros(70_000)}})
    return data.replace(struct.pack("<BI", 0x4A, 70_000), struct.pack("<BI", 0x4A, 900_000_000))


ARCHIVES: dict[str, Callable[[World], bytes]] = {
    "list of contents altered": _pickled,
    "list of contents altered again": _pickled,
    "entry gone": lambda world: _entry(world, _pop),
    "entry shorter": lambda world: _entry(world, _shorter),
    "entry outside": lambda world: _entry(world, _outside),
    "deflated": lambda world: _archive(_entries(world), method=zipfile.ZIP_DEFLATED),
    "bzip2": lambda world: _archive({"archive/data.pkl": b"\x80\x02}."}, method=zipfile.ZIP_BZIP2),
    "deflated bomb": lambda world: _archive(
        {"archive/data.pkl": bytes(200 << 20), "archive/version": b"3\n"}, method=zipfile.ZIP_DEFLATED
    ),
    "overlapping entries": _overlapping,
    "no entry": lambda world: _archive({}),
    "100,000 entries": lambda world: _archive({f"archive/data/{n}": b"" for n in range(100_000)}),
    "deep pickle": _deep_pickle,
    "huge string": _huge_string,
    "lying storage": _lying_storage,
    "code": lambda world: pickle.dumps({"state_dict": _Payload(world.canary / "owned")}),
    "code in an archive": lambda world: _archive(
        {"archive/data.pkl": pickle.dumps(_Payload(world.canary / "owned"), 2), "archive/version": b"3\n"}
    ),
    "zip in front": lambda world: _archive({"readme": b"x"}) + (world.seeds / "bare/last.pt").read_bytes(),
    "old form": lambda world: _old_form({"state_dict": {"w": torch.zeros(3)}}),
    "old form cut": lambda world: _old_form({"state_dict": {"w": torch.zeros(300)}})[:-700],
    "holds itself": lambda world: _small(_circle()),
}


def _old_form(values: Values) -> bytes:
    file = io.BytesIO()
    torch.save(values, file, _use_new_zipfile_serialization=False)
    return file.getvalue()


def _circle() -> Values:
    values: Values = {"format": 1}
    values["card"] = values["state_dict"] = values["config"] = values["training"] = values["quantization"] = values
    return values


def _archives(world: World) -> Call:
    about = world.pick(list(ARCHIVES))
    return _run(world, ARCHIVES[about](world), about)


# --- values


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
    *(f"tensor: {kind}" for kind in ("NaN", "one infinite", "complex", "other shape", "empty", "meta", "a list", "None", "text")),
    *(f"all tensors: {kind}" for kind in ("NaN", "meta", "complex")),
    *(f"card: {kind}" for kind in ("a million inputs", "no input", "a billion classes", "no output", "size 0", "size 10^9", "mean NaN",
                                   "order", "interpolation", "unknown network", "other network")),
)  # fmt: skip


def _values(world: World) -> Call:
    values = torch.load(world.seeds / "bare/last.pt", weights_only=True)
    about = world.pick(CHANGES)(world, values)
    file = io.BytesIO()
    torch.save(values, file)
    return _run(world, file.getvalue(), about, wrong=about in WRONG)


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
        return _run(world, file.getvalue(), about, seed=seed)
    run = world.seeds.copy(seed, world.box / "run")
    for name in ("last.pt", "best.pt"):
        (run / name).unlink()
    (run / "last.pt").write_bytes(file.getvalue())
    return Call(about, ["train", "--resume", "run", "--workers", 0])


# --- foreign weights


def _safetensors(world: World, header: bytes, body: bytes = b"", *, length: int | None = None) -> bytes:
    return struct.pack("<Q", len(header) if length is None else length) + header + body


HEADERS: list[tuple[bytes, int | None]] = [
    (b"{}", 2**63),
    (b"{}", 10**9),
    (b"", 0),
    (b"[]", None),
    (b'{"w":' * 20_000, None),
    (b'{"w":{"dtype":"F32","shape":[2],"data_offsets":[0,9000000000]}}', None),
    (b'{"w":{"dtype":"F32","shape":[1000000000,1000000000],"data_offsets":[0,8]}}', None),
    (b'{"w":{"dtype":"F32","shape":[-1],"data_offsets":[0,8]}}', None),
    (b'{"w":{"dtype":"X99","shape":[2],"data_offsets":[0,8]}}', None),
    (
        b'{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}',
        None,
    ),
    (b'{"w":{"dtype":"F32","shape":[2],"data_offsets":[8,0]}}', None),
    (b'{"__metadata__":{"a":5}}', None),
    (b"\xff\xfe{}", None),
]


def _foreign(world: World) -> Call:
    """Weights for --pretrained, of other tools or of none."""
    ways = ("header", "safetensors bytes", "values", "old pickle", "pair")
    way, name = world.pick(ways), "weights.pth"
    tensors = {"conv.weight": torch.ones(4, 3), "conv.bias": torch.ones(4)}
    if way == "header":
        header, length = world.pick(HEADERS, after=len(ways))
        content, name = _safetensors(world, header, bytes(8), length=length), "weights.safetensors"
    elif way == "safetensors bytes":
        content, name = damage(save_safetensors(tensors), world.rng)[0], "weights.safetensors"
    elif way == "old pickle":
        content = damage(pickle.dumps({"a": [1, 2.5, "x", {"b": None}]}, world.rng.choice((0, 1, 2, 4))), world.rng)[0]
    else:
        content = _small(
            wreck({"state_dict": tensors, "epoch": 3, "optimizer": {"state": [1]}}, world.rng, "x", times=2)[0]
        )
    files = [world.write(name, content)] * (2 if way == "pair" else 1)
    line = ["train", *data(world), "--save_path", "new", *TRAIN, "--dry_run", "True", "--pretrained", *files]
    return Call(f"foreign: {way}", line)


GROUPS = (
    Group("checkpoint-bytes", 8, _bytes, ("data", "files", "bare")),
    Group("checkpoint-archive", 8, _archives, ("data", "files", "bare")),
    Group("checkpoint-values", 18, _values, ("data", "files", "bare")),
    Group("checkpoint-state", 10, _state, ("data", "files", "quantized")),
    Group("checkpoint-foreign", 6, _foreign, ("data",)),
)
