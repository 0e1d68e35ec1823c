"""Reads contract.json from an untrusted source: every value is checked before it is used.

Formats: 1 holds one picture and one image per golden case, 2 lists of them. 3 adds to each output of numbers `sums`
over all of its values, and the file's card. 4 adds `arithmetics` to each golden case of an exact int8 file: its entries
are those of `BASE`, and for each other arithmetic (a row of `quantization.arithmetic`) the outputs and layers that
differ, or the name of `BASE` where none does. `describes_itself` is false in contracts of files of other tools, which
have no card: preprocessing is the contract's. Tolerances in a contract must equal the constants of this program, so a
contract cannot widen them.
"""

from __future__ import annotations

import base64
import binascii
import math
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeailite.environment import int8_instructions
from edgeailite.errors import DataError, some_of
from edgeailite.files import read_regular
from edgeailite.untrusted import Fields, is_printable, json_value, printable, shown

FORMAT = 4
READABLE = (1, 2, 3, FORMAT)
WHOLE = 3  # the first format with sums and card
BASE = "onnxruntime_x86"
KINDS = ("float", "int8")
EVERY_BIT = "every bit"
SAMPLE = 64  # values kept of each tensor
SUMS = 64  # sums over all values of an output
FLOAT_TOLERANCE = 1e-4  # of the standard deviation of a tensor
FLOAT_LOGIT_TOLERANCE = 1e-3  # the same, of the file against torch: what a proof asks for
WIDE_EQUAL_ARGMAX = 0.99
FLOAT_PARTS = "edgeailite.float_parts"  # of a file's metadata
FLOAT_PARTS_PROMISE = (
    f"proven but for parts in float; elsewhere classes equal on {100 * WIDE_EQUAL_ARGMAX:g} % of pixels"
)

WIDE_PROMISE = f"not exact (16-bit parts): classes equal on {100 * WIDE_EQUAL_ARGMAX:g} % of pixels"
WEAKER = {WIDE_PROMISE: "edgeailite.wide", FLOAT_PARTS_PROMISE: FLOAT_PARTS}
"""Promises short of every bit, and the entry of a file's metadata that names the parts they are made for."""
NAMED = 3  # parts in a sentence
LARGEST_CONTRACT = 2**25  # bytes; of a network of 75 layers they are a third of a million
LARGEST_PICTURE = 2**25  # bytes, unpacked; label maps too
MOST_CASES, MOST_PICTURES, MOST_OUTPUTS, MOST_LAYERS, MOST_ARITHMETICS = 8, 8, 64, 10_000, 16
LONGEST_SIDE = 2**20
LONGEST_PLACE = 30  # characters of a version, and of a processor
AGREEMENTS = ("equal_argmax", "max_difference", "mean_difference", "std")


@dataclass(frozen=True)
class Contract:
    """The contents of a contract that a re-check needs; `where` names it in messages.

    `promise` is what is kept of an int8 file: every bit, or a key of WEAKER.
    `golden` cases hold `pictures`, `images`, `outputs`, `layers` and `arithmetics`, as checked values. `preprocessing`
    and `card` are None where the contract does not say them (formats 1 and 2; no card of a file that does not describe
    itself). `proven` says with which onnxruntime and
    on which processor the file was proven, "" if that is not known.
    """

    kind: str
    exact: bool
    sha256: str
    golden: tuple[Mapping[str, Any], ...]
    preprocessing: Mapping[str, Any] | None
    card: Mapping[str, Any] | None
    where: str
    proven: str = ""
    describes_itself: bool = True
    promise: str = ""

    @property
    def wide(self) -> bool:
        """True for a file with parts of 16 bits or in float, whose bits are not promised."""
        return self.kind == "int8" and not self.exact

    def expected(self, arithmetic: str) -> str:
        """Name the arithmetic whose entries a machine of this one is compared with: its own if known, else `BASE`."""
        known = all(arithmetic in case["arithmetics"] for case in self.golden)
        return arithmetic if self.exact and known else BASE


def load_contract(path: Path) -> dict[str, Any]:
    """Read contract.json. Raises DataError for a missing, damaged or foreign file, or a value that cannot be.

    What is there is well formed then; `contract_of` says whether there is enough to check a file with.
    """
    try:
        text = read_regular(path, limit=LARGEST_CONTRACT)
    except OSError as error:
        raise DataError(
            f"cannot be read as contract ({error.strerror})",
            path=path,
            fix="write it with `edgeailite verify RUN`",
            code="missing-file" if isinstance(error, FileNotFoundError) else "unreadable",
        ) from None
    try:
        values = json_value(text, where="contract")
    except DataError as error:
        raise DataError(
            f"cannot be read as contract ({error})",
            path=path,
            fix="write it with `edgeailite verify RUN`",
            code=error.code,
        ) from None
    if not isinstance(values, dict) or _format(values) not in READABLE:
        raise DataError(
            f"not a contract of format {FORMAT}",
            path=path,
            fix="write it with `edgeailite verify RUN`",
            code="unexpected-value",
        )
    fields = Fields.of(values, where=str(path))
    _check_head(fields)
    if "golden" in values:
        _golden(fields)
    return values


