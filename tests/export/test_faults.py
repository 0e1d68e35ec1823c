"""What exported files and their readers must survive, on a network of a few convolutions.

Elsewhere: 2 GB of weights, learned up-sampling and align_corners (test_every_network.py), faults planted in files,
foreign kinds, reproducibility of a real network (test_parity.py), 16-bit parts (test_wide.py), options of the command
line (tests/test_config.py), saturation of sums (test_quantization.py).
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxsim
import pytest
import torch
import torch.nn.functional as F
from onnx import TensorProto, helper
from torch import Tensor, fx, nn

from edgeailite.errors import DataError, ParityError, UsageError
from edgeailite.export import to_onnx
from edgeailite.export.parity import Subject, integer_kernels, make_golden, prove
from edgeailite.modelcard import ModelCard
from edgeailite.quantization import convert, integer_exact
from edgeailite.quantization.convert import IntegerConv, Quantize
from edgeailite.runtime import OnnxModel, load_onnx, recheck, run
from edgeailite.runtime.contract import PROVEN_LEVELS
from tests.golden import golden_card, smooth_pictures
from tests.onnxfile.made import change_preprocessing
from tests.quantization.test_faults import FAULTS, HUGE, faulty
from tests.quantization.tiny import pixels, quantized, tiny

SIZE = (24, 32)
CARD = replace(golden_card(SIZE, num_classes=4), outputs={"segmentation": 4, "depth": 1})
TOGETHER = [[name for name in FAULTS if name != HUGE], [HUGE]]
QDQ = ("QuantizeLinear", "DequantizeLinear")
SIZES = [(361, 481), (1, 1), (1, 33), (33, 1), (37, 61)]


class Pooled(nn.Module):
    """A global mean that is resized from 1x1 to the feature, and joined with it."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 6, 3, 2, 1)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.mixed = nn.Conv2d(6, 6, 1)
        self.last = nn.Conv2d(12, 4, 1)

    def forward(self, *images: Tensor) -> dict[str, Tensor]:
        x = self.first(images[0])
        mean = F.interpolate(self.mixed(self.pool(x)), size=x.shape[2:], mode="bilinear", align_corners=False)
        y = self.last(torch.cat([x, mean], 1))
        return {"segmentation": F.interpolate(y, size=images[0].shape[2:], mode="bilinear", align_corners=False)}


def opened(model: nn.Module, card: ModelCard = CARD, *, level: str = "ALL", **options) -> OnnxModel:
    return load_onnx(to_onnx(model, card, **options).SerializeToString(), level=level, threads=1)


def subject(folder: Path, model: nn.Module, card: ModelCard = CARD) -> Subject:
    file = folder / "model.onnx"
    file.write_bytes(to_onnx(model, card, size=SIZE).SerializeToString())
    return Subject(model, card, file)


@pytest.fixture(scope="module")
def int8() -> fx.GraphModule:
    return quantized(tiny())


@pytest.fixture(scope="module")
def int8_bytes(int8) -> bytes:
    """Open size."""
    return to_onnx(int8, CARD).SerializeToString()


@pytest.fixture(scope="module")
def unsimplified(int8) -> bytes:
    """Without onnxsim."""
    return to_onnx(int8, CARD, simplify=False).SerializeToString()


@pytest.fixture(scope="module")
def float_bytes() -> bytes:
    """Open size."""
    return to_onnx(tiny(), CARD).SerializeToString()


@pytest.mark.parametrize("level", PROVEN_LEVELS)
@pytest.mark.parametrize("shape", [(1, *size) for size in SIZES] + [(3, 24, 32), (8, 25, 31)], ids=str)
def test_any_size_and_batch_of_an_open_int8_file_is_exact(shape, level, int8, int8_bytes):
    batch, *size = shape
    image = torch.cat([x for (x,) in pixels(batch, tuple(size), seed=batch)])
    got = run(load_onnx(int8_bytes, level=level, threads=1), image.numpy())
    for name, value in integer_exact(int8)(image).items():
        np.testing.assert_array_equal(got[name], value.numpy())


@pytest.mark.parametrize("shape", [(1, *size) for size in SIZES] + [(8, 25, 31)], ids=str)
def test_any_size_and_batch_of_an_open_float_file_agrees(shape, float_bytes):
    batch, *size = shape
    image = torch.cat([x for (x,) in pixels(batch, tuple(size), seed=batch)])
    got = run(load_onnx(float_bytes, threads=1), image.numpy())
    with torch.no_grad():
        for name, value in tiny()(image).items():
            np.testing.assert_allclose(got[name], value.numpy(), rtol=1e-4, atol=1e-4)


def test_resize_from_and_to_one_pixel_is_exact():
    torch.manual_seed(0)
    model, card = quantized(Pooled()), replace(CARD, outputs={"segmentation": 4})
    files = {size: opened(model, card, size=size) for size in (None, (1, 1))}
    for size in ((2, 2), (1, 1), (2, 40), (24, 32)):
        image = pixels(1, size, seed=5)[0][0]
        expected = integer_exact(model)(image)["segmentation"].numpy()
        for file in (files[None], files.get(size, files[None])):
            np.testing.assert_array_equal(run(file, image.numpy())["segmentation"], expected)


