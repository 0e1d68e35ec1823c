"""The contract of an exported file: golden pictures with the answers that were validated, to re-check it anywhere.

A golden case is a small uint8 picture for each input, the expected inputs and outputs, and a fingerprint of every inner
tensor, so that a departure is found at the layer where it starts. int8 files must agree in every bit. Float files must
give the labels but for ties (`EQUAL_LABELS`), and scores within `FLOAT_TOLERANCE` of the standard deviation, at 64
places and in 64 sums that every score is part of. An int8 contract that says `"exact": false` is for a file with 16-bit
parts: its preprocessing is checked in every bit, its labels on `WIDE_EQUAL_ARGMAX` of the pixels.
"""

from __future__ import annotations

import base64
import contextlib
import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeailite.environment import machine_arithmetic
from edgeailite.errors import DataError, ParityError, UsageError, option
from edgeailite.files import read_regular, sha256_of, unreadable
from edgeailite.modelcard import ModelCard, input_name, preprocessing_of
from edgeailite.preprocessing import Preprocessing, preprocess
from edgeailite.runtime.contract_file import (
    FLOAT_PARTS,
    FLOAT_PARTS_PROMISE,
    FORMAT,
    WEAKER,
    WIDE_EQUAL_ARGMAX,
    Contract,
    contract_of,
    golden_in,
    unpack,
)
from edgeailite.runtime.exported import ExportedModel, run
from edgeailite.runtime.fingerprint import (
    ROUNDING,
    departs,
    equal_labels,
    fingerprint,
    float_departs,
    is_near,
    labels_of,
    seed_of,
    sums_of,
)
from edgeailite.runtime.machine import here, origin, reasons
from edgeailite.runtime.session import Array, OnnxModel, admit, load_onnx, open_session, tensors
from edgeailite.runtime.trial import check_file
from edgeailite.untrusted import Fields, printable, shown

__all__ = ["FORMAT", "PROVEN_LEVELS", "Golden", "Layer", "first_departure", "labels_of", "recheck"]

PROVEN_LEVELS = ("EXTENDED", "ALL")
SPREAD, WIDE_SPREAD = 0.01, 0.2  # of the standard deviation: how far the contract's own may be from the file's
LARGEST_FILE = 2**31  # bytes of an ONNX file
MISSING: Any = object()
QUANTIZER = b'"\x0eQuantizeLinear'  # the operator's name in a node, as protocol buffers write it


@dataclass(frozen=True)
class Layer:
    """An inner tensor of the file and the nodes that make it from the one before."""

    tensor: str
    nodes: tuple[str, ...]


@dataclass(frozen=True)
class Golden:
    """Golden pictures (H,W,3) uint8 RGB with the network's inputs, outputs and inner tensors, in graph order."""

    pictures: tuple[NDArray[np.uint8], ...]
    images: tuple[NDArray[np.float32], ...]
    outputs: Mapping[str, Array]
    layers: tuple[tuple[Layer, Array], ...]

    def to_dict(self) -> dict[str, Any]:
        """JSON form: the pictures whole, everything else as fingerprints, label maps whole."""
        return {
            "pictures": [_pack(picture) for picture in self.pictures],
            "images": [fingerprint(image) for image in self.images],
            "outputs": {name: _output(value) for name, value in self.outputs.items()},
            "layers": [
                {"tensor": layer.tensor, "nodes": list(layer.nodes), **fingerprint(value)}
                for layer, value in self.layers
            ],
        }


def _output(value: Array) -> dict[str, Any]:
    labels, found = labels_of(value), fingerprint(value)
    if value.ndim == 4:
        found["sums"] = sums_of(value, seed_of(found["sha256"])).tolist()
    return found | ({} if labels is None else {"labels": _pack(labels)})


