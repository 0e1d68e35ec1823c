"""The graph written node by node is the one that torch's exporter writes, name for name; the rest is left to that."""

from __future__ import annotations

import sys
from dataclasses import replace

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
import torch.nn.functional as F
from onnx import numpy_helper
from torch import Tensor, fx, nn

from edgeailite.export import to_onnx
from edgeailite.export.graph_writer import write
from edgeailite.export.graphs import fold_batch_norms
from edgeailite.modelcard import ModelCard
from edgeailite.quantization import calibrate, convert, prepare, set_input_range
from edgeailite.runtime import load_onnx, run
from tests.export.toy import SIZE, image, toy_card, toy_quantized
from tests.sweep import covering_names, int8_names, quantized, sweep_card, sweep_model

OPEN_SIZES = ((2, 45, 63), (1, 32, 48))
MODULE = sys.modules[to_onnx.__module__]


class Everything(nn.Module):
    """Every layer that is written directly, small."""

    def __init__(self, pooled: tuple[int, int]) -> None:
        super().__init__()
        self.stem, self.norm = nn.Conv2d(3, 8, 3, 2, 1, bias=False), nn.BatchNorm2d(8)
        self.activation, self.clip, self.drop = nn.ReLU(), nn.ReLU6(), nn.Dropout2d()
        self.pool, self.regions = nn.MaxPool2d(3, 2, 1), nn.AdaptiveAvgPool2d(pooled)
        self.dilated = nn.Conv2d(8, 8, 3, padding=2, dilation=2, groups=8)
        self.head = nn.Conv2d(16, 5, 1)

    def forward(self, picture: Tensor) -> dict[str, Tensor]:
        stem = self.clip(self.norm(self.stem(picture)))
        pooled = self.pool(stem)
        deep = self.activation(self.dilated(pooled) + pooled)
        context = F.interpolate(self.regions(deep), size=deep.shape[2:], mode="bilinear", align_corners=True)
        features = self.head(self.drop(torch.cat([context, deep], 1)))
        return {"segmentation": F.interpolate(features, size=picture.shape[2:], mode="bilinear", align_corners=False)}


def everything(pooled: tuple[int, int]) -> nn.Module:
    torch.manual_seed(5)
    network = Everything(pooled).eval()
    nn.init.normal_(network.norm.bias)  # a zero bias is left out by the exporter
    nn.init.normal_(network.head.weight)
    return network


def small(kind: str, pooled: tuple[int, int] = (2, 3)) -> nn.Module:
    """The float network, or its quantized form."""
    network = everything(pooled)
    if kind == "float":
        return network
    model = prepare(network)
    set_input_range(model, *toy_card().preprocessing.input_range)
    calibrate(model, [image(), image(1)])
    return model.eval()


def both(monkeypatch, model: nn.Module, card: ModelCard, **options) -> tuple[onnx.ModelProto, onnx.ModelProto]:
    """The file that is written directly, and the exporter's."""
    with monkeypatch.context() as patched:
        patched.setattr(MODULE, "_export", lambda *_, **__: pytest.fail("the exporter was asked"))
        mine = to_onnx(model, card, **options)
    with monkeypatch.context() as patched:
        patched.setattr(MODULE, "write", lambda *_, **__: None)
        return mine, to_onnx(model, card, **options)


def rows(model: onnx.ModelProto) -> list[tuple]:
    """Names, operator, inputs with the values of constants, outputs and attributes of each node, in order.

    The exporter's simplifier takes divisions by one out, and calls constants of one value as others.
    """
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    same: dict[str, str] = {}

    def source(name: str) -> object:
        value = constants.get(name)
        return same.get(name, name) if value is None else (str(value.dtype), value.shape, value.tobytes())

    found = []
    for node in model.graph.node:
        inputs = [source(name) for name in node.input]
        attributes = sorted((a.name, str(onnx.helper.get_attribute_value(a))) for a in node.attribute)
        if node.op_type == "Div" and (constants.get(node.input[1], np.zeros(1)) == 1).all():
            same[node.output[0]] = str(inputs[0])
            continue
        if node.op_type == "DequantizeLinear" and not np.ptp(constants.get(node.input[0], np.arange(2))):
            same[node.output[0]] = str((inputs, attributes))
            continue
        found.append((node.name, node.op_type, inputs, list(node.output), attributes))
    return found


