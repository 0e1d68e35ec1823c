"""What a report says beside accuracy, from files and records alone."""

import hashlib
import json

import pytest
import torch

from edgeailite.cost import torch_cost
from edgeailite.data.source import ClassTarget
from edgeailite.export.vela import CpuOperator, VelaEstimate
from edgeailite.report import facts
from edgeailite.report.record import Parity
from edgeailite.runtime.contract import FORMAT
from edgeailite.runtime.tflite_recheck import LEVELS

EXACT = {"equal_argmax": 1.0, "max_difference": 0.0, "pictures": 8}
PROVEN = {
    "EXTENDED": EXACT,
    "ALL": EXACT,
    "sizes": {"96x160 ALL": EXACT, "96x160 EXTENDED": EXACT, "97x161 ALL": EXACT},
}


def contract(folder, results, content=b"weights"):
    file = folder / "model.onnx"
    file.write_bytes(content)
    values = {"format": FORMAT, "file": file.name, "sha256": hashlib.sha256(content).hexdigest(), "results": results}
    (folder / "contract.json").write_text(json.dumps(values))
    return file


def verdicts(folder):
    return [(verdict.mark, verdict.text) for verdict in facts.verdicts_of(facts.read_parity(folder), folder)]


def test_parity_says_whether_the_file_is_still_the_same(tmp_path):
    file = contract(tmp_path, PROVEN)
    [parity] = facts.read_parity(tmp_path)
    assert (parity.file, parity.state) == ("model.onnx", "")
    file.write_bytes(b"others")
    assert "changed since" in facts.read_parity(tmp_path)[0].state
    [(mark, text)] = verdicts(tmp_path)
    assert mark == "bad"
    assert "changed since" in text
    file.unlink()
    assert "no longer" in facts.read_parity(tmp_path)[0].state


def test_verdict_of_a_proof(tmp_path):
    contract(tmp_path, PROVEN)
    [(mark, text)] = verdicts(tmp_path)
    assert mark == "good"
    for part in ("8 pictures", "EXTENDED and ALL", "2 further sizes", "equal in every bit"):
        assert part in text, part


def test_verdict_of_a_proof_of_a_tflite_file(tmp_path):
    contract(tmp_path, dict.fromkeys(LEVELS.values(), EXACT))
    [(mark, text)] = verdicts(tmp_path)
    assert mark == "good"
    for part in ("8 pictures", "(LiteRT, reference kernels and LiteRT, default (XNNPACK))", "equal in every bit"):
        assert part in text, text


@pytest.mark.parametrize(
    ("results", "mark", "words"),
    [
        ({"ALL": EXACT | {"equal_argmax": 0.99999999}}, "good", "99.999999 % of pixels"),
        ({"ALL": EXACT | {"max_difference": 0.1}}, "good", "100 % of pixels"),
        ({"ALL": EXACT | {"equal_argmax": 0.5}}, "open", "only 50 %"),
        ({}, "open", "holds no comparison"),
    ],
)
def test_verdicts_do_not_round_up(tmp_path, results, mark, words):
    contract(tmp_path, results)
    [(found, text)] = verdicts(tmp_path)
    assert found == mark
    assert words in text


def test_files_without_a_contract(tmp_path):
    assert "edgeailite export" in verdicts(tmp_path)[0][1]
    (tmp_path / "model_int8.onnx").touch()
    assert verdicts(tmp_path)[0][0] == "open"
    assert "model_int8.onnx has no contract" in verdicts(tmp_path)[0][1]


def test_marks_stand_between_the_epochs_that_differ():
    config = {"epochs": 10, "freeze_bn_epoch": 0.3, "freeze_ranges_epoch": 0.6}
    assert facts.marks_of(config) == {"ranges fixed": 6.5, "BatchNorm fixed": 3.5}
    assert facts.marks_of({"epochs": 10, "scheduler": "step", "milestones": [4, 20]}) == {"lr step 1": 4.5}
    assert facts.marks_of({"epochs": 10, "scheduler": "poly", "milestones": [4], "freeze_bn_epoch": 1.0}) == {}
    assert facts.marks_of({}) == {}


