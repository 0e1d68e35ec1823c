"""The contract of a proven .tflite file: what `edgeailite.runtime.recheck_tflite` needs, and the numbers seen.

The entries of a golden case are those of the arithmetic `tflite_reference`; `arithmetics` holds what differs in
`xnnpack`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edgeailite import __version__
from edgeailite.environment import environment, installed
from edgeailite.export.agreement import Array
from edgeailite.export.contract import GOLDEN_PICTURES, read_pictures, small
from edgeailite.export.parity import Picture
from edgeailite.export.tflite_parity import TfliteSubject, program_codes
from edgeailite.files import sha256_of
from edgeailite.preprocessing import preprocess
from edgeailite.quantization.tflite_rules import run_program
from edgeailite.runtime import Golden, Layer, TfliteModel, load_tflite
from edgeailite.runtime.contract import described
from edgeailite.runtime.contract_file import FLOAT_LOGIT_TOLERANCE, FLOAT_TOLERANCE, FORMAT
from edgeailite.runtime.tflite_recheck import ARITHMETICS, BASE, PACKAGE


def tflite_contract(
    subject: TfliteSubject, items: Sequence[tuple[Path, ...]], results: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the values of contract_int8_tflite.json, as `contract.contract_values` does for an ONNX file."""
    step = max(1, len(items) // GOLDEN_PICTURES)
    chosen = [tuple(map(small, pictures)) for pictures in read_pictures(items[::step][:GOLDEN_PICTURES])]
    data = subject.file.read_bytes()
    model = load_tflite(data, threads=1)
    return {
        "format": FORMAT,
        "edgeailite": __version__,
        "file": subject.file.name,
        "kind": "int8",
        "exact": True,
        "sha256": sha256_of(data),
        "tolerance": {
            "int8": "every bit",
            "float_logits_std": FLOAT_LOGIT_TOLERANCE,
            "float_layer_std": FLOAT_TOLERANCE,
        },
        "preprocessing": subject.card.to_dict()["preprocessing"],
        "card": described(subject.card),
        "environment": _environment(),
        "results": results,
        "golden": [_case(subject, model, pictures) for pictures in chosen],
    }


def _environment() -> dict[str, Any]:
    """Return the record of this installation, with LiteRT's version."""
    found = environment()
    return found | {"packages": {**found["packages"], PACKAGE: installed(PACKAGE)}}


def _case(subject: TfliteSubject, model: TfliteModel, pictures: tuple[Picture, ...]) -> dict[str, Any]:
    cases = {name: _golden(subject, model, pictures, name).to_dict() for name in ARITHMETICS.values()}
    base = cases.pop(BASE)
    return base | {"arithmetics": {name: _difference(base, case) for name, case in cases.items()}}


def _difference(case: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """Return outputs, and layers (their sha256), that differ from those of the case."""
    pairs = zip(case["layers"], other["layers"], strict=True)
    return {
        "outputs": {name: value for name, value in other["outputs"].items() if value != case["outputs"][name]},
        "layers": {b["tensor"]: b["sha256"] for a, b in pairs if a["sha256"] != b["sha256"]},
    }


def _golden(subject: TfliteSubject, model: TfliteModel, pictures: tuple[Picture, ...], arithmetic: str) -> Golden:
    images = tuple(preprocess(picture, subject.card.preprocessing) for picture in pictures)
    program, values = subject.written.program, dict[str, Array]()
    found = run_program(
        program,
        program_codes(program, images),
        arithmetic,
        seen=lambda value, numbers: values.update({value.name: np.asarray(numbers)}),
    )
    outputs = {name: model.values(name, value) for name, value in found.items()}
    layers = tuple(
        (Layer(operator.output.name, (operator.kind,)), values[operator.output.name])
        for operator in program.operators
        if operator.output not in program.outputs.values()
    )
    return Golden(pictures, images, outputs, layers)
