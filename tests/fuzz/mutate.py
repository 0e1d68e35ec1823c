"""Making bytes, text and plain values wrong: what a careless tool, a bad disk or a hostile person would do to them."""

from __future__ import annotations

import copy
import random
import struct
import zlib
from collections.abc import Iterator
from typing import Any

ESCAPES = "\x1b[2J\x1b]0;owned\x07"
LONG = 100_000


def nested(depth: int) -> Any:
    """Lists in lists."""
    value: Any = 0
    for _ in range(depth):
        value = [value]
    return value


def raw_bomb(megabytes: int) -> bytes:
    """A deflate stream that becomes so many megabytes of zeros."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    block = packer.compress(bytes(1 << 20)) + packer.flush(zlib.Z_FULL_FLUSH)
    return block * megabytes + packer.flush()


def bomb(megabytes: int) -> bytes:
    """A zlib stream that becomes so many megabytes of zeros, with the right checksum."""
    return b"\x78\xda" + raw_bomb(megabytes) + struct.pack(">HH", (megabytes << 20) % 65521, 1)


def bad_values(canary: str) -> list[Any]:
    """Values of every wrong kind; `canary` is a path that must not be written."""
    return [
        None, True, False, 0, -1, 1, 2, 255, 256, 2**31, 2**63, -(2**63) - 1, 10**9, 10**30, 10**400, 0.0, -0.5, 0.5,
        1e-320, 1e308, float("nan"), float("inf"), float("-inf"), "", " ", "0", "-1", "1e9", "NaN", "None", "x",
        "x" * LONG, ESCAPES, "two\nerror: lines", "\r", "\0", "\u202e\u2028", "\ud800", "é", "e\u0301",
        "%s%n{0.__class__}", "<script>alert(1)</script>", "[bold red]x[/]", "../../canary/victim.txt", canary,
        "/dev/zero",
        "--json", [], {}, [[]], [None], [1, 2], [1.5] * 3, ["a"] * 300, [0] * 20_000, {"": ""}, {"a": {"b": [1]}},
        nested(50),
    ]  # fmt: skip


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every (container, key) inside plain values."""
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in list(pairs):
        yield value, key
        yield from places(inner)


def plain(value: Any) -> Any:
    """A copy with tuples as lists, so that every place can be changed."""
    if isinstance(value, dict):
        return {key: plain(inner) for key, inner in value.items()}
    return [plain(inner) for inner in value] if isinstance(value, list | tuple) else value


def wreck(value: Any, rng: random.Random, canary: str, *, times: int = 1) -> tuple[Any, str]:
    """A copy of plain values with something wrong at `times` places, and what it was."""
    value, said = copy.deepcopy(plain(value)), []
    for _ in range(times):
        found = list(places(value))
        if not found:
            break
        container, key = rng.choice(found)
        way = rng.choice(("value", "value", "value", "type", "missing", "twice", "swapped", "key"))
        said.append(f"{way} {str(key)[:20]!r}")
        _change(container, key, way, rng, canary)
    return value, ", ".join(said) or "unchanged"


def _change(container: Any, key: Any, way: str, rng: random.Random, canary: str) -> None:
    old = container[key]
    if way == "missing":
        del container[key]
    elif way == "twice" and isinstance(container, list):
        container.insert(key, copy.deepcopy(old))
    elif way == "swapped":
        other = rng.choice(list(container) if isinstance(container, dict) else range(len(container)))
        container[key], container[other] = container[other], old
    elif way == "key" and isinstance(container, dict):
        container[rng.choice(("", "x" * 300, ESCAPES, "__class__", f"{key} "))] = container.pop(key)
    elif way == "type":
        container[key] = rng.choice(([old], {"value": old}, str(old), repr(old).encode().decode("latin-1"), [old] * 3))
    else:
        container[key] = rng.choice(bad_values(canary))


def damage(data: bytes, rng: random.Random, *, beside: bytes = b"") -> tuple[bytes, str]:
    """Damaged bytes, and how; `beside` is another file that parts may be taken from."""
    way = rng.choice(tuple(BYTES))
    start = _place(data, rng)
    return BYTES[way](data, start, rng, beside), way


def _place(data: bytes, rng: random.Random) -> int:
    """Mostly near the begin or the end, where headers and tables are."""
    size = max(1, len(data))
    near = rng.choice((64, 1024, 16_384, size))
    return rng.choice((rng.randrange(min(near, size)), size - 1 - rng.randrange(min(near, size))))


def _flip(data: bytes, start: int, rng: random.Random, beside: bytes) -> bytes:
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 3, 20))):
        at = _place(data, rng)
        if at < len(changed):
            changed[at] ^= 1 << rng.randrange(8)
    return bytes(changed)


