"""An ONNX file of anybody, read and checked before a runtime sees it. Every refusal is a DataError that names the file.

What holds for all files: it is a regular file of at most LARGEST bytes, its graph is in order and without a cycle, its
constants have as many numbers as their sides say and none is NaN, the scales of its quantizers are normal numbers above
0, and data outside the file lies beside it, in regular files that are no links. What only a file that says it was
exported here must keep is in `own_sizes`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path
from stat import S_ISREG

from edgeailite.errors import DataError
from edgeailite.files import open_regular, read_regular
from edgeailite.onnxfile.constants import check_constants
from edgeailite.onnxfile.shapes import Limits, Sizes, sizes_of
from edgeailite.onnxfile.wire import Damaged, Graph, Tensor, parse
from edgeailite.untrusted import is_printable, printable, shown

LARGEST = 2**31 - 1  # bytes; protocol buffers end there
MOST_EXTERNAL = 2**31  # bytes of data outside the file
MOST_OUTPUTS = 500
LONGEST_NAME = 1000  # of a node or tensor in a file of ours
DOMAINS = ("", "ai.onnx.ml", "ai.onnx.training", "ai.onnx.preview.training", "com.microsoft", "com.microsoft.nchwc")
OWN = "edgeailite.card"  # metadata that says a file was exported here
BYTES_SAID = "ONNX model"  # how messages call a file that came as bytes

# Limits of a file of ours, for one picture. They grow with the picture, so that a small file stays cheap.
LEAST_PIXELS = 2**18
ELEMENTS_PER_PIXEL, MOST_ELEMENTS = 256, 2**29  # of one tensor: a value for each of 256 classes
OPERATIONS_PER_PIXEL, LEAST_COUNTED = 16_000_000, 2**16  # the largest networks take about 2,500,000


@dataclass(frozen=True)
class OnnxFile:
    """The bytes of an ONNX file and its parsed content; `path` is None if it was given as bytes."""

    name: str
    path: Path | None
    data: bytes
    graph: Graph

    @property
    def is_own(self) -> bool:
        """True if the file's metadata says that edgeailite exported it."""
        return OWN in self.graph.metadata

    @property
    def is_whole(self) -> bool:
        """True if all data is in the file itself."""
        return all(tensor.external is None for tensor in self.graph.constants.values())


def read_onnx(source: Path | bytes) -> OnnxFile:
    """Read and check an ONNX file, or its bytes. Raises DataError."""
    if isinstance(source, bytes):
        name, path, data = BYTES_SAID, None, source
    else:
        name, path, data = printable(str(source)), source, _content(source)
    try:
        graph = parse(data)
        _check_graph(graph)
        if path is not None and len(graph.outputs) > MOST_OUTPUTS:  # inner tensors are added to bytes alone
            raise Damaged(f"{len(graph.outputs)} outputs; at most {MOST_OUTPUTS} are taken")
        _check_external(graph, path)
        check_constants(graph, strict=OWN in graph.metadata)
        if OWN in graph.metadata:
            _check_names(graph)
    except Damaged as error:
        raise unreadable(name, str(error)) from None
    return OnnxFile(name, path, data, graph)


def unreadable(name: object, reason: str) -> DataError:
    """Return the error for a file that is no good ONNX file, on one line."""
    return DataError(
        f"cannot be read as ONNX ({printable(reason)[:400]})", path=str(name), fix="export it again", code="damaged"
    )


def with_outside_data(file: OnnxFile) -> OnnxFile:
    """Return a file whose constants are all in memory, also those that lie beside it.

    Raises DataError where such a constant is not finite, or has not as many bytes as its sides say.
    """
    if file.is_whole:
        return file
    constants = dict(file.graph.constants)
    try:
        for name, tensor in constants.items():
            if tensor.external is not None:
                assert file.path is not None, "the reader refuses such constants of a file that came as bytes"
                raw = _external_content(tensor, tensor.external, file.path.parent)
                constants[name] = replace(tensor, raw=memoryview(raw), external=None)
        graph = replace(file.graph, constants=constants)
        check_constants(graph, strict=False)
    except Damaged as error:
        raise unreadable(file.name, str(error)) from None
    return replace(file, graph=graph)


def own_sizes(file: OnnxFile, height_width: tuple[int, int]) -> Sizes:
    """Infer the sizes of all tensors of a file of ours for one picture, of (height, width) if its size is open.

    Raises DataError for operators that export does not write, data outside the file, tensors and amounts of work that
    no network for pictures of this size has.
    """
    pixels = prod(height_width)
    limits = Limits(
        elements=min(MOST_ELEMENTS, ELEMENTS_PER_PIXEL * max(pixels, LEAST_PIXELS)),
        operations=OPERATIONS_PER_PIXEL * max(pixels, LEAST_COUNTED),
    )
    try:
        if file.graph.sparse or file.graph.function_domains or not file.is_whole:
            raise Damaged("sparse constants, functions or data outside the file, which export does not write")
        inputs = {port.name: _picture_shape(port.shape, height_width) for port in file.graph.inputs}
        return sizes_of(file.graph, inputs, limits)
    except Damaged as error:
        raise unreadable(file.name, str(error)) from None


