"""Rewritten files give the same bits at both levels and any size, and hold the shapes that the rules ask for."""

from __future__ import annotations

import copy
import re
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import numpy_helper
from torch import Tensor, fx, nn

from edgeailite.errors import ParityError, UsageError
from edgeailite.export import to_onnx
from edgeailite.export.parity import Subject, integer_kernels, prove
from edgeailite.export.passes import apply_passes, merged_weight, pad_depthwise
from edgeailite.modelcard import ModelCard
from edgeailite.quantization import (
    DEFAULT_SCHEME,
    SCHEMES,
    Plan,
    calibrate,
    integer_exact,
    prepare,
    set_input_range,
)
from edgeailite.runtime import load_onnx, run
from tests.golden import golden_card, golden_model, smooth_pictures

SIZE = (64, 96)
NETWORKS = {  # classes make widths: 7 leave the UNet with depthwise convolutions of 14 and 30 channels
    "unet_aspp_mobilenetv2_tv_edgeailite": 7,
    "fpn_aspp_regnetx400mf_edgeailite": 19,
}

OTHER_SCHEMES = [  # those whose files differ from the default's in numbers alone are slow
    name if name in ("s8s8", "tidl_pow2") else pytest.param(name, marks=pytest.mark.slow)
    for name in SCHEMES
    if name != DEFAULT_SCHEME
]


@dataclass(frozen=True)
class Rewritten:
    """A quantized network, its card, and its file of open size, plain and rewritten."""

    module: fx.GraphModule
    card: ModelCard
    plain: onnx.ModelProto
    file: onnx.ModelProto


@pytest.fixture(scope="module", params=NETWORKS)
def subject(request) -> Rewritten:
    model, card = quantized(request.param), golden_card(SIZE, NETWORKS[request.param])
    plain = to_onnx(model, card)
    return Rewritten(model, card, plain, apply_passes(copy.deepcopy(plain), "onnxruntime"))


def quantized(name: str, *options: Any, **more: Any) -> fx.GraphModule:
    model = prepare(golden_model(name, NETWORKS[name]), *options, **more)
    set_input_range(model, -2.0, 127 / 64)
    calibrate(model, [pixels(*SIZE)])
    return model.eval()


def pixels(height: int, width: int) -> Tensor:
    [picture] = smooth_pictures(1, (height, width))
    return (torch.from_numpy(picture.transpose(2, 0, 1).copy())[None].float() - 128) / 64


def test_the_rewritten_file_gives_every_bit_of_the_integer_exact_network(subject):
    exact = integer_exact(subject.module)
    for level in ("EXTENDED", "ALL"):
        model = load_onnx(subject.file.SerializeToString(), level=level, threads=1)
        for size in (SIZE, (33, 65)):
            expected = exact(pixels(*size))["segmentation"].numpy()
            assert np.array_equal(run(model, pixels(*size).numpy())["segmentation"], expected), (level, size)


@pytest.mark.parametrize("scheme", OTHER_SCHEMES)
def test_other_schemes_keep_every_bit(scheme):
    name = next(iter(NETWORKS))
    model = quantized(name, scheme)
    data = to_onnx(model, golden_card(SIZE, NETWORKS[name]), size=SIZE, kernels="onnxruntime").SerializeToString()
    expected = integer_exact(model)(pixels(*SIZE))["segmentation"].numpy()
    assert np.array_equal(run(load_onnx(data, threads=1), pixels(*SIZE).numpy())["segmentation"], expected)


def test_layers_of_16_bits_are_left_as_they_are():
    name = next(iter(NETWORKS))
    model = quantized(name, plan=Plan({"encoder.features.0.0": 16, "encoder.features.2.conv.0.0": 4}))
    plain = to_onnx(model, golden_card(SIZE, NETWORKS[name]), size=SIZE)
    rewritten = apply_passes(copy.deepcopy(plain), "onnxruntime")
    assert _shapes(rewritten)[0] == _shapes(plain)[0]
    got = [run(load_onnx(m.SerializeToString(), threads=1), pixels(*SIZE).numpy()) for m in (plain, rewritten)]
    assert np.array_equal(got[0]["segmentation"], got[1]["segmentation"])


def test_every_convolution_stays_an_integer_kernel(subject, tmp_path):
    file = tmp_path / "model_int8.onnx"
    file.write_bytes(subject.file.SerializeToString())
    assert integer_kernels(file)["all_integer"]


