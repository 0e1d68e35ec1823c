"""Each target's ONNX files: what stands in them, and that their numbers are the network's."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import get_args, get_type_hints

import numpy as np
import onnx
import pytest
import torch
import yaml
from torch import nn

from edgeailite.config import ExportConfig
from edgeailite.errors import UsageError
from edgeailite.export.targets import TARGETS, Files, Request, write
from edgeailite.export.targets.tidl import clipped
from edgeailite.quantization import integer_exact, prepare
from edgeailite.runtime import load_onnx, run
from tests.export.toy import SIZE, image, toy, toy_card, toy_quantized
from tests.golden import golden_model

SCHEMES = {"onnxruntime": "ort_u8s8", "openvino": "ort_u8s8", "tensorrt": "s8s8", "tidl": "tidl_pow2"}


def request(target: str, module: nn.Module, **changes) -> Request:
    return replace(Request(module, toy_card(), TARGETS[target].opset, size=SIZE), **changes)


@pytest.fixture(scope="module")
def modules() -> dict[str, nn.Module]:
    return {scheme: toy_quantized(scheme) for scheme in set(SCHEMES.values())}


@pytest.fixture(scope="module")
def written(modules) -> dict[str, Files]:
    return {name: write(name, request(name, modules[SCHEMES[name]]))[0] for name in SCHEMES}


def logits(model: onnx.ModelProto) -> np.ndarray:
    return run(load_onnx(model.SerializeToString(), threads=1), image(1).numpy())["segmentation"]


def counts(model: onnx.ModelProto) -> Counter[str]:
    return Counter(node.op_type for node in model.graph.node)


def test_every_target_has_its_tests():
    assert [*SCHEMES, "tflite", "ethos-u"] == list(TARGETS)  # test_tflite.py and test_ethos_u.py beside this file


def test_the_command_line_offers_every_target():
    assert get_args(get_type_hints(ExportConfig)["target"]) == tuple(TARGETS)


def test_onnxruntime_s_file_is_integer_exact_and_openvino_s_is_the_same(written, modules):
    expected = integer_exact(modules["ort_u8s8"])(image(1))["segmentation"].numpy()
    np.testing.assert_array_equal(logits(written["onnxruntime"][".onnx"]), expected)
    same = [written[name][".onnx"].SerializeToString(deterministic=True) for name in ("onnxruntime", "openvino")]
    assert same[0] == same[1]


def test_tensorrt_s_file_is_symmetric_with_float_biases_and_quantizers_behind_relu(written, modules):
    model = written["tensorrt"][".onnx"]
    values = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    producer = {name: node for node in model.graph.node for name in node.output}
    for node in model.graph.node:
        if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            assert values[node.input[2]].dtype == np.int8
            assert not values[node.input[2]].any()
        if node.op_type == "Relu":
            assert producer[node.input[0]].op_type == "Conv"
        if node.op_type == "Conv":
            assert [producer[name].op_type for name in node.input[:2]] == ["DequantizeLinear"] * 2
            assert all(values[name].dtype == np.float32 for name in node.input[2:])
            assert values[producer[node.input[1]].input[1]].shape == (
                values[producer[node.input[1]].input[0]].shape[0],
            )
    assert model.opset_import[0].version == 17
    expected = modules["s8s8"](image(1))["segmentation"].detach().numpy()
    assert np.abs(logits(model) - expected).max() < 0.05 * expected.std()


@pytest.mark.parametrize("target", [name for name in SCHEMES if name != "tidl"])  # whose compiler wants one size
def test_files_of_open_size_compute_the_same(target, written, modules):
    files, _ = write(target, request(target, modules[SCHEMES[target]], size=None))
    assert counts(files[".onnx"])["Shape"] > 0
    np.testing.assert_allclose(logits(files[".onnx"]), logits(written[target][".onnx"]), atol=1e-5)


def test_tidl_s_clips_are_the_float_network_and_stand_where_ranges_were_published(written):
    files = written["tidl"]
    assert list(files) == [".onnx", "_qdq.onnx", ".yaml"]
    model = files[".onnx"]
    assert counts(model) == {"Conv": 5, "Clip": 8, "Add": 1, "Concat": 1, "Resize": 2}
    assert model.ir_version == 8
    names = [node.name.removesuffix("/Clip") for node in model.graph.node if node.op_type == "Clip"]
    assert names[:4] == ["stem.0.activation_in", "stem.2", "depthwise.2", "project.1.activation_q"]
    assert "add.activation_q" in names
    assert "cat.activation_q" in names
    expected = toy()(image(1))["segmentation"].detach().numpy()
    assert np.abs(logits(model) - expected).max() < 0.05 * expected.std()


def test_tidl_s_weights_are_float_and_folded(written):
    model, network = written["tidl"][".onnx"], toy()
    values = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    fused = nn.utils.fusion.fuse_conv_bn_eval(network.stem[0], network.stem[1])
    np.testing.assert_allclose(values["stem.0.weight"], fused.weight.detach().numpy(), rtol=1e-5, atol=1e-7)


def test_tidl_s_quantizers_have_zero_point_zero_and_powers_of_two(written, modules):
    model = written["tidl"]["_qdq.onnx"]
    values = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    types = set()
    for node in model.graph.node:
        if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            assert (np.frexp(values[node.input[1]])[0] == 0.5).all()
            assert not values[node.input[2]].any()
            if node.op_type == "QuantizeLinear":
                types.add(values[node.input[2]].dtype)
            elif values[node.input[0]].ndim == 4 if node.input[0] in values else False:
                assert onnx.helper.get_node_attr_value(node, "axis") == 1
    assert types == {np.dtype(np.int8), np.dtype(np.uint8)}
    expected = modules["tidl_pow2"](image(1))["segmentation"].detach().numpy()
    assert np.abs(logits(model) - expected).max() < 0.2 * expected.std()


def test_tidl_s_settings_are_those_of_its_tools(written):
    values = yaml.safe_load(written["tidl"][".yaml"])
    assert values["clips"]["osrt"]["accuracy_level"] == 0
    assert values["clips"]["osrt"]["advanced_options:quantization_scale_type"] == 1
    assert values["clips"]["import"]["quantizationStyle"] == 3
    assert values["qdq"]["osrt"]["advanced_options:prequantized_model"] == 1
    assert values["input"]["mean"] == [128.0] * 3
    assert values["input"]["scale"] == [1 / 64] * 3


def test_deeplab_has_the_published_counts():
    """Published: Conv 62, Clip 75, Add 10, Concat 2, Resize 2; no ReLU."""
    graph = clipped(prepare(golden_model(), "tidl_pow2")).graph
    called = Counter(type(graph.owning_module.get_submodule(n.target)) for n in graph.nodes if n.op == "call_module")
    assert called == {nn.Conv2d: 62, nn.Hardtanh: 75}
    functions = Counter(getattr(n.target, "__name__", "") for n in graph.nodes if n.op == "call_function")
    assert [functions[name] for name in ("add", "cat", "interpolate")] == [10, 2, 2]


@pytest.mark.parametrize(("target", "scheme"), [("tensorrt", "s8s8"), ("tidl", "tidl_pow2")])
def test_other_schemes_are_refused_with_the_fix(target, scheme, modules):
    with pytest.raises(UsageError, match=f"--target {target}: scheme ort_u8s8; .*--scheme {scheme}"):
        write(target, request(target, modules["ort_u8s8"]))
    with pytest.raises(UsageError, match=f"--target {target}: a float run; .*--scheme {scheme} first"):
        write(target, request(target, toy()))


def test_tidl_needs_a_fixed_size_and_an_old_opset(modules):
    with pytest.raises(UsageError, match=r"open-size: .*image.* \| |opset: .*opset 21, the newest is 19"):
        write("tidl", request("tidl", modules["tidl_pow2"], size=None, opset=21))


def test_warnings_are_given_back(modules):
    _, findings = write("tidl", request("tidl", modules["tidl_pow2"], argmax="full"))
    assert {finding.code for finding in findings} == {"argmax"}
    assert torch.is_tensor(image())
