"""The contract of a .tflite file, and what a re-check finds when file or contract were changed."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgeailite.data.files.images import write_png
from edgeailite.errors import DataError, ParityError
from edgeailite.export.tflite_contract import tflite_contract
from edgeailite.export.tflite_file import write_tflite
from edgeailite.export.tflite_parity import TfliteSubject, tflite_subject
from edgeailite.export.to_tflite import to_tflite
from edgeailite.runtime import recheck_tflite
from edgeailite.runtime.contract_file import WIDE_PROMISE
from edgeailite.runtime.tflite_file import read_tflite
from edgeailite.runtime.tflite_recheck import LEVELS, PACKAGE
from tests.export.toy import SIZE, toy_card, toy_quantized

pytest.importorskip("ai_edge_litert")
REFERENCE, XNNPACK = LEVELS.values()
FIRST = "stem.2"  # of the toy's tensors with other codes in the two arithmetics


@pytest.fixture(scope="module")
def subject(tmp_path_factory) -> TfliteSubject:
    model, path = toy_quantized("ort_u8s8"), tmp_path_factory.mktemp("run") / "model_int8.tflite"
    path.write_bytes(to_tflite(model, toy_card(), size=SIZE).data)
    return tflite_subject(model, toy_card(), path)


@pytest.fixture(scope="module")
def written(subject) -> dict[str, Any]:
    folder, rng = subject.file.parent, np.random.default_rng(0)
    pictures = [folder / f"{index}.png" for index in range(2)]
    for path in pictures:
        write_png(path, rng.integers(0, 256, (60, 80, 3)).astype(np.uint8))
    return json.loads(json.dumps(tflite_contract(subject, [(path,) for path in pictures], {"data": "made"})))


@pytest.fixture(autouse=True)
def _untried(monkeypatch) -> None:
    """Files made here need no trial in a child process; tests of the session have one."""
    monkeypatch.setattr("edgeailite.runtime.tflite_session.try_tflite", lambda data, **more: None)


def changed(contract: dict[str, Any], change: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
    """A copy of a contract whose first golden case was changed."""
    other = copy.deepcopy(contract)
    change(other["golden"][0])
    return other


def test_it_holds_in_both_arithmetics(subject, written):
    found = recheck_tflite(subject.file, written, threads=1)
    assert (found["pictures"], found["same_file"]) == (2, True)
    assert [found[level] for level in LEVELS.values()] == [{"equal_argmax": 1}] * 2
    assert found["proven"].startswith("LiteRT ")
    assert found["here"].startswith(found["proven"])


def test_it_says_of_xnnpack_what_differs_from_the_reference(written):
    case = written["golden"][0]
    assert list(case["arithmetics"]) == ["xnnpack"]
    layers = {layer["tensor"]: layer["sha256"] for layer in case["layers"]}
    other = case["arithmetics"]["xnnpack"]
    assert FIRST in other["layers"]
    assert len(other["layers"]) < len(layers)  # paddings of the picture are the same, and left out
    assert all(layers[name] != value for name, value in other["layers"].items())
    assert list(other["outputs"]) == ["segmentation"] == list(case["outputs"])
    assert "segmentation" not in layers
    assert next(layer["nodes"] for layer in case["layers"] if layer["tensor"] == FIRST) == ["CONV_2D"]


def test_a_changed_file_is_refused_or_departs_at_its_layer(subject, written, tmp_path):
    program = copy.deepcopy(subject.written.program)
    (operator,) = [each for each in program.operators if each.output.name == "project.0"]
    operator.inputs[1].data = operator.inputs[1].data ^ 0x40
    path = tmp_path / "model_int8.tflite"
    path.write_bytes(write_tflite(program, metadata=read_tflite(subject.file).metadata))
    with pytest.raises(ParityError, match="but the contract is for"):
        recheck_tflite(path, written)
    with pytest.raises(ParityError, match=rf"departs first at project\.0 \(CONV_2D\); {REFERENCE}"):
        recheck_tflite(path, written, skip_hash=True)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda case: case["layers"][1].update(sha256="0" * 64), rf"departs first at {FIRST} \(CONV_2D\); {REFERENCE}"),
        (
            lambda case: case["arithmetics"]["xnnpack"]["layers"].update({FIRST: "0" * 64}),
            rf"departs first at {FIRST} \(CONV_2D\); LiteRT, default \(XNNPACK\)",
        ),
        (lambda case: case["outputs"]["segmentation"].update(sha256="0" * 64), "departs first at output segmentation"),
        (lambda case: case["images"][0].update(sha256="0" * 64), r"departs first at image \(preprocessing: "),
        (lambda case: case["layers"][0].update(tensor="other"), "departs first at tensor other, which is missing"),
    ],
)
def test_a_departure_is_named_with_the_kernels(change, message, subject, written):
    with pytest.raises(ParityError, match=message):
        recheck_tflite(subject.file, changed(written, change))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda case: case["arithmetics"].clear(), r"arithmetics: expected xnnpack, found"),
        (
            lambda case: (case["pictures"].append(case["pictures"][0]), case["images"].append(case["images"][0])),
            "inputs or outputs: expected those of",
        ),
        (
            lambda case: case["outputs"].update(other=case["outputs"]["segmentation"]),
            r"inputs or outputs: expected those of .*other",
        ),
    ],
)
def test_a_contract_that_does_not_suit_the_file_is_refused(change, message, subject, written):
    with pytest.raises(DataError, match=message):
        recheck_tflite(subject.file, changed(written, change), name="made.json")


def test_labels_must_be_those_of_the_scores(subject, written):
    other = copy.deepcopy(written)
    first, second = (case["outputs"]["segmentation"] for case in other["golden"])
    first["labels"] = second["labels"]
    with pytest.raises(DataError, match="labels: expected those of the scores"):
        recheck_tflite(subject.file, other)


@pytest.mark.parametrize("values", [{"kind": "float", "exact": False}, {"exact": False}])
def test_only_an_exact_contract_of_integers_will_do(values, subject, written):
    promise = None if "kind" in values else WIDE_PROMISE
    values = {**values, "tolerance": {**written["tolerance"], "int8": promise}}
    with pytest.raises(DataError, match="expected an exact int8 contract"):
        recheck_tflite(subject.file, {**written, **values}, name="made.json")


def test_another_description_is_no_contract_of_the_file(subject, written):
    card = {**written["card"], "dataset_name": "other"}
    with pytest.raises(ParityError, match="dataset_name: the file has 'none', the contract 'other'"):
        recheck_tflite(subject.file, {**written, "card": card})


@pytest.mark.parametrize("environment", [{}, {"packages": {}}, {"packages": {PACKAGE: 2}}, None])
def test_where_it_was_proven_may_be_unknown(environment, subject, written):
    assert recheck_tflite(subject.file, {**written, "environment": environment})["proven"] == ""


def test_heads_of_codes_and_classes_have_contracts_too(subject, tmp_path):
    for head in ("codes", "argmax", "quantized"):
        path = tmp_path / f"{head}.tflite"
        path.write_bytes(subject.at(SIZE, head).data)
        other = replace(subject, file=path, head=head)
        contract = tflite_contract(other, [(subject.file.parent / "0.png",)], {})
        contract = json.loads(json.dumps(contract))
        assert recheck_tflite(path, contract)[REFERENCE] == {"equal_argmax": 1}
        (name,) = contract["golden"][0]["outputs"]
        contract["golden"][0]["outputs"][name]["sha256"] = "0" * 64
        with pytest.raises(ParityError, match=f"departs first at output {name}"):
            recheck_tflite(path, contract)


def test_at_most_two_golden_pictures_evenly_spaced(subject):
    items = [(Path(subject.file.parent / f"{index % 2}.png"),) for index in range(5)]
    contract = tflite_contract(subject, items, {})
    assert len(contract["golden"]) == 2
