"""Networks of others whose output is no map: every verb works, or says in one line what to do."""

from __future__ import annotations

import json

import onnx
import pytest
from onnx import ModelProto

from edgeailite.runtime import load_onnx
from tests.foreign.onnx_models import model, numbers, weights

RULES = ("--mean", 128, 128, 128, "--scale", 0.015625, 0.015625, 0.015625, "--img_resize", 33, 47)
MACHINE = ("--workers", 0, "--device", "cpu", "--threads", 1)
FIXED = (1, 3, 33, 47)
POOLED = [("GlobalAveragePool", "r", "g", {}), ("Flatten", "g", "f", {})]
OPEN_FORMS = ("NC", "N1", "N", "N added", "NCHW")


def network(form: str) -> ModelProto:
    """A convolution, and an end that gives this form; the batch is open where the form allows it."""
    count = 1 if form in ("N1", "N", "N added") else 5
    layer = ("Gemm", "f v u", "p", {"transB": 1})
    flat = ("Reshape", "p minus", "q", {})
    ends = {
        "NC": [*POOLED, layer],
        "N1": [*POOLED, layer],
        "N": [*POOLED, layer, flat],
        "N added": [*POOLED, layer, flat, ("Add", "q q", "s", {})],
        "C": [*POOLED, layer, flat, ("Sigmoid", "q", "s", {})],
        "number": [("ReduceMean", "r", "m", {"keepdims": 0}), ("Mul", "m m", "s", {})],
        "NCH": [("ReduceMean", "r last", "m", {"keepdims": 0})],
        "NCHW": [("Conv", "r k", "o", {"strides": [3, 5]})],
        "NC11": [("GlobalAveragePool", "r", "g", {}), ("Conv", "g k", "o", {})],
    }[form]
    constants = {
        "w": weights(8, 3, 3, 3),
        "v": weights(count, 8),
        "u": weights(count),
        "k": weights(5, 8, 1, 1),
        "minus": numbers(-1),
        "last": numbers(3),
    }
    nodes = [("Conv", "image w", "c", {"pads": [1] * 4, "strides": [2, 2]}), ("Relu", "c", "r", {}), *ends]
    nodes[-1] = (*nodes[-1][:2], "y", nodes[-1][3])
    return model(nodes, constants, shape=("N", 3, "H", "W") if form in OPEN_FORMS else FIXED)


FORMS = ("NC", "N1", "N", "N added", "C", "number", "NCH", "NCHW", "NC11")
SHAPES = {"NC": 5, "C": 5, "NC11": 5, "NCH": 8, "NCHW": 5}


@pytest.mark.parametrize("form", ["N added", "number"])
def test_an_answer_of_one_side_or_none_has_a_range(form, miniature, tmp_path, command):
    onnx.save(network(form), tmp_path / "theirs.onnx")
    assert command("card", tmp_path / "theirs.onnx", *RULES).code == 0
    pictures = miniature / "leftImg8bit" / "val"
    ended = command("calibrate", tmp_path / "theirs_card.onnx", "--pictures", pictures, "--dry_run", True, *MACHINE)
    assert (ended.code, "features: 100 % less the error against the float network" in ended.out) == (0, True), ended.err


@pytest.mark.slow
@pytest.mark.parametrize("form", FORMS)
def test_numbers_are_calibrated_proven_and_compared(form, miniature, tmp_path, command):
    file, run, pictures = tmp_path / "theirs.onnx", tmp_path / "run", miniature / "leftImg8bit" / "val"
    onnx.save(network(form), file)
    ended = command("card", file, *RULES)
    assert (ended.code, "features: numbers without a metric; --classes would name" in ended.err) == (0, True), ended.err
    carded = tmp_path / "theirs_card.onnx"
    assert load_onnx(carded).card.outputs == {"features": SHAPES.get(form, 1)}
    for words in (
        ("calibrate", carded, "--pictures", pictures, "--save_path", run, *MACHINE),
        ("export", run),
        ("verify", run, "--images", 1, "--sizes", 65, 97, "--threads", 1),
    ):
        ended = command(*words)
        assert ended.code == 0, ended.err
    assert ended.out.startswith(f"{run} is proven")
    int8 = run / "model_int8.onnx"
    ended = command("compare", run, int8, "--integer_exact", True, "--json", True, *MACHINE)
    assert ended.code == 0, ended.err
    assert json.loads(ended.out)["outputs"]["features"]["numbers"]["max_difference"] == 0
    ended = command("compare", carded, int8, "--data_path", pictures, *MACHINE)
    assert (ended.code, "no metric: the numbers say how near the two are" in ended.out) == (0, True), ended.err
    refused = {
        "validate": ("validate", int8, "--data_path", pictures, *MACHINE),
        "report": ("report", run, "--device", "cpu"),
        "analyze": ("analyze", carded, "--data_path", pictures, *MACHINE),
        "infer": ("infer", int8, pictures, "--save_path", tmp_path / "out"),
    }
    for name, words in refused.items():
        ended = command(*words)
        line = ended.err.strip().splitlines()[-1]
        assert (ended.code, "edgeailite compare A B --data_path PICTURES" in line) == (2, True), (name, ended.err)
    ended = command("quantize", carded, "--data_path", pictures, *MACHINE)
    assert (ended.code, "without training: edgeailite calibrate" in ended.err) == (2, True)
    ended = command("serve", int8, "--port", 0)
    assert (ended.code, "has no map of classes, only features" in ended.err) == (2, True)


@pytest.mark.parametrize(
    ("nodes", "shape", "message"),
    [
        ([("Reshape", "r minus", "y", {})], ("N", 3, "H", "W"), "the pictures of a batch cannot be told apart"),
        ([("Unsqueeze", "r four", "y", {})], FIXED, "expected 1xCxHxW, 1xC or one number"),
        ([("Reshape", "r wide", "y", {})], FIXED, "at most 4096 channels"),
    ],
)
def test_what_is_no_answer_for_a_picture_is_refused(nodes, shape, message, tmp_path, command):
    nodes = [("Conv", "image w", "c", {}), ("Conv", "c v", "r", {}), *nodes]
    constants = {"w": weights(8, 3, 1, 1), "v": weights(8, 8, 1, 1), "minus": numbers(-1), "four": numbers(4)}
    onnx.save(model(nodes, constants | {"wide": numbers(1, -1)}, shape=shape), tmp_path / "a.onnx")
    ended = command("card", tmp_path / "a.onnx", *RULES)
    assert (ended.code, message in ended.err, ended.err.count("\n")) == (2, True, 1), ended.err