def recheck(
    file: Path,
    contract: Mapping[str, Any],
    *,
    skip_hash: bool = False,
    threads: int | None = None,
    name: str = "contract",
) -> dict[str, Any]:
    """Run the golden pictures of a contract through `file`, on any machine; return the agreement by level.

    `same_file` of the result says whether the file's hash is the contract's; `skip_hash` compares another file all the
    same. `name` is the contract's in messages. An exact int8 file is compared with the contract's entries for the
    `arithmetic` of this machine; `expected` names another one where the contract has none, and `same_as_x86` says
    whether the entries are those of `onnxruntime_x86`. `proven` and `here` say with which onnxruntime and processor the
    contract was written and checked. Raises ParityError, naming what departs first
    and the known reasons, and DataError for a contract that has a wrong value, does not belong to the file or has
    nothing to compare.

    >>> from edgeailite.runtime import load_contract
    >>> found = recheck(Path("runs/night/model.onnx"), load_contract(Path("runs/night/contract.json")))
    >>> found["pictures"], found["same_file"], found["ALL"]["equal_argmax"]
    (1, True, 1.0)
    """
    checked = contract_of(contract, where=name)
    data = _read(file)
    found = checked_hash(file, data, checked, skip_hash=skip_hash)
    arithmetic = machine_arithmetic()
    expected = checked.expected(arithmetic)
    results: dict[str, Any] = {
        "pictures": len(checked.golden),
        "sha256": found,
        "same_file": found == checked.sha256,
        "proven": checked.proven,
        "here": here(),
    }
    if checked.exact:
        same = all(golden_in(case, expected) is case for case in checked.golden)
        results |= {"arithmetic": arithmetic, "expected": expected, "same_as_x86": same}
    if checked.wide:
        results |= {"exact": False, "promise": checked.promise}
    if not checked.describes_itself:
        _try_others(file, checked, threads=threads)
    model = None
    for level in PROVEN_LEVELS:
        model = _opened(file, checked, level=level, threads=threads)
        _check_kind(file, data, model, checked)
        shares: list[float] = []
        for index, golden in enumerate(checked.golden):
            case = _Case(file, data, model, golden_in(golden, expected), checked, level, threads, results)
            shares += _recheck_case(case, where=f"{name}: golden {index}")
        results[level] = {"equal_argmax": min(shares, default=None)}
    assert model is not None
    check_description(file, model, checked)
    if checked.promise == FLOAT_PARTS_PROMISE and checked.describes_itself:
        results["float_parts"] = json.loads(model.session.get_modelmeta().custom_metadata_map[FLOAT_PARTS])
    return results


def checked_hash(file: Path, data: bytes, contract: Contract, *, skip_hash: bool) -> str:
    """Return the sha256 of a file. Raises ParityError if it is not the contract's, unless `skip_hash`."""
    found = sha256_of(data)
    if not skip_hash and found != contract.sha256:
        raise ParityError(
            f"sha256 {found[:16]}… but the contract is for {contract.sha256[:16]}…",
            path=file,
            fix=f"give the file's own contract, or find what differs with {option('skip_hash')} True",
        )
    return found


@dataclass(frozen=True)
class _Case:
    """A golden case, the file it is checked on, and how; `results` are those known so far."""

    file: Path
    data: bytes
    model: OnnxModel
    golden: Mapping[str, Any]
    contract: Contract
    level: str
    threads: int | None
    results: Mapping[str, Any]


def _read(file: Path) -> bytes:
    if not file.exists():
        raise DataError("no such ONNX file", path=file, fix="write it with `edgeailite export`", code="missing-file")
    try:
        return read_regular(file, limit=LARGEST_FILE)
    except OSError as error:
        raise unreadable(file, error, fix="give an ONNX file") from None


def _try_others(file: Path, contract: Contract, *, threads: int | None) -> None:
    """Run a file that does not describe itself once in a child. Raises DataError; also for one that does."""
    found = check_file(file, height_width=_preprocessing(contract).size, threads=threads or 1)
    if found.is_own:
        with contextlib.suppress(DataError):
            admit(found)
            raise UsageError(
                "describes_itself: expected true, for the file has our metadata, found false",
                path=contract.where,
                fix="prove the file again",
            )


def _opened(file: Path, contract: Contract, *, level: str, threads: int | None) -> OnnxModel:
    """Open the file; one that does not describe itself with the contract's preprocessing."""
    if contract.describes_itself:
        return load_onnx(file, threads=threads, level=level)
    session = open_session(file, threads=threads, level=level)
    card = ModelCard("", {}, (), (), _preprocessing(contract), "")
    return OnnxModel(session, card, "int8", "none", None, printable(str(file)))


def _preprocessing(contract: Contract) -> Preprocessing:
    """Return the preprocessing that a contract says. Raises DataError."""
    return preprocessing_of(Fields.of(contract.preprocessing, where=f"{contract.where}: preprocessing"))


