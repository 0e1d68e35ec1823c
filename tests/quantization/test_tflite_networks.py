"""Whole networks as TensorFlow Lite programs: no tensor differs from the runtimes' in a single code.

By default small networks with everything; `-m slow` runs every network that has an int8 form. The networks list
themselves (`tests.sweep`).
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import fx, nn

from edgeailite.export.self_test import SIZE as SMALL_SIZE
from edgeailite.export.self_test import random_images, small_network
from edgeailite.quantization import Plan, calibrate, convert, integer_exact, prepare, set_input_range
from edgeailite.quantization.convert import Form
from edgeailite.quantization.enlarge import convolve_resizes
from edgeailite.quantization.lowering import HEADS, lower
from edgeailite.quantization.schemes import SCHEMES
from edgeailite.quantization.tflite_rules import RULES, run_program
from tests.export.test_everything import everything
from tests.quantization.test_faults import FAULTS, faulty
from tests.quantization.tiny import WITH_TIES, pixels, tiny
from tests.quantization.tiny import quantized as tiny_quantized
from tests.sweep import int8_names, quantized, sweep_model
from tests.sweep import pixels as smooth_pixels
from tests.tflite_schema import check_everywhere, int8_codes, values_of

pytest.importorskip("ai_edge_litert")
SIZE = (24, 40)
SWEPT_SIZES = [(64, 96), (97, 65)]
LIMITED = ("s8s8", "tidl_pow2")  # in which the range of `Everything`'s Hardtanh is not its limits


def everything_quantized(scheme: str, *wide: str) -> fx.GraphModule:
    """`wide` are names of ranges that get 16 bits."""
    network = everything()
    if scheme in LIMITED:
        network.depthwise[1] = nn.ReLU6()
    model = prepare(network, scheme, plan=Plan(activations=dict.fromkeys(wide, 16)), percentile=100.0)
    set_input_range(model, -2.0, 127 / 64)
    calibrate(model, pixels(3, SIZE, seed=1))
    return model.eval()


@pytest.mark.parametrize("scheme", WITH_TIES)
def test_a_network_of_one_of_each(scheme):
    size = (25, 33) if SCHEMES[scheme].symmetric else SIZE
    program = lower(convert(everything_quantized(scheme)), size)
    check_everywhere(program, int8_codes(program, *pixels(1, size, seed=2)[0]))


@pytest.mark.parametrize("scheme", ["ort_u8s8", "s8s8"])
def test_an_activation_at_a_shared_scale_in_front_of_a_pooling(scheme):
    """The quantizer behind the activation is in two halves then, and still the one before it."""
    model = prepare(small_network(), scheme)
    set_input_range(model, -2.0, 127 / 64)
    calibrate(model, [torch.from_numpy(image) for (image,) in random_images(2)])
    program = lower(convert(model.eval()), SMALL_SIZE)
    image = torch.from_numpy(random_images(1)[0][0])
    check_everywhere(program, int8_codes(program, image))
    check_near(model, program, image)


@pytest.mark.parametrize("wide", ["stem_2", "pooled_1", "pool", "depth"])
def test_every_kind_of_layer_in_16_bits(wide):
    """`pooled_1` is the range of the concatenation, which nearly all layers share."""
    program = lower(convert(everything_quantized("ort_u8s8", wide)), SIZE)
    check_everywhere(program, int8_codes(program, *pixels(1, SIZE, seed=2)[0]))


@pytest.mark.parametrize("scheme", SCHEMES)
def test_damaged_weights(scheme):
    for fault in FAULTS:
        program = lower(convert(tiny_quantized(faulty(fault), scheme)), SIZE)
        check_everywhere(program, int8_codes(program, *pixels(1, SIZE, seed=8)[0]))


def test_forms_for_other_devices_are_the_same_program():
    model = tiny_quantized(tiny(), "tidl_pow2")
    expected = lower(convert(model), SIZE)
    images = int8_codes(expected, *pixels(1, SIZE)[0])
    for form in (Form(signed=True), Form(float_bias=True), Form(activation_first=True)):
        program = lower(convert(model, form=form), SIZE)
        for mine, theirs in zip(values_of(expected), values_of(program), strict=True):
            assert (mine.name, mine.shape, mine.type) == (theirs.name, theirs.shape, theirs.type)
            assert np.array_equal(mine.data, theirs.data)
        for name, result in run_program(expected, images, "xnnpack").items():
            np.testing.assert_array_equal(run_program(program, images, "xnnpack")[name], result)


RANGES = [name for name, _ in prepare(tiny()).ranges.named_children()]
PLANS = {"all": RANGES, "none": [], **{name: [name] for name in RANGES}}


@pytest.mark.parametrize("plan", PLANS)
def test_parts_of_16_bits(plan):
    model = tiny_quantized(tiny(), plan=Plan(activations=dict.fromkeys(PLANS[plan], 16)))
    program = lower(convert(model), SIZE)
    image = pixels(1, SIZE, seed=7)[0][0]
    check_everywhere(program, int8_codes(program, image))
    check_near(model, program, image)


def check_near(model: fx.GraphModule, program, image: torch.Tensor) -> None:
    """Both arithmetics give what the integer-exact network gives but for single codes."""
    expected = integer_exact(model)(image)
    for arithmetic in RULES:
        found = run_program(program, int8_codes(program, image), arithmetic)
        assert list(found) == list(expected)
        for name, value in expected.items():
            difference = (torch.from_numpy(found[name]).permute(0, 3, 1, 2) - value).abs().mean()
            assert difference < 0.03 * value.std(), (arithmetic, name)


@pytest.mark.parametrize("scheme", ["s8s8", "tidl_pow2"])
def test_16_bits_in_symmetric_schemes(scheme):
    model = tiny_quantized(tiny(), scheme, Plan(activations=dict.fromkeys(RANGES, 16)))
    program, image = lower(convert(model), (17, 23)), pixels(1, (17, 23), seed=7)[0][0]
    check_everywhere(program, int8_codes(program, image))
    check_near(model, program, image)


@pytest.mark.parametrize("head", HEADS)
def test_every_head(head):
    program = lower(convert(tiny_quantized(tiny())), SIZE, head=head)
    check_everywhere(program, int8_codes(program, *pixels(1, SIZE, seed=7)[0]))


class TwoPictures(nn.Module):
    """Reads the second picture first."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.last = nn.Conv2d(3, 8, 3, 2, 1), nn.Conv2d(3, 8, 3, 2, 1), nn.Conv2d(8, 5, 1)

    def forward(self, *images: torch.Tensor) -> dict[str, torch.Tensor]:
        x = self.last(self.second(images[1]) + self.first(images[0]))
        return {"segmentation": nn.functional.interpolate(x, images[0].shape[2:], mode="bilinear")}


