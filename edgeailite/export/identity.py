"""Is a file what export writes of this network? Its description entry by entry, then every node, weight and byte.

Pictures can prove only what they show: a file may answer others otherwise, or name its classes otherwise. Export is
reproducible, so the network is written once more, in memory, with the options that the file itself says (opset, size,
ArgMax, kernels), and compared. Files of another version of this package may differ in their bytes, not in their nodes.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]  # ships no type information
from torch import fx, nn

from edgeailite import __version__
from edgeailite.errors import DataError, ParityError, option
from edgeailite.export.passes import Kernels
from edgeailite.export.to_onnx import to_onnx
from edgeailite.files import read_regular, unreadable
from edgeailite.modelcard import ModelCard
from edgeailite.runs.onnx_model import card_entries
from edgeailite.runtime import OnnxModel
from edgeailite.runtime.contract import first_difference
from edgeailite.untrusted import json_value, printable, shown

LARGEST_FILE = 2**31  # bytes, of protocol buffers
VERSION, WEIGHTS = "edgeailite.version", "edgeailite.weights_sha256"
OPSETS = (17, 23)  # oldest and newest that export writes
SAME_BYTES, SAME_GRAPH, NOT_COMPARED = "equal in every byte", "equal in every node and weight", "not compared"


def read_model(file: Path) -> tuple[bytes, onnx.ModelProto]:
    """Read an ONNX file: its bytes and the model. Weights in other files are not read. Raises DataError."""
    try:
        data = read_regular(file, limit=LARGEST_FILE)
        model = onnx.ModelProto.FromString(data)
    except OSError as error:
        raise unreadable(file, error, fix="write it with `edgeailite export`") from None
    except DecodeError:
        raise DataError(f"{file}: not an ONNX file; write it with `edgeailite export`", code="damaged") from None
    for tensor in model.graph.initializer:
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            raise ParityError(f"{file}: {printable(tensor.name)}: weights in another file; export this run again")
    return data, model


def metadata_of(file: Path, model: onnx.ModelProto) -> dict[str, str]:
    """Return the metadata of a model. Raises ParityError for a key that occurs twice: readers would not agree on it."""
    entries: dict[str, str] = {}
    for entry in model.metadata_props:
        if entry.key in entries:
            raise ParityError(f"{file}: {printable(entry.key)}: is there twice; export this run again")
        entries[entry.key] = entry.value
    return entries


def at_size_of(card: ModelCard, file: OnnxModel) -> ModelCard:
    """Return the run's card with the picture size of its file: export may choose another one (`img_resize`)."""
    return card.with_size(file.card.preprocessing.size)


def check_description(file: Path, metadata: Mapping[str, str], card: ModelCard) -> None:
    """Compare a file's metadata with the run's card. Raises ParityError, naming the first entry that differs."""
    for key, value in card_entries(card).items():
        if metadata.get(key) == value:
            continue
        place, found, expected = _place(file, key, metadata, value)
        raise ParityError(f"{file}: {place}: the file has {found}, the run {expected}; export this run again")


def _place(file: Path, key: str, metadata: Mapping[str, str], expected: str) -> tuple[str, str, str]:
    """Say where in an entry the difference is, with both values."""
    if key not in metadata:
        return key, "nothing", shown(expected)
    found = metadata[key]
    if key == "classes":
        names = (found.split(","), expected.split(","))
        return first_difference(*names, key) or (key, shown(found), shown(expected))
    if not expected.startswith(("{", "[")):
        return key, shown(found), shown(expected)
    theirs = json_value(found, where=f"{file}: {key}")
    return first_difference(theirs, json.loads(expected), key) or (key, "the same values", "them in another spelling")


