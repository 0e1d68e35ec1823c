"""What an exported .tflite file says about itself, checked against its graph before anything is computed.

Its metadata are those of an ONNX file, one buffer per entry, and `edgeailite.head`: what its outputs hold.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from edgeailite.errors import DataError
from edgeailite.modelcard import NETWORK
from edgeailite.runtime.metadata import ADVICE, NO_ARGMAX, About, about_of_metadata
from edgeailite.runtime.tflite_file import Damaged, Tensor, TfliteFile, unreadable
from edgeailite.untrusted import shown

HEAD = "edgeailite.head"
HEADS = ("logits", "quantized", "codes", "argmax")
CODES = ("int8", "int16")
OPERATORS = frozenset((
    "ADD", "ARG_MAX", "CAST", "CONCATENATION", "CONV_2D", "DEPTHWISE_CONV_2D", "DEPTH_TO_SPACE", "DEQUANTIZE", "GATHER",
    "MAX_POOL_2D", "MEAN", "MIRROR_PAD", "MUL", "PAD", "QUANTIZE", "REDUCE_MAX", "REDUCE_MIN", "RESHAPE",
    "RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR", "SLICE", "SPACE_TO_DEPTH", "SUB", "TRANSPOSE",
))  # fmt: skip
"""Those that export writes."""


@dataclass(frozen=True)
class Port:
    """The types and shape that an input or output may have; a side of None is any.

    `whole`: it may also say one thing of the whole picture, without height and width.
    """

    types: tuple[str, ...]
    shape: tuple[int | None, ...]
    whole: bool = False

    def __str__(self) -> str:
        return f"{' or '.join(self.types)} {'x'.join('any' if side is None else str(side) for side in self.shape)}"

    def fits(self, tensor: Tensor) -> bool:
        """Return whether a tensor is that, with one scale if it holds codes."""
        if tensor.type not in self.types or 0 in tensor.shape:
            return False
        if self.whole and tensor.shape == (1, *self.shape[3:]):
            return True
        if len(tensor.shape) != len(self.shape):
            return False
        if tensor.type in CODES and not is_quantized(tensor):
            return False
        return all(wanted in (None, found) for wanted, found in zip(self.shape, tensor.shape, strict=True))


def is_quantized(tensor: Tensor) -> bool:
    """Return whether a tensor has one scale and one zero point."""
    return (
        tensor.scale is not None and tensor.zero_point is not None and len(tensor.scale) == len(tensor.zero_point) == 1
    )


def admit_tflite(file: TfliteFile) -> tuple[About, str]:
    """Read an exported file's metadata and its head, and check its graph against them. Raises DataError."""
    if not file.is_own:
        fix = "export it here, or describe the network's ONNX file (edgeailite card); complexity and bench take it"
        raise DataError("no edgeailite metadata", path=file.name, fix=fix, code="wrong-kind")
    texts = file.texts()
    about, head = about_of_metadata(texts, where=file.name), texts.get(HEAD, "")
    if head not in HEADS or (head == "argmax") != (about.argmax != NO_ARGMAX) or about.kind != "int8":
        raise DataError(
            f"{HEAD}: {shown(head)}, which does not suit the rest", path=file.name, fix=ADVICE, code="damaged"
        )
    _check_graph(file)
    size = about.card.preprocessing.size
    _check_ports(file, "input", {name: Port(("int8",), (1, *size, 3)) for name in about.card.inputs}, file.inputs)
    _check_ports(file, "output", _outputs(about, head), file.outputs)
    return about, head


def _outputs(about: About, head: str) -> dict[str, Port]:
    theirs = NETWORK in about.card.options  # a network from elsewhere may have outputs of other sizes, or none
    size: tuple[int | None, int | None] = (None, None) if theirs else about.card.preprocessing.size
    types = ("float32",) if head in ("logits", "argmax") else CODES
    sides = (None, None) if head == "codes" else size
    return {
        name: Port(types, (1, *sides, channels), theirs) if channels else Port(("int32",), (1, *size), theirs)
        for name, channels in about.outputs.items()
    }


def _check_ports(file: TfliteFile, what: str, wanted: Mapping[str, Port], found: Mapping[str, int]) -> None:
    """Raises DataError where the graph has other inputs or outputs than its metadata say."""
    if list(wanted) != list(found) and (what == "input" or sorted(wanted) != sorted(found)):
        raise _differs(file.name, f"{what}s", ", ".join(wanted), ", ".join(found))
    for name, port in wanted.items():
        tensor = file.tensors[found[name]]
        if not port.fits(tensor):
            there = f"{tensor.type} {'x'.join(map(str, tensor.shape))}"
            scales = "" if is_quantized(tensor) or tensor.type not in CODES else " without one scale and zero point"
            raise _differs(file.name, f"{what} {name}", str(port), there + scales)


def _differs(name: str, what: str, said: str, found: str) -> DataError:
    return DataError(
        f"{what}: the metadata say {shown(said)}, the graph has {shown(found)}", path=name, fix=ADVICE, code="damaged"
    )


def _check_graph(file: TfliteFile) -> None:
    """Raises DataError for operators that export does not write, and constants of other lengths than their shapes."""
    for node in file.nodes:
        if node.kind not in OPERATORS or -1 in node.inputs or len(node.outputs) != 1:
            raise unreadable(file.name, f"{node.kind}, which export does not write like that")
    if len({tensor.name for tensor in file.tensors}) != len(file.tensors):
        raise unreadable(file.name, "two tensors of one name")
    try:
        for tensor in file.tensors:
            if tensor.data is not None:
                tensor.array()
    except Damaged as error:
        raise unreadable(file.name, str(error)) from None