def test_two_pictures():
    torch.manual_seed(0)
    model = prepare(TwoPictures().eval(), percentile=100.0)
    set_input_range(model, -2.0, 127 / 64)
    pairs = [first + second for first, second in zip(pixels(2, SIZE), pixels(2, SIZE, seed=1), strict=True)]
    calibrate(model, pairs)
    program = lower(convert(model.eval()), SIZE)
    assert [value.name for value in program.inputs] == ["image", "image1"]
    check_everywhere(program, int8_codes(program, *pairs[0]))


def check_network(name: str, scheme: str, *, inputs: int, outputs: int, sizes: list[tuple[int, int]]) -> None:
    converted = convert(quantized(sweep_model(name, inputs=inputs, outputs=outputs), scheme))
    for size in sizes:
        program = lower(convolve_resizes(converted, size), size)  # as in files
        check_everywhere(program, int8_codes(program, *smooth_pixels(inputs, (1, *size), seed=9)))


@pytest.mark.slow
@pytest.mark.parametrize("name", int8_names())
def test_every_network_that_has_an_int8_form(name):
    check_network(name, "ort_u8s8", inputs=1, outputs=2, sizes=SWEPT_SIZES)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["resnet18_c1", "unet_aspp_mobilenetv2_tv_edgeailite"])
def test_two_inputs_and_three_outputs(name):
    check_network(name, "ort_u8s8", inputs=2, outputs=3, sizes=SWEPT_SIZES)


@pytest.mark.slow
@pytest.mark.parametrize("scheme", [name for name in SCHEMES if name != "ort_u8s8"])
@pytest.mark.parametrize("name", ["unet_aspp_mobilenetv2_tv_1p4_edgeailite", "fpn_aspp_regnetx400mf_edgeailite"])
def test_every_scheme(name, scheme):
    sizes = [(64, 96), (96, 160)] if scheme == "portable" else SWEPT_SIZES  # its resizes are by whole factors
    check_network(name, scheme, inputs=1, outputs=2, sizes=sizes)
