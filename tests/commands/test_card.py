"""An ONNX file from elsewhere, from its card to a proven int8 file, with the verbs of our own runs."""

from __future__ import annotations

import json

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper

from edgeailite.data.sets.cityscapes import SEMANTIC
from edgeailite.onnxfile import read_onnx
from edgeailite.runs.checkpoint import load_checkpoint
from edgeailite.runs.folder import LAST
from edgeailite.runs.network import load_network
from edgeailite.runtime import card_of_metadata, load_onnx
from tests.foreign.onnx_models import model, weights

CLASSES = SEMANTIC.target.classes
RULES = ("--mean", 128, 128, 128, "--scale", 0.015625, 0.015625, 0.015625)
SIZE = ("--img_resize", 64, 64)
MACHINE = ("--workers", 0, "--device", "cpu", "--threads", 1)


def segmentation_file(output="logits", name="input.1", classes=19, **more):
    """A float network of another exporter: an encoder, a residual, and a resize to the picture's size."""
    nodes = [
        ("Conv", f"{name} stem.weight stem.bias", "c", {"pads": [1] * 4, "strides": [2, 2]}),
        ("Relu", "c", "r", {}),
        ("Conv", "r block.conv.weight", "d", {"pads": [1] * 4}),
        ("BatchNormalization", "d block.bn.weight block.bn.bias mean var", "n", {}),
        ("Add", "n r", "e", {}),
        ("Relu", "e", "f", {}),
        ("Conv", "f head.weight head.bias", "g", {}),
        ("Shape", name, "s", {"start": 2}),
        ("Resize", "g none none s", output, {"mode": "linear", "axes": [2, 3]}),
    ]
    constants = {
        "stem.weight": weights(16, 3, 3, 3),
        "stem.bias": weights(16),
        "block.conv.weight": weights(16, 16, 3, 3, scale=0.1),
        "block.bn.weight": weights(16) + 1,
        "block.bn.bias": weights(16),
        "mean": weights(16),
        "var": weights(16) ** 2 + 0.5,
        "head.weight": weights(classes, 16, 1, 1),
        "head.bias": weights(classes),
        "none": np.zeros(0, np.float32),
    }
    return model(nodes, constants, outputs=(output,), name=name, **more)


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("foreign") / "theirs.onnx"
    onnx.save(segmentation_file(), path)
    return path


@pytest.fixture(scope="module")
def carded(file):
    """The file with a card, made by the verb."""
    from edgeailite.__main__ import main

    words = ["card", file, "--classes", *CLASSES, *RULES, *SIZE, "--dataset_name", "streets"]
    assert main([str(word) for word in words]) == 0
    return file.with_name("theirs_card.onnx")


@pytest.fixture(scope="module")
def quantized(carded, miniature, tmp_path_factory):
    """A run that was calibrated on pictures alone, exported."""
    from edgeailite.__main__ import main

    folder = tmp_path_factory.mktemp("quantized") / "run"
    pictures = miniature / "leftImg8bit" / "val"
    for words in (
        ("calibrate", carded, "--pictures", pictures, "--save_path", folder, *MACHINE),
        ("export", folder),
    ):
        assert main([str(word) for word in words]) == 0
    return folder


def test_the_card_names_inputs_outputs_and_classes(file, carded):
    before = file.read_bytes()
    card = card_of_metadata(read_onnx(carded).graph.metadata)
    assert (card.classes, card.outputs, card.preprocessing.size) == (CLASSES, {"segmentation": 19}, (64, 64))
    assert len(set(card.palette)) == 19
    assert file.read_bytes() == before
    x = np.random.default_rng(0).normal(size=(1, 3, 64, 64)).astype(np.float32)
    assert set(load_onnx(carded).run(x)) == {"segmentation"}


