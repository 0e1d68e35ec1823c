"""The contract of an exported file: golden pictures with the answers that were validated, to re-check it anywhere.

A golden case is a small uint8 picture for each input, the expected inputs and outputs, and a fingerprint of every inner
tensor, so that a departure is found at the layer where it starts. int8 files must agree in every bit; float files
within `tolerance` times the standard deviation of each tensor. An int8 contract that says `"exact": false` is for a
file with 16-bit parts: its preprocessing is checked in every bit, its labels on `WIDE_EQUAL_ARGMAX` of the pixels.
"""

from __future__ import annotations

import base64
import hashlib
import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeailite.errors import DataError, ParityError
from edgeailite.modelcard import input_name
from edgeailite.preprocessing import preprocess
from edgeailite.runtime.session import Array, OnnxModel, load_onnx, run, tensors

FORMAT = 2
READABLE = (1, FORMAT)  # 1: one picture and one image, not lists
PROVEN_LEVELS = ("EXTENDED", "ALL")
SAMPLE = 64
FLOAT_TOLERANCE = 1e-4
WIDE_EQUAL_ARGMAX = 0.99
WIDE_TOLERANCE = 0.1  # of the standard deviation, mean |difference|: outputs without classes
WIDE_PROMISE = f"not exact (16-bit parts): classes equal on {100 * WIDE_EQUAL_ARGMAX:g} % of pixels"


@dataclass(frozen=True)
class Layer:
    """An inner tensor of the file and the nodes that make it from the one before."""

    tensor: str
    nodes: tuple[str, ...]


@dataclass(frozen=True)
class Golden:
    """Pictures (H,W,3) uint8 RGB and what the network gives for them: inputs, outputs, inner tensors in graph order."""

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
    labels = labels_of(value)
    return fingerprint(value) | ({} if labels is None else {"labels": _pack(labels)})


def fingerprint(value: Array) -> dict[str, Any]:
    """Shape, sha256, standard deviation and a fixed sample of a tensor."""
    flat = np.ascontiguousarray(value).ravel()
    return {
        "shape": list(value.shape),
        "sha256": hashlib.sha256(flat.tobytes()).hexdigest(),
        "std": float(flat.std(dtype=np.float64)),
        "sample": [float(v) for v in flat[_sample_index(flat.size)]],
    }


def departs(value: Array, expected: Mapping[str, Any], *, exact: bool) -> bool:
    """Whether a tensor differs from its fingerprint: in any bit, or in the sample by more than the tolerance."""
    if list(value.shape) != expected["shape"]:
        return True
    flat = np.ascontiguousarray(value).ravel()
    if exact:
        return hashlib.sha256(flat.tobytes()).hexdigest() != str(expected["sha256"])
    gap = np.abs(flat[_sample_index(flat.size)] - np.array(expected["sample"])).max()
    return not gap <= FLOAT_TOLERANCE * expected["std"] + 1e-6


def labels_of(value: Array) -> NDArray[np.uint8] | None:
    """Class map (N,H,W) of logits (N,C,H,W), or the labels themselves; None of one channel (a regression)."""
    if value.ndim == 4 and value.shape[1] == 1:
        return None
    return (value.argmax(1) if value.ndim == 4 else value).astype(np.uint8)


def load_contract(path: Path) -> dict[str, Any]:
    """Read contract.json. Raises DataError for a missing, damaged or foreign file."""
    try:
        contract = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise DataError(
            f"{path}: cannot be read as contract ({error}); write it with `edgeailite verify RUN`"
        ) from None
    if not isinstance(contract, dict) or contract.get("format") not in READABLE:
        raise DataError(f"{path}: not a contract of format {FORMAT}; write it with `edgeailite verify RUN`")
    return contract


def recheck(
    file: Path, contract: Mapping[str, Any], *, skip_hash: bool = False, threads: int | None = None
) -> dict[str, Any]:
    """Run the golden pictures through `file`; returns agreement per level. ParityError names what departs first."""
    data = file.read_bytes() if file.is_file() else b""
    found = hashlib.sha256(data).hexdigest()
    if not skip_hash and data and found != contract["sha256"]:
        raise ParityError(
            f"{file}: sha256 {found[:16]}… but the contract is for {contract['sha256'][:16]}…; give the file's own "
            "contract, or find what differs with --skip_hash True"
        )
    results: dict[str, Any] = {"pictures": len(contract["golden"]), "sha256": found}
    wide = contract["kind"] == "int8" and not contract.get("exact", True)
    if wide:
        results |= {"exact": False, "promise": WIDE_PROMISE}
    for level in PROVEN_LEVELS:
        model = load_onnx(file, threads=threads, level=level)
        agreement = [share for golden in contract["golden"] for share in _agreement(model, golden)]
        results[level] = {"equal_argmax": min(agreement, default=None)}
        for golden in contract["golden"]:
            if wide and _wide_holds(model, golden):
                continue
            place = first_departure(data, model, golden, kind=contract["kind"], threads=threads)
            if place is not None:
                share = f": argmax equal on {100 * min(agreement):.3f} % of pixels" if agreement else ""
                raise ParityError(f"{file}: departs first at {place}; {level}{share}")
    return results


