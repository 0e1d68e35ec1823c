"""Operators of other people's networks in TensorFlow Lite's form, in its runtimes and beside onnxruntime's."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from edgeailite.errors import UsageError
from edgeailite.foreign.unpooling import max_unpool
from edgeailite.quantization import Plan, calibrate, convert, integer_exact, prepare, set_input_range
from edgeailite.quantization.convert import Quantize
from edgeailite.quantization.lowered import channels_first
from edgeailite.quantization.lowering import lower
from edgeailite.quantization.lowering_operators import table_codes
from edgeailite.quantization.operators import Function
from edgeailite.quantization.program import Value
from edgeailite.quantization.tflite_rules import run_program
from tests.tflite_schema import check_everywhere, int8_codes

pytest.importorskip("ai_edge_litert")
SIZE = (32, 48)
NEAR = 0.1  # of the standard deviation: what two arithmetics of convolutions may differ by


class Between(nn.Module):
    """A convolution, a body, a convolution."""

    def __init__(self, body: Callable[..., Tensor], module: nn.Module | None = None) -> None:
        super().__init__()
        self.first, self.body, self.module, self.last = nn.Conv2d(3, 8, 3, 2, 1), body, module, nn.LazyConv2d(4, 1)

    def forward(self, image: Tensor) -> Tensor:
        x = self.first(image)
        return self.last(self.body(x) if self.module is None else self.body(self.module, x))


def call(module: nn.Module, x: Tensor) -> Tensor:
    return module(x)


def gated(module: nn.Module, x: Tensor) -> Tensor:
    return x * F.hardsigmoid(module(F.adaptive_avg_pool2d(x, 1)))


def shuffled(x: Tensor) -> Tensor:
    return x.reshape(1, 2, 4, 16, 24).transpose(1, 2).reshape(1, 8, 16, 24)


BODIES: dict[str, tuple[Callable[..., Tensor], nn.Module | None, dict[str, int]]] = {  # and the operators it becomes
    "squeeze and excite": (gated, nn.Conv2d(8, 8, 1), {"MEAN": 1, "CAST": 1, "MUL": 1}),
    "Hardswish": (call, nn.Hardswish(), {"CAST": 1, "GATHER": 1}),
    "ELU": (call, nn.ELU(), {"CAST": 1, "GATHER": 1}),
    "PReLU": (call, nn.PReLU(8), {"CAST": 1, "GATHER": 1}),
    "PReLU of one slope": (call, nn.PReLU(), {"CAST": 1, "GATHER": 1}),
    "ReLU behind a concatenation": (lambda x: F.relu(torch.cat([x, 2 * x], 1)), None, {"MUL": 1, "CAST": 1}),
    "Sub": (lambda x: x - torch.sigmoid(x), None, {"SUB": 1}),
    "1 - x": (lambda x: 1 - torch.sigmoid(x), None, {"CAST": 2}),
    "constants": (lambda x: 0.3 * x + 1.5, None, {"MUL": 1, "ADD": 1}),
    "AvgPool2d padded": (call, nn.AvgPool2d(3, 2, 1), {"DEPTHWISE_CONV_2D": 1}),
    "AvgPool2d": (call, nn.AvgPool2d(2), {"DEPTHWISE_CONV_2D": 1}),
    "MaxPool2d ceil": (call, nn.MaxPool2d(3, 2, ceil_mode=True), {"MAX_POOL_2D": 1, "GATHER": 2}),
    "PixelShuffle": (call, nn.PixelShuffle(2), {"GATHER": 1, "DEPTH_TO_SPACE": 1}),
    "PixelUnshuffle": (call, nn.PixelUnshuffle(2), {"GATHER": 1, "SPACE_TO_DEPTH": 1}),
    "ChannelShuffle": (call, nn.ChannelShuffle(2), {"GATHER": 1}),
    "channel shuffle of views": (shuffled, None, {"TRANSPOSE": 3, "RESHAPE": 2}),
    "chunk": (lambda x: torch.cat([x.chunk(2, 1)[1], x[:, :3]], 1), None, {"SLICE": 2, "CONCATENATION": 1}),
    "slice with a step": (lambda x: x[:, :, ::2, 1:-1], None, {"GATHER": 1, "SLICE": 1}),
    "flip": (lambda x: x.flip(3), None, {"GATHER": 1}),
    "row out of the middle": (lambda x: x[:, :, 5].unsqueeze(2), None, {"GATHER": 1}),
    "Pad": (lambda x: F.pad(x, [1, 2, 3, 0]), None, {"PAD": 2}),
    "Pad that cuts": (lambda x: F.pad(x, [-1, 2, 3, -2]), None, {"SLICE": 1, "PAD": 2}),
    "Pad reflect": (lambda x: F.pad(x, [1, 2, 3, 0], mode="reflect"), None, {"GATHER": 2}),
    "amax": (lambda x: x * x.amax(1, keepdim=True), None, {"REDUCE_MAX": 1, "MUL": 1}),
    "mean over channels": (lambda x: x * x.mean(1, keepdim=True), None, {"MEAN": 1, "MUL": 1}),
    "mean over rows": (lambda x: x.mean(2).unsqueeze(2), None, {"MEAN": 1}),
    "nearest": (lambda x: F.interpolate(x, size=(32, 48), mode="nearest"), None, {"RESIZE_NEAREST_NEIGHBOR": 1}),
    "nearest 19x31": (lambda x: F.interpolate(x, size=(19, 31), mode="nearest"), None, {"GATHER": 2}),
}
DEFAULT = ("squeeze and excite", "PReLU", "PixelShuffle", "channel shuffle of views")


def prepared(network: nn.Module, plan: Plan | None = None, scheme: str = "ort_u8s8") -> tuple[fx.GraphModule, Tensor]:
    """The network, calibrated on two pictures of noise, and one of them."""
    torch.manual_seed(0)
    images = [(torch.randint(0, 256, (1, 3, *SIZE)).float() - 128) / 64 for _ in range(2)]
    with torch.no_grad():
        network.eval()(images[0])  # sizes of lazy layers
    model = prepare(network.eval(), scheme, **({} if plan is None else {"plan": plan}))
    set_input_range(model, -2.0, 127 / 64)
    calibrate(model, [(image,) for image in images])
    return model.eval(), images[0]


def compared(network: nn.Module) -> Counter[str]:
    """The operators of a network's program, which every runtime computes alike and near to onnxruntime's arithmetic."""
    model, image = prepared(network)
    program = lower(convert(model), SIZE)
    codes = int8_codes(program, image)
    check_everywhere(program, codes)
    expected = integer_exact(model, "onnxruntime_x86")(image)
    for name, found in run_program(program, codes, "tflite_reference").items():
        wanted, values = expected[name].numpy(), channels_first(found)
        assert wanted.shape == values.shape
        assert np.abs(values - wanted).max() < NEAR * wanted.std()
    return Counter(operator.kind for operator in program.operators)


@pytest.mark.parametrize("name", [
    pytest.param(name, marks=() if name in DEFAULT else pytest.mark.slow) for name in BODIES
])  # fmt: skip
def test_an_operator_has_a_form(name):
    torch.manual_seed(0)
    body, module, operators = BODIES[name]
    found = compared(Between(body, module))
    for kind, count in operators.items():
        assert found[kind] >= count, (kind, found)


def test_a_classifier_ends_with_a_linear_layer():
    torch.manual_seed(0)
    stem = nn.Sequential(nn.Conv2d(3, 8, 3, 4, 1), nn.Hardswish())
    network = nn.Sequential(stem, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5), nn.Hardtanh(-4, 4))
    assert compared(network)["CONV_2D"] == 2
    model, _ = prepared(network)
    for head, (shape, kind) in {"argmax": ((1,), "int32"), "quantized": ((1, 5), "int8")}.items():
        (output,) = lower(convert(model), SIZE, head=head).outputs.values()
        assert (output.shape, output.type) == (shape, kind)


@pytest.mark.slow
def test_a_linear_layer_reads_a_picture_in_torchs_order():
    torch.manual_seed(0)
    assert compared(nn.Sequential(nn.Conv2d(3, 8, 3, 4, 1), nn.Flatten(), nn.Linear(8 * 8 * 12, 10)))["TRANSPOSE"] == 1


FUNCTIONS = (
    nn.Sigmoid(), nn.Tanh(), nn.Hardsigmoid(), nn.Hardswish(), nn.SiLU(), nn.GELU(), nn.Mish(), nn.LeakyReLU(0.1),
    nn.ELU(), nn.Softplus(), nn.PReLU(), nn.ReLU6(), Function(torch.pow, 2),
)  # fmt: skip


@pytest.mark.parametrize("module", FUNCTIONS, ids=lambda module: type(module).__name__)
def test_a_table_has_the_codes_of_float_arithmetic(module):
    """All 256, for 20 pairs of scales: at most a step off where float32 meets a tie, else equal."""
    rng = np.random.default_rng(0)
    for _ in range(20):
        scale, zero = float(rng.uniform(0.01, 0.06)), int(rng.integers(-128, 128))
        x = Value("x", (1, 16, 16, 1), scale=np.array([scale], np.float32), zero_point=zero)
        values = (torch.arange(-128, 128).double() - zero) * float(np.float32(scale))
        with torch.no_grad():
            wanted = module.double()(values)
        step = max(float(wanted.max() - min(wanted.min(), 0)) / 255, 1e-4)
        output = Quantize(
            torch.tensor(step), torch.tensor(round(-float(min(wanted.min(), 0)) / step), dtype=torch.uint8), opset=21
        )
        steps = wanted / float(output.scale)
        codes = torch.round(steps).add(int(output.zero_point)).clamp(0, 255) - 128
        found = table_codes(module.float(), x, output).reshape(-1)
        ties = ((steps - steps.floor() - 0.5).abs() < 1e-4).numpy()
        np.testing.assert_array_equal(found[~ties], codes.numpy()[~ties])
        assert np.abs(found[ties] - codes.numpy()[ties]).max(initial=0) <= 1


@pytest.mark.parametrize(
    ("body", "module", "said"),
    [
        (lambda x: x * x.sum(1, keepdim=True), None, "a sum over axes has no form in TensorFlow Lite here"),
        (call, nn.AvgPool2d(3, 2, 1, count_include_pad=False), "module: an average pooling that does not count its"),
        (call, nn.AvgPool2d(3, 2, ceil_mode=True), "module: an average pooling that rounds its size up"),
        (call, nn.AdaptiveMaxPool2d(2), "module: an adaptive maximum pooling"),
        (lambda x: max_unpool(F.max_pool2d(x, 2), x, (2, 2), (2, 2), (0, 0)), None, "max_unpool: a maximum unpooling"),
        (call, nn.MaxPool2d(3, 2, dilation=2), "module: a maximum pooling that is dilated"),
    ],
)
def test_what_has_no_form_is_refused_by_name(body, module, said):
    model, _ = prepared(Between(body, module))
    with pytest.raises(UsageError) as caught:
        lower(convert(model), SIZE)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_nor_do_operators_of_16_bits_have_one():
    model, _ = prepared(Between(call, nn.Hardswish()), Plan(activations={"first": 16}))
    with pytest.raises(UsageError, match="Hardswish of 16 bits has no form in TensorFlow Lite here; give it"):
        lower(convert(model), SIZE)
