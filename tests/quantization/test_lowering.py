"""What `lower` writes: padding, names, heads, 16 bits, and what it refuses. In runtimes: test_tflite_networks.py."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from edgeailite.errors import UsageError
from edgeailite.export.inner_tensors import quantizer_names
from edgeailite.export.naming import file_names
from edgeailite.quantization import Plan, calibrate, convert, prepare, set_input_range
from edgeailite.quantization.convert import IntegerConv, Quantize
from edgeailite.quantization.enlarge_codes import EnlargeCodes
from edgeailite.quantization.graph import is_resize
from edgeailite.quantization.integer import IntegerExact
from edgeailite.quantization.lowering import HEADS, lower
from edgeailite.quantization.modules import IntegerParameters, QuantConv2d
from edgeailite.quantization.program import Program
from edgeailite.quantization.tflite_rules import run_program
from tests.export.test_everything import everything
from tests.quantization.test_integer import WEIGHTS
from tests.quantization.tiny import pixels, quantized, tiny
from tests.tflite_schema import check_everywhere, int8_codes, values_of

SIZE = (24, 40)


def calibrated(network: nn.Module, size: tuple[int, int] = SIZE, scheme: str = "ort_u8s8") -> fx.GraphModule:
    model = prepare(network.eval(), scheme, percentile=100.0)
    set_input_range(model, -2.0, 127 / 64)
    calibrate(model, pixels(2, size, seed=1))
    return model.eval()


@pytest.fixture(scope="module")
def whole() -> fx.GraphModule:
    """Converted, with every kind of layer."""
    return convert(calibrated(everything()))


class Layers(nn.Module):
    """Layers one after another, without a last resize."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)

    def forward(self, *images: Tensor) -> dict[str, Tensor]:
        x = images[0]
        for layer in self.layers:
            x = layer(x)
        return {"segmentation": x}


def exact_codes(model: fx.GraphModule, image: Tensor) -> np.ndarray:
    """int8 NHWC codes of an output that is not resized, by the arithmetic of onnxruntime."""
    with torch.no_grad():
        found = IntegerExact(convert(model)).run(image)["segmentation"]
    middle = 0 if model.ranges.image.grid.scheme.signed else 128
    return (found.codes - middle).numpy().astype(np.int8).transpose(0, 2, 3, 1)


def kinds(program: Program) -> list[str]:
    return [op.kind for op in program.operators]


# --- padding

WINDOWS = [  # kernel, stride, padding, dilation
    (3, 1, 1, 1), (3, 2, 1, 1), (3, 1, 0, 1), (1, 2, 0, 1), (2, 2, 0, 1), (2, 2, 1, 1), (3, 3, 1, 1), (5, 2, 2, 1),
    (3, 1, 2, 2), (3, 2, 4, 4), (3, 1, 0, 3), (7, 4, 3, 1), ((3, 5), (2, 1), (0, 2), 1), (4, 3, 2, 1),
]  # fmt: skip


@pytest.mark.parametrize("window", WINDOWS, ids=str)
@pytest.mark.parametrize("groups", [1, 3])
def test_convolutions_pad_as_torch_does(window, groups):
    """XNNPACK rounds convolutions as onnxruntime does: the codes are those of the integer-exact network."""
    torch.manual_seed(0)
    kernel, stride, padding, dilation = window
    model = calibrated(Layers(nn.Conv2d(3, 6, kernel, stride, padding, dilation, groups=groups)), (16, 17))
    converted = convert(model)
    for size in ((9, 14), (10, 13), (11, 12), (12, 11)):
        image = pixels(1, size, seed=3)[0][0]
        program = lower(converted, size, head="codes")
        got = run_program(program, int8_codes(program, image), "xnnpack")["segmentation"]
        np.testing.assert_array_equal(got, exact_codes(model, image))


