"""A contract's answers in every arithmetic: an int8 file is re-checked on a machine against that machine's own.

Other processors are played by values that torch computes in their arithmetic.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgeailite.environment import machine_arithmetic
from edgeailite.errors import DataError, ParityError
from edgeailite.export import to_onnx
from edgeailite.export.contract import golden_case
from edgeailite.export.parity import Subject, make_golden
from edgeailite.files import sha256_of
from edgeailite.quantization.arithmetic import ONNXRUNTIME_ROWS
from edgeailite.runtime import contract as module
from edgeailite.runtime import recheck
from edgeailite.runtime.contract import described
from edgeailite.runtime.contract_file import BASE, FORMAT, contract_of, golden_in
from tests.export.toy import SIZE, toy, toy_card, toy_quantized

PICTURE = np.random.default_rng(0).integers(0, 256, (40, 50, 3), np.uint8)
ARM, SSE2 = "onnxruntime_arm64", "onnxruntime_sse2"
ENVIRONMENT = {"packages": {"onnxruntime": "1.32.0"}, "cpu_features": ["avx512_vnni"], "machine": "x86_64"}


@pytest.fixture(scope="module")
def subject(tmp_path_factory) -> Subject:
    """Of scales at which resizes depart, as earlier versions chose them."""
    return written(toy_quantized("ort_u8s7", exact_resizes=False), tmp_path_factory.mktemp("arithmetics"))


def written(network: Any, folder: Path) -> Subject:
    file = folder / "model_int8.onnx"
    file.write_bytes(to_onnx(network, toy_card(), size=SIZE).SerializeToString())
    return Subject(network, toy_card(), file)


@pytest.fixture(scope="module")
def contract(subject) -> dict[str, Any]:
    return contract_for(subject)


def contract_for(subject: Subject, **changes: Any) -> dict[str, Any]:
    card = described(subject.card)
    values = {"format": FORMAT, "kind": subject.kind, "sha256": sha256_of(subject.file), "environment": ENVIRONMENT}
    values |= {"golden": [golden_case(subject, PICTURE)], "card": card, "preprocessing": card["preprocessing"]}
    return json.loads(json.dumps(values | changes))


def play(arithmetic: str, subject: Subject, monkeypatch: pytest.MonkeyPatch, *, values: str | None = None) -> None:
    """Be a machine of this arithmetic; its onnxruntime gives the `values` of another one, if that is named."""
    given = make_golden(subject, PICTURE, arithmetic=values or arithmetic)
    inner = {layer.tensor: value for layer, value in given.layers}
    monkeypatch.setattr(module, "machine_arithmetic", lambda: arithmetic)
    monkeypatch.setattr(module, "run", lambda *_: dict(given.outputs))
    monkeypatch.setattr(module, "tensors", lambda data, names, *_, **__: {n: inner[n] for n in names})


def test_the_file_keeps_the_contract_on_this_machine(subject, contract):
    results = recheck(subject.file, contract)
    assert results["expected"] == results["arithmetic"] == machine_arithmetic()
    assert results["ALL"]["equal_argmax"] == 1
    assert results["proven"] == "onnxruntime 1.32.0 on avx512_vnni"


@pytest.mark.parametrize("arithmetic", ONNXRUNTIME_ROWS)
def test_each_machine_is_compared_with_its_own_entries(arithmetic, subject, contract, monkeypatch):
    play(arithmetic, subject, monkeypatch)
    results = recheck(subject.file, contract)
    assert (results["expected"], results["ALL"]) == (arithmetic, {"equal_argmax": 1.0})
    assert results["same_as_x86"] == (arithmetic != ARM)


@pytest.mark.parametrize(("machine", "values"), [(ARM, BASE), (BASE, ARM)])
def test_bits_of_another_arithmetic_depart_at_the_first_resize(machine, values, subject, contract, monkeypatch):
    play(machine, subject, monkeypatch, values=values)
    place = r"departs first at interpolate/Resize \(tensor interpolate_quantized\); EXTENDED: argmax equal on "
    where = (
        f"file unchanged; proven with onnxruntime 1.32.0 on avx512_vnni, this is onnxruntime .*, arithmetic {machine}"
    )
    with pytest.raises(ParityError, match=rf"{place}.*; {where}; "):
        recheck(subject.file, contract)


def test_a_contract_without_the_machine_s_entries_says_so(subject, contract, monkeypatch):
    older = json.loads(json.dumps(contract)) | {"format": 3}
    del older["golden"][0]["arithmetics"]
    play(ARM, subject, monkeypatch, values=BASE)
    assert recheck(subject.file, older)["expected"] == BASE
    play(ARM, subject, monkeypatch)
    with pytest.raises(ParityError, match=rf"says nothing: compared with {BASE}; .*verify RUN` of this version"):
        recheck(subject.file, older)


def test_only_what_differs_is_kept(contract):
    [case] = contract["golden"]
    assert case["arithmetics"][SSE2] == BASE
    other = case["arithmetics"][ARM]
    layers = [layer["tensor"] for layer in case["layers"]]
    assert set(other["layers"]) == set(layers[layers.index("interpolate_quantized") :])
    assert set(other["outputs"]) == {"segmentation"}
    assert len(json.dumps(case["arithmetics"])) < 0.5 * len(json.dumps(case))


def test_each_arithmetic_s_case_is_what_torch_computes_in_it(subject, contract):
    [case] = contract_of(contract).golden
    for name in ONNXRUNTIME_ROWS:
        expected = json.loads(json.dumps(make_golden(subject, PICTURE, arithmetic=name).to_dict()))
        found = golden_in(case, name)
        assert found["outputs"] == expected["outputs"]
        assert [layer["sha256"] for layer in found["layers"]] == [layer["sha256"] for layer in expected["layers"]]


def test_float_files_have_one_arithmetic(tmp_path):
    values = contract_for(written(toy(), tmp_path))
    assert "arithmetics" not in values["golden"][0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda others: others.update({BASE: BASE}), "arithmetics: expected at most 16 printable names other than"),
        (lambda others: others.update({f"a{i}": BASE for i in range(17)}), "arithmetics: expected at most 16"),
        (lambda others: others.update({"a\n": BASE}), "arithmetics: expected at most 16"),
        (lambda others: others.update({SSE2: ARM}), f"arithmetics: {SSE2}: expected names with values"),
        (lambda others: others[ARM].pop("layers"), "layers: expected names with values"),
        (lambda others: others[ARM]["layers"].update(nothing="0" * 64), "hexadecimal digits of tensors"),
        (lambda others: others[ARM]["layers"].update(pred_quantized="0"), "layers: expected 64 hexadecimal digits"),
        (lambda others: others[ARM]["outputs"]["segmentation"].pop("sums"), "expected sums where the case has"),
        (lambda others: others[ARM]["outputs"]["segmentation"].pop("labels"), "labels: expected"),
        (lambda others: others[ARM].update(outputs={"o": others[ARM]["outputs"].popitem()[1]}), "outputs of the case"),
    ],
)  # fmt: skip
def test_entries_that_cannot_be_are_refused(change, message, contract):
    values = json.loads(json.dumps(contract))
    change(values["golden"][0]["arithmetics"])
    with pytest.raises(DataError, match=message):
        contract_of(values)


@pytest.mark.parametrize(
    ("environment", "sentence"),
    [
        (ENVIRONMENT, "onnxruntime 1.32.0 on avx512_vnni"),
        (ENVIRONMENT | {"cpu_features": [], "machine": "aarch64"}, "onnxruntime 1.32.0 on aarch64"),
        ({"packages": {"onnxruntime": "1.31.1"}, "cpu_features": []}, "onnxruntime 1.31.1"),
        (ENVIRONMENT | {"machine": "\x1b" + "a" * 99, "cpu_features": []}, "onnxruntime 1.32.0 on \\x1b" + "a" * 29),
        *(
            (wrong, "")
            for wrong in (None, [], 5, {}, {"packages": [], "cpu_features": []}, {"packages": {"onnxruntime": 1}})
        ),
        (ENVIRONMENT | {"cpu_features": 5}, ""),
    ],
)
def test_where_it_was_proven_is_as_trustworthy_as_the_contract(environment, sentence, contract):
    assert contract_of(contract | {"environment": environment}).proven == sentence
