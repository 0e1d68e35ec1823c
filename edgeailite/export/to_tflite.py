"""A quantized network to a .tflite file: lowered to a program, written, with the card in its metadata.

The same network gives the same bytes. The file holds what an ONNX file's metadata hold, one buffer per entry.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from torch import fx

from edgeailite import __version__
from edgeailite.export.naming import file_names
from edgeailite.export.tflite_file import little_endian, write_tflite
from edgeailite.files import sha256_of
from edgeailite.modelcard import ModelCard
from edgeailite.quantization import convert, scheme_of, wide_parts
from edgeailite.quantization.enlarge import convolve_resizes
from edgeailite.quantization.lowering import lower
from edgeailite.quantization.program import Program
from edgeailite.runs.onnx_model import card_entries
from edgeailite.runtime.tflite_file import Damaged, TfliteFile, unreadable
from edgeailite.runtime.tflite_metadata import HEAD

Constant = tuple[str, str, tuple[int, ...], bytes]
"""Name, type, shape and numbers."""


@dataclass(frozen=True)
class WrittenProgram:
    """A program and the bytes of its .tflite file."""

    program: Program
    data: bytes


def to_tflite(
    model: fx.GraphModule,
    card: ModelCard,
    *,
    size: tuple[int, int],
    head: str = "logits",
    converted: fx.GraphModule | None = None,
) -> WrittenProgram:
    """Export a prepared and calibrated network to an int8 .tflite file for pictures of `size` (height, width).

    `head` says what leaves the network (`quantization.lowering.HEADS`); `converted` is what `convert` makes of the
    network, if it is at hand. Tensors are called as in the ONNX file. Raises UsageError, naming the layer, for what
    TensorFlow Lite has no form of. Inner resizes by an even factor are written as convolutions
    (`quantization.enlarge`), so that XNNPACK gives onnxruntime's codes.
    """
    converted = convert(model) if converted is None else converted
    known = file_names(converted.graph)
    names = known | {f"{node}_mean": name for node, name in known.items()}  # a resize, where it became a convolution
    program = lower(convolve_resizes(converted, size), size, head=head, names=names)
    entries = {**_metadata(model, program, head), **card_entries(card.with_size(size))}
    metadata = {name: text.encode() for name, text in sorted(entries.items())}
    return WrittenProgram(program, write_tflite(program, metadata=metadata))


def _metadata(model: fx.GraphModule, program: Program, head: str) -> dict[str, str]:
    wide = wide_parts(model)
    about = {
        "edgeailite.version": __version__,
        "edgeailite.kind": "int8",
        "edgeailite.scheme": scheme_of(model).name,
        "edgeailite.argmax": "full" if head == "argmax" else "none",
        HEAD: head,
        "edgeailite.weights_sha256": program_hash(program),
    }
    return about | ({"edgeailite.wide": json.dumps(wide)} if wide else {})


def program_hash(program: Program) -> str:
    """Return the sha256 over names, types, shapes and numbers of a program's constants."""
    values = {value for operator in program.operators for value in operator.inputs if value.data is not None}
    return _hash((v.name, v.type, v.shape, little_endian(v.data)) for v in values if v.data is not None)


def file_hash(file: TfliteFile) -> str:
    """Return the same of a file that was read. Raises DataError for constants that are no numbers of their shape."""
    try:
        constants = [
            (tensor.name, tensor.type, tensor.shape, tensor.array().tobytes())
            for tensor in file.tensors
            if tensor.data is not None
        ]
    except Damaged as error:
        raise unreadable(file.name, str(error)) from None
    return _hash(constants)


def _hash(constants: Iterable[Constant]) -> str:
    def parts() -> Iterator[bytes]:
        for name, kind, shape, numbers in sorted(constants):
            yield f"{name} {kind} {list(shape)}".encode()
            yield numbers

    return sha256_of(parts())
