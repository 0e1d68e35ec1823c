"""The proof part by part, with answers and graphs that are given; whole files: test_parity.py and test_dishonest.py."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper
from torch import nn

from edgeailite.errors import ParityError
from edgeailite.export import conversion, parity, to_onnx
from edgeailite.export.agreement import Agreement
from edgeailite.export.parity import Subject, integer_kernels
from edgeailite.preprocessing import Preprocessing, preprocess
from edgeailite.quantization import Plan
from edgeailite.quantization.integer import IntegerModel
from tests.export.toy import toy, toy_card, toy_quantized
from tests.quantization.tiny import chain, quantized

CARD, FILE = toy_card(), Path("model.onnx")
PICTURE = np.random.default_rng(0).integers(0, 256, (40, 70, 3), np.uint8)


def test_the_kind_of_a_subject_is_its_network_s():
    floats, int8 = Subject(toy(), CARD, FILE), Subject(toy_quantized("ort_u8s8"), CARD, FILE)
    assert (floats.kind, int8.kind) == ("float", "int8")
    assert (floats.wide, int8.wide) == (False, False)
    assert Subject(quantized(chain(), plan=Plan({"layers.1": 16})), CARD, FILE).wide
    assert isinstance(int8.reference(), IntegerModel)
    assert not isinstance(floats.reference(), IntegerModel)


def test_every_output_must_hold_and_label_maps_but_for_ties():
    subject = Subject(nn.Identity(), CARD, FILE)
    scores, labels = np.zeros((1, 3, 1000, 1000), np.float32), np.zeros((1, 1000, 1000), np.uint8)
    good, bad = Agreement(1, 1.0, 0.0, 0.0, 1.0), Agreement(1, 1.0, 0.5, 0.1, 1.0)
    assert subject.holds({"a": scores, "b": scores}, {"a": good, "b": good})
    assert not subject.holds({"a": scores, "b": scores}, {"a": good, "b": bad})
    ties = Agreement(1, 0.9995, 2.0, 0.1, 1.0)
    assert subject.holds({"a": labels}, {"a": ties})
    assert not subject.holds({"a": scores}, {"a": ties})


# --- which kernels are integer


def graph(*nodes: tuple[str, str, tuple[str, ...]]) -> onnx.ModelProto:
    made = [helper.make_node(kind, inputs, [name], name=name) for kind, name, inputs in nodes]
    constants = [numpy_helper.from_array(np.zeros(1, np.int64), name) for name in ("i", "n")]
    return helper.make_model(helper.make_graph(made, "graph", [], [], constants))


SOURCE = [
    ("Conv", "a", ("x", "w")), ("Add", "b", ("a", "x")), ("Concat", "shape.c", ("a", "b")),  # whatever its name
    ("Shape", "s", ("x",)), ("Gather", "g", ("s", "i")), ("Concat", "d", ("g", "n")),  # a size is put together
    ("Add", "t", ("g", "n")), ("Concat", "e", ("n", "t")),
    ("Resize", "r", ("a", "", "", "d")), ("Add", "f", ("r", "a")),
]  # fmt: skip
FUSED = [
    ("QLinearConv", "qa", ()),
    ("QLinearAdd", "qb", ()),
    ("QLinearConcat", "qc", ()),
    ("QLinearAdd", "qf", ()),
    ("Concat", "d", ()),
    ("Add", "t", ()),
    ("Concat", "e", ()),
]


@pytest.mark.parametrize(
    ("optimized", "missing", "integer"),
    [
        (FUSED, [], True),
        ([("Conv", "a", ()), *FUSED[1:]], ["a"], False),
        ([FUSED[0], ("Add", "b", ()), *FUSED[2:]], ["b"], False),
        ([("FusedConv", "a", ()), *FUSED[1:]], ["a"], False),
        (FUSED[1:], [], False),  # it went under another name
        ([("QLinearConv", "more", ()), *FUSED], [], False),
        ([*FUSED, ("Add", "b", ())], ["b"], False),
    ],
)
def test_what_is_left_in_float_is_named_and_shapes_are_not_counted(optimized, missing, integer, tmp_path, monkeypatch):
    path = tmp_path / "model.onnx"
    onnx.save(graph(*SOURCE), str(path))
    monkeypatch.setattr(
        parity, "load_onnx", lambda file, level, save_optimized: onnx.save(graph(*optimized), str(save_optimized))
    )
    found = integer_kernels(path)
    assert (found["wanted"], found["float_nodes"], found["all_integer"]) == (4, missing, integer)
    assert found["QLinearAdd"] == [kind for kind, *_ in optimized].count("QLinearAdd")


# --- further sizes


def test_a_size_that_the_network_does_not_take_is_left_out_and_named(tmp_path, monkeypatch):
    said: list[str] = []

    def refuse(*_: object) -> None:
        raise RuntimeError("Expected size 97 but got size 96\nmore")

    path = tmp_path / "model_int8.onnx"
    subject = Subject(toy_quantized("ort_u8s8"), toy_card(), path)
    onnx.save(to_onnx(subject.module, subject.card), str(path))
    picture = np.zeros((40, 50, 3), np.uint8)
    assert list(parity._prove_sizes(subject, (picture,), [(33, 47)], threads=1)) == ["33x47 EXTENDED", "33x47 ALL"]
    monkeypatch.setattr(parity, "log", said.append)
    monkeypatch.setattr(parity, "outputs_of", refuse)
    assert parity._prove_sizes(subject, (picture,), [(33, 47)], threads=1) == {}
    assert said == ["33x47 is left out: the network does not take it (Expected size 97 but got size 96)"]


# --- comparing answers


@pytest.mark.parametrize(
    ("got", "message"),
    [
        ({}, "output a: expected shape .1, 2, 3, 4., the file gives missing"),
        ({"a": np.zeros((1, 2, 4, 3))}, "the file gives .1, 2, 4, 3."),
        ({"a": np.full((1, 2, 3, 4), np.nan)}, "output a: 24 of 24 values of the file are not finite"),
        ({"a": np.full((1, 2, 3, 4), np.inf)}, "24 of 24 values of the file are not finite"),
    ],
)
def test_answers_that_cannot_be_compared_are_named(got, message):
    expected = {"a": np.zeros((1, 2, 3, 4), np.float32)}
    with pytest.raises(ParityError, match=message):
        parity._compare_outputs(expected, got)
    assert parity._compare_outputs(expected, expected)["a"].max_difference == 0
    with pytest.raises(ParityError, match="values of the run's network are not finite"):
        parity._compare_outputs({"a": expected["a"] + np.inf}, expected)


def test_label_maps_at_full_size_are_those_of_the_scores():
    scores = np.random.default_rng(1).normal(size=(1, 3, 4, 5)).astype(np.float32)
    labels = scores.argmax(1).astype(np.uint8)
    for argmax, given, holds in (
        ("full", labels, True),
        ("full", 2 - labels, False),
        ("before_upsampling", 2 - labels, True),
    ):
        subject: Any = SimpleNamespace(argmax=argmax, file=FILE)
        if holds:
            parity._check_label_maps(subject, {"s_label": given}, {"s": scores})
        else:
            with pytest.raises(ParityError, match="output s: the label map is not that of the scores"):
                parity._check_label_maps(subject, {"s_label": given}, {"s": scores})


@pytest.mark.parametrize("share", [0.99, 0.5])
def test_an_answer_below_the_gate_is_weighed_against_a_picture_a_grey_level_off(share, monkeypatch):
    """The network here gives its input: a moved picture has other labels, the same one none."""
    seen: list[Any] = []
    monkeypatch.setattr(conversion, "check_layers", lambda module, images, name: {"layers": len(images)})
    monkeypatch.setattr(conversion, "check_answers", lambda found, unsteady, **_: seen.append(unsteady) or {})
    monkeypatch.setattr(parity, "outputs_of", lambda network, *images: {"scores": images[0]})
    subject = Subject(toy_quantized("ort_u8s8"), CARD, FILE)
    reference: Any = SimpleNamespace(agreements=conversion.Agreements({"scores": [share]}))
    assert parity._check_conversion(subject, reference, [(PICTURE,)], least=None) == {"layers": 1}
    if share > conversion.SHARE:
        assert seen == [None]
    else:
        assert 0.9 < seen[0].least[0] < 1


@pytest.mark.parametrize("kernels", ["plain", "onnxruntime"])
def test_further_sizes_are_proven_on_a_file_with_the_kernels_of_the_first(kernels, tmp_path, monkeypatch):
    asked, fed = [], []
    model = graph(*SOURCE)
    helper.set_model_props(model, {"edgeailite.kernels": kernels})
    onnx.save(model, str(tmp_path / "model.onnx"))
    answer = {"scores": np.zeros((1, 5, 2, 2), np.float32)}
    monkeypatch.setattr(parity, "to_onnx", lambda *_, argmax, kernels: asked.append(kernels) or model)
    monkeypatch.setattr(parity, "load_onnx", lambda data, threads, level: level)
    monkeypatch.setattr(parity, "run", lambda level, image: fed.append((level, image.shape)) or answer)
    monkeypatch.setattr(parity, "outputs_of", lambda *_: answer)
    subject = Subject(toy(), CARD, tmp_path / "model.onnx")
    results = parity._prove_sizes(subject, (PICTURE,), [(12, 20)], threads=None)
    assert asked == [kernels]
    assert fed == [("EXTENDED", (1, 3, 12, 20)), ("ALL", (1, 3, 12, 20))]
    assert list(results) == ["12x20 EXTENDED", "12x20 ALL"]
    monkeypatch.setattr(parity, "run", lambda level, image: {"scores": answer["scores"] + (level == "ALL")})
    with pytest.raises(ParityError, match=r"model\.onnx at 12x20, ALL: logits differ by 1"):
        parity._prove_sizes(subject, (PICTURE,), [(12, 20)], threads=None)


def test_a_level_that_is_promised_must_hold_and_the_others_are_reported(monkeypatch):
    answer = {"scores": np.random.default_rng(2).normal(size=(1, 5, 4, 4)).astype(np.float32)}
    monkeypatch.setattr(parity, "outputs_of", lambda *_: answer)
    monkeypatch.setattr(parity, "_explain", lambda subject, model, pictures, result, level: f"departs at {level}")
    subject = Subject(nn.Identity(), CARD, FILE)
    reference: Any = SimpleNamespace(answers=None, scores=None)
    for wrong in ("EXTENDED", "ALL", "DISABLED"):
        monkeypatch.setattr(
            parity, "run_picture", lambda level, picture, wrong=wrong: {"scores": answer["scores"] + (level == wrong)}
        )
        models: Any = {level: level for level in parity.LEVELS}
        if wrong == "DISABLED":
            found = parity._compare_picture(subject, reference, models, (PICTURE,))
            assert [found[level].max_difference for level in parity.LEVELS] == [0, 0, pytest.approx(1, rel=1e-5)]
        else:
            with pytest.raises(ParityError, match=f"departs at {wrong}"):
                parity._compare_picture(subject, reference, models, (PICTURE,))


@pytest.mark.parametrize("order", ["RGB", "BGR"])
def test_what_the_proof_feeds_is_what_the_file_s_readers_make_of_a_picture(order):
    pre = Preprocessing(24, 36, mean=(120.0, 110.0, 100.0), scale=(0.02, 0.03, 0.04), channel_order=order)
    np.testing.assert_array_equal(parity.training_input(PICTURE, pre), preprocess(PICTURE, pre))
    moved = parity.training_input(PICTURE, pre, moved=True) - preprocess(PICTURE, pre)
    levels = moved / np.array(pre.scale, np.float32).reshape(1, 3, 1, 1)
    assert set(np.unique(np.rint(levels))) == {-1, 0, 1}
    assert parity.training_input(PICTURE, replace(pre, height=36, width=24)).shape == (1, 3, 36, 24)
