"""A .tflite file of anybody, read within bounds before a runtime sees it. Each refusal is a DataError that names it.

A .tflite file is a flatbuffer: tables that point to tables by offsets, which anybody may have written. Every offset is
checked to stay inside the file, and what is read is counted, so that parts which are pointed to again and again cost no
more than those that are there once. Only the first graph is read, and of operators' options only a pooling's window.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeailite.errors import DataError, option
from edgeailite.files import read_regular
from edgeailite.onnxfile import OWN
from edgeailite.untrusted import printable

IDENTIFIER = b"TFL3"
LARGEST = 2**31 - 1  # bytes; offsets of flatbuffers end there
BYTES_SAID = "TFLite model"  # how messages call a file that came as bytes
MOST_READS = 3_000_000  # numbers read one by one: a network of 10,000 operators takes a third
SPARE = 2**16  # bytes of lists that are read beyond twice the size of the file: small ones may be shared
MOST_METADATA = 2**24  # bytes
MOST_SIDES = 8
LARGEST_TENSOR = 2**29  # elements

TYPES = {"float32": 0, "float16": 1, "int32": 2, "uint8": 3, "int64": 4, "bool": 6, "int16": 7, "int8": 9}
"""Element types by their codes in TensorFlow Lite's schema."""
OPERATOR_CODES = {
    "ADD": 0, "AVERAGE_POOL_2D": 1, "CONCATENATION": 2, "CONV_2D": 3, "DEPTHWISE_CONV_2D": 4, "DEPTH_TO_SPACE": 5,
    "DEQUANTIZE": 6, "FULLY_CONNECTED": 9, "LOGISTIC": 14, "MAX_POOL_2D": 17, "MUL": 18, "RELU": 19, "RELU6": 21,
    "RESHAPE": 22, "RESIZE_BILINEAR": 23, "SOFTMAX": 25, "SPACE_TO_DEPTH": 26, "CUSTOM": 32, "PAD": 34, "GATHER": 36,
    "TRANSPOSE": 39, "MEAN": 40, "SUB": 41, "CAST": 53, "ARG_MAX": 56, "SLICE": 65, "TRANSPOSE_CONV": 67,
    "REDUCE_MAX": 82, "REDUCE_MIN": 89, "RESIZE_NEAREST_NEIGHBOR": 97, "MIRROR_PAD": 100, "QUANTIZE": 114,
}  # fmt: skip
"""Operators by their codes in TensorFlow Lite's schema: those that export writes, and those of most other networks."""
POOLINGS = ("AVERAGE_POOL_2D", "MAX_POOL_2D")
TYPE_NAMES = {code: name for name, code in TYPES.items()}
OPERATOR_NAMES = {code: name for name, code in OPERATOR_CODES.items()}


class Damaged(ValueError):
    """The file is no .tflite file that can be read."""


@dataclass(frozen=True)
class Tensor:
    """A tensor of the graph; `scale` and `zero_point` are None where it is not quantized, `data` of what is computed.

    `type` is a name of TYPES, or "type N" for a code that is not in it.
    """

    name: str
    shape: tuple[int, ...]
    type: str
    scale: NDArray[np.float32] | None
    zero_point: NDArray[np.int64] | None
    axis: int
    data: memoryview | None

    @property
    def elements(self) -> int:
        """Number of elements."""
        return prod(self.shape)

    def array(self) -> NDArray[Any]:
        """The numbers of a constant. Raises Damaged where there are other than its shape says."""
        kind = np.dtype(self.type).newbyteorder("<") if self.type in TYPES else None
        if kind is None or self.data is None or len(self.data) != self.elements * kind.itemsize:
            raise Damaged(f"tensor {self.name}: no {'x'.join(map(str, self.shape))} numbers of {self.type}")
        return np.frombuffer(self.data, kind).reshape(self.shape)


@dataclass(frozen=True)
class Node:
    """An operator of the graph: `kind` is TensorFlow Lite's name, inputs and outputs are indices of tensors.

    An input of -1 is left out. `window` is the area of a pooling's kernel, else 1.
    """

    kind: str
    version: int
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    window: int = 1


@dataclass(frozen=True)
class TfliteFile:
    """The bytes of a .tflite file and its first graph; `path` is None if it was given as bytes.

    `inputs` and `outputs` map the names of the signature to indices of tensors, in the graph's order; without a
    signature the names are those of the tensors. `metadata` are buffers by name.
    """

    name: str
    path: Path | None
    data: bytes
    tensors: tuple[Tensor, ...]
    nodes: tuple[Node, ...]
    inputs: Mapping[str, int]
    outputs: Mapping[str, int]
    metadata: Mapping[str, bytes]

    @property
    def is_own(self) -> bool:
        """True if the file's metadata says that edgeailite exported it."""
        return OWN in self.metadata

    def texts(self) -> dict[str, str]:
        """The metadata as text, as an ONNX file has it. Raises DataError for bytes that are none."""
        try:
            return {key: value.decode() for key, value in self.metadata.items()}
        except UnicodeDecodeError:
            raise unreadable(self.name, "metadata that are no text") from None


