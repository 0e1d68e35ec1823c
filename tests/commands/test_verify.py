"""What `verify` prints for people: the verdict, a row per size and level, where all numbers are."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edgeailite.commands.verify import _show, run
from edgeailite.config import VerifyConfig
from edgeailite.errors import EdgeailiteError, ParityError
from edgeailite.export.verification import Verification

EXACT = {"pictures": 4, "equal_argmax": 1.0, "max_difference": 0.0, "mean_difference": 0.0, "std": 2.6}
NEAR = EXACT | {"equal_argmax": 0.99837, "max_difference": 0.0455077}
KERNELS = {"QLinearConv": 3, "QLinearAdd": 1, "wanted": 5, "float_nodes": ["a"], "all_integer": False}
PROVEN = {
    "additions": {"tie_safe": 9, "total": 10},
    "data": "folder val", "EXTENDED": EXACT, "ALL": EXACT, "DISABLED": NEAR, "integer_kernels": KERNELS,
    "arithmetic": "onnxruntime_x86", "sizes": {"225x401 ALL": EXACT}, "contract": "runs/a/contract_int8.json",
}  # fmt: skip


def test_a_row_per_size_and_level(capsys):
    _show("runs/a is proven", PROVEN, height_width=(96, 128))
    assert capsys.readouterr().out.splitlines() == [
        "runs/a is proven",
        "  size     level     same class  largest difference",
        "  96x128   EXTENDED           1                   0",
        "  96x128   ALL                1                   0",
        "  96x128   DISABLED     0.99837           0.0455077",
        "  225x401  ALL                1                   0",
        "  DISABLED is float: near, not equal, is right (docs/parity.md)",
        "  integer kernels: 4 of 5 layers are computed in integers",
        "  arithmetic: onnxruntime_x86, onnxruntime's on this machine",
        "  additions: 9 of 10 have the same bits on every kind of machine",
        "  contract, with all numbers: runs/a/contract_int8.json",
    ]


@pytest.mark.parametrize(("share", "cell"), [(1.0, "1"), (0.9999998, ">0.999999"), (0.998374, "0.998374"), (None, "-")])
def test_a_recheck_has_labels_only_and_depth_not_even_these(share, cell, capsys):
    results = {"pictures": 2, "sha256": "0", "promise": "near", "ALL": {"equal_argmax": share}}
    _show("a.onnx keeps its contract", results, height_width=(64, 96))
    lines = capsys.readouterr().out.splitlines()
    assert [line.split() for line in lines[1:3]] == [["size", "level", "same", "class"], ["64x96", "ALL", cell]]
    assert lines[3:] == ["  promised: near"]


def proofs(monkeypatch, *found: Verification, error: EdgeailiteError | None = None) -> None:
    """Let `verify_files` hand over proofs, then raise."""

    def verify_files(config, on_proof):
        for one in found:
            on_proof(one)
        if error is not None:
            raise error

    monkeypatch.setattr("edgeailite.export.verify_files", verify_files)


ONNX = Verification(Path("runs/a"), EXACT, Path("runs/a/contract_int8.json"), (64, 96), proven=True)
TFLITE = Verification(Path("runs/a/model_int8.tflite"), NEAR, Path("runs/a/contract_tflite.json"), (64, 96), True)


def test_json_has_every_number_of_both_files(capsys, monkeypatch):
    proofs(monkeypatch, ONNX, TFLITE)
    assert run(VerifyConfig(Path("runs/a"), json=True)) == 0
    tflite = {**NEAR, "contract": "runs/a/contract_tflite.json"}
    assert json.loads(capsys.readouterr().out) == {
        **EXACT, "contract": "runs/a/contract_int8.json", "model_int8.tflite": tflite,
    }  # fmt: skip


def test_what_holds_is_shown_beside_what_fails(capsys, monkeypatch):
    proofs(monkeypatch, TFLITE, error=ParityError("a.onnx departs"))
    with pytest.raises(ParityError, match=r"a\.onnx departs"):
        run(VerifyConfig(Path("runs/a"), json=True))
    shown = json.loads(capsys.readouterr().out)
    assert (shown["failed"], shown["contract"]) == ("a.onnx departs", "runs/a/contract_tflite.json")
    proofs(monkeypatch, error=ParityError("a.onnx departs"))
    with pytest.raises(ParityError):
        run(VerifyConfig(Path("runs/a"), json=True))
    assert capsys.readouterr().out == ""
