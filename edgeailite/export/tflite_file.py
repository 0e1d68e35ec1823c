"""Writes a `Program` as a .tflite file, with the package `flatbuffers` alone (onnxruntime requires it already).

Tables are written by the numbers of their fields in TensorFlow Lite's schema (`tflite/converter/schema/schema.fbs`),
operators with the versions of `tflite/converter/tools/versioning/op_version.cc`. The same program gives the same bytes.
Data begins at multiples of 16 bytes (`force_align` of the schema), where kernels may read it in place.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Literal

import flatbuffers
import numpy as np

from edgeailite.quantization.program import Operator, Program, Value
from edgeailite.runtime.tflite_file import IDENTIFIER, OPERATOR_CODES, TYPES

SCHEMA_VERSION = 3
SIGNATURE = "serving_default"
MIN_RUNTIME = b"2.9.0"  # the first with all operators written here: CONV_2D with groups came last
ALIGNMENT = 16
ACTIVATIONS = {"NONE": 0, "RELU": 1, "RELU6": 3}
PADDINGS = {"SAME": 0, "VALID": 1}
MIRROR_MODES = {"REFLECT": 0, "SYMMETRIC": 1}
LARGEST_OLD_CODE = 127  # of an operator; larger ones have this in the field that older readers look at
GROUPED = 6  # version of CONV_2D with groups
SIDES = 4  # of a tensor; with more these have versions of their own
MANY_SIDES = {"SLICE": 5, "TRANSPOSE": 4}

# The type of an operator's option table, and its versions for int8 and int16.
OPERATORS = {
    "ADD": (11, 2, 3),
    "ARG_MAX": (40, 2, 2),
    "CAST": (37, 1, 1),
    "CONCATENATION": (10, 2, 3),
    "CONV_2D": (1, 3, 4),
    "DEPTHWISE_CONV_2D": (2, 3, 5),
    "DEPTH_TO_SPACE": (94, 1, 1),
    "DEQUANTIZE": (38, 2, 3),
    "GATHER": (23, 2, 4),
    "MAX_POOL_2D": (5, 2, 3),
    "MEAN": (27, 2, 3),
    "MIRROR_PAD": (77, 2, 3),
    "MUL": (21, 2, 4),
    "PAD": (22, 2, 3),
    "QUANTIZE": (89, 1, 1),
    "REDUCE_MAX": (27, 2, 3),
    "REDUCE_MIN": (27, 2, 3),
    "RESHAPE": (17, 1, 1),
    "RESIZE_BILINEAR": (15, 2, 4),
    "RESIZE_NEAREST_NEIGHBOR": (74, 2, 4),
    "SLICE": (48, 2, 4),
    "SPACE_TO_DEPTH": (19, 2, 2),
    "SUB": (28, 2, 5),
    "TRANSPOSE": (26, 2, 5),
}

Kind = Literal["Bool", "Int8", "Uint8", "Int32", "Uint32", "table"]
Field = tuple[int, Kind, int]
"""Number in the schema, kind, and the number itself; of a "table" (or text, or list) where it was written."""
SIZES: dict[Kind, int] = {"Bool": 1, "Int8": 1, "Uint8": 1, "Int32": 4, "Uint32": 4, "table": 4}


def write_tflite(program: Program, *, metadata: Mapping[str, bytes] = MappingProxyType({})) -> bytes:
    """Return the bytes of a .tflite file that computes `program`, with one signature, `serving_default`.

    Inputs and outputs have the program's names in the signature; `metadata` are buffers by name, which runtimes keep
    and do not read.

    >>> x, y = (Value(name, (1, 2, 2, 3), scale=np.ones(1, np.float32)) for name in ("x", "y"))
    >>> write_tflite(Program([x], {"y": y}, [Operator("ADD", [x, x], y)]), metadata={"note": b"night"})[4:8]
    b'TFL3'
    """
    return _Writer().file(program, metadata)


def version_of(operator: Operator) -> int:
    """Return the version of an operator, which tells runtimes which types and options they must know."""
    first, options = operator.inputs[0], operator.options
    _, of_int8, of_int16 = OPERATORS[operator.kind]
    if operator.kind == "CONV_2D" and first.shape[3] != operator.inputs[1].shape[3]:
        return GROUPED
    if operator.kind == "QUANTIZE":
        return 2 if operator.output.type == "int16" else 1
    if (operator.kind == "ARG_MAX" and first.type == "float32") or first.type == "int32":
        return 1
    if operator.kind == "MUL" and _ratio_of_product(operator) >= 1:
        return 3
    if operator.kind in MANY_SIDES and len(first.shape) > SIDES:
        return MANY_SIDES[operator.kind]
    if operator.kind.startswith("RESIZE") and first.type in ("int8", "float32"):
        newer = options.get("half_pixel_centers") or (operator.kind != "RESIZE_BILINEAR" and options["align_corners"])
        return 3 if newer else of_int8
    return of_int16 if first.type == "int16" else of_int8


def _ratio_of_product(operator: Operator) -> float:
    a, b, y = (value.scale for value in (*operator.inputs, operator.output))
    assert a is not None
    assert b is not None
    assert y is not None
    return float(a[0] * b[0] / y[0])


class _Writer:
    """Writes from the leaves to the root, as flatbuffers does: a table holds the places of what was written before."""

    def __init__(self) -> None:
        self.builder = flatbuffers.Builder(1 << 20)
        self.buffers = [self.table()]  # the first is empty: for tensors without data
        self.tensors: list[int] = []
        self.indices: dict[int, int] = {}  # of tensors, by the identity of their Value

    def file(self, program: Program, metadata: Mapping[str, bytes]) -> bytes:
        inputs = [self.tensor(value) for value in program.inputs]
        codes = list(dict.fromkeys((operator.kind, version_of(operator)) for operator in program.operators))
        operators = [self.operator(operator, codes) for operator in program.operators]
        outputs = [self.tensor(value) for value in program.outputs.values()]
        signature = self.signature({value.name: value for value in program.inputs}, program.outputs)
        notes = {"min_runtime_version": MIN_RUNTIME.ljust(ALIGNMENT, b"\0"), **metadata}
        entries = [
            self.table((0, "table", self.text(name)), (1, "Uint32", self.buffer(raw))) for name, raw in notes.items()
        ]
        graph = self.table(
            (0, "table", self.tables(self.tensors)),
            (1, "table", self.array(inputs, np.int32)),
            (2, "table", self.array(outputs, np.int32)),
            (3, "table", self.tables(operators)),
            (4, "table", self.text("main")),
        )
        model = self.table(
            (0, "Uint32", SCHEMA_VERSION),
            (1, "table", self.tables([self.operator_code(*code) for code in codes])),
            (2, "table", self.tables([graph])),
            (3, "table", self.text("edgeailite")),
            (4, "table", self.tables(self.buffers)),
            (6, "table", self.tables(entries)),
            (7, "table", self.tables([signature])),
        )
        self.builder.Finish(model, IDENTIFIER)
        return bytes(self.builder.Output())

    def tensor(self, value: Value) -> int:
        """Write a tensor unless it is there already; return its index."""
        if id(value) not in self.indices:
            fields: list[Field] = [
                (0, "table", self.array(value.shape, np.int32)),
                (1, "Int8", TYPES[value.type]),
                (2, "Uint32", 0 if value.data is None else self.buffer(little_endian(value.data))),
                (3, "table", self.text(value.name)),
                (8, "Bool", True),  # its number of sides is known
            ]
            if value.scale is not None:
                fields.append((4, "table", self.quantization(value.scale, value.zero_point, value.axis)))
            self.indices[id(value)] = len(self.tensors)
            self.tensors.append(self.table(*fields))
        return self.indices[id(value)]

    def quantization(self, scale: np.ndarray[Any, Any], zero_point: int, axis: int) -> int:
        zero_points = np.full(len(scale), zero_point)  # LiteRT wants as many as scales
        return self.table(
            (2, "table", self.array(scale, np.float32)),
            (3, "table", self.array(zero_points, np.int64)),
            (6, "Int32", axis),
        )

    def operator(self, operator: Operator, codes: Sequence[tuple[str, int]]) -> int:
        inputs = self.array([self.tensor(value) for value in operator.inputs], np.int32)
        outputs = self.array([self.tensor(operator.output)], np.int32)
        options = self.table(*_options(operator))
        return self.table(
            (0, "Uint32", codes.index((operator.kind, version_of(operator)))),
            (1, "table", inputs),
            (2, "table", outputs),
            (3, "Uint8", OPERATORS[operator.kind][0]),
            (4, "table", options),
        )

    def operator_code(self, kind: str, version: int) -> int:
        code = OPERATOR_CODES[kind]
        return self.table((0, "Int8", min(code, LARGEST_OLD_CODE)), (2, "Int32", version), (3, "Int32", code))

    def signature(self, inputs: Mapping[str, Value], outputs: Mapping[str, Value]) -> int:
        return self.table(
            (0, "table", self.named(inputs)),
            (1, "table", self.named(outputs)),
            (2, "table", self.text(SIGNATURE)),
            (4, "Uint32", 0),
        )

    def named(self, values: Mapping[str, Value]) -> int:
        pairs = [(self.text(name), self.indices[id(value)]) for name, value in values.items()]
        return self.tables([self.table((0, "table", text), (1, "Uint32", index)) for text, index in pairs])

    def buffer(self, raw: bytes) -> int:
        """Write data; return the index of its buffer."""
        self.builder.StartVector(1, len(raw), ALIGNMENT)
        self.builder.head -= len(raw)
        self.builder.Bytes[self.builder.head : self.builder.head + len(raw)] = raw
        place = self.builder.EndVector()
        self.buffers.append(self.table((0, "table", place)))
        return len(self.buffers) - 1

    def table(self, *fields: Field) -> int:
        self.builder.StartObject(max((number for number, *_ in fields), default=-1) + 1)
        for number, kind, value in sorted(fields, key=lambda field: -SIZES[field[1]]):  # large ones first: no gaps
            if kind == "table":
                self.builder.PrependUOffsetTRelativeSlot(number, value, 0)
            else:
                getattr(self.builder, f"Prepend{kind}")(value)
                self.builder.Slot(number)
        return self.builder.EndObject()

    def tables(self, places: Sequence[int]) -> int:
        self.builder.StartVector(4, len(places), 4)
        for place in reversed(places):
            self.builder.PrependUOffsetTRelative(place)
        return self.builder.EndVector()

    def array(self, values: Any, kind: type[np.generic]) -> int:
        return self.builder.CreateNumpyVector(np.asarray(values, kind))

    def text(self, text: str) -> int:
        return self.builder.CreateString(text)


def little_endian(data: np.ndarray[Any, Any]) -> bytes:
    """Return the bytes of numbers as files have them."""
    return data.astype(data.dtype.newbyteorder("<"), copy=False).tobytes()


def _options(operator: Operator) -> Iterator[Field]:
    """Yield the fields of an operator's option table; those that are left out have their default, 0."""
    options, kind = operator.options, operator.kind
    activation = ACTIVATIONS[options.get("activation", "NONE")]
    if kind in ("CONV_2D", "DEPTHWISE_CONV_2D"):
        shift = int(kind == "DEPTHWISE_CONV_2D")  # its multiplier stands before the rest
        yield (0, "Int8", PADDINGS[options["padding"]])
        yield from _pair(1, options["stride"])
        if shift:
            yield (3, "Int32", options["depth_multiplier"])
        yield (3 + shift, "Int8", activation)
        yield from _pair(4 + shift, options["dilation"])
    elif kind == "MAX_POOL_2D":
        yield (0, "Int8", PADDINGS[options["padding"]])
        yield from _pair(1, options["stride"])
        yield from _pair(3, options["kernel"])
        yield (5, "Int8", activation)
    elif kind in ("ADD", "SUB"):
        yield (0, "Int8", activation)
        yield (1, "Bool", False)  # pot_scale_int16, which is true by default
    elif kind == "MUL":
        yield (0, "Int8", activation)
    elif kind == "CAST":
        yield (0, "Int8", TYPES[operator.inputs[0].type])
        yield (1, "Int8", TYPES[operator.output.type])
    elif kind in ("DEPTH_TO_SPACE", "SPACE_TO_DEPTH"):
        yield (0, "Int32", options["block_size"])
    elif kind in ("CONCATENATION", "GATHER"):
        yield (0, "Int32", options["axis"])
    elif kind.startswith("RESIZE"):
        first = 2 if kind == "RESIZE_BILINEAR" else 0
        yield (first, "Bool", options["align_corners"])
        yield (first + 1, "Bool", options["half_pixel_centers"])
    elif kind in ("MEAN", "REDUCE_MAX", "REDUCE_MIN"):
        yield (0, "Bool", options["keep_dims"])
    elif kind == "MIRROR_PAD":
        yield (0, "Int8", MIRROR_MODES[options["mode"]])
    elif kind == "ARG_MAX":
        yield (0, "Int8", TYPES[operator.output.type])


def _pair(number: int, height_width: tuple[int, int]) -> Iterator[Field]:
    """Yield two fields of a height and a width, which stand the other way round in the schema."""
    height, width = height_width
    yield (number, "Int32", width)
    yield (number + 1, "Int32", height)