def _check_kind(file: Path, data: bytes, model: OnnxModel, contract: Contract) -> None:
    """Check that the contract promises what this kind of file requires: no weaker promise, no fewer comparisons."""
    if model.kind == "float" and QUANTIZER in data:
        raise DataError(
            "edgeailite.kind: float, but it has quantizers", path=file, fix="export it again", code="damaged"
        )
    if model.kind != contract.kind:
        raise DataError(
            f"kind: expected {model.kind}, as {file} is, found {contract.kind!r}",
            path=contract.where,
            code="unexpected-value",
        )
    named = WEAKER[contract.promise] if contract.wide and contract.describes_itself else ""
    if named and named not in model.session.get_modelmeta().custom_metadata_map:
        kind = "in float" if contract.promise == FLOAT_PARTS_PROMISE else "of 16 bits"
        raise DataError(
            f"exact: expected true, for {file} has no parts {kind}, found false",
            path=contract.where,
            code="unexpected-value",
        )
    names = [output.name for output in model.session.get_outputs()]
    for golden in contract.golden:
        for name in golden["outputs"]:
            if name not in names:
                raise ParityError(f"output {name!r} is missing", fix=f"the file has {printable(', '.join(names))}")
        if missing := [name for name in names if name not in golden["outputs"]]:
            raise DataError(
                f"outputs: expected all of {file}, {shown(missing[0])} is missing",
                path=contract.where,
                code="missing-value",
            )
        if len(golden["pictures"]) != len(model.card.inputs):
            raise DataError(
                f"pictures: expected {len(model.card.inputs)}, as {file} takes, found {len(golden['pictures'])}",
                path=contract.where,
                code="unexpected-value",
            )


def _recheck_case(case: _Case, *, where: str) -> list[float]:
    """Shares of equal labels, by output with classes. Raises ParityError where the file departs."""
    images, golden = _inputs(case.golden, case.model), case.golden
    outputs = run(case.model, *images)
    for name, value in outputs.items():
        if not np.isfinite(value).all():
            raise ParityError(f"output {name} is not finite ({case.level})", path=case.file, fix="export the run again")
    found = {name: equal_labels(outputs[name], known) for name, known in golden["outputs"].items()}
    shares = [share for share in found.values() if share is not None]
    if not _holds(case, images, outputs):
        place = first_departure(case.data, case.model, golden, kind=case.contract.kind, threads=case.threads)
        text = f": argmax equal on {100 * min(shares):.3f} % of pixels" if shares else ""
        why = "".join(f"; {part}" for part in (origin(case.results), *reasons(case.results)))
        raise ParityError(
            f"departs first at {place or 'the labels of an output'}", path=case.file, fix=f"{case.level}{text}{why}"
        )
    for name, known in golden["outputs"].items():
        _check_consistent(outputs[name], known, case.contract, where=f"{where}: {printable(name)}")
    return shares


def _holds(case: _Case, images: Sequence[Array], outputs: Mapping[str, Array]) -> bool:
    """All that is promised of the file: exact preprocessing, and of each output bits, labels or near values."""
    if any(departs(image, known, exact=True) for image, known in zip(images, case.golden["images"], strict=True)):
        return False
    return all(_output_holds(outputs[name], known, case.contract) for name, known in case.golden["outputs"].items())


def _output_holds(value: Array, known: Mapping[str, Any], contract: Contract) -> bool:
    if contract.exact:
        return not departs(value, known, exact=True)
    if contract.wide:
        share = equal_labels(value, known)
        return is_near(value, known) if share is None else share >= WIDE_EQUAL_ARGMAX
    return not float_departs(value, known)


def _check_consistent(value: Array, known: Mapping[str, Any], contract: Contract, *, where: str) -> None:
    """Raise DataError if the file gives the promised result but the contract's further entries contradict it."""
    std = float(value.std(dtype=np.float64))
    if abs(std - known["std"]) > (WIDE_SPREAD if contract.wide else SPREAD) * std + ROUNDING:
        raise DataError(
            f"std: expected {std:.6g}, as the file gives, found {known['std']:.6g}", path=where, code="unexpected-value"
        )
    if contract.exact and (share := equal_labels(value, known)) is not None and share < 1:
        raise DataError(
            "labels: expected those of the scores whose sha256 stands beside them, found others",
            path=where,
            code="unexpected-value",
        )
    if contract.exact and departs(value, known, exact=False):
        raise DataError(
            "sample: expected values of the tensor whose sha256 stands beside them, found others",
            path=where,
            code="unexpected-value",
        )