def _inputs(golden: Mapping[str, Any], model: OnnxModel) -> tuple[list[Array], list[Mapping[str, Any]]]:
    """The golden pictures, preprocessed, and what is expected of that."""
    packed = golden["pictures"] if "pictures" in golden else [golden["picture"]]
    images = [preprocess(_unpack(picture), model.card.preprocessing) for picture in packed]
    return images, golden["images"] if "images" in golden else [golden["image"]]


def _agreement(model: OnnxModel, golden: Mapping[str, Any]) -> list[float]:
    """Share of pixels with equal class, of every output that has classes."""
    outputs = run(model, *_inputs(golden, model)[0])
    shares = []
    for name, expected in golden["outputs"].items():
        if name not in outputs:
            raise ParityError(f"output {name!r} is missing; the file has {', '.join(outputs)}")
        mine = labels_of(outputs[name])
        if mine is not None:
            labels = _unpack(expected["labels"])
            shares.append(float((mine == labels).mean()) if mine.shape == labels.shape else 0.0)
    return shares


def _wide_holds(model: OnnxModel, golden: Mapping[str, Any]) -> bool:
    """All that is promised of a file with 16-bit parts: exact preprocessing, nearly all labels, near values."""
    images, expected = _inputs(golden, model)
    if any(departs(image, known, exact=True) for image, known in zip(images, expected, strict=True)):
        return False
    if any(share < WIDE_EQUAL_ARGMAX for share in _agreement(model, golden)):
        return False
    outputs = run(model, *images)
    values = {name: known for name, known in golden["outputs"].items() if "labels" not in known}
    return all(_is_near(outputs[name], known) for name, known in values.items())


def _is_near(value: Array, expected: Mapping[str, Any]) -> bool:
    if list(value.shape) != expected["shape"]:
        return False
    gap = np.abs(value.ravel()[_sample_index(value.size)] - np.array(expected["sample"])).mean()
    return bool(gap <= WIDE_TOLERANCE * expected["std"])


def first_departure(
    data: bytes, model: OnnxModel, golden: Mapping[str, Any], *, kind: str, threads: int | None = None
) -> str | None:
    """Name of the first place where the file departs from the golden values, in graph order; None if nowhere."""
    exact = kind == "int8"
    images, expected_images = _inputs(golden, model)
    for index, (image, expected) in enumerate(zip(images, expected_images, strict=True)):
        if departs(image, expected, exact=True):
            return f"{input_name(index)} (preprocessing: {model.card.preprocessing})"
    outputs = run(model, *images)
    if not any(departs(outputs[name], expected, exact=exact) for name, expected in golden["outputs"].items()):
        return None
    values = tensors(data, [layer["tensor"] for layer in golden["layers"]], images, threads=threads)
    for layer in golden["layers"]:
        where = " -> ".join(layer["nodes"])
        if layer["tensor"] not in values:
            return f"{where}: tensor {layer['tensor']} is missing in the file"
        if departs(_own_channels(values[layer["tensor"]], layer["shape"]), layer, exact=exact):
            return f"{where} (tensor {layer['tensor']})"
    name = next(n for n, expected in golden["outputs"].items() if departs(outputs[n], expected, exact=exact))
    return f"output {name}, behind the last of {len(golden['layers'])} inner tensors, which agree"


def _own_channels(value: Array, shape: Sequence[int]) -> Array:
    """Without the channels of zeros that a file rewritten for fast kernels has behind the network's own."""
    return value[:, : shape[1]] if value.ndim == len(shape) == 4 else value


def _sample_index(size: int) -> NDArray[np.int64]:
    return np.random.default_rng(size).integers(0, size, min(size, SAMPLE))


def _pack(value: NDArray[np.uint8]) -> dict[str, Any]:
    data = zlib.compress(np.ascontiguousarray(value).tobytes(), 9)
    return {"shape": list(value.shape), "zlib_base64": base64.b64encode(data).decode()}


def _unpack(packed: Mapping[str, Any]) -> NDArray[np.uint8]:
    data = zlib.decompress(base64.b64decode(packed["zlib_base64"]))
    return np.frombuffer(data, np.uint8).reshape(packed["shape"])