def compare_with_export(file: Path, module: nn.Module, card: ModelCard, *, argmax: str) -> str:
    """Write the network again and compare: SAME_BYTES, or SAME_GRAPH for files of another version of this package.

    Raises ParityError with the first node, weight or entry that export would not write.
    """
    data, model = read_model(file)
    metadata = metadata_of(file, model)
    difference = ""
    for simplify in (True, False):  # the file does not say which
        again = to_onnx(module, card, argmax=argmax, simplify=simplify, **_options(file, model, module))
        if again.SerializeToString(deterministic=True) == data:
            return SAME_BYTES
        found = next(_differences(model, again), "")
        if not found and metadata.get(VERSION) != __version__:
            return SAME_GRAPH
        difference = difference or found or "other bytes than are written of the same nodes and weights"
    other = metadata.get(VERSION, "none")
    raise ParityError(
        f"{file}: {difference}, which is not what export writes of this run; export it again, or name the "
        f"{option('weights')} that were exported"
        + (f" (the file is of version {shown(other)}, this is {__version__})" if other != __version__ else "")
        + f", or compare pictures alone with {option('export_again')} False"
    )


def _options(file: Path, model: onnx.ModelProto, module: nn.Module) -> dict[str, Any]:
    """Read from a file the options of `to_onnx` that it was written with."""
    opset = next((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), 0)
    if not OPSETS[0] <= opset <= OPSETS[1]:
        raise ParityError(f"{file}: opset {opset}, but export writes {OPSETS[0]} to {OPSETS[1]}; export this run again")
    rewritten = metadata_of(file, model).get("edgeailite.kernels") == "onnxruntime" and isinstance(
        module, fx.GraphModule
    )
    kernels: Kernels = "onnxruntime" if rewritten else "plain"
    return {"opset": opset, "kernels": kernels, "size": fixed_size(model)}


def fixed_size(model: onnx.ModelProto) -> tuple[int, int] | None:
    """Return height and width of the first input, None where they are open."""
    sides = [side.dim_value for side in model.graph.input[0].type.tensor_type.shape.dim] if model.graph.input else []
    return (sides[2], sides[3]) if len(sides) == 4 and sides[2] > 0 and sides[3] > 0 else None


def _differences(found: onnx.ModelProto, written: onnx.ModelProto) -> Iterator[str]:
    """Say what differs between a file and what export writes: metadata, inputs, outputs, nodes, weights, all else."""
    entries = [{p.key: p.value for p in model.metadata_props} for model in (found, written)]
    for key in dict.fromkeys([*entries[0], *entries[1]]):
        if key in (VERSION, WEIGHTS):  # the weights are named themselves, below
            continue
        if entries[0].get(key) != entries[1].get(key):
            yield f"{printable(key)}: {shown(entries[0].get(key))}"
    for what in ("input", "output", "node", "initializer"):
        yield from _parts(what, getattr(found.graph, what), getattr(written.graph, what))
    for what in ("sparse_initializer", "quantization_annotation"):
        if _bytes(getattr(found.graph, what)) != _bytes(getattr(written.graph, what)):
            yield f"another {what}"
    for what in ("functions", "opset_import", "training_info"):
        if _bytes(getattr(found, what)) != _bytes(getattr(written, what)):
            yield f"another {what}"
    if entries[0].get(WEIGHTS) != entries[1].get(WEIGHTS):
        yield f"{WEIGHTS}: {shown(entries[0].get(WEIGHTS))}"


def _parts(what: str, found: Sequence[Any], written: Sequence[Any]) -> Iterator[str]:
    """Say which inputs, outputs, nodes or weights are not those that export writes, in graph order."""
    known = {part.name: data for part, data in zip(written, _bytes(written), strict=True)}
    for part, data in zip(found, _bytes(found), strict=True):
        if known.get(part.name) != data:
            yield f"{what} {printable(part.name)}" + (f" ({printable(part.op_type)})" if what == "node" else "")
    have = {part.name for part in found}
    yield from (f"no {what} {name}" for name in known if name not in have)
    if [part.name for part in found] != [part.name for part in written]:
        yield f"another number or order of {what}s"


def _bytes(parts: Sequence[Any]) -> list[bytes]:
    return [part.SerializeToString(deterministic=True) for part in parts]
