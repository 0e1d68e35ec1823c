"""A .tflite file against its contract, on any machine with LiteRT and numpy: every tensor, bit for bit.

LiteRT's reference kernels must give what the contract says of `tflite_reference`, LiteRT's default kernels what it says
of `xnnpack`.
"""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeailite.environment import cpu_features, installed, int8_instructions
from edgeailite.errors import DataError, ParityError
from edgeailite.preprocessing import preprocess
from edgeailite.runtime.contract import check_description, checked_hash
from edgeailite.runtime.contract_file import contract_of, golden_in, unpack
from edgeailite.runtime.fingerprint import departs, equal_labels
from edgeailite.runtime.tflite_file import read_tflite
from edgeailite.runtime.tflite_session import TfliteModel, input_codes, load_tflite, tensors_of
from edgeailite.untrusted import printable, shown

Array = NDArray[Any]
ARITHMETICS = {"reference": "tflite_reference", "xnnpack": "xnnpack"}
"""LiteRT's kernels and the arithmetic that they must equal."""
LEVELS = {"reference": "LiteRT, reference kernels", "xnnpack": "LiteRT, default (XNNPACK)"}
"""The same as tables call them."""
BASE = "tflite_reference"
PACKAGE = "ai-edge-litert"
LONGEST_VERSION = 30  # characters


def recheck_tflite(
    file: Path,
    contract: Mapping[str, Any],
    *,
    skip_hash: bool = False,
    threads: int | None = None,
    name: str = "contract",
) -> dict[str, Any]:
    """Run the golden pictures of a contract through a .tflite file; return the agreement by kernels.

    Options, result and errors are those of `recheck`.
    """
    checked = contract_of(contract, where=name)
    if checked.kind != "int8" or not checked.exact:
        raise DataError(
            "kind: expected an exact int8 contract, as that of a .tflite file", path=name, code="unexpected-value"
        )
    read = read_tflite(file)
    found = checked_hash(file, read.data, checked, skip_hash=skip_hash)
    results: dict[str, Any] = {
        "pictures": len(checked.golden),
        "sha256": found,
        "same_file": found == checked.sha256,
        "proven": _proven(contract),
        "here": _here(),
    }
    for kernels, arithmetic in ARITHMETICS.items():
        model = load_tflite(file, threads=threads, kernels=kernels)
        shares: list[float] = []
        for index, case in enumerate(checked.golden):
            golden = _in_arithmetic(case, arithmetic, where=f"{name}: golden {index}")
            shares += _recheck_case(file, read.data, model, golden, kernels)
        results[LEVELS[kernels]] = {"equal_argmax": min(shares, default=None)}
        check_description(file, model, checked)
    return results


def _in_arithmetic(case: Mapping[str, Any], arithmetic: str, *, where: str) -> Mapping[str, Any]:
    """Return a golden case with the outputs and layers of an arithmetic. Raises DataError where it is not said."""
    if arithmetic == BASE:
        return case
    if arithmetic not in case["arithmetics"]:
        raise DataError(
            f"arithmetics: expected {arithmetic}, found {shown(sorted(case['arithmetics']))}",
            path=where,
            code="missing-value",
        )
    return golden_in(case, arithmetic)


def _here() -> str:
    """Say with which LiteRT and on which processor this program runs."""
    return f"LiteRT {installed(PACKAGE) or 'unknown'} on {int8_instructions(platform.machine(), cpu_features())}"


def _proven(contract: Mapping[str, Any]) -> str:
    """Say with which LiteRT a contract was written; "" where it does not say that."""
    environment = contract.get("environment")
    packages = environment.get("packages") if isinstance(environment, Mapping) else None
    version = packages.get(PACKAGE) if isinstance(packages, Mapping) else None
    return f"LiteRT {printable(version)[:LONGEST_VERSION]}" if isinstance(version, str) else ""


def _recheck_case(file: Path, data: bytes, model: TfliteModel, golden: Mapping[str, Any], kernels: str) -> list[float]:
    """Shares of equal labels, by output with classes. Raises ParityError where an output or inner tensor departs."""
    if len(golden["pictures"]) != len(model.inputs) or set(golden["outputs"]) != set(model.outputs):
        raise DataError(
            f"inputs or outputs: expected those of {file}, found {shown(sorted(golden['outputs']))}", code="no-fit"
        )
    images = [preprocess(unpack(picture), model.card.preprocessing) for picture in golden["pictures"]]
    for image, known, (_, tensor) in zip(images, golden["images"], model.inputs, strict=True):
        if departs(image, known, exact=True):
            raise ParityError(f"departs first at {tensor.name} (preprocessing: {model.card.preprocessing})", path=file)
    codes = [input_codes(image, tensor) for image, (_, tensor) in zip(images, model.inputs, strict=True)]
    outputs = {name: model.values(name, value) for name, value in model.compute(codes).items()}
    wrong = [name for name, known in golden["outputs"].items() if departs(outputs[name], known, exact=True)]
    place = _first_departure(data, codes, golden["layers"], kernels)
    if wrong or place is not None:
        raise ParityError(f"departs first at {place or f'output {wrong[0]}'}", path=file, fix=LEVELS[kernels])
    shares = [equal_labels(outputs[name], known) for name, known in golden["outputs"].items()]
    if any(share is not None and share < 1 for share in shares):
        raise DataError(
            "labels: expected those of the scores whose sha256 stands beside them, found others",
            path=file,
            code="unexpected-value",
        )
    return [share for share in shares if share is not None]


def _first_departure(
    data: bytes, codes: Sequence[Array], layers: Sequence[Mapping[str, Any]], kernels: str
) -> str | None:
    values = tensors_of(data, codes, kernels=kernels)
    for layer in layers:
        name = layer["tensor"]
        if name not in values:
            return f"tensor {printable(name)}, which is missing in the file"
        if departs(np.asarray(values[name]), layer, exact=True):
            return f"{printable(name)} ({printable(' '.join(layer['nodes']))})"
    return None
