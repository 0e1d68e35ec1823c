"""Reads the protocol buffers of an ONNX file without the onnx package: nodes, constants, inputs, outputs, metadata.

Field numbers are those of onnx.proto. Only the fields that the package needs are read. A message that comes twice is
merged, as protocol buffers do, and every list has a limit, so that a small file cannot become a large one in memory.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

MOST_FIELDS = 2_000_000
MOST_NODES = 20_000  # the largest networks of ours have about 3,000
MOST_DIMS = 16
GRAPHS = (5, 10)  # types of attributes that hold graphs
EXTERNAL = 1  # TensorProto.data_location
TO_LAST, TO_FIRST = (0, 2, 3, 1), (0, 3, 1, 2)  # permutations that move the channels of (N,C,H,W) and (N,H,W,C)

Value = int | memoryview
Attribute = Any  # int, float, bytes, Tensor, or a tuple of numbers or bytes; None for what is not read


class Damaged(ValueError):
    """An error in the bytes of a file; the file's reader adds the name and makes a DataError of it."""


@dataclass(frozen=True, slots=True)
class Tensor:
    """A constant. `typed` holds the numbers of fields by type, where the file does not have raw bytes."""

    name: str
    data_type: int
    dims: tuple[int, ...]
    raw: memoryview | None
    typed: Mapping[int, tuple[memoryview, ...]]
    external: Mapping[str, str] | None


@dataclass(frozen=True, slots=True)
class Node:
    """An operator; `graphs`: whether it holds graphs of its own, as If and Loop do."""

    op: str
    domain: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Attribute]
    graphs: bool

    @property
    def label(self) -> str:
        """Name of the node in messages."""
        return self.name or (self.outputs[0] if self.outputs else self.op)


@dataclass(frozen=True, slots=True)
class Port:
    """An input or output of the graph: type of its elements and sides, whole numbers where they are fixed."""

    name: str
    element: int
    shape: tuple[int | str, ...] | None

    @property
    def channels_last(self) -> bool:
        """Whether this is an input for pictures (N,H,W,3), as TensorFlow has them, not (N,3,H,W)."""
        shape = self.shape or ()
        return len(shape) == 4 and shape[3] == 3 and shape[1] != 3

    def picture_shape(self, batch: int, size: tuple[int, int]) -> tuple[int, int, int, int]:
        """Return the shape of so many pictures of this (height, width), as this input takes them.

        >>> Port("x", 1, (1, "h", "w", 3)).picture_shape(2, (64, 96))
        (2, 64, 96, 3)
        """
        return (batch, *size, 3) if self.channels_last else (batch, 3, *size)


@dataclass(frozen=True)
class Graph:
    """The parsed graph of an ONNX file."""

    nodes: tuple[Node, ...]
    constants: Mapping[str, Tensor]
    inputs: tuple[Port, ...]  # without those that constants give values to
    outputs: tuple[Port, ...]
    metadata: Mapping[str, str]
    opsets: Mapping[str, int]
    function_domains: frozenset[str]
    sparse: bool


@dataclass
class _Reader:
    """Counts fields over the whole file."""

    left: int = MOST_FIELDS
    nodes: list[Node] = field(default_factory=list)
    constants: dict[str, Tensor] = field(default_factory=dict)

    def fields(self, data: memoryview) -> Iterator[tuple[int, Value]]:
        """Number and value of each field: an integer, or bytes (also of fixed numbers)."""
        position, end = 0, len(data)
        while position < end:
            self.left -= 1
            if self.left < 0:
                raise Damaged(f"more than {MOST_FIELDS} fields")
            tag, position = _varint(data, position)
            kind = tag & 7
            if tag >> 3 == 0:
                raise Damaged(f"a field of number 0 at byte {position - 1}")
            if kind == 0:
                value, position = _varint(data, position)
                yield tag >> 3, value
                continue
            if kind == 2:
                size, position = _varint(data, position)
            elif kind in (1, 5):
                size = 8 if kind == 1 else 4
            else:
                raise Damaged(f"a field of kind {kind} at byte {position}")
            if size > end - position:
                raise Damaged("it ends within a field")
            yield tag >> 3, data[position : position + size]
            position += size


