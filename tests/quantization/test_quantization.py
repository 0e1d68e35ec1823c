"""prepare, calibrate, training form, integer arithmetic: behaviour against float networks and int64 sums."""

from __future__ import annotations

import copy
import subprocess
import sys

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from edgeailite.errors import UsageError
from edgeailite.quantization import calibrate, convert, integer_exact, prepare, set_input_range, set_state
from edgeailite.quantization.convert import IntegerConv
from edgeailite.quantization.grids import ActivationGrid, WeightGrid
from edgeailite.quantization.integer import EXACT_IN_FLOAT32, IntegerExact, _integer_sum, resize_bilinear
from edgeailite.quantization.modules import ActivationQuantizer, IntegerParameters, QuantConv2d
from edgeailite.quantization.observers import value_range
from edgeailite.quantization.pooling import RegionPool, pool_size
from edgeailite.quantization.schemes import SCHEMES
from tests.golden import golden_model

CODES = ActivationGrid(SCHEMES["ort_u8s8"])
WEIGHTS = WeightGrid(SCHEMES["ort_u8s8"], 8)


@pytest.fixture(scope="module")
def network() -> nn.Module:
    return golden_model(num_classes=5)


@pytest.fixture
def quantized(network):
    model = prepare(network, percentile=100.0)
    set_input_range(model, -2.0, 127 / 64)
    calibrate(model, [pixels(2, 64, 64, seed=s) for s in range(2)])
    return model