def test_ties_go_to_the_first_class_inside_and_outside_of_the_file():
    network = tiny()
    with torch.no_grad():
        network.decoders[0].weight[:] = network.decoders[0].weight[:1]
        network.decoders[0].bias[:] = torch.tensor([-1.0, 2.0, 2.0, 2.0])
    model, image = quantized(network), pixels(1)[0][0]
    for mode in ("full", "before_upsampling"):
        assert (run(opened(model, argmax=mode), image.numpy())["segmentation_label"] == 1).all()
    logits = integer_exact(model)(image)["segmentation"]
    assert (logits[:, 1] == logits[:, 2]).all()
    assert (logits.argmax(1) == 1).all()
    assert (logits.numpy().argmax(1) == 1).all()
    assert (run(opened(network, argmax="full"), image.numpy())["segmentation_label"] == 1).all()


@pytest.mark.parametrize("opset", [18, 20, 23])  # 17, which is converted: test_parity.py
def test_opsets_give_equal_bits_and_as_many_quantizers(opset, int8, int8_bytes):
    data = to_onnx(int8, CARD, opset=opset).SerializeToString()
    kinds = [Counter(node.op_type for node in onnx.load_from_string(model).graph.node) for model in (data, int8_bytes)]
    assert [kinds[0][kind] for kind in QDQ] == [kinds[1][kind] for kind in QDQ]
    image = pixels(1)[0][0].numpy()
    got, expected = (run(load_onnx(model, threads=1), image) for model in (data, int8_bytes))
    assert all(np.array_equal(got[name], value) for name, value in expected.items())


@pytest.mark.parametrize("opset", [11, 13, 24])
def test_other_opsets_are_refused(opset, command):
    ended = command("export", "some run", "--opset", opset)
    assert ended.code == 2
    assert f"--opset {opset}: expected 17 to 23" in ended.err


def test_no_pass_takes_a_quantizer_away(int8, monkeypatch):
    """Converted graph -> file; and, where torch's exporter wrote it, onnxsim."""
    converted = convert(int8)
    pairs = sum(isinstance(converted.get_submodule(str(n.target)), Quantize) for n in _calls(converted))
    convolutions = sum(isinstance(module, IntegerConv) for module in converted.modules())
    seen = []
    whole = onnxsim.simplify

    def simplify(model, **options):
        seen.append(_count(model))
        return whole(model, **options)

    monkeypatch.setattr(onnxsim, "simplify", simplify)
    written = _count(to_onnx(int8, CARD, size=SIZE))
    assert seen == []
    monkeypatch.setattr(sys.modules[to_onnx.__module__], "write", lambda *_, **__: None)
    exported = _count(to_onnx(int8, CARD, size=SIZE))
    assert seen == [exported]
    assert exported == written == {"QuantizeLinear": pairs, "DequantizeLinear": pairs + 2 * convolutions}


def _calls(graph_module: fx.GraphModule) -> list[fx.Node]:
    return [node for node in graph_module.graph.nodes if node.op == "call_module"]


def _count(model: onnx.ModelProto) -> dict[str, int]:
    kinds = Counter(node.op_type for node in model.graph.node)
    return {kind: kinds[kind] for kind in QDQ}


def test_a_simplifier_that_takes_one_away_is_not_believed(int8, unsimplified, monkeypatch):
    def simplify(model, **options):
        changed = onnx.ModelProto()
        changed.CopyFrom(model)
        changed.graph.node.remove(next(node for node in changed.graph.node if node.op_type == "QuantizeLinear"))
        return changed, True

    monkeypatch.setattr(onnxsim, "simplify", simplify)
    assert to_onnx(int8, CARD).SerializeToString() == unsimplified


def test_without_onnxsim_the_file_is_written_all_the_same(int8, unsimplified, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxsim", None)
    assert to_onnx(int8, CARD).SerializeToString() == unsimplified


@pytest.mark.parametrize("faults", TOGETHER, ids="+".join)
def test_faulty_weights_make_an_exact_file(faults, tmp_path):
    model, image = quantized(faulty(*faults)), pixels(1, seed=6)[0][0]
    found = subject(tmp_path, model)
    assert integer_kernels(found.file)["all_integer"]
    expected = integer_exact(model)(image)
    for level in PROVEN_LEVELS:
        got = run(load_onnx(found.file, level=level, threads=1), image.numpy())
        for name, value in expected.items():
            np.testing.assert_array_equal(got[name], value.numpy())


def test_without_optimisation_the_agreement_is_reported_and_not_promised(int8, tmp_path):
    results = prove(subject(tmp_path, int8), smooth_pictures(2, (30, 40)))
    assert {results[level]["max_difference"] for level in PROVEN_LEVELS} == {0.0}
    assert 0.9 < results["DISABLED"]["equal_argmax"] <= 1


@pytest.mark.parametrize("kind", ["float", "int8"])
def test_training_mode_does_not_reach_the_file_and_stays(kind, float_bytes, int8_bytes):
    """Of a network that is built anew: the same bytes again."""
    training = (tiny() if kind == "float" else quantized(tiny())).train()
    state = {name: value.clone() for name, value in training.state_dict().items()}
    with pytest.warns(UserWarning, match="in training mode; it is exported as in evaluation"):
        written = to_onnx(training, CARD).SerializeToString()
    assert written == (float_bytes if kind == "float" else int8_bytes)
    assert training.training
    assert all(torch.equal(state[name], value) for name, value in training.state_dict().items())


# --- files from elsewhere


def foreign(nodes: list[onnx.NodeProto], *weights: onnx.TensorProto) -> onnx.ModelProto:
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, 8, 8])
    result = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    graph = helper.make_graph(nodes, "foreign", [image], [result], list(weights))
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid("evil", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=10)


