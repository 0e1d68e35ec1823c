"""`analyze` on a real run: what it writes, the plan that calibrate and quantize follow, the report, and wrong plans."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import onnx
import pytest

from edgeailite.__main__ import _analysis, main
from edgeailite.errors import DataError, UsageError
from edgeailite.evaluation import empty
from edgeailite.quantization import Plan, wide_parts
from edgeailite.quantization.plan_files import read_plan, write_plan
from edgeailite.runs.checkpoint import load_checkpoint, save_checkpoint
from edgeailite.runs.folder import BEST, LAST
from edgeailite.runs.network import load_network
from edgeailite.runs.ranking import cells
from edgeailite.training.analysis import drops, worst
from tests.commands.real_runs import quantize_words, train_words

MACHINE = ("--workers", 0, "--device", "cpu", "--threads", 1)
CALIBRATION = ("--calibration_images", 2, "--batch_size", 2)
WEIGHT, RANGE = "encoder.features.3.conv.1.0", "encoder_features_3_conv_1_2"


@pytest.fixture(scope="module")
def float_run(miniature, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("float") / "run"
    assert main(train_words(miniature, folder, "--epochs", 1)) == 0
    return folder


@pytest.fixture(scope="module")
def planted(float_run, tmp_path_factory) -> Path:
    """The same function with an outlier: a channel times 100 that the next convolution takes back."""
    folder = shutil.copytree(float_run, tmp_path_factory.mktemp("planted") / "run")
    checkpoint = load_checkpoint(folder / LAST)
    state = {name: value.clone() for name, value in checkpoint.state_dict.items()}
    for name in ("decoders.0.pred.0.1.weight", "decoders.0.pred.0.1.bias"):
        state[name][0] *= 100
    state["decoders.0.pred.1.0.weight"][:, 0] /= 100
    for name in (LAST, BEST):
        save_checkpoint(folder / name, dataclasses.replace(checkpoint, state_dict=state))
    return folder


@pytest.fixture(scope="module")
def analysed(planted) -> Path:
    """Analysed on both validation pictures, with a plan of 1.2 times the bits x MACs."""
    words = ("quantize", planted, "--analyze", "True", "--images", 0, "--bits_macs_budget", 1.2)
    assert main([str(word) for word in (*words, *CALIBRATION, *MACHINE)]) == 0
    return planted


def test_the_planted_outlier_is_ranked_first_and_widened(analysed):
    page, plan = (json.loads((analysed / name).read_text()) for name in ("sensitivity.json", "plan.json"))
    first, second = page["layers"][:2]
    assert (first["kind"], first["name"]) == ("activations", "decoders_0_pred_0_0")
    assert first["sqnr_db"]["segmentation"] < second["sqnr_db"]["segmentation"] - 5
    assert plan["activations"]["decoders_0_pred_0_0"] == 16


def test_ranges_are_shown_under_their_names_in_files(analysed, tmp_path, command):
    layers = json.loads((analysed / "sensitivity.json").read_text())["layers"]
    tensors = {row["name"]: row["tensor"] for row in layers if row["kind"] == "activations"}
    assert tensors["add"] == "encoder.features.3.add"
    assert tensors["decoders_0_pred_0_0"] == "decoders.0.pred.0.0"
    assert command("export", analysed).code == 0
    file = onnx.load(str(analysed / "model.onnx"))
    known = {value.name for value in file.graph.input} | {name for node in file.graph.node for name in node.output}
    assert set(tensors.values()) <= known
    assert cells(layers[0])[0] == "decoders.0.pred.0.0"


def test_every_layer_and_section_is_ranked(analysed):
    page = json.loads((analysed / "sensitivity.json").read_text())
    _, module = load_network(analysed)
    convolutions = [name for name, m in module.named_modules() if type(m).__name__ == "Conv2d"]
    assert sorted(row["name"] for row in page["layers"] if row["kind"] == "weights") == sorted(convolutions)
    assert page["sections"][0]["name"] == "everything"
    assert {row["name"] for row in page["sections"]} == {"everything", "encoder", "decoders.0"}
    noises = [row["sqnr_db"]["segmentation"] for row in page["layers"] if row["sqnr_db"]["segmentation"] is not None]
    assert noises == sorted(noises)
    assert all(set(row["drop"]) == {"miou"} for row in page["layers"])
    assert all(row["macs"] > 0 for row in page["layers"] if row["kind"] == "weights")
    assert page["pictures"] == 2
    assert page["runs"]["nodes_executed_share"] < 0.7
    assert (analysed / "sensitivity.png").read_bytes().startswith(b"\x89PNG")


def test_the_plan_is_followed_and_its_drop_is_the_measured_one(analysed, miniature, tmp_path, command):
    plan = json.loads((analysed / "plan.json").read_text())
    assert 1 < plan["cost"] <= 1.2
    options = ("--plan", analysed / "plan.json", "--images", 2, "--batch_size", 2, *MACHINE)
    assert command("calibrate", analysed, "--save_path", tmp_path / "ptq", *options).code == 0
    checkpoint, module = load_network(tmp_path / "ptq")
    assert checkpoint.quantization["plan"] == {name: plan[name] for name in ("weights", "activations")}
    assert wide_parts(module)
    found = json.loads(command("validate", tmp_path / "ptq", "--json", True, *MACHINE).out)["miou"]
    before = json.loads((analysed / "sensitivity.json").read_text())["float"]["miou"]
    assert before - found == pytest.approx(plan["predicted_drop"], abs=0.01)

    assert command("export", tmp_path / "ptq").code == 0
    file = onnx.load(str(tmp_path / "ptq" / "model_int8.onnx"))
    wide = json.loads(next(entry.value for entry in file.metadata_props if entry.key == "edgeailite.wide"))
    assert set(wide) == {*plan["weights"], *(f"ranges.{name}" for name in plan["activations"])}


def test_a_drop_that_8_bits_meet_gives_an_empty_plan(float_run, tmp_path, command):
    options = ("--max_drop", 100, "--plan", tmp_path / "plan.json", "--images", 1, "--json", True)
    ended = command("analyze", float_run, *options, *CALIBRATION, *MACHINE)
    assert ended.code == 0
    assert json.loads(ended.out.splitlines()[0])["layers"]
    plan = json.loads((tmp_path / "plan.json").read_text())
    assert (plan["weights"], plan["activations"], plan["cost"]) == ({}, {}, 1)
    assert "every layer can be int8" in ended.out and "edgeailite calibrate" not in ended.out
    assert plan["predicted_drop"] <= 100


def test_training_follows_the_plan_and_so_does_its_resumption(float_run, tmp_path):
    path = tmp_path / "plan.json"
    write_plan(path, Plan(weights={WEIGHT: 16}, activations={RANGE: 16}), scheme="ort_u8s8", about={})
    words = quantize_words(float_run, tmp_path / "qat", "--epochs", "1", "--plan", path)
    assert main(words) == 0
    expected = {"weights": {WEIGHT: 16}, "activations": {RANGE: 16}}
    assert load_checkpoint(tmp_path / "qat" / LAST).quantization["plan"] == expected
    path.unlink()  # a run knows its plan
    assert main([*words, "--resume", "True"]) == 0
    assert load_checkpoint(tmp_path / "qat" / LAST).quantization["plan"] == expected


def test_the_report_shows_it(analysed, tmp_path, command):
    run = shutil.copytree(analysed, tmp_path / "run")
    assert command("report", run, "--images", 0, *MACHINE[2:]).code == 0
    html = (run / "report.html").read_text()
    assert 'id="sensitivity"' in html
    assert "SQNR segmentation, dB" in html and "points of mIoU lost" in html
    (run / "sensitivity.json").write_text("{}")
    ended = command("report", run, "--images", 0, *MACHINE[2:])
    assert ended.code == 3
    assert "run `edgeailite analyze` again" in ended.err


@pytest.mark.parametrize(
    ("text", "kind", "reason"),
    [
        (None, DataError, "cannot be read as plan"),
        ("not json", DataError, "cannot be read as plan"),
        ("[]", DataError, "not a plan of format 1"),
        ('{"format": 9, "scheme": "ort_u8s8"}', DataError, "not a plan of format 1"),
        ('{"format": 1, "scheme": "s8s8"}', UsageError, "is for scheme s8s8, not ort_u8s8"),
        ('{"format": 1, "scheme": "ort_u8s8", "weights": ["a"]}', DataError, "names with whole numbers of bits"),
        ('{"format": 1, "scheme": "ort_u8s8", "weights": {"a": "8"}}', DataError, "whole numbers of bits"),
        ('{"format": 1, "scheme": "ort_u8s8", "weights": {"a": 5}}', UsageError, "weights of a have 5 bits"),
    ],
)
def test_wrong_plan_files(tmp_path, text, kind, reason):
    path = tmp_path / "plan.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(kind, match=reason):
        read_plan(path, scheme="ort_u8s8")


def test_a_plan_of_another_network_is_refused_before_anything_is_written(float_run, tmp_path, command):
    write_plan(tmp_path / "plan.json", Plan(weights={"stem": 16}), scheme="ort_u8s8", about={})
    options = ("--plan", tmp_path / "plan.json", "--images", 2, *MACHINE)
    ended = command("calibrate", float_run, "--save_path", tmp_path / "ptq", *options)
    assert ended.code == 2
    assert "weights name 'stem'" in ended.err
    assert not (tmp_path / "ptq").exists()


def test_a_plan_is_read_as_it_was_written(tmp_path):
    plan = Plan(weights={"a": 16, "b": 4}, activations={"c": 16})
    write_plan(tmp_path / "plan.json", plan, scheme="s8s8", about={"predicted_drop": 0.1})
    assert read_plan(tmp_path / "plan.json", scheme="s8s8") == plan
    assert read_plan(None, scheme="s8s8") == Plan()


def test_quantize_analyze_is_analyze():
    for words in (["run", "--analyze"], ["run", "--analyze", "True"], ["run", "--analyze=True"]):
        assert _analysis([*words, "--images", "2"]) == ("analyze", ["run", "--images", "2"])
    assert _analysis(["run", "--analyze", "False", "--lr", "1"]) == ("quantize", ["run", "--lr", "1"])
    assert _analysis(["run", "--lr", "1"]) == ("quantize", ["run", "--lr", "1"])


def test_depth_loses_where_its_error_grows_and_nothing_labelled_is_an_error():
    tasks = {"segmentation": 3}
    with pytest.raises(DataError, match="no labelled pixel"):
        worst(drops(empty(tasks), empty(tasks)))
    assert worst({"segmentation_miou": 0.1, "depth_ard": 0.4, "motion_miou": float("nan")}) == 0.4
