"""Operators without an integer form, left in float on request: named at every step, and never called proven."""

from __future__ import annotations

import json

import onnx
import pytest

from edgeailite.report.facts import read_parity, verdicts_of
from edgeailite.runs.checkpoint import load_checkpoint
from edgeailite.runs.folder import LAST
from tests.foreign.onnx_models import model, weights

RULES = ("--mean", 128, 128, 128, "--scale", 0.015625, 0.015625, 0.015625, "--img_resize", 64, 64)
MACHINE = ("--workers", 0, "--device", "cpu", "--threads", 1)
NODES = [
    ("Conv", "image stem.weight", "c", {"pads": [1] * 4, "strides": [2, 2]}),
    ("Relu", "c", "r", {}),
    ("Softmax", "r", "weights", {"axis": 1}),
    ("Mul", "r weights", "m", {}),
    ("Conv", "m head.weight", "logits", {}),
]
CONSTANTS = {"stem.weight": weights(8, 3, 3, 3), "head.weight": weights(5, 8, 1, 1)}
VERDICT = "proven but for softmax in float (100 % of MACs integer)"


@pytest.fixture
def carded(tmp_path, command):
    onnx.save(model(NODES, CONSTANTS, outputs=("logits",)), tmp_path / "theirs.onnx")
    assert command("card", tmp_path / "theirs.onnx", "--classes", *"abcde", *RULES).code == 0
    return tmp_path / "theirs_card.onnx"


def test_they_are_refused_unless_asked_for(carded, miniature, command):
    ended = command("calibrate", carded, "--pictures", miniature / "leftImg8bit" / "val", *MACHINE)
    assert (ended.code, ended.err.count("\n")) == (2, 1)
    assert "softmax: softmax cannot be quantized to int8 here; leave it in float: --float_parts True" in ended.err


@pytest.mark.slow
def test_they_are_named_by_calibrate_verify_contract_and_report(carded, miniature, command):
    pictures, run = miniature / "leftImg8bit" / "val", carded.with_name("theirs_card_ptq")
    ended = command("calibrate", carded, "--pictures", pictures, "--float_parts", True, *MACHINE)
    assert ended.code == 0, ended.err
    assert f"note: the file will be {VERDICT}" in ended.err
    assert load_checkpoint(run / LAST).quantization["float_parts"] is True
    assert command("export", run).code == 0
    ended = command("verify", run, "--images", 1, "--sizes", 65, 97, "--threads", 1)
    assert ended.code == 0, ended.err
    assert ended.out.startswith(f"{run} is {VERDICT}: ")
    assert "is proven:" not in ended.out
    verdict = next(each for each in verdicts_of(read_parity(run), run) if each.text.startswith("model_int8.onnx"))
    assert (verdict.mark, VERDICT in verdict.text) == ("open", True)
    file, contract = run / "model_int8.onnx", run / "contract_int8.json"
    values = json.loads(contract.read_text())
    assert (values["exact"], set(values["results"]["float_parts"])) == (False, {"softmax"})
    ended = command("verify", file, contract, "--threads", 1)
    assert (ended.code, "proven but for softmax in float" in ended.out) == (0, True), ended.err
    ended = command("export", run, "--target", "tflite")
    assert (ended.code, "softmax: softmax has no form in TensorFlow Lite" in ended.err) == (2, True)


@pytest.mark.slow
def test_a_contract_cannot_promise_less_than_its_file(carded, miniature, tmp_path, command):
    """Nor does a file without parts in float keep a contract that says there are some."""
    constants, nodes = CONSTANTS, [node for node in NODES if node[0] not in ("Softmax", "Mul")]
    nodes[-1] = ("Conv", "r head.weight", "logits", {})
    onnx.save(model(nodes, constants, outputs=("logits",)), tmp_path / "plain.onnx")
    run = tmp_path / "plain_card_ptq"
    for words in (
        ("card", tmp_path / "plain.onnx", "--classes", *"abcde", *RULES),
        ("calibrate", tmp_path / "plain_card.onnx", "--pictures", miniature / "leftImg8bit" / "val", *MACHINE),
        ("export", run),
        ("verify", run, "--images", 1, "--sizes", 65, 97),
    ):
        assert command(*words).code == 0
    path = run / "contract_int8.json"
    values = json.loads(path.read_text())
    values["exact"], values["tolerance"]["int8"] = (
        False,
        ("proven but for parts in float; elsewhere classes equal on 99 % of pixels"),
    )
    path.write_text(json.dumps(values))
    ended = command("verify", run / "model_int8.onnx", path)
    assert (ended.code, "has no parts in float, found false" in ended.err) == (3, True)