def parse(data: bytes) -> Graph:
    """Parse the graph and metadata of a file. Raises Damaged for bytes that are no ONNX model."""
    reader = _Reader()
    parts: list[memoryview] = []
    metadata: dict[str, str] = {}
    opsets: dict[str, int] = {}
    domains = set()
    for number, value in reader.fields(memoryview(data)):
        if number == 7:
            parts.append(_bytes(value))
        elif number == 14:
            key, text = _entry(reader, value)
            if key in metadata:
                raise Damaged("metadata with one name twice")
            metadata[key] = text
        elif number == 8:
            single = _last(reader, value)
            opsets[_text(single.get(1, b""))] = _signed(single.get(2, 0))
        elif number == 25:
            domains.add(_text(_last(reader, value).get(10, b"")))
    if not parts:
        raise Damaged("it holds no ONNX graph")
    whole = parts[0] if len(parts) == 1 else memoryview(b"".join(parts))
    return _graph(reader, whole, metadata, opsets, frozenset(domains))


def _graph(
    reader: _Reader, data: memoryview, metadata: Mapping[str, str], opsets: Mapping[str, int], domains: frozenset[str]
) -> Graph:
    inputs, outputs, sparse = [], [], False
    for number, value in reader.fields(data):
        if number == 1:
            reader.nodes.append(_node(reader, _bytes(value)))
            if len(reader.nodes) > MOST_NODES:
                raise Damaged(f"more than {MOST_NODES} nodes")
        elif number == 5:
            tensor = _tensor(reader, _bytes(value))
            if tensor.name in reader.constants:
                raise Damaged("two constants of one name")
            reader.constants[tensor.name] = tensor
        elif number == 11:
            inputs.append(_port(reader, _bytes(value)))
        elif number == 12:
            outputs.append(_port(reader, _bytes(value)))
        elif number == 15:
            sparse = True
    fed = tuple(port for port in inputs if port.name not in reader.constants)
    nodes, constants = tuple(reader.nodes), reader.constants
    return Graph(nodes, constants, fed, tuple(outputs), metadata, opsets, domains, sparse)


def _node(reader: _Reader, data: memoryview) -> Node:
    texts: dict[int, str] = {}
    inputs, outputs, graphs = [], [], False
    attributes: dict[str, Attribute] = {}
    for number, value in reader.fields(data):
        if number == 1:
            inputs.append(_text(value))
        elif number == 2:
            outputs.append(_text(value))
        elif number in (3, 4, 7):
            texts[number] = _text(value)
        elif number == 5:
            name, attribute, holds_graph = _attribute(reader, _bytes(value))
            if name in attributes:
                raise Damaged("an operator with one attribute twice")
            attributes[name] = attribute
            graphs |= holds_graph
    domain = texts.get(7, "")
    return Node(
        texts.get(4, ""),
        "" if domain == "ai.onnx" else domain,
        texts.get(3, ""),
        tuple(inputs),
        tuple(outputs),
        attributes,
        graphs,
    )


def _attribute(reader: _Reader, data: memoryview) -> tuple[str, Attribute, bool]:
    """Name, value, and whether it holds a graph."""
    single: dict[int, Value] = {}
    many: dict[int, list[Value]] = {7: [], 8: [], 9: []}
    graphs = False
    for number, value in reader.fields(data):
        graphs |= number in (6, 11)
        if number in many:
            many[number].append(value)
        else:
            single[number] = value
    kind = _signed(single.get(20, 0))
    name = _text(single.get(1, b""))
    value_of: Attribute = None
    if kind == 1:
        value_of = _float(single.get(2, b"\0\0\0\0"))
    elif kind == 2:
        value_of = _signed(single.get(3, 0))
    elif kind == 3:
        value_of = bytes(_bytes(single.get(4, b"")))
    elif kind == 4:
        value_of = _tensor(reader, _bytes(single.get(5, b"")))
    elif kind == 6:
        value_of = tuple(number for value in many[7] for number in _floats(value))
    elif kind == 7:
        value_of = tuple(_signed(number) for value in many[8] for number in _integers(value))
    elif kind == 8:
        value_of = tuple(bytes(_bytes(value)) for value in many[9])
    return name, value_of, graphs or kind in GRAPHS