def described(model: onnx.ModelProto) -> list[tuple]:
    """Names, types and shapes of inputs and outputs."""
    return [(value.name, value.type) for value in (*model.graph.input, *model.graph.output)]


@pytest.mark.parametrize("kind", ["float", "int8"])
def test_a_file_of_one_size_is_the_exporter_s_in_every_node(kind, monkeypatch):
    mine, theirs = both(monkeypatch, small(kind), toy_card(), size=SIZE)
    assert rows(mine) == rows(theirs)
    assert described(mine) == described(theirs)
    assert mine.opset_import == theirs.opset_import


@pytest.mark.parametrize(("kind", "pooled"), [("float", (1, 1)), ("int8", (2, 3))])
def test_a_file_of_open_size_gives_the_exporter_s_values(kind, pooled, monkeypatch):
    mine, theirs = both(monkeypatch, small(kind, pooled), toy_card())
    assert "batch" in str(mine.graph.input)
    for level in ("DISABLED", "EXTENDED", "ALL"):
        files = [load_onnx(model.SerializeToString(), level=level) for model in (mine, theirs)]
        for shape in OPEN_SIZES:
            picture = np.random.default_rng(3).normal(size=(shape[0], 3, *shape[1:])).astype(np.float32)
            a, b = (run(file, picture)["segmentation"] for file in files)
            assert a.shape == (shape[0], 5, *shape[1:])
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("argmax", ["full", "before_upsampling"])
def test_labels_inside_of_the_file_are_the_exporter_s(argmax, monkeypatch):
    mine, theirs = both(monkeypatch, small("int8"), toy_card(), size=SIZE, argmax=argmax)
    assert described(mine) == described(theirs)
    picture = image(4).numpy()
    labels = [run(load_onnx(model.SerializeToString()), picture)["segmentation_label"] for model in (mine, theirs)]
    np.testing.assert_array_equal(*labels)
    assert len(np.unique(labels[0])) > 1


def test_resizes_of_copied_codes_are_written_at_one_size(monkeypatch):
    mine, theirs = both(monkeypatch, toy_quantized("portable"), toy_card(), size=SIZE)
    assert "Gather" in {node.op_type for node in mine.graph.node}
    picture = image(2).numpy()
    outputs = [run(load_onnx(model.SerializeToString()), picture)["segmentation"] for model in (mine, theirs)]
    np.testing.assert_array_equal(*outputs)


@pytest.mark.parametrize("size", [SIZE, None])
@pytest.mark.parametrize(("kind", "pooled"), [("float", (2, 3)), ("int8", (2, 3)), ("int8", (1, 1))])
def test_every_node_and_constant_is_read(kind, pooled, size):
    graph = to_onnx(small(kind, pooled), toy_card(), size=size).graph
    read = {name for node in graph.node for name in node.input} | {value.name for value in graph.output}
    assert {tensor.name for tensor in graph.initializer} <= read
    assert {name for node in graph.node for name in node.output} <= read


class Foreign(nn.Module):
    """Layers of other people's networks that are written directly: gates, averages, shuffles, a classifier."""

    def __init__(self, pooled: tuple[int, int]) -> None:
        super().__init__()
        self.stem, self.swish, self.silu = nn.Conv2d(3, 8, 3, 2, 1), nn.Hardswish(), nn.SiLU()
        self.pool, self.leaky = nn.AvgPool2d(3, 1, 1), nn.LeakyReLU(0.1)
        self.squeeze, self.excite = nn.AdaptiveAvgPool2d(pooled), nn.Conv2d(8, 8, 1)
        self.gate, self.sigmoid, self.tanh = nn.Hardsigmoid(), nn.Sigmoid(), nn.Tanh()
        self.shuffle, self.head, self.linear = nn.PixelShuffle(2), nn.Conv2d(2, 5, 1), nn.Linear(8, 3)
        self.flatten = nn.Flatten()

    def forward(self, picture: Tensor) -> dict[str, Tensor]:
        x = self.swish(self.stem(picture))
        gate = self.squeeze(x)
        x = self.leaky(self.pool(x)) * self.gate(self.excite(gate))
        x = self.silu(x) - self.tanh(x).mean(1, keepdim=True)
        logits = self.head(self.shuffle(x))
        return {
            "segmentation": F.interpolate(logits, size=picture.shape[2:], mode="nearest"),
            "classes": self.sigmoid(self.linear(self.flatten(gate))),
        }