def _number(data: bytes, start: int, rng: random.Random, beside: bytes) -> bytes:
    width = rng.choice((1, 2, 4, 8))
    value = rng.choice((0, 1, 2 ** (8 * width) - 1, 2 ** (8 * width - 1), 2 ** (8 * width - 1) - 1))
    return data[:start] + value.to_bytes(width, rng.choice(("little", "big"))) + data[start + width :]


BYTES: dict[str, Any] = {
    "cut off": lambda data, start, rng, beside: data[:start],
    "bits flipped": _flip,
    "bits flipped again": _flip,
    "number changed": _number,
    "number changed again": _number,
    "zeros": lambda data, start, rng, beside: data[:start] + bytes(rng.randrange(1, 400)) + data[start + 400 :],
    "noise": lambda data, start, rng, beside: data[:start] + rng.randbytes(rng.randrange(1, 64)) + data[start + 64 :],
    "inserted": lambda data, start, rng, beside: data[:start] + rng.randbytes(rng.randrange(1, 64)) + data[start:],
    "taken out": lambda data, start, rng, beside: data[:start] + data[start + rng.randrange(1, 64) :],
    "repeated": lambda data, start, rng, beside: data[:start] + data[max(0, start - 300) :],
    "spliced": lambda data, start, rng, beside: data[:start] + (beside or data)[_place(beside or data, rng) :],
    "empty": lambda data, start, rng, beside: b"",
    "one byte": lambda data, start, rng, beside: data[:1],
    "all noise": lambda data, start, rng, beside: rng.randbytes(min(len(data), 5000)),
    "other file": lambda data, start, rng, beside: beside or b"\x7fELF" + data,
    "as text": lambda data, start, rng, beside: b"<html><body>Sign in</body></html>",
    "much behind": lambda data, start, rng, beside: data + bytes(1 << 20),
    "much before": lambda data, start, rng, beside: b"\n" * 4096 + data,
}


def damage_text(text: str, rng: random.Random) -> tuple[bytes, str]:
    """Damaged text as bytes, and how: encodings, line ends, control characters, and the damage of `damage`."""
    ways = (*TEXTS, "bytes", "bytes")
    way = rng.choice(ways)
    if way == "bytes":
        return damage(text.encode(), rng)
    return TEXTS[way](text, rng), way


def _somewhere(text: str, rng: random.Random, what: str) -> bytes:
    at = rng.randrange(len(text) + 1)
    return (text[:at] + what + text[at:]).encode("utf-8", "surrogatepass")


def _lines(text: str, rng: random.Random) -> bytes:
    lines = text.splitlines(keepends=True)
    rng.shuffle(lines)
    return "".join(lines).encode()


def _line_twice(text: str, rng: random.Random) -> bytes:
    lines = text.splitlines(keepends=True) or [""]
    return "".join([*lines, rng.choice(lines)]).encode()


TEXTS: dict[str, Any] = {
    "byte-order mark": lambda text, rng: b"\xef\xbb\xbf" + text.encode(),
    "UTF-16": lambda text, rng: text.encode("utf-16"),
    "UTF-32": lambda text, rng: text.encode("utf-32"),
    "latin-1 byte": lambda text, rng: _somewhere(text, rng, "§").replace("§".encode(), b"\xe9\xff"),
    "lone surrogate": lambda text, rng: _somewhere(text, rng, "\ud83d"),
    "zero byte": lambda text, rng: _somewhere(text, rng, "\0"),
    "escape codes": lambda text, rng: _somewhere(text, rng, ESCAPES),
    "CR LF": lambda text, rng: text.replace("\n", "\r\n").encode(),
    "CR alone": lambda text, rng: text.replace("\n", "\r").encode(),
    "tabs": lambda text, rng: text.replace("  ", "\t").encode(),
    "half a quote": lambda text, rng: _somewhere(text, rng, '"'),
    "comma": lambda text, rng: _somewhere(text, rng, ","),
    "brackets": lambda text, rng: _somewhere(text, rng, rng.choice("[]{}()")),
    "deep brackets": lambda text, rng: _somewhere(text, rng, "[" * 100_000),
    "deep braces": lambda text, rng: b'{"a":' * 50_000 + b"1" + b"}" * 50_000,
    "endless number": lambda text, rng: _somewhere(text, rng, "9" * 6000),
    "endless line": lambda text, rng: _somewhere(text, rng, "a" * 3_000_000),
    "line separator": lambda text, rng: _somewhere(text, rng, "\u2028"),
    "lines shuffled": _lines,
    "a line twice": _line_twice,
    "nothing": lambda text, rng: b"",
    "blanks": lambda text, rng: b" \n\t\n" * 20,
    "not a number": lambda text, rng: _somewhere(text, rng, rng.choice(("NaN", "-Infinity", ".inf", "1e999", "nan"))),
    "comment": lambda text, rng: _somewhere(text, rng, "#"),
}