@pytest.mark.parametrize("scheme", ["ort_u8s8", "s8s8"])
@pytest.mark.parametrize("window", [(3, 2, 1), (2, 2, 0), (2, 2, 1), (3, 1, 1), (5, 3, 2)], ids=str)
@pytest.mark.parametrize("activation", [True, False])
def test_maximum_pooling_pads_with_what_is_never_the_maximum(window, activation, scheme):
    torch.manual_seed(0)
    after = [nn.ReLU()] if activation else []
    model = calibrated(Layers(nn.Conv2d(3, 6, 1), *after, nn.MaxPool2d(*window)), (16, 17), scheme)
    for size in ((9, 14), (10, 13), (11, 12)):
        image, program = pixels(1, size, seed=3)[0][0], lower(convert(model), size, head="codes")
        got = run_program(program, int8_codes(program, image), "xnnpack")["segmentation"]
        np.testing.assert_array_equal(got, exact_codes(model, image))
        begins_at_zero = activation and scheme == "ort_u8s8"
        assert {"PAD", "MIRROR_PAD"} & set(kinds(program)) <= {"PAD" if begins_at_zero else "MIRROR_PAD"}


def test_pad_is_written_where_same_differs_alone(whole):
    assert [op.output.name for op in lower(whole, (25, 33)).operators if "PAD" in op.kind] == []
    padded = {op.output.name: op.kind for op in lower(whole, (24, 40)).operators if "PAD" in op.kind}
    assert padded == {"stem.0.padded": "PAD", "shrink.padded": "MIRROR_PAD"}


# --- names and heads


@pytest.mark.parametrize("head", HEADS)
def test_heads(head, whole):
    program = lower(whole, SIZE, head=head)
    found = {name: (value.type, value.shape[1:3], value.shape[3:]) for name, value in program.outputs.items()}
    small, full = (12, 20), SIZE
    assert (
        found
        == {
            "codes": {"segmentation": ("int8", small, (5,)), "depth": ("int8", small, (1,))},
            "quantized": {"segmentation": ("int8", full, (5,)), "depth": ("int8", full, (1,))},
            "logits": {"segmentation": ("float32", full, (5,)), "depth": ("float32", full, (1,))},
            "argmax": {"segmentation_label": ("int32", full, ()), "depth": ("float32", full, (1,))},
        }[head]
    )
    assert all(value.name == name for name, value in program.outputs.items())
    image = int8_codes(program, *pixels(1, SIZE)[0])
    for name, result in run_program(program, image, "xnnpack").items():
        assert (result.shape, str(result.dtype)) == (program.outputs[name].shape, program.outputs[name].type)


def test_heads_say_the_same(whole):
    image = int8_codes(lower(whole, SIZE), *pixels(1, SIZE)[0])
    found = {head: run_program(lower(whole, SIZE, head=head), image, "xnnpack") for head in HEADS}
    scale, zero = (float(getattr(whole.ranges.segmentation, name)) for name in ("scale", "zero_point"))
    codes = found["quantized"]["segmentation"].astype(np.float32)
    np.testing.assert_array_equal(found["logits"]["segmentation"], (codes + 128 - zero) * np.float32(scale))
    np.testing.assert_array_equal(found["argmax"]["segmentation_label"], codes.argmax(3))
    np.testing.assert_array_equal(found["argmax"]["depth"], found["logits"]["depth"])


def test_tensors_are_called_as_in_the_onnx_file_and_none_is_called_like_another(whole):
    program = lower(whole, SIZE, head="codes", names=file_names(whole.graph))
    names = [value.name for value in values_of(program)]
    assert len(set(names)) == len(names)
    known = {name.removesuffix("_quantized") for name in quantizer_names(whole).values()}
    inside = {op.output.name for op in program.operators if op.kind in ("PAD", "MIRROR_PAD")}
    inside |= {name for name in names if name.startswith("pool.")}  # regions
    ends = {op.output.name for op in program.operators} - inside
    assert ends <= known
    assert {"grouped.2", "negative", "shrink", "pool", "segmentation", "depth"} <= ends


def test_an_unknown_head_is_refused_with_those_that_are_known(whole):
    with pytest.raises(UsageError, match="codes, quantized, logits, argmax") as caught:
        lower(whole, SIZE, head="labels")
    assert caught.value.known == tuple(HEADS)


# --- resizes