def _tensor(reader: _Reader, data: memoryview) -> Tensor:
    dims: list[int] = []
    single: dict[int, Value] = {}
    typed: dict[int, list[memoryview]] = {}
    outside: dict[str, str] = {}
    for number, value in reader.fields(data):
        if number == 1:
            dims += (_signed(side) for side in _integers(value))
            if len(dims) > MOST_DIMS:
                raise Damaged(f"a constant with more than {MOST_DIMS} sides")
        elif number in (4, 5, 7, 10, 11):
            typed.setdefault(number, []).append(_packed(value))
        elif number == 13:
            key, text = _entry(reader, value)
            outside[key] = text
        else:
            single[number] = value
    raw = single.get(9)
    external = outside if outside or _signed(single.get(14, 0)) == EXTERNAL else None
    return Tensor(
        _text(single.get(8, b"")),
        _signed(single.get(2, 0)),
        tuple(dims),
        None if raw is None else _bytes(raw),
        {number: tuple(values) for number, values in typed.items()},
        external,
    )


def _port(reader: _Reader, data: memoryview) -> Port:
    """ValueInfoProto: name, then TypeProto.tensor_type with element type and shape."""
    info = _last(reader, data)
    kind = _last(reader, _last(reader, info.get(2, b"")).get(1, b""))
    shape = kind.get(2)
    sides: list[int | str] = []
    for number, value in reader.fields(_bytes(shape if shape is not None else b"")):
        if number == 1:
            side = _last(reader, value)
            sides.append(_signed(side[1]) if 1 in side else _text(side.get(2, b"")))
    return Port(_text(info.get(1, b"")), _signed(kind.get(1, 0)), None if shape is None else tuple(sides))


def _entry(reader: _Reader, value: Value) -> tuple[str, str]:
    single = _last(reader, value)
    return _text(single.get(1, b"")), _text(single.get(2, b""))


def _last(reader: _Reader, value: Value | bytes) -> dict[int, Value]:
    """Return the last value of each field, which is the valid one where protocol buffers expect a single value."""
    return dict(reader.fields(_bytes(value)))


def _varint(data: memoryview, position: int) -> tuple[int, int]:
    result = shift = 0
    while True:
        if position >= len(data) or shift > 63:
            raise Damaged("it ends within a number")
        byte = data[position]
        position += 1
        result |= (byte & 0x7F) << shift
        if byte < 0x80:
            return result & 0xFFFFFFFFFFFFFFFF, position
        shift += 7


def _bytes(value: Value | bytes) -> memoryview:
    if isinstance(value, int):
        raise Damaged("a number where text or a message belongs")
    return memoryview(value)


def _packed(value: Value) -> memoryview:
    """A number that comes alone, in the form of those that come together."""
    if isinstance(value, memoryview):
        return value
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return memoryview(bytes((*out, value)))


def _text(value: Value | bytes) -> str:
    try:
        return str(_bytes(value), "utf-8")
    except UnicodeDecodeError:
        raise Damaged("text that is not UTF-8") from None


def _signed(value: Value | bytes) -> int:
    """64 bits as a number with a sign."""
    if not isinstance(value, int):
        raise Damaged("bytes where a number belongs")
    return value - (1 << 64) if value >> 63 else value


def _integers(value: Value) -> Iterator[int]:
    """Numbers, alone or packed."""
    if isinstance(value, int):
        yield value
        return
    position = 0
    while position < len(value):
        number, position = _varint(value, position)
        yield number


def integers(parts: tuple[memoryview, ...]) -> list[int]:
    """Return all numbers of a packed field, with their sign."""
    return [_signed(number) for part in parts for number in _integers(part)]


def _float(value: Value | bytes) -> float:
    data = _bytes(value)
    if len(data) != 4:
        raise Damaged("a number of another size")
    return float(struct.unpack("<f", data)[0])


def _floats(value: Value) -> tuple[float, ...]:
    data = _bytes(value)
    if len(data) % 4:
        raise Damaged("numbers of another size")
    return struct.unpack(f"<{len(data) // 4}f", data)
