"""The layers of a .tflite file, counted by the rules of `layer.py`; shapes are given as torch has them, (N,C,H,W)."""

from __future__ import annotations

from pathlib import Path

from edgeailite.cost.layer import Cost, Layer, Value
from edgeailite.cost.memory import held_bytes
from edgeailite.cost.operations import CONVOLUTION, COUNTED, LINEAR, TRANSPOSED, element_operations
from edgeailite.errors import DataError, UsageError, option
from edgeailite.runtime.tflite_file import Node, Tensor, TfliteFile, read_tflite

WORDS = {
    "CONV_2D": CONVOLUTION,
    "DEPTHWISE_CONV_2D": CONVOLUTION,
    "TRANSPOSE_CONV": TRANSPOSED,
    "FULLY_CONNECTED": LINEAR,
    "CONCATENATION": "concat",
    "MAX_POOL_2D": "max_pool",
    "AVERAGE_POOL_2D": "average_pool",
    "MEAN": "average_pool",
    "RESIZE_BILINEAR": "resize",
    "RESIZE_NEAREST_NEIGHBOR": "resize_nearest",
    "ARG_MAX": "argmax",
    "MIRROR_PAD": "pad",
    "SLICE": "copy",
    "GATHER": "copy",
    "RESHAPE": "copy",
}
BYTES = {"float32": 4, "int32": 4, "int64": 8, "int16": 2, "float16": 2}
INTEGER = ("int8", "int16", "uint8")


def tflite_cost(path: Path, height_width: tuple[int, int] | None = None) -> Cost:
    """Everything about a .tflite file, whose size is fixed.

    Raises DataError for a file that cannot be read or counted, UsageError for a size that is not the file's.
    """
    file = read_tflite(path)
    layers = tuple(_layer(file, node) for node in file.nodes)
    inputs, outputs = (
        tuple(_value(file.tensors[index]) for index in ports.values()) for ports in (file.inputs, file.outputs)
    )
    if not inputs or not layers:
        raise DataError("no inputs or operators, so nothing to count", path=file.name)
    size = inputs[0].shape[2:]
    if height_width is not None and size != tuple(height_width):
        height, width = height_width
        raise UsageError(
            f"{option('img_resize')} {height} {width}: {file.name} takes {'x'.join(map(str, size))}; leave it out"
        )
    weights = {index for node in file.nodes for index in _weights(file, node)}
    total = sum(_bytes(file.tensors[index]) for index in weights)
    memory = held_bytes(layers, inputs, outputs)
    integer = any(layer.integer for layer in layers)
    return Cost(
        layers,
        sum(file.tensors[index].elements for index in weights),
        inputs,
        outputs,
        memory=memory,
        memory_int8=memory if integer else None,
        weight_bytes=total,
        weight_int8_bytes=total if integer else None,
    )


def _weights(file: TfliteFile, node: Node) -> list[int]:
    """Indices of the learned values that an operator takes: of layers with MACs, all constants but shapes."""
    if WORDS.get(node.kind) not in COUNTED:
        return []
    behind = node.inputs[1:] if node.kind != "TRANSPOSE_CONV" else (node.inputs[1], *node.inputs[3:])
    return [index for index in behind if index >= 0 and file.tensors[index].data is not None]


def _layer(file: TfliteFile, node: Node) -> Layer:
    word = WORDS.get(node.kind, node.kind.lower())
    weights = [file.tensors[index] for index in _weights(file, node)]
    taken = [file.tensors[index] for index in node.inputs if index >= 0 and file.tensors[index].data is None]
    given = [file.tensors[index] for index in node.outputs]
    integer = bool(taken and given) and all(tensor.type in INTEGER for tensor in (*taken, *given))
    kernel = _kernel(node, weights[0]) if weights else ()
    operations = element_operations(
        word,
        sum(tensor.elements for tensor in taken),
        sum(tensor.elements for tensor in given),
        window=node.window,
        bias=len(weights) > 1,
        integer=integer,
    )
    return Layer(
        given[0].name if given else node.kind,
        word,
        tuple(map(_value, taken)),
        tuple(map(_value, given)),
        macs=_macs(word, taken, given, kernel),
        parameters=sum(tensor.elements for tensor in weights),
        weight_bytes=sum(map(_bytes, weights)),
        element_operations=operations,
        integer=integer,
        kernel=kernel,
        groups=_groups(taken, kernel) if word == CONVOLUTION else 1,
    )


def _kernel(node: Node, weight: Tensor) -> tuple[int, ...]:
    """(out, in / groups, height, width) of a weight."""
    if len(weight.shape) != 4:
        return weight.shape
    first, height, width, last = weight.shape
    return (last, 1, height, width) if node.kind == "DEPTHWISE_CONV_2D" else (first, last, height, width)


def _groups(taken: list[Tensor], kernel: tuple[int, ...]) -> int:
    channels = taken[0].shape[-1] if taken and taken[0].shape else 1
    return max(1, channels // max(1, kernel[1])) if len(kernel) == 4 else 1


def _macs(word: str, taken: list[Tensor], given: list[Tensor], kernel: tuple[int, ...]) -> int:
    """Rule 1."""
    if word not in COUNTED or not kernel or not taken or not given:
        return 0
    if word == LINEAR:
        return given[0].elements * kernel[-1]
    per_position = 1
    for side in kernel[1:]:
        per_position *= side
    if word == CONVOLUTION:
        return given[0].elements * per_position
    return taken[0].elements * kernel[0] * kernel[2] * kernel[3]


def _value(tensor: Tensor) -> Value:
    shape = tensor.shape
    if len(shape) == 4:
        batch, height, width, channels = shape
        shape = (batch, channels, height, width)
    return Value(tensor.name, shape, BYTES.get(tensor.type, 1))


def _bytes(tensor: Tensor) -> int:
    return tensor.elements * BYTES.get(tensor.type, 1)