def test_training_rows_and_curves_of_several_outputs():
    row = {"epoch": "1", "loss": "2", "loss_depth": "1", "score": "0.5", "depth_ard": "0.1", "seconds": "60"}
    history = [row, {**row, "epoch": "2", "score": "0.7"}]
    rows = dict(facts.training_rows(history, {"epochs": 2, "early_stopping": 0}, weights="last.pt"))
    assert rows["epochs"] == "2 (2 fixed beforehand)"
    assert rows["best on validation"] == "score 70.00, epoch 2"
    assert rows["time"] == "2.0 minutes"
    png, text = facts.curves_of(history, {"epochs": 2, "freeze_bn_epoch": 0.5})
    assert png.startswith(b"\x89PNG")
    assert "BatchNorm fixed" in text
    assert facts.curves_of([], {}) is None


def test_one_epoch_is_a_sentence_and_no_curve():
    row = {"epoch": "1", "loss": "2", "miou": "0.5", "seconds": "60"}
    assert facts.curves_of([row], {}) is None
    found = facts.single_epoch([row])
    assert found == "One epoch was trained, so there is no curve: epoch 1/1 loss 2.0000 val mIoU 50.00 (60.0 s)."
    assert facts.single_epoch([]) is None and facts.single_epoch([row, {**row, "epoch": "2"}]) is None


def test_label_values_by_class():
    target = ClassTarget(("a", "b", "c"), ((0, 0, 0),) * 3, {7: 0, 8: 0, 11: 1, 255: 255})
    assert facts.label_values(target) == ("7, 8", "11", "")


def test_weights_have_a_hash_of_their_own(tmp_path):
    weights = {"a": torch.ones(2), "n": torch.tensor(3)}
    turned = dict(reversed(weights.items()))
    assert facts.state_dict_hash(weights) == facts.state_dict_hash(turned)
    for other in ({"a": torch.zeros(2)}, {"a": torch.ones(2, 1)}, {"a": torch.ones(2, dtype=torch.float64)}):
        assert facts.state_dict_hash({**weights, **other}) != facts.state_dict_hash(weights)
    assert facts.state_dict_hash({"h": torch.ones(2, dtype=torch.bfloat16)})


def test_a_contract_of_another_shape_is_not_called_proven(tmp_path):
    [verdict] = facts.verdicts_of([Parity("model.onnx", "", {"ALL": "fine"})], tmp_path)
    assert verdict.mark == "open"


def test_an_ethos_u_stands_beside_devices_with_figures(monkeypatch, tmp_path):
    asked = []

    def estimate_model(config, sizes):
        asked.append((config.model, config.accelerator, sizes))
        left = (CpuOperator("DEQUANTIZE", "out", (1, 4, 4, 8), (1, 4, 4, 8), is_output=True),)
        npu = VelaEstimate("ethos-u55-256", "High_End", "Sram", 500e6, 4_000_000, 1, 2, 3, left, "5.2.0")
        return dict.fromkeys(sizes, npu)

    monkeypatch.setattr(facts, "estimate_model", estimate_model)
    cost = torch_cost(torch.nn.Conv2d(3, 8, 3), (32, 48))
    names = ("raspberry_pi_4", "ethos-u55-256")
    grid = facts.device_grid(cost, names, integer=True, model=tmp_path, size=(32, 48))
    assert [name for name, _ in grid.rows] == list(names)
    assert grid.rows[1][1] == [
        "8.00",
        "not known",
        "by Vela 5.2.0 for High_End, without what is left to its CPU (operators: 1)",
    ]
    assert asked == [(str(tmp_path), "ethos-u55-256", [(32, 48)])]