def test_aligned_corners_are_one_flag():
    """`prepare` refuses them for onnxruntime's sake; LiteRT has an integer form."""
    pytest.importorskip("ai_edge_litert")
    converted = convert(quantized(tiny()))
    for node in converted.graph.nodes:
        if is_resize(node):
            node.kwargs = {**node.kwargs, "align_corners": True}
    program = lower(converted, (25, 33))
    flags = [op.options for op in program.operators if op.kind == "RESIZE_BILINEAR"]
    assert flags == [{"align_corners": True, "half_pixel_centers": False}] * 3
    check_everywhere(program, int8_codes(program, *pixels(1, (25, 33))[0]))


def test_a_resize_to_the_same_size_is_none():
    program = lower(convert(quantized(tiny())), (2, 2))
    assert kinds(program).count("RESIZE_BILINEAR") == 2  # the inner one is from 1x1 to 1x1


def enlarging(factor: int, channels: int = 3) -> fx.GraphModule:
    """Bilinear resize by an even factor as a convolution of enlarged codes."""
    ramp = np.array([0.5, *[1.0] * (factor - 1), 0.5])
    weight = torch.from_numpy(np.outer(ramp, ramp) * 4).to(torch.int8).expand(channels, 1, -1, -1)
    scale = torch.full((channels,), 1 / (4 * factor**2))
    image = Quantize(torch.tensor(1 / 64), torch.tensor(128, dtype=torch.uint8), opset=21)
    parameters = IntegerParameters(weight, scale, torch.zeros(channels, dtype=torch.int32), scale / 64)
    conv = QuantConv2d.from_conv(nn.Conv2d(channels, channels, factor + 1, groups=channels), None, WEIGHTS)
    root, graph = nn.Module(), fx.Graph()
    modules = {"grid": image, "enlarge": EnlargeCodes(factor), "smooth": IntegerConv(conv, parameters), "end": image}
    node = graph.placeholder("image")
    for name, module in modules.items():
        root.add_module(name, module)
        node = graph.call_module(name, (node,))
    graph.output({"segmentation": node})
    return fx.GraphModule(root, graph)


@pytest.mark.parametrize(
    "factor, size",
    [(2, (5, 7)), (4, (5, 7)), (6, (3, 4)), (8, (5, 7)), (10, (2, 3)), (12, (2, 3)), (14, (2, 2)), (16, (2, 3)),
     (2, (1, 4)), (4, (1, 1)), (8, (1, 2))],
)  # fmt: skip
def test_enlarged_codes_and_their_convolution_are_the_bilinear_resize(factor, size):
    pytest.importorskip("ai_edge_litert")
    program, image = lower(enlarging(factor), size, head="codes"), pixels(1, size)[0][0]
    ends_repeated = ["SLICE", "SLICE", "CONCATENATION"]
    parts = {2: (2, 0), 4: (1, 4), 6: (2, 3), 8: (2, 4), 10: (2, 5), 12: (3, 4), 14: (7, 2), 16: (4, 4)}
    repeats, phases = parts[factor]
    nearest = ["RESIZE_NEAREST_NEIGHBOR"] * (repeats > 1)
    by_phases = ["CONCATENATION", *["DEPTHWISE_CONV_2D"] * phases, "CONCATENATION", "RESHAPE", "SLICE"]
    expected = [*ends_repeated * 2, *nearest, *(by_phases if phases else ["SLICE", "DEPTHWISE_CONV_2D"])]
    assert kinds(program) == expected
    codes = int8_codes(program, image)
    check_everywhere(program, codes)
    larger = F.interpolate(image.double() * 64, scale_factor=factor, mode="bilinear").permute(0, 2, 3, 1).numpy()
    for arithmetic, twice in (("xnnpack", 0), ("tflite_reference", 1)):  # the reference rounds to 2/16 before
        got = run_program(program, codes, arithmetic)["segmentation"]
        assert np.abs(got - larger).max() <= 0.5 + twice / (4 * factor**2) + 1e-9  # of a sixth in float64


# --- 16 bits


