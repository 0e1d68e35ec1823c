"""Metadata of exported files: each entry is checked and agrees with card and graph, or is named in one line."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from edgeailite.errors import DataError
from edgeailite.runtime import load_onnx, open_session
from edgeailite.runtime.metadata import about_of_metadata
from tests.onnxfile.made import CARD, CONV, SIZE, WEIGHT, card_with, metadata, model, own, quantized

RELU = helper.make_node("Relu", ["segmentation"], ["more"])
DEEP = "[" * 100_000 + "]" * 100_000
ENTRIES = {  # name with `edgeailite_` for `edgeailite.`, value (None: left out), what the message says
    "session path": (
        "edgeailite_session",
        json.dumps({"session.collect_node_memory_stats_to_file": "/tmp/x"}),
        "edgeailite.session: expected",
    ),
    "session state": (
        "edgeailite_session",
        '{"session.moe_expert_counter_state_file": "/tmp/x"}',
        "edgeailite.session",
    ),
    "session value": ("edgeailite_session", '{"session.qdqisint8allowed": "0"}', "edgeailite.session"),
    "session number": ("edgeailite_session", '{"session.qdqisint8allowed": 1}', "edgeailite.session"),
    "session with more": (
        "edgeailite_session",
        '{"session.qdqisint8allowed": "1", "session.intra_op_thread_affinities": "1"}',
        "edgeailite.session",
    ),
    "session list": ("edgeailite_session", "[]", "edgeailite.session"),
    "session null": ("edgeailite_session", "null", "edgeailite.session"),
    "session text": ("edgeailite_session", "no JSON", "edgeailite.session"),
    "session deep": ("edgeailite_session", DEEP, "edgeailite.session"),
    "settings of onnxruntime": ("ort_config", "{}", "ort_config"),
    "kind": ("edgeailite_kind", "int4", "edgeailite.kind: expected float or int8, found 'int4'"),
    "kind missing": ("edgeailite_kind", None, "edgeailite.kind: expected float or int8, found nothing"),
    "kind of the other": ("edgeailite_kind", "int8", "edgeailite.kind: the metadata say 'int8'"),
    "argmax": ("edgeailite_argmax", "some", "edgeailite.argmax"),
    "argmax missing": ("edgeailite_argmax", None, "edgeailite.argmax"),
    "argmax of another graph": ("edgeailite_argmax", "full", "outputs: the metadata say 'segmentation_label'"),
    "kernels": ("edgeailite_kernels", "fast", "edgeailite.kernels"),
    "scheme of a float file": ("edgeailite_scheme", "ort_u8s8", "edgeailite.scheme"),
    "version": ("edgeailite_version", "1\x1b[2J", "edgeailite.version"),
    "hash": ("edgeailite_weights_sha256", "abc", "edgeailite.weights_sha256"),
    "wide": ("edgeailite_wide", "{}", "edgeailite.wide"),
    "tasks": ("edgeailite_tasks", '{"segmentation": "depth"}', "edgeailite.tasks"),
    "classes": ("classes", "sky,road,car,tree", "classes: 'sky,road,car,tree', but the card says"),
    "fewer classes": ("classes", "road,sky", "classes"),
    "palette": ("palette", "[[0, 0, 0]]", "palette"),
    "palette no JSON": ("palette", "[[", "palette"),
    "mean": ("mean", "[128.01, 128.0, 128.0]", "mean: [128.01, 128.0, 128.0], but the card says"),
    "mean missing": ("mean", None, "mean"),
    "mean NaN": ("mean", "[NaN, 128, 128]", "mean"),
    "scale": ("scale", "[1, 1]", "scale"),
    "order": ("channel_order", "GRAY", "channel_order"),
    "order missing": ("channel_order", None, "channel_order"),
    "interpolation": ("interpolation", "cubic", "interpolation"),
    "size": ("input_size", "32x64", "input_size: (32, 64), but the card says (32, 48)"),
    "size of fractions": ("input_size", "32.5x48", "input_size"),
    "size of nothing": ("input_size", "0x0", "input_size"),
    "size endless": ("input_size", "9" * 5000 + "x1", "input_size"),
    "size of one side": ("input_size", "32", "input_size"),
    "size missing": ("input_size", None, "input_size"),
    "card no JSON": ("edgeailite_card", "{", "edgeailite.card: not JSON"),
    "card of a list": ("edgeailite_card", "[]", "edgeailite.card: expected names with values"),
    "card deep": ("edgeailite_card", DEEP, "edgeailite.card: nested too deeply"),
    "card with long numbers": ("edgeailite_card", "1" * 5000, "edgeailite.card"),
    "other network's classes": ("edgeailite_card", card_with(classes=["a", "b", "c", "d"]), "classes"),
    "more outputs": ("edgeailite_card", card_with(outputs={"segmentation": 4, "depth": 1}), ""),
    "another output": ("edgeailite_card", card_with(outputs={"motion": 4}), ""),
}


@pytest.mark.parametrize("kind", ENTRIES)
def test_an_entry_that_is_not_as_export_writes_it(kind):
    key, value, said = ENTRIES[kind]
    with pytest.raises(DataError) as error:
        load_onnx(own(**{key: value}))
    assert str(error.value).startswith("ONNX model: ")
    assert said in str(error.value)
    assert str(error.value).isprintable()


def test_no_setting_of_a_file_reaches_onnxruntime(tmp_path):
    """A file once wrote lines of its own over any file of the user."""
    target = tmp_path / "profile"
    target.write_text("mine")
    settings = json.dumps({"session.collect_node_memory_stats_to_file": str(target)})
    for opening in (load_onnx, open_session):
        with pytest.raises(DataError, match=r"edgeailite\.session"):
            opening(own(edgeailite_session=settings))
    assert target.read_text() == "mine"


@pytest.mark.parametrize("settings", ["{}", '{"session.qdqisint8allowed": "1"}', None])
def test_the_one_setting_that_export_writes(settings):
    about = load_onnx(own(quantized(), edgeailite_session=settings))
    assert about.kind == "int8"


def test_entries_that_came_later_may_be_missing():
    for key in ("edgeailite_tasks", "classes", "palette"):
        assert load_onnx(own(**{key: None})).card == CARD


def test_a_class_name_with_a_comma_agrees_with_its_plain_entry():
    card = replace(CARD, classes=("road, dry", "road, wet", "sky", "car"))
    assert about_of_metadata(metadata(card)).card == card


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (model([helper.make_node("Relu", ["image"], ["segmentation"])]), "'1x4xHxW', the graph has '1x3x32x48'"),
        (model([helper.make_node("ReduceMean", ["image"], ["segmentation"], keepdims=0)]), "output segmentation"),
        (model([*CONV, RELU], WEIGHT, outputs=["segmentation", "more"]), "outputs"),
    ],
)  # fmt: skip
def test_outputs_are_those_of_the_card(made, said):
    with pytest.raises(DataError, match="the file was changed; export it again") as error:
        load_onnx(own(made))
    assert said in str(error.value)


def test_inputs_are_pictures_of_the_card():
    made = onnx.load_from_string(own())
    made.graph.input[0].type.tensor_type.elem_type = onnx.TensorProto.DOUBLE
    with pytest.raises(DataError, match="input image: the metadata say 'float32'"):
        load_onnx(made.SerializeToString())
    made = onnx.load_from_string(own().replace(b"image", b"photo"))
    with pytest.raises(DataError, match="inputs: the metadata say 'image', the graph has 'photo'"):
        load_onnx(made.SerializeToString())


def test_a_file_with_argmax():
    nodes = [
        helper.make_node("Conv", ["image", "w"], ["x"], pads=[1] * 4),
        helper.make_node("ArgMax", ["x"], ["i"], axis=1, keepdims=0),
        helper.make_node("Cast", ["i"], ["segmentation_label"], to=2),
    ]
    made = model(nodes, WEIGHT, outputs=["segmentation_label"])
    opened = load_onnx(own(made, edgeailite_argmax="full"))
    assert (opened.argmax, opened.fixed_size) == ("full", SIZE)
    with pytest.raises(DataError, match="outputs"):
        load_onnx(own(made))


def test_outputs_are_numbers():
    nodes = [
        helper.make_node("Conv", ["image", "w"], ["x"], pads=[1] * 4),
        helper.make_node("Cast", ["x"], ["segmentation"], to=TensorProto.STRING),
    ]
    with pytest.raises(DataError, match=r"output segmentation: expected numbers, found tensor\(string\); export it"):
        load_onnx(own(model(nodes, WEIGHT)))


def test_weights_are_the_files_own():
    values = np.random.default_rng(0).normal(size=(4, 3, 3, 3)).astype(np.float32)
    assert load_onnx(own(model(CONV, {"w": values}))).name == "ONNX model"
