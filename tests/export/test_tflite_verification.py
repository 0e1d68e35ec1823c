"""The proofs of a run's two files: both are run, and both answers are heard."""

from __future__ import annotations

from pathlib import Path

import pytest
from torch import nn

from edgeailite.config import VerifyConfig
from edgeailite.errors import DataError, EdgeailiteError, ParityError
from edgeailite.export import tflite_verification as module
from edgeailite.export.tflite_verification import verify_files, verify_tflite
from edgeailite.export.verification import Verification

DEPARTS, LOST = ParityError("departs first at a", path="model_int8.onnx"), DataError("no such folder", path="data")


@pytest.fixture
def files(tmp_path, monkeypatch):
    """Make a run with files of these ends whose proofs end so: an error, or None for one that holds."""

    def make(**ends: EdgeailiteError | None) -> VerifyConfig:
        def proof(end: str):
            def prove(config: VerifyConfig) -> Verification:
                if (error := ends[end]) is not None:
                    raise error
                return Verification(Path(f"model_int8.{end}"), {}, Path("contract.json"), (64, 96), proven=True)

            return prove

        for end in ends:
            (tmp_path / f"model_int8.{end}").touch()
        monkeypatch.setattr(module, "verify_run", proof("onnx"))
        monkeypatch.setattr(module, "verify_tflite", proof("tflite"))
        return VerifyConfig(tmp_path)

    return make


@pytest.mark.parametrize("ends", [("onnx",), ("tflite",), ("onnx", "tflite")])
def test_every_file_that_is_there_is_proven(ends, files):
    heard: list[Verification] = []
    assert verify_files(files(**dict.fromkeys(ends)), on_proof=heard.append) == heard
    assert [one.run.suffix for one in heard] == [f".{end}" for end in ends]


@pytest.mark.parametrize(("failing", "holding"), [("onnx", "tflite"), ("tflite", "onnx")])
def test_one_that_fails_does_not_keep_the_other_from_being_proven(failing, holding, files):
    heard: list[Verification] = []
    with pytest.raises(ParityError) as caught:
        verify_files(files(**{"onnx": None, "tflite": None, failing: DEPARTS}), on_proof=heard.append)
    assert caught.value is DEPARTS
    assert [one.run.name for one in heard] == [f"model_int8.{holding}"]


def test_where_both_fail_both_are_said_and_a_departure_decides_the_code(files):
    with pytest.raises(ParityError, match=r"data: no such folder; model_int8\.onnx: departs first at a"):
        verify_files(files(onnx=LOST, tflite=DEPARTS))


def test_a_float_run_has_no_tflite_file(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "chosen_weights", lambda run, weights: run)
    monkeypatch.setattr(module, "load_network", lambda source: (None, nn.Identity()))
    with pytest.raises(DataError, match=r"model_int8\.tflite: a float run, which has no \.tflite file"):
        verify_tflite(VerifyConfig(tmp_path))


def test_what_is_wrong_with_both_is_said_once(files):
    with pytest.raises(DataError) as caught:
        verify_files(files(onnx=LOST, tflite=LOST))
    assert str(caught.value) == "data: no such folder"