def test_weights_and_answers_stay_those_of_the_file(file, carded):
    import onnxruntime

    x = np.random.default_rng(0).normal(size=(1, 3, 64, 64)).astype(np.float32)
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    (expected,) = session.run(None, {"input.1": x})
    assert np.array_equal(load_onnx(carded).run(x)["segmentation"], expected)
    theirs, ours = (
        {tensor.name: numpy_helper.to_array(tensor).tobytes() for tensor in onnx.load(path).graph.initializer}
        for path in (file, carded)
    )
    assert theirs == ours


def test_a_card_like_another(carded, tmp_path, command):
    other = tmp_path / "other.onnx"
    onnx.save(segmentation_file(output="y", name="x"), other)
    ended = command("card", other, "--like", carded, "--save_path", tmp_path / "new.onnx")
    assert ended.code == 0, ended.err
    first, second = (card_of_metadata(read_onnx(path).graph.metadata) for path in (carded, tmp_path / "new.onnx"))
    assert (first.classes, first.palette, first.preprocessing) == (second.classes, second.palette, second.preprocessing)


def test_classes_from_a_text_file_and_colours(file, tmp_path, command):
    (tmp_path / "names.txt").write_text("\n".join(CLASSES) + "\n")
    colours = list(range(3 * len(CLASSES)))
    ended = command(
        "card", file, "--classes", tmp_path / "names.txt", "--palette", *colours, *RULES, *SIZE,
        "--save_path", tmp_path / "new.onnx",
    )  # fmt: skip
    assert ended.code == 0, ended.err
    card = card_of_metadata(read_onnx(tmp_path / "new.onnx").graph.metadata)
    assert (card.classes, card.palette[3]) == (CLASSES, (9, 10, 11))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--classes", "a", "b", *RULES, *SIZE), "2 names, but the channels of the outputs are segmentation 19"),
        (("--classes", *CLASSES, *RULES), "leaves height and width of its pictures open"),
        (("--classes", *CLASSES, *SIZE), "--mean None: expected three numbers, or --like"),
        (("--classes", *CLASSES, *RULES, *SIZE, "--palette", 1, 2, 3), "1 colours for 19 classes"),
        (("--classes", *CLASSES, *RULES, *SIZE, "--outputs", "nothing"), "the file has no such output, but logits"),
        (("--classes", *CLASSES, *RULES, "--img_resize", 64, 64, "--save_path", "FILE"), "is the file itself"),
    ],
)
def test_what_is_wrong_with_a_description(file, command, words, said):
    ended = command("card", file, *(file if word == "FILE" else word for word in words))
    assert ended.code == 2
    assert said in ended.err
    assert ended.err.count("\n") == 1


def test_a_tflite_file_is_told_where_it_may_go(tmp_path, command):
    ended = command("card", tmp_path / "theirs.tflite", *RULES, "--classes", "a", "b")
    assert (ended.code, ended.err.count("\n")) == (2, 1)
    assert "is no ONNX file, which alone can be described; give the ONNX file of this network" in ended.err


def test_an_output_that_is_no_map_is_refused(tmp_path, command):
    onnx.save(model([("ReduceMean", "image", "y", {"keepdims": 0})], opset=13), tmp_path / "flat.onnx")
    ended = command("card", tmp_path / "flat.onnx", "--classes", "a", "b", "c", *RULES, *SIZE)
    assert (ended.code, ended.err.count("\n")) == (2, 1)
    assert "output y is one number, so that the pictures of a batch cannot be told apart" in ended.err


def test_maps_without_classes_are_numbers(file, tmp_path, command):
    ended = command("card", file, *RULES, *SIZE, "--save_path", tmp_path / "a.onnx")
    assert (ended.code, "note: features: numbers without a metric; --classes would name their" in ended.err) == (
        0,
        True,
    )
    assert load_onnx(tmp_path / "a.onnx").card.outputs == {"features": 19}