def contract_of(values: Mapping[str, Any], *, where: str = "contract") -> Contract:
    """The checked form of a contract. Raises DataError for a wrong value, and where there is nothing to compare."""
    fields = Fields.of(values, where=where)
    if _format(values) not in READABLE:
        raise fields.refuse("format", f"one of {', '.join(map(str, READABLE))}")
    _check_head(fields)
    kind = fields.text("kind", choices=KINDS)
    whole, describes_itself = _format(values) >= WHOLE, fields.truth("describes_itself", default=True)
    if fields.any("sha256") is None:
        raise fields.refuse("sha256", "the SHA-256 of the file, in hexadecimal digits")
    golden = _golden(fields)
    for name, known in ((name, known) for case in golden for name, known in case["outputs"].items()):
        if whole and len(known["shape"]) == 4 and "sums" not in known:
            raise DataError(
                f"outputs: {name}: sums: expected {SUMS} numbers, found nothing", path=where, code="missing-value"
            )
    exact = fields.truth("exact", default=kind == "int8")
    return Contract(
        kind,
        exact,
        values["sha256"],
        golden,
        fields.fields("preprocessing").values if whole or values.get("preprocessing") is not None else None,
        fields.fields("card").values if whole and describes_itself else None,
        where,
        _proven(values.get("environment")),
        describes_itself,
        _promise(fields, exact=exact),
    )


def golden_in(case: Mapping[str, Any], arithmetic: str) -> Mapping[str, Any]:
    """Return a golden case with the outputs and layers of an arithmetic; that of `BASE` as it is."""
    other = case["arithmetics"].get(arithmetic, BASE)
    if other == BASE:
        return case
    layers = [layer | {"sha256": other["layers"].get(layer["tensor"], layer["sha256"])} for layer in case["layers"]]
    return {**case, "outputs": {**case["outputs"], **other["outputs"]}, "layers": layers}


def unpack(packed: Mapping[str, Any], *, where: str = "contract") -> NDArray[np.uint8]:
    """Bytes of a picture or a label map, of the shape that was checked. Raises DataError for others."""
    shape = packed["shape"]
    size = math.prod(shape)
    try:
        inflate = zlib.decompressobj()
        data = inflate.decompress(base64.b64decode(packed["zlib_base64"], validate=True), size + 1)
    except (zlib.error, binascii.Error, ValueError) as error:
        raise DataError(f"zlib_base64: damaged ({printable(str(error))[:100]})", path=where, code="damaged") from None
    if len(data) != size or not inflate.eof or inflate.unused_data:
        raise DataError(
            f"zlib_base64: expected {size} bytes of {'x'.join(map(str, shape))}, found others",
            path=where,
            code="damaged",
        )
    return np.frombuffer(data, np.uint8).reshape(shape)


def _proven(environment: Any) -> str:
    """Say with which onnxruntime and on which processor a contract was written; "" where it does not say that."""
    try:
        version, features = environment["packages"]["onnxruntime"], environment["cpu_features"]
        machine = environment.get("machine", "")
    except (KeyError, TypeError, AttributeError):
        return ""
    if not isinstance(version, str) or not isinstance(features, list) or not isinstance(machine, str):
        return ""
    kind = int8_instructions(machine, features)
    return printable(f"onnxruntime {version[:LONGEST_PLACE]}" + (f" on {kind[:LONGEST_PLACE]}" if kind else ""))


def _format(values: Mapping[str, Any]) -> int:
    """Return the format number; 0 if it is not a whole number (True counts as none)."""
    found = values.get("format")
    return found if isinstance(found, int) and not isinstance(found, bool) else 0