def read_tflite(source: Path | bytes) -> TfliteFile:
    """Read and check a .tflite file, or its bytes. Raises DataError."""
    if isinstance(source, bytes):
        name, path, data = BYTES_SAID, None, source
    else:
        name, path, data = printable(str(source)), source, _content(source)
    try:
        return _file(name, path, data)
    except Damaged as error:
        raise unreadable(name, str(error)) from None


def unreadable(name: object, reason: str) -> DataError:
    """The error for a file that is no good .tflite file, on one line."""
    return DataError(
        f"cannot be read as TFLite ({printable(reason)[:400]})", path=str(name), fix="export it again", code="damaged"
    )


def _content(path: Path) -> bytes:
    try:
        return read_regular(path, limit=LARGEST)
    except FileNotFoundError:
        fix = f"write it with `edgeailite export`, {option('target')} tflite"
        raise DataError("no such TFLite file", path=printable(str(path)), fix=fix, code="missing-file") from None
    except OSError as error:
        raise unreadable(printable(str(path)), error.strerror or str(error)) from None


class _Bytes:
    """The file's bytes with reads that stay inside, and counts of what may still be read."""

    def __init__(self, data: bytes) -> None:
        self.data, self.view = data, memoryview(data)
        self.reads, self.bytes = MOST_READS, 2 * len(data) + SPARE

    def number(self, kind: str, place: int) -> Any:
        self.reads -= 1
        self.check(place, struct.calcsize(kind))
        return struct.unpack_from(kind, self.data, place)[0]

    def check(self, place: int, size: int) -> None:
        if place < 0 or place + size > len(self.data):
            raise Damaged(f"it ends at byte {len(self.data)}, but points to byte {place + size}")
        if min(self.reads, self.bytes) < 0:
            raise Damaged("it points to its parts more often than files do")

    def follow(self, place: int) -> int:
        """Where the offset at `place` points."""
        return place + int(self.number("<I", place))

    def part(self, start: int, size: int) -> memoryview:
        """Bytes that stand by themselves, and count as read."""
        self.bytes -= size
        self.check(start, size)
        return self.view[start : start + size]

    def vector(self, place: int, size: int) -> tuple[int, int]:
        """Where the elements of a vector begin, and how many there are."""
        count = int(self.number("<I", place))
        self.bytes -= count * size
        self.check(place + 4, count * size)
        return place + 4, count


class _Table:
    """A table; its fields are asked for by their numbers in the schema."""

    def __init__(self, source: _Bytes, place: int) -> None:
        self.source, self.place = source, place
        self.fields = place - int(source.number("<i", place))
        self.end = int(source.number("<H", self.fields))

    def where(self, number: int) -> int | None:
        """Where a field stands; None if it has its default."""
        entry = 4 + 2 * number
        if entry + 2 > self.end:
            return None
        offset = int(self.source.number("<H", self.fields + entry))
        return self.place + offset if offset else None

    def number(self, number: int, kind: str, default: int = 0) -> int:
        place = self.where(number)
        return default if place is None else int(self.source.number(kind, place))

    def table(self, number: int) -> _Table | None:
        place = self.where(number)
        return None if place is None else _Table(self.source, self.source.follow(place))

    def tables(self, number: int) -> list[_Table]:
        place = self.where(number)
        if place is None:
            return []
        start, count = self.source.vector(self.source.follow(place), 4)
        return [_Table(self.source, self.source.follow(start + 4 * index)) for index in range(count)]

    def content(self, number: int, size: int = 1) -> memoryview | None:
        """The bytes of a vector of numbers."""
        place = self.where(number)
        if place is None:
            return None
        start, count = self.source.vector(self.source.follow(place), size)
        return self.source.view[start : start + count * size]

    def array(self, number: int, kind: str) -> NDArray[Any]:
        return np.frombuffer(self.content(number, np.dtype(kind).itemsize) or b"", kind)

    def text(self, number: int) -> str:
        try:
            return bytes(self.content(number) or b"").decode()
        except UnicodeDecodeError:
            raise Damaged("a name that is no text") from None


def _file(name: str, path: Path | None, data: bytes) -> TfliteFile:
    if data[4:8] != IDENTIFIER:
        raise Damaged("it does not begin as such files do")
    source = _Bytes(data)
    model = _Table(source, source.follow(0))
    graphs = model.tables(2)
    if not graphs:
        raise Damaged("it holds no graph")
    graph, buffers = graphs[0], [_buffer(table) for table in model.tables(4)]
    tensors = tuple(_tensor(table, buffers) for table in graph.tables(0))
    codes = [_operator_code(table) for table in model.tables(1)]
    nodes = tuple(_node(table, codes, len(tensors)) for table in graph.tables(3))
    signature = next(iter(model.tables(7)), None)
    inputs, outputs = (
        _ports(graph.array(number, "<i4"), tensors, [] if signature is None else signature.tables(number - 1))
        for number in (1, 2)
    )
    metadata = _metadata(model.tables(6), buffers)
    return TfliteFile(name, path, data, tensors, nodes, inputs, outputs, metadata)


