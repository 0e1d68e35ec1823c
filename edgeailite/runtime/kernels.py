"""Which integer kernels onnxruntime has on this machine, measured with single operators; needs numpy and onnxruntime.

Three operators run on values for which the kernels that are known differ: a convolution whose sums saturate where
products are added in 16 bits, an addition of all 65,536 pairs of codes, a bilinear resize. Their results are compared
with those of the rows of `quantization.arithmetic`, kept here as hashes because torch may be missing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeailite.files import sha256_of
from edgeailite.runtime.session import cpu_session, message_field, varint

Array = NDArray[Any]
ELEMENT_TYPES = {np.dtype(np.float32): 1, np.dtype(np.uint8): 2, np.dtype(np.int8): 3, np.dtype(np.int64): 7}
OPSET, IR, MICROSOFT = 17, 8, "com.microsoft"
EXACT_SUM = 200  # code of 64 products 255 x 127, if nothing saturates

# sha256, first 16 digits, of the codes and values that each arithmetic gives for `added` and `resized`
ADDITIONS = {
    "onnxruntime_x86": "121ee16c77ae50b4", "onnxruntime_sse2": "e53c9878e42605b4",
    "onnxruntime_arm64": "30c6a5b886f90158",
}  # fmt: skip
RESIZES = {
    "onnxruntime_x86": "6ee362bdf737587d", "onnxruntime_sse2": "6ee362bdf737587d",
    "onnxruntime_arm64": "33d86de29277d5d3",
}  # fmt: skip


def kernel_facts() -> dict[str, Any]:
    """Return what onnxruntime's kernels are here.

    `values` are the codes that the convolution gives ([200] where it is exact), `additions` and `resizes` the
    arithmetics that have the same bits, [] if none has.
    """
    import onnxruntime

    addition, resize = sha256_of(added().tobytes())[:16], sha256_of(resized().tobytes())[:16]
    return {
        "onnxruntime": onnxruntime.__version__,
        "providers": onnxruntime.get_available_providers(),
        "values": sorted({int(value) for value in convolved().flat}),
        "additions": [name for name, known in ADDITIONS.items() if known == addition],
        "resizes": [name for name, known in RESIZES.items() if known == resize],
    }


def convolved() -> Array:
    """Add 64 products 255 x 127 of uint8 and int8 codes: EXACT_SUM, unless pairs of them saturate in 16 bits."""
    x, weight = np.full((1, 64, 8, 8), 255, np.uint8), np.full((8, 64, 1, 1), 127, np.int8)
    scales = [np.float32(1), np.float32(1), np.float32(255 * 127 * 64 / EXACT_SUM)]
    return run_operator(
        "QLinearConv",
        [x, scales[0], np.uint8(0), weight, scales[1], np.int8(0), scales[2], np.uint8(0)],
        output=(1, 8, 8, 8),
    )


def added() -> Array:
    """Add all pairs of uint8 codes, at scales where every known kernel gives other codes for some."""
    a, b = np.meshgrid(np.arange(256, dtype=np.uint8), np.arange(256, dtype=np.uint8), indexing="ij")
    ends = [(0.0291, 49), (0.0181, 41), (0.0112, 61)]
    (sa, za), (sb, zb), (sy, zy) = ((np.float32(scale), np.uint8(zero)) for scale, zero in ends)
    return run_operator("QLinearAdd", [a, sa, za, b, sb, zb, sy, zy], domain=MICROSOFT, output=(256, 256))


def resized() -> Array:
    """Enlarge whole numbers times a scale bilinearly, 9x13 to 29x40."""
    x = (np.arange(8 * 9 * 13) * 37 % 251).astype(np.float32).reshape(1, 8, 9, 13) * np.float32(0.0231)
    return run_operator("Resize", [x, None, None, np.array([1, 8, 29, 40])], mode="linear", output=(1, 8, 29, 40))


def run_operator(
    kind: str, inputs: Sequence[Any], *, output: tuple[int, ...], domain: str = "", mode: str | None = None
) -> Array:
    """Run one operator whose first input is fed and whose others are constants; its result has the first one's type.

    `inputs` are arrays or numpy numbers, None for one that is left out; `output` is the shape of the result, `mode` an
    attribute.
    """
    import onnxruntime

    arrays = [None if value is None else np.asarray(value) for value in inputs]
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = cpu_session(operator_file(kind, arrays, output=output, domain=domain, mode=mode), options)
    return np.asarray(session.run(None, {"i0": arrays[0]})[0])


def operator_file(
    kind: str, arrays: Sequence[Array | None], *, output: tuple[int, ...], domain: str, mode: str | None
) -> bytes:
    """Write an ONNX file of one operator (onnx.proto: ModelProto, GraphProto, NodeProto)."""
    first = arrays[0]
    assert first is not None
    names = ["" if array is None else f"i{index}" for index, array in enumerate(arrays)]
    node = b"".join(_text(1, name) for name in names) + _text(2, "y") + _text(4, kind) + _text(7, domain)
    if mode is not None:
        node += message_field(5, _text(1, "mode") + message_field(4, mode.encode()) + _number(20, 3))
    constants = zip(names[1:], arrays[1:], strict=True)
    graph = message_field(1, node) + _text(2, kind)
    graph += b"".join(message_field(5, _tensor(name, array)) for name, array in constants if array is not None)
    graph += message_field(11, _value("i0", first.dtype, first.shape))
    graph += message_field(12, _value("y", first.dtype, output))
    opsets = [("", OPSET), (MICROSOFT, 1)]
    imports = b"".join(message_field(8, _text(1, name) + _number(2, version)) for name, version in opsets)
    return _number(1, IR) + message_field(7, graph) + imports


def _text(number: int, text: str) -> bytes:
    return message_field(number, text.encode())


def _number(number: int, value: int) -> bytes:
    return varint(number << 3) + varint(value)


def _tensor(name: str, array: Array) -> bytes:
    """A TensorProto."""
    sides = b"".join(_number(1, side) for side in array.shape)
    return sides + _number(2, ELEMENT_TYPES[array.dtype]) + _text(8, name) + message_field(9, array.tobytes())


def _value(name: str, kind: np.dtype[Any], shape: tuple[int, ...]) -> bytes:
    """A ValueInfoProto."""
    sides = b"".join(message_field(1, _number(1, side)) for side in shape)
    tensor = _number(1, ELEMENT_TYPES[kind]) + message_field(2, sides)
    return _text(1, name) + message_field(2, message_field(1, tensor))