def _check_head(fields: Fields) -> None:
    """Everything but the golden cases, as far as it is there."""
    values = fields.values
    if "kind" in values:
        fields.text("kind", choices=KINDS)
    if "exact" in values and fields.truth("exact") and values.get("kind") == "float":
        raise fields.refuse("exact", "false, as of every float file")
    if values.get("sha256") is not None and not _is_hash(values["sha256"], empty=True):
        raise fields.refuse("sha256", "64 hexadecimal digits")
    if "file" in values and not _is_plain_name(fields.text("file", longest=255)):
        raise fields.refuse("file", "a file name without folders")
    if "tolerance" in values:
        _check_tolerance(fields)
    if values.get("preprocessing") is not None:
        pre = fields.fields("preprocessing")
        for key in ("height", "width"):
            pre.whole(key, 1, LONGEST_SIDE)
    if "card" in values:
        fields.fields("card")
    if "results" in values:
        _check_results(fields.fields("results"))


def _check_tolerance(fields: Fields) -> None:
    """Raises DataError for another tolerance than is applied."""
    tolerance = fields.fields("tolerance")
    for key, applied in (("float_logits_std", FLOAT_LOGIT_TOLERANCE), ("float_layer_std", FLOAT_TOLERANCE)):
        if key in tolerance.values and tolerance.number(key) != applied:
            raise tolerance.refuse(key, f"{applied:g}, which is applied")
    promises: tuple[str | None, ...] = (None, EVERY_BIT, *WEAKER)
    if fields.values.get("kind") == "float":
        promises = (None,)
    elif "exact" in fields.values:
        promises = promises[1:2] if fields.values["exact"] else promises[2:]
    if "int8" in tolerance.values and tolerance.values["int8"] not in promises:
        raise tolerance.refuse("int8", f"{promises[0]!r}, which is applied")


def _promise(fields: Fields, *, exact: bool) -> str:
    """Return what a contract promises; contracts that do not say it are of every bit, or of parts of 16 bits."""
    given = fields.fields("tolerance").values.get("int8") if "tolerance" in fields.values else None
    return given or (EVERY_BIT if exact else WIDE_PROMISE)


def but_for(parts: Sequence[str], share: float | None = None) -> str:
    """Say that nothing is proven of parts that stay in float, and which share (0 to 1) of the products is integer.

    A share never rounds up to all.

    >>> but_for(["norm", "softmax"], 0.99996)
    'proven but for norm, softmax in float (99.99 % of MACs integer)'
    """
    integer = "" if share is None else f" ({math.floor(1e4 * share) / 100:g} % of MACs integer)"
    return f"proven but for {some_of(parts, NAMED)} in float{integer}"


def _check_results(results: Fields) -> None:
    """Check the numbers that reports print: shares in 0 to 1, differences of 0 or more, names that can be printed."""
    for key, value in results.values.items():
        if not is_printable(key):
            raise DataError(
                f"names without control characters, found {shown(key)}", path=results.where, code="unexpected-value"
            )
        if not isinstance(value, Mapping):
            continue
        part = results.fields(key)
        if key == "sizes":
            _check_results(part)
            continue
        for name in AGREEMENTS:
            if part.values.get(name) is not None:
                part.number(name, 0, 1 if name == "equal_argmax" else math.inf)
        if "pictures" in part.values:
            part.whole("pictures", 0, 2**53)


def _golden(fields: Fields) -> tuple[Mapping[str, Any], ...]:
    cases = fields.items("golden", most=MOST_CASES, least=1)
    return tuple(_case(Fields.of(case, where=f"{fields.where}: golden {index}")) for index, case in enumerate(cases))


def _case(case: Fields) -> Mapping[str, Any]:
    pictures = (
        case.items("pictures", most=MOST_PICTURES, least=1) if "pictures" in case.values else [case.any("picture")]
    )
    images = case.items("images", most=MOST_PICTURES, least=1) if "images" in case.values else [case.any("image")]
    if len(pictures) != len(images):
        raise DataError(
            f"{len(pictures)} picture(s), but {len(images)} image(s)",
            path=case.where,
            fix="as many are expected",
            code="unexpected-value",
        )
    outputs = case.fields("outputs")
    if not 1 <= len(outputs.values) <= MOST_OUTPUTS or not all(map(is_printable, outputs.values)):
        raise case.refuse("outputs", f"1 to {MOST_OUTPUTS} outputs, named without control characters")
    layers = case.items("layers", most=MOST_LAYERS)
    checked = {
        "pictures": [_picture(Fields.of(value, where=f"{case.where}: picture")) for value in pictures],
        "images": [_image(Fields.of(value, where=f"{case.where}: image")) for value in images],
        "outputs": {name: _output(outputs.fields(name)) for name in outputs.values},
        "layers": [_layer(Fields.of(value, where=f"{case.where}: layer {i}")) for i, value in enumerate(layers)],
    }
    return checked | {"arithmetics": _arithmetics(case, checked)}