@pytest.mark.parametrize("opset", [pytest.param(12, marks=pytest.mark.slow), 18])
def test_a_network_for_whole_pictures_is_proven(miniature, opset, tmp_path, monkeypatch, command):
    nodes = [
        ("Conv", "image w", "c", {"strides": [2, 2]}),
        ("Relu", "c", "r", {}),
        ("GlobalAveragePool", "r", "p", {}),
        ("Flatten", "p", "f", {}),
        ("Gemm", "f fc.weight fc.bias", "y", {"transB": 1}),
    ]
    constants = {"w": weights(16, 3, 3, 3), "fc.weight": weights(7, 16), "fc.bias": weights(7)}
    onnx.save(model(nodes, constants, opset=opset), tmp_path / "whole.onnx")
    monkeypatch.chdir(tmp_path)
    assert command("card", "whole.onnx", "--classes", *"abcdefg", *RULES, *SIZE).code == 0
    words = ("calibrate", "whole_card.onnx", "--pictures", miniature / "leftImg8bit" / "val", *MACHINE)
    for step in (words, ("export", "whole_card_ptq"), ("verify", "whole_card_ptq", "--images", 1, "--sizes", 65, 97)):
        ended = command(*step)
        assert ended.code == 0, ended.err


def test_keeps_the_outputs_that_are_asked_for(tmp_path, command):
    file = model(
        [("Conv", "image w", "out", {}), ("Conv", "image v", "aux", {})],
        {"w": weights(19, 3, 1, 1), "v": weights(7, 3, 1, 1)},
        outputs=("aux", "out"),
    )
    onnx.save(file, tmp_path / "two.onnx")
    words = ("card", tmp_path / "two.onnx", "--classes", *CLASSES, *RULES, *SIZE)
    assert command(*words).code == 0
    card = card_of_metadata(read_onnx(tmp_path / "two_card.onnx").graph.metadata)
    assert card.outputs == {"aux": 7, "segmentation": 19}
    assert command(*words, "--outputs", "out").code == 0
    model_file = onnx.load(tmp_path / "two_card.onnx")
    assert [value.name for value in model_file.graph.output] == ["segmentation"]
    assert len(model_file.graph.node) == 1


def test_calibrated_on_pictures_without_labels_it_is_proven(quantized, command):
    ended = command("verify", quantized, "--images", 2, "--sizes", 65, 97, "--threads", 1, "--json", True)
    assert ended.code == 0, ended.err
    found = json.loads(ended.out)
    assert found["ALL"]["max_difference"] == found["sizes"]["65x97 ALL"]["max_difference"] == 0
    assert found["integer_kernels"]["all_integer"]
    assert (quantized / "contract_int8.json").is_file()


def test_the_run_holds_its_network(quantized, carded, tmp_path):
    checkpoint, network = load_network(quantized)
    assert "stem.weight" in network.state_dict()
    assert checkpoint.card.model_name == "theirs"
    with torch.no_grad():
        assert network(torch.zeros(1, 3, 33, 47))["segmentation"].shape == (1, 19, 33, 47)
    assert (quantized / "network.onnx").read_bytes() == carded.read_bytes()


def test_a_network_that_was_exchanged_is_refused(quantized, tmp_path, command):
    import shutil

    shutil.copytree(quantized, tmp_path / "run")
    onnx.save(segmentation_file(), tmp_path / "run" / "network.onnx")
    ended = command("export", tmp_path / "run")
    assert (ended.code, "network.onnx: is not the network that" in ended.err) == (3, True)
    (tmp_path / "run" / "network.onnx").unlink()
    ended = command("export", tmp_path / "run")
    assert (ended.code, "network.onnx: cannot be read" in ended.err) == (3, True)


def test_a_file_without_a_card_is_told_how_to_get_one(file, miniature, command):
    ended = command("calibrate", file, "--pictures", miniature, *MACHINE)
    assert ended.code == 3
    assert "edgeailite card" in ended.err


