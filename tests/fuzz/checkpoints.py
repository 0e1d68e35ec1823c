"""Checkpoints: damaged bytes, archives that lie, foreign weights."""

from __future__ import annotations

import io
import pickle
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save as save_safetensors

from tests.fuzz.case import Call, Group, World
from tests.fuzz.mutate import damage, raw_bomb, wreck
from tests.fuzz.seeds import TRAIN
from tests.fuzz.verbs import data, of_run

Values = dict[str, Any]


def run_with(
    world: World, content: bytes, about: str, *, seed: str = "bare", honest: bool = False, wrong: bool = False
) -> Call:
    """A run folder whose last checkpoint is `content`, and a verb that opens it."""
    run = world.seeds.copy(seed, world.box / "run")
    for name in ("last.pt", "best.pt"):
        (run / name).unlink(missing_ok=True)
    (run / "last.pt").write_bytes(content)
    lines = of_run(world, Path("run"))
    if seed == "bare":
        lines = [line for line in lines if line[0][0] != "verify" and "--resume" not in line[0]]
    line, serves = world.rng.choice([*lines[:3], *lines])
    patience = 3.0 if line[0] in ("export", "verify", "analyze", "bench") else 1.0
    wrong = wrong and "--pretrained" not in line
    return Call(about, line, serves=serves, honest=honest, wrong=wrong, patience=patience)


# --- bytes


def _bytes(world: World) -> Call:
    whole = (world.seeds / "bare/last.pt").read_bytes()
    if world.number == 0:
        return run_with(world, whole, "honest", honest=True)
    content, about = damage(whole, world.rng, beside=(world.seeds / "files/model.onnx").read_bytes())
    return run_with(world, content, about)


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


def _zip(entries: list[tuple[str, bytes, int, int]], *, times: int = 1) -> bytes:
    """An archive of (name, deflated content, its checksum, its size); each is listed `times` times."""
    body, central = b"", b""
    for name, packed, checksum, size in entries:
        about = struct.pack("<HHHHIIIHH", 0x800, 8, 0, 0x21, checksum, len(packed), size, len(name), 0)
        row = b"PK\1\2\x14\0\x14\0" + about + struct.pack("<HHHII", 0, 0, 0, 0, len(body)) + name.encode()
        body += b"PK\3\4\x14\0" + about + name.encode() + packed
        central += row * times
    count = len(entries) * times
    return body + central + struct.pack("<4sHHHHIIH", b"PK\5\6", 0, 0, count, count, len(central), len(body), 0)


def _zeros(megabytes: int) -> tuple[bytes, int, int]:
    """So many megabytes deflated, their checksum, their size."""
    checksum, block = 0, bytes(1 << 20)
    for _ in range(megabytes):
        checksum = zlib.crc32(block, checksum)
    return raw_bomb(megabytes), checksum, megabytes << 20


def _overlapping(world: World) -> bytes:
    """Two thousand entries that are one, of 256 deflated megabytes."""
    return _zip([("archive/data/0", *_zeros(256))], times=2000)


def _deflated_storage(world: World) -> bytes:
    """A tensor of two gigabytes in a file of two megabytes."""
    with zipfile.ZipFile(io.BytesIO(_small({"format": 1, "state_dict": {"w": torch.zeros(70_000)}}))) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    rows = []
    for name, content in entries.items():
        content = content.replace(struct.pack("<BI", 0x4A, 70_000), struct.pack("<BI", 0x4A, 2 << 28))
        packer = zlib.compressobj(9, zlib.DEFLATED, -15)
        packed = packer.compress(content) + packer.flush()
        rows.append((name, *(_zeros(2048) if name.endswith("data/0") else (packed, zlib.crc32(content), len(content)))))
    return _zip(rows)


def _deep_pickle(world: World) -> bytes:
    return _archive({"archive/data.pkl": b"\x80\x02" + b"]" * 50_000 + b"a" * 49_999 + b".", "archive/version": b"3\n"})


def _huge_string(world: World) -> bytes:
    return _archive({"archive/data.pkl": b"\x80\x02X\xff\xff\xff\x7f" + b"x", "archive/version": b"3\n"})


def _lying_storage(world: World) -> bytes:
    """A tensor whose storage says to be larger than its entry."""
    with zipfile.ZipFile(io.BytesIO(_small({"format": 1, "state_dict": {"w": torch.zeros(70_000)}}))) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    size = world.rng.choice((900_000_000, 70_001, 2**31 - 1))
    old, new = (struct.pack("<BI", 0x4A, number) for number in (70_000, size))
    return _archive({name: content.replace(old, new) for name, content in entries.items()})


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
    "deflated storage": _deflated_storage,
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
    return run_with(world, ARCHIVES[about](world), about)


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
    Group("checkpoint-foreign", 6, _foreign, ("data",)),
)