def _arithmetics(case: Fields, checked: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the differences from the case in other arithmetics, by their names; {} where the contract has none."""
    if "arithmetics" not in case.values:
        return {}
    others = case.fields("arithmetics")
    if len(others.values) > MOST_ARITHMETICS or not all(map(is_printable, others.values)) or BASE in others.values:
        raise case.refuse("arithmetics", f"at most {MOST_ARITHMETICS} printable names other than {BASE}")
    return {
        name: BASE if value == BASE else _difference(others.fields(name), checked)
        for name, value in others.values.items()
    }


def _difference(fields: Fields, case: Mapping[str, Any]) -> Mapping[str, Any]:
    """Outputs and layers of a case that another arithmetic computes otherwise: of its names and shapes."""
    outputs, layers = fields.fields("outputs"), fields.fields("layers")
    found = {name: _output(outputs.fields(name)) for name in outputs.values}
    for name, known in found.items():
        if name not in case["outputs"] or known["shape"] != case["outputs"][name]["shape"]:
            raise fields.refuse("outputs", "outputs of the case, in their shapes")
        if ("sums" in known) != ("sums" in case["outputs"][name]):
            raise fields.refuse("outputs", "sums where the case has them")
    tensors = {layer["tensor"] for layer in case["layers"]}
    if set(layers.values) - tensors or not all(map(_is_hash, layers.values.values())):
        raise fields.refuse("layers", "64 hexadecimal digits of tensors of the case")
    return {"outputs": found, "layers": layers.values}


def _picture(fields: Fields) -> Mapping[str, Any]:
    shape = _packed(fields)
    if len(shape) != 3 or shape[2] != 3:
        raise fields.refuse("shape", "height, width, 3")
    return fields.values


def _packed(fields: Fields) -> list[int]:
    """The shape of packed bytes; their number is bounded."""
    shape = _shape(fields)
    if math.prod(shape) > LARGEST_PICTURE:
        raise fields.refuse("shape", f"at most {LARGEST_PICTURE} bytes together")
    fields.text("zlib_base64", longest=2 * LARGEST_PICTURE)
    unpack(fields.values, where=fields.where)
    return shape


def _image(fields: Fields) -> Mapping[str, Any]:
    _check_fingerprint(fields)
    shape = fields.values["shape"]
    if len(shape) != 4 or shape[:2] != [1, 3]:
        raise fields.refuse("shape", "1, 3, height, width")
    return fields.values


def _output(fields: Fields) -> Mapping[str, Any]:
    """A fingerprint, and labels where there are classes: of logits (N,C,H,W) or (N,C) with C > 1, of label maps."""
    _check_fingerprint(fields)
    shape = fields.values["shape"]
    labelled = len(shape) == 3 or (len(shape) in (2, 4) and shape[1] > 1)
    if not labelled and len(shape) not in (2, 4):
        raise fields.refuse("shape", "N, C, H, W or N, C of scores, or N, H, W of labels")
    if labelled or "labels" in fields.values:
        labels, places = fields.fields("labels"), [shape[0], *(shape[-2:] if len(shape) > 2 else ())]
        if _packed(labels) != places:
            raise labels.refuse("shape", f"{places}, as the output has")
    if "sums" in fields.values:
        fields.numbers("sums", SUMS)
    return fields.values


def _layer(fields: Fields) -> Mapping[str, Any]:
    fields.text("tensor")
    fields.texts("nodes", most=1000)
    _check_fingerprint(fields)
    return fields.values


def _check_fingerprint(fields: Fields) -> None:
    """Shape, sha256, standard deviation, and as many sampled values as the shape has room for."""
    size = math.prod(_shape(fields))
    if not _is_hash(fields.any("sha256")):
        raise fields.refuse("sha256", "64 hexadecimal digits")
    fields.number("std", 0)
    fields.numbers("sample", min(size, SAMPLE))


def _shape(fields: Fields) -> list[int]:
    shape = fields.items("shape", most=8, least=1)
    if not all(isinstance(side, int) and not isinstance(side, bool) and 1 <= side <= LONGEST_SIDE for side in shape):
        raise fields.refuse("shape", f"whole numbers in 1..{LONGEST_SIDE}")
    return shape


def _is_plain_name(name: str) -> bool:
    return name not in ("", ".", "..") and not set(name) & {"/", "\\"}


def _is_hash(value: Any, *, empty: bool = False) -> bool:
    """Tell if a value is a SHA-256 in lower-case hexadecimal digits (or "", if `empty` allows it)."""
    if not isinstance(value, str) or (not value and not empty):
        return False
    return not value or (len(value) == 64 and not set(value) - set("0123456789abcdef"))