def check_description(file: Path, model: ExportedModel, contract: Contract) -> None:
    """Compare the contract's description of the file (not its answers).

    Raises DataError or ParityError with the entry's name.
    """
    mine = model.card.to_dict()
    preprocessing = json.loads(json.dumps(mine["preprocessing"]))
    for key, value in (contract.preprocessing or preprocessing).items():
        if key not in preprocessing or preprocessing[key] != value or isinstance(value, bool):
            raise DataError(
                f"preprocessing: {printable(key)}: expected {shown(preprocessing.get(key))}, "
                f"as {file} has, found {shown(value)}",
                path=contract.where,
                code="unexpected-value",
            )
    if contract.preprocessing is not None and (left := set(preprocessing) - set(contract.preprocessing)):
        raise DataError(
            f"preprocessing: {min(left)}: expected a value, found nothing", path=contract.where, code="missing-value"
        )
    if contract.card is not None and (place := first_difference(described(model.card), contract.card)) is not None:
        key, ours, theirs = place
        raise ParityError(
            f"{key}: the file has {ours}, the contract {theirs}", path=file, fix="give the file's own contract"
        )


def described(card: ModelCard) -> dict[str, Any]:
    """A card as a file and a contract hold it: JSON values, without the folder of the data set."""
    values: dict[str, Any] = json.loads(json.dumps({**card.to_dict(), "data_path": None}))
    return values


def first_difference(mine: Any, theirs: Any, key: str = "") -> tuple[str, str, str] | None:
    """Find the first entry in which two JSON values differ; returns its key and both values.

    Different types differ too.
    """
    if isinstance(mine, dict) and isinstance(theirs, Mapping):
        pairs = [(name, mine.get(name, MISSING), theirs.get(name, MISSING)) for name in dict.fromkeys([*mine, *theirs])]
        inner = (first_difference(a, b, f"{key}.{printable(str(name))}".lstrip(".")) for name, a, b in pairs)
        return next((found for found in inner if found is not None), None)
    if isinstance(mine, list) and isinstance(theirs, list) and len(mine) == len(theirs):
        items = (first_difference(a, b, f"{key}[{i}]") for i, (a, b) in enumerate(zip(mine, theirs, strict=True)))
        return next((found for found in items if found is not None), None)
    if type(mine) is type(theirs) and mine == theirs:
        return None
    return key, shown(mine) if mine is not MISSING else "nothing", shown(theirs) if theirs is not MISSING else "nothing"


def _inputs(golden: Mapping[str, Any], model: OnnxModel) -> list[Array]:
    """The golden pictures, preprocessed."""
    return [preprocess(unpack(picture), model.card.preprocessing) for picture in golden["pictures"]]


def first_departure(
    data: bytes, model: OnnxModel, golden: Mapping[str, Any], *, kind: str, threads: int | None = None
) -> str | None:
    """Name of the first place where the file departs from the golden values, in graph order; None if nowhere."""
    exact = kind == "int8"
    images = _inputs(golden, model)
    for index, (image, expected) in enumerate(zip(images, golden["images"], strict=True)):
        if departs(image, expected, exact=True):
            return f"{input_name(index)} (preprocessing: {model.card.preprocessing})"
    outputs = run(model, *images)
    wrong = [
        name
        for name, known in golden["outputs"].items()
        if (departs(outputs[name], known, exact=True) if exact else float_departs(outputs[name], known))
    ]
    if not wrong:
        return None
    values = tensors(data, [layer["tensor"] for layer in golden["layers"]], images, threads=threads)
    for layer in golden["layers"]:
        where = printable(" -> ".join(layer["nodes"]))
        if layer["tensor"] not in values:
            return f"{where}: tensor {layer['tensor']} is missing in the file"
        if departs(_own_channels(values[layer["tensor"]], layer["shape"]), layer, exact=exact):
            return f"{where} (tensor {layer['tensor']})"
    return f"output {wrong[0]}, behind the last of {len(golden['layers'])} inner tensors, which agree"


def _own_channels(value: Array, shape: Sequence[int]) -> Array:
    """Drop the zero channels that a file rewritten for fast kernels has after the network's own."""
    return value[:, : shape[1]] if value.ndim == len(shape) == 4 else value


def _pack(value: NDArray[np.uint8]) -> dict[str, Any]:
    data = zlib.compress(np.ascontiguousarray(value).tobytes(), 9)
    return {"shape": list(value.shape), "zlib_base64": base64.b64encode(data).decode()}
