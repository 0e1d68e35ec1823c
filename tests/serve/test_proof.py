"""What the service says is proven of a file: its contract is checked again where the service runs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edgeailite.commands.serve import served
from edgeailite.serve.proof import DEPARTS, PROVEN, UNPROVEN, proof
from tests.onnxfile import made
from tests.serve.running import tiny_model
from tests.test_without_torch import write_contract


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "model.onnx"
    path.write_bytes(made.own())
    return path


def test_a_contract_that_is_kept(file):
    write_contract(file.with_name("contract.json"), file)
    found = proof(file, threads=1)
    assert found["state"] == PROVEN and "1 picture of contract.json" in found["text"]
    assert "tolerance" in found["text"]  # a float file: not every bit


def test_a_contract_that_is_not_kept_is_said_and_logged(file, caplog):
    contract = file.with_name("contract.json")
    write_contract(contract, file)
    values = json.loads(contract.read_text())
    for output in values["golden"][0]["outputs"].values():
        output["sums"] = [value + 100 for value in output["sums"]]
    contract.write_text(json.dumps(values))
    with caplog.at_level("INFO", logger="edgeailite.notes"):
        found = proof(file, threads=1)
    assert found["state"] == DEPARTS and str(file.parent) not in found["text"]
    assert f"warning: {file} does not keep its contract contract.json here: " in caplog.text


def test_no_contract_names_the_verb(file):
    found = proof(file)
    assert found["state"] == UNPROVEN and "edgeailite verify" in found["text"]


def test_the_model_of_a_service_says_it(tmp_path):
    found = served("tiny", tiny_model(tmp_path / "tiny.onnx"), threads=1).description()
    assert found["proof"]["state"] == UNPROVEN
