"""The metadata of an exported file: the one reader, which checks every entry and that they agree with each other.

The card is the record. What other programs read stands beside it in plain entries (`classes`, `mean`, `input_size`,
...), which must say the same. Files of older versions may lack plain entries that came later; the rest is required.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from edgeailite.errors import DataError
from edgeailite.modelcard import LONGEST_SIDE, ModelCard, card_from_dict
from edgeailite.onnxfile import OWN, OnnxFile, Sizes
from edgeailite.onnxfile.wire import Port
from edgeailite.runtime.contract_file import WEAKER
from edgeailite.untrusted import Fields, json_value, shown

SESSION_SETTINGS = "edgeailite.session"  # metadata: onnxruntime's session entries under which integer kernels run
SIGNED_CODES = {"session.qdqisint8allowed": "1"}  # the one setting that export writes
KINDS = ("float", "int8")
NO_ARGMAX = "none"
ARGMAX = (NO_ARGMAX, "full", "before_upsampling")
KERNELS = ("plain", "onnxruntime")
LABEL_SUFFIX = "_label"  # of the outputs of files with ArgMax
ADVICE = "the file was changed; export it again"
FLOAT = 1  # TensorProto.DataType


@dataclass(frozen=True)
class About:
    """A file's statements about itself: the card, float or int8, position of its ArgMax, settings of its session."""

    card: ModelCard
    kind: str
    argmax: str
    settings: Mapping[str, str]

    @property
    def outputs(self) -> dict[str, int]:
        """Names of the graph's outputs and their channels; 0 of label maps, which have none."""
        return {
            f"{name}{LABEL_SUFFIX}" if self._is_labels(name) else name: 0 if self._is_labels(name) else channels
            for name, channels in self.card.outputs.items()
        }

    def _is_labels(self, name: str) -> bool:
        return self.argmax != NO_ARGMAX and name in self.card.classified


def card_of_metadata(metadata: Mapping[str, str], *, where: str = "ONNX metadata") -> ModelCard:
    """The card of a file's metadata, whose plain entries say the same. Raises DataError with the entry's name."""
    return about_of_metadata(metadata, where=where).card


def about_of_metadata(metadata: Mapping[str, str], *, where: str = "ONNX metadata") -> About:
    """Everything that this version reads of a file's metadata. Raises DataError with the entry's name."""
    entries = Fields.of(metadata, where=where)
    if OWN not in metadata:
        raise DataError(f"no {OWN}", path=where, fix="export the file here", code="wrong-kind")
    card = card_from_dict(json_value(entries.any(OWN), where=f"{where}: {OWN}"), where=f"{where}: {OWN}")
    kind, argmax = entries.text("edgeailite.kind", choices=KINDS), entries.text("edgeailite.argmax", choices=ARGMAX)
    _check_plain(entries, card)
    if "edgeailite.kernels" in metadata:
        entries.text("edgeailite.kernels", choices=KERNELS)
    for key in ("edgeailite.scheme", "edgeailite.version"):
        if key in metadata:
            entries.text(key, longest=64)
    if "edgeailite.scheme" in metadata and kind != "int8":
        raise DataError(
            f"edgeailite.scheme: belongs to int8 files, but edgeailite.kind is {kind}",
            path=where,
            fix=ADVICE,
            code="damaged",
        )
    if "edgeailite.weights_sha256" in metadata:
        _check_hash(entries, "edgeailite.weights_sha256")
    for key in WEAKER.values():
        if key in metadata:
            Fields({key: json_value(metadata[key], where=f"{where}: {key}")}, where).texts(key, most=100_000)
    if "ort_config" in metadata:  # onnxruntime takes settings from it where an environment variable allows it
        raise DataError(
            "ort_config: settings of onnxruntime, which export does not write", path=where, fix=ADVICE, code="damaged"
        )
    return About(card, kind, argmax, session_settings(metadata, where=where))


def session_settings(metadata: Mapping[str, str], *, where: str) -> dict[str, str]:
    """Check a file's settings for onnxruntime: only "signed codes run as integers" is allowed, others can name paths.

    Raises DataError for any other key or value.
    """
    text = metadata.get(SESSION_SETTINGS, "{}")
    settings = json_value(text, where=f"{where}: {SESSION_SETTINGS}")
    if settings not in ({}, SIGNED_CODES) or not isinstance(settings, dict):
        raise DataError(
            f"{SESSION_SETTINGS}: expected {json.dumps(SIGNED_CODES)} or {{}}, found {shown(text)}",
            path=where,
            fix=ADVICE,
            code="damaged",
        )
    return dict(settings)