def test_pictures_are_asked_for_where_no_data_set_is_known(file, tmp_path, command):
    assert command("card", file, "--classes", *CLASSES, *RULES, *SIZE, "--save_path", tmp_path / "a.onnx").code == 0
    ended = command("calibrate", tmp_path / "a.onnx", *MACHINE)
    assert (ended.code, "a.onnx: names no data set; give --pictures FOLDER" in ended.err) == (2, True)
    ended = command("quantize", tmp_path / "a.onnx", *MACHINE)
    assert (ended.code, "edgeailite card" in ended.err) == (2, True)


def test_an_int8_file_is_no_float_network(quantized, miniature, tmp_path, command):
    ended = command(
        "calibrate", quantized / "model_int8.onnx", "--pictures", miniature, "--save_path", tmp_path / "x", *MACHINE
    )
    assert (ended.code, "is int8" in ended.err) == (2, True)


def test_a_file_is_not_exported_again(carded, command):
    ended = command("export", carded)
    assert (ended.code, "edgeailite calibrate" in ended.err) == (2, True)


VERBS = {
    "infer": ("infer", "FILE", "PICTURES", "--save_path", "OUT"),
    "infer a run": ("infer", "RUN", "PICTURES", "--save_path", "OUT"),
    "infer its file": ("infer", "RUN/model_int8.onnx", "PICTURES", "--save_path", "OUT"),
    "validate": ("validate", "FILE", "--data_path", "DATA", *MACHINE),
    "validate a run": ("validate", "RUN", "--dataset_name", "streets", "--data_path", "DATA", *MACHINE),
    "compare": ("compare", "FILE", "RUN/model_int8.onnx", "--data_path", "DATA", *MACHINE),
    "complexity": ("complexity", "FILE"),
    "complexity of a run": ("complexity", "RUN"),
    "trace": ("verify", "FILE", "--trace", "ort", "ort:DISABLED", "--trace_pictures", "PICTURES"),
    "trace a run": ("verify", "RUN", "--trace", "fake_quant", "integer_exact"),
    "bench": ("bench", "FILE", "--rounds", 2),
}


SLOW = ("infer a run", "infer its file", "validate", "complexity of a run", "trace", "bench")


@pytest.mark.parametrize("name", [pytest.param(name, marks=pytest.mark.slow if name in SLOW else ()) for name in VERBS])
def test_verbs_take_the_file_and_the_run(name, carded, quantized, miniature, tmp_path, command):
    places = {
        "FILE": carded,
        "RUN": quantized,
        "RUN/model_int8.onnx": quantized / "model_int8.onnx",
        "PICTURES": miniature / "leftImg8bit" / "val",
        "DATA": miniature,
        "OUT": tmp_path / "out",
    }
    ended = command(*(places.get(word, word) for word in VERBS[name]))
    assert ended.code == 0, ended.err


def test_pictures_without_labels_cannot_be_validated(quantized, command):
    ended = command("validate", quantized, *MACHINE)
    assert (ended.code, "--dataset_name" in ended.err) == (2, True)


@pytest.mark.slow  # tests/test_your_network_page.py does the same for a smaller network
def test_quantization_aware_training_from_a_file(carded, miniature, tmp_path, command):
    folder = tmp_path / "qat"
    words = ("quantize", carded, "--data_path", miniature, "--save_path", folder, "--epochs", 1, "--batch_size", 2)
    ended = command(*words, "--epoch_size", 2, "--calibration_images", 2, *MACHINE)
    assert ended.code == 0, ended.err
    assert (folder / "network.onnx").read_bytes() == carded.read_bytes()
    assert load_checkpoint(folder / LAST).quantization["method"] == "qat"
    assert command("export", folder).code == 0
    assert command("verify", folder, "--data_path", miniature, "--images", 1, "--sizes", 65, 97).code == 0


@pytest.mark.slow
def test_layers_of_a_file_are_ranked(carded, miniature, command):
    ended = command("analyze", carded, "--data_path", miniature, "--images", 1, "--calibration_images", 1, *MACHINE)
    assert ended.code == 0, ended.err
    assert "stem" in ended.out