def _picture_shape(shape: tuple[int | str, ...] | None, height_width: tuple[int, int]) -> tuple[int, ...]:
    if shape is None or len(shape) != 4:
        raise Damaged(f"an input of {'no shape' if shape is None else len(shape)} sides, expected (N,3,H,W)")
    wanted = (1, 3, *height_width)
    sides = tuple(side if isinstance(side, int) else given for side, given in zip(shape, wanted, strict=True))
    if sides != wanted:
        found, expected = ("x".join(map(str, sides)) for sides in (shape, wanted))
        raise Damaged(f"an input of {printable(found)[:80]}, but the metadata says {expected}")
    return sides


def _content(path: Path) -> bytes:
    if not os.path.lexists(path):
        raise DataError(
            "no such ONNX file", path=printable(str(path)), fix="write it with `edgeailite export`", code="missing-file"
        )
    try:
        with open_regular(path) as file:
            if (file.read(1) or b"\x08") < b"\x08":  # a field of number 0: a large file of zeros is not read at all
                raise unreadable(printable(str(path)), "it begins with a field of number 0")
        return read_regular(path, limit=LARGEST)
    except OSError as error:
        raise unreadable(printable(str(path)), error.strerror or str(error)) from None


def _check_graph(graph: Graph) -> None:
    """Nodes in order, each value made once, operators of domains that a runtime here knows."""
    if not graph.nodes:
        raise Damaged("it holds no ONNX graph")
    known = {port.name for port in graph.inputs} | graph.constants.keys()
    domains = {*DOMAINS, *graph.function_domains}
    for node in graph.nodes:
        if not node.op or not node.outputs:
            raise Damaged(f"a node without {'outputs' if node.op else 'an operator'} ({node.label})")
        if node.domain not in domains:
            raise Damaged(f"operator {node.domain}:{node.op} is of a library of its own, which is not at hand")
        missing = next((name for name in node.inputs if name and name not in known), None)
        if missing is not None:
            later = any(missing in other.outputs for other in graph.nodes)
            why = "made behind it; the graph is not acyclic, or not in order" if later else "made by no node"
            raise Damaged(f"{node.op} ({node.label}) takes {shown(missing)}, which is {why}")
        for name in node.outputs:
            if name and name in known:
                raise Damaged(f"{shown(name)} is made twice, the second time by {node.op} ({node.label})")
            known.add(name)
    for port in graph.outputs:
        if port.name not in known:
            raise Damaged(f"output {shown(port.name)} is made by no node")


def _check_names(graph: Graph) -> None:
    """Names that reports, tables and contracts may show as they are."""
    ports = (port.name for port in (*graph.inputs, *graph.outputs))
    values = (name for node in graph.nodes for name in (node.name, *node.outputs))
    for name in (*ports, *graph.constants, *values):
        if len(name) > LONGEST_NAME or not (name.isprintable() or is_printable(name)):
            raise Damaged(f"a name of more than {LONGEST_NAME} characters, or with control characters, {shown(name)}")


def _check_external(graph: Graph, path: Path | None) -> None:
    """Data outside the file lies in its folder, is not reached through a link, and is there."""
    total = 0
    for tensor in graph.constants.values():
        if tensor.external is None:
            continue
        if path is None:
            raise Damaged(f"{tensor.name}: data outside the file")
        total += _external_bytes(tensor, tensor.external, path.parent)
    if total > MOST_EXTERNAL:
        raise Damaged(f"{total} bytes of data outside the file; at most {MOST_EXTERNAL} are read")


def _external_content(tensor: Tensor, external: Mapping[str, str], folder: Path) -> bytes:
    length = _external_bytes(tensor, external, folder)
    try:
        with open_regular(folder / external["location"]) as file:
            file.seek(int(external.get("offset") or 0))
            return file.read(length)
    except OSError as error:
        raise Damaged(f"{tensor.name}: external data cannot be read ({error})") from None


def _external_bytes(tensor: Tensor, external: Mapping[str, str], folder: Path) -> int:
    """Return the number of bytes of external data.

    Damaged for a path outside the folder or a file that is too short.
    """
    location = external.get("location", "")
    parts = Path(location).parts
    if not location or Path(location).is_absolute() or ".." in parts or "\\" in location or "\0" in location:
        raise Damaged(f"{tensor.name}: external data path {shown(location)} leads out of the file's folder")
    target = folder
    for part in parts:
        target = target / part
        if target.is_symlink():
            raise Damaged(f"{tensor.name}: external data path {shown(location)} goes through a link")
    try:
        found = target.stat()
        offset, length = (int(external.get(key) or 0) for key in ("offset", "length"))
    except (OSError, ValueError) as error:
        raise Damaged(f"{tensor.name}: external data {shown(location)} cannot be read ({error})") from None
    length = length or found.st_size - offset
    if not S_ISREG(found.st_mode) or offset < 0 or length < 0 or offset + length > found.st_size:
        raise Damaged(f"{tensor.name}: external data {shown(location)} has not the {offset + length} bytes it should")
    return length
