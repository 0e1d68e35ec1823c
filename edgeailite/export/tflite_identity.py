"""Is a .tflite file what export writes of this network? Entries, tensors and operators, then every byte."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from edgeailite import __version__
from edgeailite.errors import ParityError, option
from edgeailite.export.identity import SAME_BYTES, SAME_GRAPH, VERSION, WEIGHTS
from edgeailite.runtime.tflite_file import Tensor, TfliteFile, read_tflite
from edgeailite.untrusted import printable, shown


def compare_with_export(file: Path, written: bytes) -> str:
    """Compare a file with what export writes: SAME_BYTES, or SAME_GRAPH for files of another version of this package.

    Raises ParityError with the first entry, tensor or operator that export would not write.
    """
    found, again = read_tflite(file), read_tflite(written)
    if found.data == written:
        return SAME_BYTES
    difference, version = next(_differences(found, again), ""), found.texts().get(VERSION)
    if not difference and version != __version__:
        return SAME_GRAPH
    raise ParityError(
        f"{file}: {difference or 'other bytes than are written of the same operators and weights'}, which is not what "
        f"export writes of this run; export it again, or name the {option('weights')} that were exported"
        + (f" (the file is of version {shown(version)}, this is {__version__})" if version != __version__ else "")
        + f", or compare pictures alone with {option('export_again')} False"
    )


def _differences(found: TfliteFile, written: TfliteFile) -> Iterator[str]:
    entries = (found.metadata, written.metadata)
    for key in dict.fromkeys([*entries[0], *entries[1]]):
        if key not in (VERSION, WEIGHTS) and entries[0].get(key) != entries[1].get(key):
            yield f"{printable(key)}: {shown(found.texts().get(key))}"
    known = {tensor.name: tensor for tensor in written.tensors}
    for tensor in found.tensors:
        if tensor.name not in known or not _is_same(tensor, known[tensor.name]):
            yield f"tensor {printable(tensor.name)}"
    for node, other in zip(found.nodes, written.nodes, strict=False):
        if node != other:
            outputs = ", ".join(found.tensors[index].name for index in node.outputs)
            yield f"operator {printable(outputs)} ({node.kind})"
    counts = [(len(file.tensors), len(file.nodes), dict(file.inputs), dict(file.outputs)) for file in (found, written)]
    if counts[0] != counts[1]:
        yield "another number or order of tensors or operators"


def _is_same(tensor: Tensor, other: Tensor) -> bool:
    if (tensor.shape, tensor.type, tensor.axis) != (other.shape, other.type, other.axis):
        return False
    pairs = ((tensor.scale, other.scale), (tensor.zero_point, other.zero_point))
    same = all((a is None) == (b is None) and (a is None or np.array_equal(a, b)) for a, b in pairs)
    return same and bytes(tensor.data or b"") == bytes(other.data or b"")