def test_every_shape_is_one_that_the_kernels_like(subject):
    shapes = list(_shapes(subject.file))
    assert [width for _, width, _ in shapes if width == 3] == []
    assert all(groups % 16 == 0 for _, width, groups in shapes if width == 1)
    grouped = [(width, groups) for _, width, groups in shapes if width > 1 and groups > 1]
    assert all(2 * width > 64 or groups % 2 for width, groups in grouped)


def _shapes(model: onnx.ModelProto) -> list[tuple[int, int, int]]:
    """(outputs, inputs per group, groups) of every convolution."""
    weights = {tensor.name: list(tensor.dims) for tensor in model.graph.initializer}
    maker = {node.output[0]: node for node in model.graph.node}
    convolutions = [node for node in model.graph.node if node.op_type == "Conv"]
    groups = [next((a.i for a in node.attribute if a.name == "group"), 1) for node in convolutions]
    sizes = [weights[maker[node.input[1]].input[0]] for node in convolutions]
    return [(size[0], size[1], group) for size, group in zip(sizes, groups, strict=True)]


def test_plain_is_the_default_and_changes_nothing(subject):
    assert min(width for _, width, groups in _shapes(subject.plain) if groups == 1) == 3
    before = subject.plain.SerializeToString()
    assert apply_passes(subject.plain, "plain").SerializeToString() == before


def test_rewriting_twice_changes_nothing_more(subject):
    again = apply_passes(copy.deepcopy(subject.file), "onnxruntime")
    assert again.SerializeToString() == subject.file.SerializeToString()


def test_a_depthwise_convolution_whose_result_leaves_the_network_keeps_its_channels(subject):
    model = copy.deepcopy(subject.plain)
    for node in model.graph.node:
        if node.op_type == "QuantizeLinear":
            model.graph.output.append(onnx.helper.make_tensor_value_info(node.output[0], onnx.TensorProto.UINT8, None))
    before = _shapes(model)
    pad_depthwise(model.graph)
    assert _shapes(model) == before


def test_constants_that_two_nodes_share_are_changed_for_one_alone(subject):
    names = [tensor.name for tensor in subject.file.graph.initializer]
    assert len(names) == len(set(names))
    onnx.checker.check_model(subject.file)


@pytest.mark.parametrize("subject", [next(iter(NETWORKS))], indirect=True)
def test_export_writes_what_was_asked_for_and_says_so(subject):
    written = to_onnx(subject.module, subject.card, size=SIZE, kernels="onnxruntime")
    assert _shapes(written) == _shapes(subject.file)
    assert {entry.key: entry.value for entry in written.metadata_props}["edgeailite.kernels"] == "onnxruntime"


def test_a_fault_in_a_rewritten_file_is_found_where_it_is(tmp_path):
    """Channels of zeros that the network lacks are no departure; a changed weight behind them is."""
    name = next(iter(NETWORKS))
    model, card, file = quantized(name), golden_card(SIZE, NETWORKS[name]), tmp_path / "model_int8.onnx"
    written = to_onnx(model, card, size=SIZE, kernels="onnxruntime")
    planted = "decoders.0.unet.smooth_convs.4.1.0"
    weight = next(tensor for tensor in written.graph.initializer if tensor.name == f"{planted}.weight")
    codes = -numpy_helper.to_array(weight)
    weight.CopyFrom(numpy_helper.from_array(codes, weight.name))
    file.write_bytes(written.SerializeToString())
    with pytest.raises(ParityError, match=rf"departs first at {re.escape(planted)}"):
        prove(Subject(model, card, file), smooth_pictures(1, (70, 110)), skip_hash=True)


def test_a_float_file_is_refused():
    with pytest.raises(UsageError, match="--kernels onnxruntime: rewrites int8 files"):
        to_onnx(nn.Identity().eval(), golden_card(SIZE), kernels="onnxruntime")


@settings(max_examples=25, deadline=None)
@given(st.sampled_from([(12, 2), (12, 3), (12, 12), (10, 5)]), st.integers(1, 3), st.integers(1, 3), st.data())
def test_merged_groups_are_the_same_convolution(groups_factor, width, outputs, data):
    groups, factor = groups_factor
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    weight = rng.integers(-127, 128, (groups * outputs, width, 3, 3)).astype(np.int8)
    x = torch.from_numpy(rng.integers(0, 256, (1, groups * width, 5, 6))).double()
    merged = torch.from_numpy(merged_weight(weight, groups, factor)).double()
    expected = torch.conv2d(x, torch.from_numpy(weight).double(), groups=groups)
    assert torch.equal(torch.conv2d(x, merged, groups=groups // factor), expected)
    assert merged.abs().sum() == np.abs(weight.astype(int)).sum()