def outside_data() -> onnx.ModelProto:
    weight = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[1, 3, 8, 8], data_location=TensorProto.EXTERNAL)
    for key, value in (("location", "../secret.bin"), ("length", "768")):
        weight.external_data.add(key=key, value=value)
    return foreign([helper.make_node("Add", ["image", "w"], ["y"])], weight)


def huge_initialiser() -> onnx.ModelProto:
    weight = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[1 << 40], raw_data=b"\0\0\0\0")
    return foreign(
        [helper.make_node("ReduceMax", ["w"], ["m"]), helper.make_node("Add", ["image", "m"], ["y"])], weight
    )


def cyclic() -> onnx.ModelProto:
    nodes = [("Add", ["image", "b"], ["a"]), ("Relu", ["a"], ["b"]), ("Relu", ["a"], ["y"])]
    return foreign([helper.make_node(*node) for node in nodes])


FOREIGN = {
    "external data above its folder": (outside_data, "external data path"),
    "custom operator": (lambda: foreign([helper.make_node("Steal", ["image"], ["y"], domain="evil")]), "evil:Steal"),
    "huge initialiser": (huge_initialiser, "w: 4 bytes, but its sides"),
    "cyclic graph": (cyclic, "not acyclic"),
    "no metadata": (lambda: foreign([helper.make_node("Relu", ["image"], ["y"])]), "no edgeailite metadata"),
}


@pytest.mark.parametrize("kind", FOREIGN)
def test_foreign_files_are_refused_with_their_name(kind, tmp_path, command):
    make, reason = FOREIGN[kind]
    (tmp_path / "secret.bin").write_bytes(np.ones(192, np.float32).tobytes())
    path = tmp_path / "models" / "foreign.onnx"
    path.parent.mkdir()
    path.write_bytes(make().SerializeToString())
    with pytest.raises(DataError) as refused:
        load_onnx(path)
    assert str(path) in str(refused.value)
    assert reason in str(refused.value).lower() or reason in str(refused.value)
    ended = command("validate", path)
    assert ended.code == 3
    assert ended.err.count("\n") == 1


# --- the wrong input


@pytest.fixture(scope="module")
def golden(int8, tmp_path_factory) -> tuple[Path, dict]:
    """A file and its contract."""
    found = subject(tmp_path_factory.mktemp("golden"), int8)
    vectors = make_golden(found, smooth_pictures(1, (30, 40))[0]).to_dict()
    return found.file, json.loads(json.dumps({"format": 2, "kind": "int8", "sha256": "", "golden": [vectors]}))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("channel_order", "BGR"),
        ("mean", "[0.0, 0.0, 0.0]"),
        ("scale", "[0.00392156862745098, 0.00392156862745098, 0.00392156862745098]"),
        ("interpolation", "area"),
    ],
)
def test_golden_vectors_fail_where_the_input_is_another(key, value, golden, tmp_path):
    """BGR for RGB, 0 to 1 for -2 to 2, another resize."""
    file, contract = golden
    assert recheck(file, contract, skip_hash=True)["ALL"]["equal_argmax"] == 1
    model = onnx.load(str(file))
    change_preprocessing(model, key, value)
    onnx.save(model, str(tmp_path / "other.onnx"))
    with pytest.raises(ParityError, match="preprocessing"):
        recheck(tmp_path / "other.onnx", contract, skip_hash=True)


@pytest.mark.parametrize("wrong", ["layout", "uint8", "float64", "size"])
def test_an_input_of_wrong_type_or_shape_is_no_result(wrong, golden):
    image = pixels(1)[0][0].numpy()
    given = {
        "layout": image.transpose(0, 2, 3, 1),
        "uint8": (image * 64 + 128).astype(np.uint8),
        "float64": image.astype(np.float64),
        "size": image[:, :, :16],
    }[wrong]
    with pytest.raises(UsageError, match=r"image: the file takes tensor\(float\) 1x3x\d+x\d+, got "):
        run(load_onnx(golden[0], threads=1), np.ascontiguousarray(given))


def test_too_few_images_are_refused(golden):
    with pytest.raises(UsageError, match=r"takes 1 image\(s\) \(image\), got 0"):
        run(load_onnx(golden[0]))
