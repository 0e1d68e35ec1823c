"""Records of schemes and plans, and every scheme against onnxruntime's integer kernels."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest
import torch
from torch import fx, nn

from edgeailite.config import SchemeName
from edgeailite.errors import UsageError
from edgeailite.export import to_onnx
from edgeailite.quantization import (
    SCHEMES,
    Plan,
    calibrate,
    convert,
    integer_exact,
    prepare,
    scheme_of,
    set_input_range,
    wide_parts,
)
from edgeailite.quantization.convert import IntegerConv, Quantize
from edgeailite.runtime import load_onnx, run
from tests.golden import golden_card, golden_model, smooth_pictures

SIZE = (64, 96)
SLOW_WHERE_NUMBERS_ALONE_DIFFER = [
    pytest.param(name, marks=pytest.mark.slow) if name in ("ort_u8s7", "ort_u8s8_tensor") else name for name in SCHEMES
]
WIDE = Plan(
    weights={"encoder.features.4.conv.1.0": 16, "encoder.features.5.conv.0.0": 4},
    activations={"encoder_features_6_conv_1_2": 16},
)


def images(count: int = 2) -> list[torch.Tensor]:
    pictures = smooth_pictures(count, SIZE, seed=1)
    return [(torch.from_numpy(picture.transpose(2, 0, 1).copy())[None].float() - 128) / 64 for picture in pictures]


def quantized(scheme: str, plan: Plan | None = None) -> fx.GraphModule:
    model = prepare(golden_model(), scheme, plan=plan or Plan())
    set_input_range(model, *golden_card(SIZE).preprocessing.input_range)
    calibrate(model, images())
    return model.eval()


def exported(model: nn.Module) -> bytes:
    return to_onnx(model, golden_card(SIZE), size=SIZE).SerializeToString()


def onnx_logits(data: bytes, image: torch.Tensor, *, level: str = "ALL") -> np.ndarray:
    return run(load_onnx(data, level=level, threads=1), image.numpy())["segmentation"]


def test_the_command_line_offers_every_scheme():
    assert get_args(SchemeName) == tuple(SCHEMES)


@pytest.mark.parametrize("scheme", SLOW_WHERE_NUMBERS_ALONE_DIFFER)
def test_integer_arithmetic_is_onnxruntime_s(scheme):
    model, image = quantized(scheme), images()[1]
    assert scheme_of(model).name == scheme
    assert not wide_parts(model)
    data, expected = exported(model), integer_exact(model)(image)["segmentation"].numpy()
    for level in ("EXTENDED", "ALL"):
        np.testing.assert_array_equal(onnx_logits(data, image, level=level), expected)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_codes_are_those_that_the_scheme_names(scheme):
    record, converted = SCHEMES[scheme], convert(quantized(scheme))
    convolutions = [module for module in converted.modules() if isinstance(module, IntegerConv)]
    scales = [convolution.weight_scale for convolution in convolutions]
    assert all((scale.numel() == 1) == (not record.per_channel) for scale in scales if scale.shape != (1,))
    limit = 2 ** (record.weight_bits - 1) - 1
    assert max(int(c.weight.max()) for c in convolutions) <= limit
    assert min(int(c.weight.min()) for c in convolutions) >= -limit - record.full_weights
    pairs = [module for module in converted.modules() if isinstance(module, Quantize)]
    assert {pair.zero_point.dtype for pair in pairs} == {torch.int8 if record.signed else torch.uint8}
    if record.symmetric:
        assert {int(pair.zero_point) for pair in pairs} <= ({0} if record.signed else {0, 128})
    if record.power_of_two:
        for scale in (*scales, *(pair.scale for pair in pairs)):
            assert (torch.frexp(scale).mantissa == 0.5).all()


def test_wide_layers_come_near_and_narrow_ones_keep_their_codes():
    model, image = quantized("ort_u8s8", WIDE), images()[1]
    assert wide_parts(model)
    expected = integer_exact(model)(image)["segmentation"].numpy()
    got = onnx_logits(exported(model), image)
    assert np.abs(got - expected).max() < 0.05 * expected.std()
    converted = convert(model)
    assert converted.get_submodule("encoder.features.4.conv.1.0").weight.dtype == torch.int16
    narrow = converted.get_submodule("encoder.features.5.conv.0.0").weight
    assert narrow.dtype == torch.int8
    assert int(narrow.abs().max()) == 7
    assert converted.ranges.encoder_features_6_conv_1_2.zero_point.dtype == torch.uint16


def test_more_bits_lower_the_error():
    network, image = golden_model(), images()[1]
    names = [name for name, module in network.named_modules() if isinstance(module, nn.Conv2d)]
    expected, errors = network(image)["segmentation"], {}
    for bits in (4, 8, 16):
        model = prepare(network, plan=Plan(weights=dict.fromkeys(names, bits)))
        set_input_range(model, *golden_card(SIZE).preprocessing.input_range)
        calibrate(model, images())
        errors[bits] = (model(image)["segmentation"] - expected).square().mean().item()
    assert errors[4] > 4 * errors[8] > 4 * errors[16]


def test_a_plan_that_fits_no_network_is_refused():
    with pytest.raises(UsageError, match="weights of stem have 5 bits; possible are 4, 8, 16"):
        Plan(weights={"stem": 5})
    with pytest.raises(UsageError, match=r"weights name 'encoder.features.4.conv.1'.*encoder.features.4.conv.1.0"):
        prepare(golden_model(), plan=Plan(weights={"encoder.features.4.conv.1": 16}))
    with pytest.raises(UsageError, match="activations name 'nothing'"):
        prepare(golden_model(), plan=Plan(activations={"nothing": 16}))


@pytest.mark.parametrize("kind", ["weights", "activations"])
def test_sixteen_bits_need_a_new_opset(kind):
    name, shown = {
        "weights": ("encoder.features.4.conv.1.0", r"encoder\.features\.4\.conv\.1\.0"),
        "activations": ("encoder_features_6_conv_1_2", r"ranges\.encoder_features_6_conv_1_2"),
    }[kind]
    model = quantized("ort_u8s8", Plan(**{kind: {name: 16}}))
    with pytest.raises(UsageError, match=rf"--opset 18: {shown} has codes of 16 bits, which need opset 21"):
        to_onnx(model, golden_card(SIZE), size=SIZE, opset=18)