def test_a_layer_between_8_and_16_bits_is_written_with_quantizers():
    converted = convert(quantized(tiny(), plan=Plan(activations={"encoder_1_2": 16})))
    program = lower(converted, SIZE)
    first = next(op for op in program.operators if op.kind == "DEPTHWISE_CONV_2D")
    assert [value.type for value in (*first.inputs, first.output)] == ["int16", "int8", "int64", "int16"]
    assert first.options["activation"] == "RELU"  # of ReLU6, whose end the range implies; int16 does not begin at zero
    widened = next(op for op in program.operators if op.output is first.inputs[0])
    assert widened.kind == "QUANTIZE"
    np.testing.assert_array_equal(widened.output.scale * 128, widened.inputs[0].scale)
    readers = [op for op in program.operators if widened.output in op.inputs]
    assert {op.kind for op in readers} == {"DEPTHWISE_CONV_2D", "ADD"}  # one int16 form serves both
    back = next(op for op in program.operators if op.kind == "QUANTIZE" and op.output.type == "int8")
    assert back.inputs[0].name == f"{back.output.name}.wide"


def test_pictures_have_8_bits_whatever_the_plan():
    program = lower(convert(quantized(tiny(), plan=Plan(activations={"image": 16}))), SIZE)
    (image,) = program.inputs
    assert (image.type, float(image.scale[0]), image.zero_point) == ("int8", 1 / 64, 0)


def test_weights_of_4_bits_are_kept_in_8():
    program = lower(convert(quantized(tiny(), plan=Plan(weights={"encoder.1.0": 4}))), SIZE)
    (weight,) = [value for value in values_of(program) if value.name == "encoder.1.0.weight"]
    assert (weight.type, np.abs(weight.data).max()) == ("int8", 7)


def test_weights_of_16_bits_are_refused_with_the_layer():
    converted = convert(quantized(tiny(), plan=Plan(weights={"encoder.1.0": 16})))
    with pytest.raises(UsageError, match=r"weights of 16 bits .* in the plan") as caught:
        lower(converted, SIZE)
    assert caught.value.path == "encoder.1.0"


def test_classes_of_16_bits_are_refused_with_the_output():
    converted = convert(quantized(tiny(), plan=Plan(activations={"decoders_0": 16})))
    with pytest.raises(UsageError, match="ARG_MAX reads 8 bits") as caught:
        lower(converted, SIZE, head="argmax")
    assert caught.value.path == "segmentation"


# --- what has no form


def test_limits_that_no_fused_activation_has_are_refused_with_the_layer():
    torch.manual_seed(0)
    with pytest.raises(UsageError, match=r"limits -0\.1 and 0\.1 .* use ReLU") as caught:
        lower(convert(calibrated(Layers(nn.Conv2d(3, 4, 1), nn.Hardtanh(-0.1, 0.1)), scheme="tidl_pow2")), SIZE)
    assert caught.value.path == "layers.1"


def test_a_limit_that_the_codes_imply_needs_none():
    torch.manual_seed(0)
    converted = convert(calibrated(Layers(nn.Conv2d(3, 4, 1), nn.Hardtanh(0.0, 128.0)), scheme="s8s8"))
    assert [op.options["activation"] for op in lower(converted, SIZE, head="codes").operators] == ["RELU"]


class Shared(nn.Module):
    """A convolution that is read with and without its ReLU."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.relu = nn.Conv2d(3, 4, 1), nn.ReLU()

    def forward(self, *images: Tensor) -> dict[str, Tensor]:
        x = self.conv(images[0])
        return {"segmentation": x + self.relu(x)}


def test_an_activation_of_a_tensor_with_other_readers_is_a_table():
    kinds = [operator.kind for operator in lower(convert(calibrated(Shared())), SIZE).operators]
    assert kinds == ["CONV_2D", "CAST", "ADD", "GATHER", "ADD", "DEQUANTIZE"]


def test_other_operators_are_refused_with_the_layer():
    converted = convert(quantized(tiny()))
    converted.set_submodule("decoders.0", nn.Flatten())
    with pytest.raises(UsageError, match="Flatten has no form") as caught:
        lower(converted, SIZE)
    assert caught.value.path == "decoders.0"