def _buffer(table: _Table) -> memoryview | None:
    """The data of a constant, in its table or, as ai-edge-quantizer writes them, behind all tables."""
    start, size = table.number(1, "<Q"), table.number(2, "<Q")
    return table.content(0) if start <= 1 else table.source.part(start, size)


def _tensor(table: _Table, buffers: Sequence[memoryview | None]) -> Tensor:
    name, shape = table.text(3), tuple(map(int, table.array(0, "<i4")))
    if len(shape) > MOST_SIDES or min(shape, default=1) < 0 or prod(shape) > LARGEST_TENSOR:
        raise Damaged(f"tensor {name}: a shape of {'x'.join(map(str, shape[:MOST_SIDES]))}")
    kind = table.number(1, "<b")
    index, quantization = table.number(2, "<I"), table.table(4)
    data = _at(buffers, index, f"tensor {name}") if index else None
    scale = zero_point = None
    axis = 0
    if quantization is not None and len(values := quantization.array(2, "<f4")):
        scale, zero_point, axis = values, quantization.array(3, "<i8"), quantization.number(6, "<i")
        _check_quantization(name, shape, scale, zero_point, axis)
    return Tensor(name, shape, TYPE_NAMES.get(kind, f"type {kind}"), scale, zero_point, axis, data)


def _check_quantization(
    name: str, shape: tuple[int, ...], scale: NDArray[Any], zero_point: NDArray[Any], axis: int
) -> None:
    """Scales that are normal numbers above 0, one or as many as the axis is long: others end LiteRT's process."""
    fine = np.isfinite(scale) & (scale >= np.finfo(np.float32).tiny)
    if not fine.all():
        raise Damaged(f"tensor {name}: a scale of {scale[~fine][0]:g}")
    if len(zero_point) not in (0, 1, len(scale)):
        raise Damaged(f"tensor {name}: {len(zero_point)} zero points for {len(scale)} scales")
    if len(scale) > 1 and not (0 <= axis < len(shape) and shape[axis] == len(scale)):
        raise Damaged(f"tensor {name}: {len(scale)} scales along side {axis} of {shape}")


def _operator_code(table: _Table) -> tuple[str, int]:
    """Kind and version."""
    number = max(table.number(0, "<b"), table.number(3, "<i"))  # older files have the first alone
    return OPERATOR_NAMES.get(number, f"operator {number}"), table.number(2, "<i", 1)


def _node(table: _Table, codes: Sequence[tuple[str, int]], count: int) -> Node:
    kind, version = _at(codes, table.number(0, "<I"), "operator code")
    inputs, outputs = (tuple(map(int, table.array(field, "<i4"))) for field in (1, 2))
    if not all(-1 <= index < count for index in inputs) or not all(0 <= index < count for index in outputs):
        raise Damaged(f"{kind} with a tensor that is not there")
    pooling = table.table(4) if kind in POOLINGS else None
    window = 1 if pooling is None else pooling.number(3, "<i") * pooling.number(4, "<i")
    return Node(kind, version, inputs, outputs, window)


def _metadata(entries: Sequence[_Table], buffers: Sequence[memoryview | None]) -> dict[str, bytes]:
    metadata: dict[str, bytes] = {}
    left = MOST_METADATA
    for entry in entries:
        key, content = entry.text(0), _at(buffers, entry.number(1, "<I"), "metadata") or b""
        if key in metadata:
            raise Damaged(f"metadata {key} is there twice")  # readers would not agree on it
        left -= len(content)
        if left < 0:
            raise Damaged(f"more than {MOST_METADATA} bytes of metadata")
        metadata[key] = bytes(content)
    return metadata


def _ports(indices: NDArray[Any], tensors: Sequence[Tensor], maps: Sequence[_Table]) -> dict[str, int]:
    """Names and indices of inputs or outputs in the graph's order, with the names of the signature if it has them."""
    names = {entry.number(1, "<I"): entry.text(0) for entry in maps}
    ports = {names.get(int(index), _at(tensors, int(index), "port").name): int(index) for index in indices}
    if len(ports) != len(indices):
        raise Damaged("two inputs or outputs of one name")
    return ports


def _at(values: Sequence[Any], index: int, what: str) -> Any:
    if not 0 <= index < len(values):
        raise Damaged(f"{what}: number {index} of {len(values)}")
    return values[index]