def check_agrees(about: About, file: OnnxFile, sizes: Sizes) -> None:
    """Raises DataError where the graph has other inputs, outputs or kinds of layers than its metadata say."""
    graph, card, name = file.graph, about.card, file.name
    found = tuple(port.name for port in graph.inputs)
    if found != card.inputs:
        raise _differs(name, "inputs", ", ".join(card.inputs), ", ".join(found))
    for port in graph.inputs:
        if port.element != FLOAT:
            raise _differs(name, f"input {port.name}", "float32", f"element type {port.element}")
    outputs = [port.name for port in graph.outputs]
    wanted = about.outputs
    whole = card.whole
    if sorted(outputs) != sorted(wanted):
        raise _differs(name, "outputs", ", ".join(wanted), ", ".join(outputs))
    for output, channels in wanted.items():
        shape = sizes.shapes[output]
        expected = f"1x{channels}xHxW" if channels else "1xHxW"
        sides = (4, 2) if channels else (3,)  # 1xC: classes of a whole picture
        if output in whole:
            expected = f"1x{channels}x1x1"
        wrong = len(shape) not in sides or shape[0] != 1 or (channels and shape[1] != channels)
        if wrong or (output in whole and any(side != 1 for side in shape[2:])):
            raise _differs(name, f"output {output}", expected, "x".join(map(str, shape)))
    for port in graph.outputs:
        _check_declared(port, sizes.shapes[port.name], name)
    quantized = any(node.op == "QuantizeLinear" for node in graph.nodes)
    if quantized != (about.kind == "int8"):
        raise _differs(name, "edgeailite.kind", about.kind, "quantizers" if quantized else "no quantizers")


def _check_declared(port: Port, shape: Sequence[int], name: str) -> None:
    """Raises DataError where an output is declared with other sides than the graph gives it; open ones are names."""
    declared = port.shape
    if declared is None:
        return
    pairs = zip(declared, shape, strict=False)
    if len(declared) != len(shape) or any(side != found for side, found in pairs if isinstance(side, int)):
        said, found = ("x".join(map(str, sides)) for sides in (declared, shape))
        raise DataError(
            f"output {port.name}: declared as {shown(said)}, the graph gives {shown(found)}",
            path=name,
            fix=ADVICE,
            code="damaged",
        )


def _differs(name: str, what: str, said: str, found: str) -> DataError:
    return DataError(
        f"{what}: the metadata say {shown(said)}, the graph has {shown(found)}", path=name, fix=ADVICE, code="damaged"
    )


def _check_plain(entries: Fields, card: ModelCard) -> None:
    """Plain entries against the card."""
    pre = card.preprocessing
    for key in ("input_size", "mean", "scale", "channel_order", "interpolation"):
        entries.any(key)
    _same(entries, "input_size", _size(entries), pre.size)
    _same(entries, "mean", _parsed(entries, "mean"), list(pre.mean))
    _same(entries, "scale", _parsed(entries, "scale"), list(pre.scale))
    _same(entries, "channel_order", entries.any("channel_order"), pre.channel_order)
    _same(entries, "interpolation", entries.any("interpolation"), pre.interpolation)
    optional: dict[str, tuple[Callable[[], Any], Any]] = {
        "classes": (lambda: entries.any("classes"), ",".join(card.classes)),
        "palette": (lambda: _parsed(entries, "palette"), [list(colour) for colour in card.palette]),
        "edgeailite.tasks": (lambda: _parsed(entries, "edgeailite.tasks"), card.tasks),
    }
    for key, (read, expected) in optional.items():
        if key in entries.values:
            _same(entries, key, read(), expected)


def _same(entries: Fields, key: str, found: Any, expected: Any) -> None:
    if found != expected:
        raise DataError(
            f"{key}: {shown(found)}, but the card says {shown(expected)}",
            path=entries.where,
            fix=ADVICE,
            code="damaged",
        )


def _parsed(entries: Fields, key: str) -> Any:
    return json_value(entries.any(key), where=f"{entries.where}: {key}")


def _size(entries: Fields) -> tuple[int, int]:
    height, _, width = str(entries.any("input_size")).partition("x")
    if not all(side.isascii() and side.isdecimal() and len(side) <= 5 for side in (height, width)):
        raise entries.refuse("input_size", f"HEIGHTxWIDTH, each 1 to {LONGEST_SIDE}")
    return int(height), int(width)


def _check_hash(entries: Fields, key: str) -> None:
    value = entries.text(key, longest=64)
    if len(value) != 64 or set(value) - set("0123456789abcdef"):
        raise entries.refuse(key, "64 hexadecimal digits")