def pixels(n: int, h: int, w: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return (torch.randint(0, 256, (n, 3, h, w), generator=generator).float() - 128) / 64


def test_key_names_do_not_move(network, quantized):
    ours = {key for key in quantized.state_dict() if not key.startswith("ranges.")}
    assert ours == set(network.state_dict())


def test_switched_off_it_is_the_float_network(network, quantized):
    set_state(quantized, enabled=False)
    x = pixels(1, 64, 64)
    torch.testing.assert_close(quantized.eval()(x)["segmentation"], network(x)["segmentation"], rtol=1e-4, atol=1e-4)


def test_batch_statistics_in_training_are_those_of_batch_norm(network):
    reference = copy.deepcopy(network).train()
    for module in reference.modules():
        if isinstance(module, nn.Dropout2d):
            module.p = 0.0
    model = prepare(network).train()
    set_state(model, enabled=False, frozen_bn=False)
    x = pixels(2, 64, 64)
    torch.testing.assert_close(model(x)["segmentation"], reference(x)["segmentation"], rtol=1e-3, atol=1e-3)
    ours, theirs = model.state_dict(), reference.state_dict()
    for key in theirs:
        if "running" in key or "num_batches" in key:
            torch.testing.assert_close(ours[key], theirs[key], rtol=1e-3, atol=1e-4)


def test_frozen_statistics_do_not_move_and_eval_moves_nothing(quantized):
    set_state(quantized, observing=True, frozen_bn=True)
    before = copy.deepcopy(quantized.state_dict())
    quantized.eval()(3 * pixels(2, 64, 64))
    assert all(torch.equal(before[k], v) for k, v in quantized.state_dict().items())
    quantized.train()(3 * pixels(2, 64, 64))
    moved = {key for key, value in quantized.state_dict().items() if not torch.equal(before[key], value)}
    assert moved
    assert all(key.startswith("ranges.") for key in moved)


def test_frozen_ranges_do_not_move_in_training(quantized):
    set_state(quantized, observing=False, frozen_bn=True)
    before = copy.deepcopy(quantized.state_dict())
    quantized.train()(3 * pixels(2, 64, 64))
    assert all(torch.equal(before[k], v) for k, v in quantized.state_dict().items())


def test_gradients_reach_every_parameter(quantized):
    set_state(quantized, frozen_bn=True)
    quantized.train()(pixels(2, 64, 64))["segmentation"].square().mean().backward()
    missing = [n for n, p in quantized.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert missing == []


def test_activations_after_relu_have_zero_point_zero(quantized):
    for name, module in quantized.ranges.named_children():
        if isinstance(module, ActivationQuantizer) and all(module.nonnegative):
            assert module.zero_point == 0, name


def test_concatenations_and_resizes_share_the_scale_of_their_inputs(quantized):
    for node in quantized.graph.nodes:
        if node.op == "call_function" and node.target in (torch.cat, F.interpolate) and _quantizer(node):
            inputs = node.args[0] if node.target is torch.cat else [node.args[0]]
            assert {source.target for source in inputs} == {_quantizer(node)}


def _quantizer(node) -> str | None:
    targets = [str(user.target) for user in node.users if user.op == "call_module"]
    return next((target for target in targets if target.startswith("ranges.")), None)


def test_integer_exact_is_near_fake_quantization(network, quantized):
    x = pixels(1, 64, 64)
    exact, fake = integer_exact(quantized)(x)["segmentation"], quantized.eval()(x)["segmentation"]
    scale = quantized.ranges.decoders_0_pred_1_0.scale.item()
    assert (exact - fake).abs().mean() < 2 * scale
    assert exact.shape == fake.shape


def test_convert_leaves_the_model_alone(quantized):
    before = copy.deepcopy(quantized.state_dict())
    convert(quantized)
    assert all(torch.equal(before[key], value) for key, value in quantized.state_dict().items())


def test_integer_exact_needs_no_onnxruntime():
    code = """
import sys
sys.modules["onnxruntime"] = None
sys.modules["onnx"] = None
import torch
from edgeailite.models import create_model
from edgeailite.quantization import calibrate, integer_exact, prepare, set_input_range
model = prepare(create_model("deeplabv3plus_mobilenetv2_tv_edgeailite", 3))
set_input_range(model, -2.0, 2.0)
x = torch.rand(2, 3, 32, 32)
calibrate(model, [x])
print(tuple(integer_exact(model)(x)["segmentation"].shape))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "(2, 3, 32, 32)", done.stderr


@settings(max_examples=40, deadline=None)
@given(
    st.integers(1, 3), st.sampled_from([(8, 1), (1500, 1), (8, 8), (16, 4)]), st.sampled_from([1, 3]), st.integers(0, 9)
)
def test_integer_sums_equal_int64(batch, shape, kernel, seed):
    channels, groups = shape
    generator = torch.Generator().manual_seed(seed)
    conv = nn.Conv2d(channels, 8, kernel, padding=kernel // 2, groups=groups)
    weight = torch.randint(-127, 128, conv.weight.shape, generator=generator, dtype=torch.int8)
    scale = torch.ones(8)
    module = IntegerConv(
        QuantConv2d.from_conv(conv, None, WEIGHTS),
        IntegerParameters(weight, scale, torch.zeros(8, dtype=torch.int32), scale),
    )
    codes = torch.randint(-255, 256, (batch, channels, 5, 6), generator=generator)
    expected = F.conv2d(codes, weight.long(), None, *module.geometry)
    assert torch.equal(_integer_sum(module, codes.float()).double(), expected.double())
    assert channels < 1500 or 255 * weight.float().abs().sum((1, 2, 3)).max() > EXACT_IN_FLOAT32  # the split is used


@settings(max_examples=30, deadline=None)
@given(st.floats(-20, 0), st.floats(0.01, 20), st.integers(0, 100))
def test_fake_quantization_is_idempotent_and_off_by_half_a_step(low, high, seed):
    quantizer = ActivationQuantizer(CODES, [False], percentile=100.0)
    quantizer.set_range(low, high)
    x = torch.empty(200).uniform_(low, high, generator=torch.Generator().manual_seed(seed)).view(1, 1, 10, 20)
    once = quantizer(x, 0)
    torch.testing.assert_close(quantizer(once, 0), once, rtol=0, atol=1e-5)
    step = quantizer.scale.item()
    inside = (x > low + step) & (x < high - step)
    assert ((once - x).abs()[inside] <= step / 2 + 1e-5).all()
    assert quantizer(torch.zeros(1, 1, 1, 1), 0).item() == 0  # zero is exact


def test_an_all_zero_tensor_keeps_a_usable_scale():
    quantizer = ActivationQuantizer(CODES, [True], percentile=99.9).train()
    quantizer.observe(torch.zeros(1, 4, 8, 8), 0)
    assert quantizer.scale > 1e-3


def test_a_dead_channel_keeps_its_bias():
    conv, bn = nn.Conv2d(3, 2, 1, bias=False), nn.BatchNorm2d(2)
    with torch.no_grad():
        conv.weight[0] = 0
        bn.bias.copy_(torch.tensor([5.0, 1.0]))
    module = QuantConv2d.from_conv(conv, bn, WEIGHTS)
    scale = torch.tensor(0.01)
    tensors = [getattr(bn, name) for name in ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")]
    parameters = module.integer_parameters(scale, *tensors)
    torch.testing.assert_close(parameters.bias * parameters.bias_scale, bn.bias.detach(), rtol=1e-4, atol=1e-4)


def test_percentiles_cut_outliers_and_100_keeps_them():
    x = torch.rand(1, 1, 64, 64)
    x[0, 0, 5, 7] = 1000
    assert value_range(x, 99.9)[1] < 1.01
    assert value_range(x, 100.0)[1] == 1000


def test_resize_is_torch_s_to_rounding():
    x = torch.randn(2, 3, 7, 9)
    for size in ((28, 36), (13, 5), (1, 1), (7, 9)):
        expected = F.interpolate(x, size=size, mode="bilinear", align_corners=False)
        torch.testing.assert_close(resize_bilinear(x, size), expected, rtol=1e-4, atol=1e-5)


def test_unknown_scheme_and_padding_mode_are_refused():
    with pytest.raises(UsageError, match="unknown quantization scheme 'int4'"):
        prepare(golden_model(), "int4")
    with pytest.raises(UsageError, match="padding_mode 'reflect'"):
        prepare(nn.Sequential(nn.Conv2d(3, 4, 3, padding=1, padding_mode="reflect")))


def test_calibration_without_data_is_refused(network):
    with pytest.raises(ValueError, match="give at least one batch"):
        calibrate(prepare(network), [])


@settings(max_examples=30, deadline=None)
@given(st.floats(-6, 0), st.floats(0.05, 6), st.integers(0, 50))
def test_fake_quantization_equals_torch_s_but_for_ties(low, high, seed):
    quantizer = ActivationQuantizer(CODES, [False], percentile=100.0)
    quantizer.set_range(low, high)
    x = torch.empty(1, 2, 16, 16).uniform_(1.3 * low, 1.3 * high, generator=torch.Generator().manual_seed(seed))
    ours, theirs = x.clone().requires_grad_(), x.clone().requires_grad_()
    y = quantizer(ours, 0)
    z = torch.fake_quantize_per_tensor_affine(theirs, quantizer.scale, quantizer.zero_point, 0, 255)
    steps = (x / quantizer.scale).frac().abs()
    settled = (steps - 0.5).abs() > 1e-3
    torch.testing.assert_close(y[settled], z[settled], rtol=0, atol=1e-6)
    y.sum().backward()
    z.sum().backward()
    assert torch.equal(ours.grad[settled], theirs.grad[settled])


def test_7_bit_weights_cannot_saturate_16_bit_pair_sums(network):
    model = prepare(network, "ort_u8s7")
    set_input_range(model, -2.0, 127 / 64)
    calibrate(model, [pixels(1, 64, 64)])
    weights = [module.weight for module in convert(model).modules() if isinstance(module, IntegerConv)]
    assert max(int(weight.abs().max()) for weight in weights) == 63
    assert 2 * 255 * 63 <= 2**15 - 1


def test_one_value_per_channel_is_trained_with_running_statistics():
    block = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(3, 4, 1, bias=False), nn.BatchNorm2d(4), nn.ReLU())
    block[2].running_mean.uniform_(-1, 1)
    model = prepare(block).train()
    set_state(model, enabled=False)
    x = torch.rand(1, 3, 8, 8)
    with pytest.warns(UserWarning, match="one value per channel"):
        y = model(x)
    torch.testing.assert_close(y, block.eval()(x))
    assert model.state_dict()["2.num_batches_tracked"] == 0
    model(torch.rand(2, 3, 8, 8))
    assert model.state_dict()["2.num_batches_tracked"] == 1


def test_concatenations_with_a_common_input_share_one_scale():
    model = prepare(golden_model("unet_aspp_mobilenetv2_tv_edgeailite", outputs={"segmentation": 3, "motion": 2}))
    joined = [node for node in model.graph.nodes if node.op == "call_function" and node.target is torch.cat]
    pairs = [(a, b) for a in joined for b in joined if a is not b and set(a.args[0]) & set(b.args[0])]
    assert len(pairs) >= 8  # both decoders take every shallow feature
    assert all(_quantizer(a) == _quantizer(b) for a, b in pairs)


def test_several_inputs_have_a_range_each_and_are_fixed_together():
    model = prepare(golden_model("deeplabv3plus_mobilenetv2_tv_edgeailite", inputs=2))
    set_input_range(model, -2.0, 2.0)
    calibrate(model, [(pixels(1, 64, 64), pixels(1, 64, 64, seed=1))])
    for name in ("image", "image1"):
        assert model.ranges.get_submodule(name).fixed
        assert model.ranges.get_submodule(name).high == 2.0


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 20), st.integers(1, 20), st.sampled_from([1, 2, 3, 6, (2, 5)]))
def test_region_pool_is_adaptive_average_pooling(height, width, size):
    pool = nn.AdaptiveAvgPool2d(size)
    x = torch.rand(2, 3, height, width)
    torch.testing.assert_close(RegionPool(pool_size(pool))(x), pool(x))


def test_what_has_no_integer_form_is_refused_by_name():
    with pytest.raises(UsageError, match="1: GroupNorm cannot be quantized"):
        prepare(nn.Sequential(nn.Conv2d(3, 4, 1), nn.GroupNorm(2, 4)))
    with pytest.raises(UsageError, match="0: BatchNorm3d cannot be quantized"):
        prepare(nn.Sequential(nn.BatchNorm3d(3), nn.Conv2d(3, 4, 1)))


def test_an_activation_with_limits_keeps_them_in_integers():
    block = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Hardtanh(-0.5, 0.25))
    model = prepare(block, percentile=100.0)
    x = torch.rand(2, 3, 8, 8)
    set_input_range(model, 0.0, 1.0)
    calibrate(model, [x])
    with torch.no_grad():
        y = IntegerExact(convert(model)).run(x).dequantize()
    step = float(model.ranges.get_submodule("1").scale)
    assert (y - block(x)).abs().max() <= 2 * step
    assert y.max() <= 0.25 + step
    assert y.min() >= -0.5 - step
