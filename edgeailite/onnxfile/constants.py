"""Constants of an ONNX file as arrays, and whether they can be: sizes that fit, numbers that are finite."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeailite.onnxfile.wire import Damaged, Graph, Tensor, integers

Array = NDArray[Any]
FLOAT, FLOAT16, DOUBLE, BFLOAT16 = 1, 10, 11, 16
TYPES: dict[int, type[np.generic]] = {
    FLOAT: np.float32, 2: np.uint8, 3: np.int8, 4: np.uint16, 5: np.int16, 6: np.int32, 7: np.int64, 9: np.bool_,
    FLOAT16: np.float16, DOUBLE: np.float64, 12: np.uint32, 13: np.uint64, BFLOAT16: np.uint16,
}  # TensorProto.DataType; of bfloat16 the 16 bits  # fmt: skip
FIELDS = {FLOAT: 4, 7: 7, DOUBLE: 10, 12: 11, 13: 11}  # where numbers lie that are not raw bytes; others: 5
BITS = {FLOAT: np.uint32, FLOAT16: np.uint16, DOUBLE: np.uint64, BFLOAT16: np.uint16}
EXPONENTS = {FLOAT: 0x7F800000, FLOAT16: 0x7C00, DOUBLE: 0x7FF0000000000000, BFLOAT16: 0x7F80}
SMALLEST = float(np.finfo(np.float32).tiny)  # a smaller scale is 0 to many devices
SCALES = {"QuantizeLinear": (1,), "DequantizeLinear": (1,)}
WEIGHTED = ("Conv", "ConvTranspose", "Gemm", "MatMul", "BatchNormalization")
LISTED = 1_000_000  # numbers written one by one that are read; more come as raw bytes


def array_of(tensor: Tensor) -> Array | None:
    """Return a constant as an array; None for types that are not read and for data outside the file.

    Raises Damaged where their count is not what its sides say.
    """
    kind = TYPES.get(tensor.data_type)
    if kind is None or tensor.external is not None:
        return None
    if min(tensor.dims, default=0) < 0:
        raise Damaged(f"{tensor.name}: a side of {min(tensor.dims)}")
    count = prod(tensor.dims)
    values = _raw(tensor, kind, count) if tensor.raw is not None else _typed(tensor, kind, count)
    return values.reshape(tensor.dims)


def required_array(tensor: Tensor) -> Array:
    """Return a tensor's numbers. Raises ValueError if they are not read."""
    found = array_of(tensor)
    if found is None:
        raise ValueError(f"a constant of type {tensor.data_type}")
    return found


def check_constants(graph: Graph, *, strict: bool) -> None:
    """Raise Damaged for constants that are not finite, and for quantizers' scales that are no normal numbers above 0.

    Infinite ones are errors in weights; elsewhere, where a mask may hold them, only if `strict`.
    """
    weights = {name for node in graph.nodes if node.op in WEIGHTED for name in node.inputs[1:]}
    scales = {node.inputs[at] for node in graph.nodes for at in SCALES.get(node.op, ()) if at < len(node.inputs)}
    for name, tensor in _all(graph):
        values = array_of(tensor)
        if values is None or not values.size or tensor.data_type not in EXPONENTS:
            continue
        _check_finite(name, tensor, values, strict=strict or name in weights)
        if name in scales:
            _check_scale(name, tensor, values)


def _all(graph: Graph) -> Iterator[tuple[str, Tensor]]:
    """Constants with their names, those inside nodes included."""
    yield from graph.constants.items()
    for node in graph.nodes:
        for value in node.attributes.values():
            if isinstance(value, Tensor):
                yield (node.outputs[0] if node.outputs else node.label), value


def _check_finite(name: str, tensor: Tensor, values: Array, *, strict: bool) -> None:
    exponent = EXPONENTS[tensor.data_type]
    bits = values.view(BITS[tensor.data_type])
    top = bits & bits.dtype.type(exponent) == exponent
    if not top.any():
        return
    sign = np.iinfo(bits.dtype).max >> 1
    nan = int((bits[top] & bits.dtype.type(sign) > exponent).sum())
    if nan or strict:
        word = "NaN (not a number)" if nan else "infinite"
        raise Damaged(f"{name}: {nan or int(top.sum())} of {values.size} numbers are {word}")


def _check_scale(name: str, tensor: Tensor, values: Array) -> None:
    if tensor.data_type == BFLOAT16:
        values = (values.astype(np.uint32) << 16).view(np.float32)
    bad = ~(values >= (SMALLEST if tensor.data_type != FLOAT16 else 0)) | (values == 0)
    if bad.any():
        found = float(values[bad].reshape(-1)[0])
        raise Damaged(f"{name}: a quantizer's scale of {found:.3g}; scales are normal numbers above 0")


def _raw(tensor: Tensor, kind: type[np.generic], count: int) -> Array:
    assert tensor.raw is not None
    if tensor.raw.nbytes != count * np.dtype(kind).itemsize:
        raise Damaged(
            f"{tensor.name}: {tensor.raw.nbytes} bytes, but its sides {list(tensor.dims)} make {count} numbers"
        )
    return np.frombuffer(tensor.raw, np.dtype(kind).newbyteorder("<")).astype(kind, copy=False)


def _typed(tensor: Tensor, kind: type[np.generic], count: int) -> Array:
    field = FIELDS.get(tensor.data_type, 5)
    parts = tensor.typed.get(field, ())
    if field in (4, 10):
        whole = b"".join(parts)
        values: Array = np.frombuffer(whole[: len(whole) // np.dtype(kind).itemsize * np.dtype(kind).itemsize], kind)
    elif sum(part.nbytes for part in parts) > 10 * LISTED:
        raise Damaged(f"{tensor.name}: more than {LISTED} whole numbers one by one; write them as raw bytes")
    elif tensor.data_type == FLOAT16:
        values = np.array(integers(parts), np.int64).astype(np.uint16).view(np.float16)
    else:
        values = np.array([number & 0xFFFFFFFFFFFFFFFF for number in integers(parts)], np.uint64).astype(kind)
    if values.size != count:
        raise Damaged(f"{tensor.name}: {values.size} numbers, but its sides {list(tensor.dims)} make {count}")
    return values