def test_layers_of_other_networks_give_the_exporter_s_values(monkeypatch):
    torch.manual_seed(8)
    model = prepare(Foreign((1, 1)).eval())
    set_input_range(model, *toy_card().preprocessing.input_range)
    calibrate(model, [(image(),), (image(1),)])
    card = replace(toy_card(), outputs={"segmentation": 5, "classes": 3})
    mine, theirs = both(monkeypatch, model.eval(), card, size=SIZE)
    picture = image(2).numpy()
    found, expected = (run(load_onnx(model.SerializeToString()), picture) for model in (mine, theirs))
    for name, value in expected.items():
        np.testing.assert_array_equal(found[name], value)
        assert len(np.unique(value)) > 1
    mine, theirs = (sorted(node.op_type.replace("Flatten", "Reshape") for node in m.graph.node) for m in (mine, theirs))
    assert mine == theirs


class Strange(nn.Module):
    def __init__(self, how: str) -> None:
        super().__init__()
        self.how, self.conv = how, nn.Conv2d(3, 5, 3, padding="same" if how == "padding" else 1)
        self.act = nn.Softplus() if how == "layer" else nn.ReLU()

    def forward(self, picture: Tensor) -> dict[str, Tensor]:
        x = self.act(self.conv(picture))
        if self.how == "size":
            x = F.interpolate(x, size=(7, 9), mode="bilinear")
        elif self.how == "mode":
            x = F.interpolate(x, size=picture.shape[2:], mode="bicubic")
        elif self.how == "arithmetic":
            x = F.interpolate(x, size=(2 * x.shape[2], 2 * x.shape[3]), mode="bilinear")
        elif self.how == "axis":
            x = torch.cat([x, x], 2)
        elif self.how == "call":
            x = torch.tanh(x)
        elif self.how == "shapes":
            x = torch.cat([x[:, :, 1:], x], 1)
        return {"segmentation": x}


STRANGE = ("padding", "layer", "size", "mode", "arithmetic", "axis", "call", "shapes")


@pytest.mark.parametrize("how", STRANGE)
def test_what_it_does_not_know_is_left_to_the_exporter(how):
    traced = fx.symbolic_trace(Strange(how).eval())
    assert write(traced, ["image"], opset=21, size=(32, 48)) is None


def test_a_picture_smaller_than_the_kernel_is_left_to_the_exporter_which_refuses_it():
    traced = fx.symbolic_trace(nn.Sequential(nn.Conv2d(3, 5, 9)).eval())
    assert write(traced, ["image"], opset=21, size=(8, 8)) is None


class Twice(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 5, 1)

    def forward(self, picture: Tensor) -> dict[str, Tensor]:
        x = self.conv(picture)
        return {"segmentation": x, "again": x, "picture": picture}


def test_an_output_that_is_given_twice_or_is_the_picture_is_copied():
    network = Twice().eval()
    model = write(fx.symbolic_trace(network), ["image"], opset=21, size=None)
    picture = np.random.default_rng(0).normal(size=(2, 3, 6, 7)).astype(np.float32)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    names = [value.name for value in model.graph.output]
    found = dict(zip(names, session.run(names, {"image": picture}), strict=True))
    expected = network(torch.from_numpy(picture))
    assert list(found) == list(expected)
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value.detach().numpy(), atol=1e-6)


def test_two_pictures_are_two_inputs():
    network = sweep_model("resnet18_c1", inputs=2).eval()
    model = write(fold_batch_norms(network), ["image", "image1"], opset=21, size=(64, 96))
    assert [value.name for value in model.graph.input] == ["image", "image1"]


@pytest.mark.slow
@pytest.mark.parametrize("name", covering_names())
def test_every_network_is_written_as_the_exporter_writes_it(name, monkeypatch):
    network = sweep_model(name).eval()
    models = [network, quantized(network)] if name in int8_names() else [network]
    for model in models:
        mine, theirs = both(monkeypatch, model, sweep_card(network), size=(64, 96))
        assert rows(mine) == rows(theirs)


@pytest.mark.parametrize("name", ["unet_aspp_mobilenetv2_tv_edgeailite", "ddrnet23_slim", "resnet18_ppm"])
def test_networks_of_this_package_need_no_exporter(name):
    network = sweep_model(name).eval()
    for traced in (fold_batch_norms(network), convert(quantized(network))):
        for size in ((64, 96), None):
            assert write(traced, ["image"], opset=21, size=size) is not None
