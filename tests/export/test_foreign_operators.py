"""A small network with operators of other networks is proven like our own: every bit, two sizes, a contract."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edgeailite.data.tensors import to_input
from edgeailite.errors import ParityError, UsageError
from edgeailite.export import to_onnx
from edgeailite.export.contract import golden_case
from edgeailite.export.float_parts import integer_share
from edgeailite.export.parity import Subject, integer_kernels, prove, training_input
from edgeailite.export.trace.compare import trace
from edgeailite.export.trace.file_side import file_side
from edgeailite.export.trace.torch_side import torch_side
from edgeailite.modelcard import ModelCard
from edgeailite.preprocessing import Preprocessing
from edgeailite.quantization import calibrate, convert, integer_exact, prepare, set_input_range
from edgeailite.quantization.convert import IntegerHardswish
from edgeailite.quantization.lowering import lower
from edgeailite.runtime import load_onnx, run

SIZE, OTHER = (32, 48), (33, 45)
CARD = ModelCard(
    "foreign",
    {"segmentation": 5, "kind": 7},
    tuple("abcde"),
    tuple((value, 0, 0) for value in range(5)),
    Preprocessing(*SIZE),
    "none",
)


class Gated(nn.Module):
    """An inverted residual with squeeze and excitation, as in MobileNetV3 and EfficientNet."""

    def __init__(self, channels: int, out: int, activation: nn.Module) -> None:
        super().__init__()
        wide = 2 * channels
        self.expand = nn.Sequential(nn.Conv2d(channels, wide, 1, bias=False), nn.BatchNorm2d(wide), activation)
        self.depthwise = nn.Sequential(nn.Conv2d(wide, wide, 3, 1, 1, groups=wide), nn.BatchNorm2d(wide), activation)
        self.squeeze, self.excite = nn.Conv2d(wide, 8, 1), nn.Conv2d(8, wide, 1)
        self.project = nn.Sequential(nn.Conv2d(wide, out, 1, bias=False), nn.BatchNorm2d(out))

    def forward(self, x: Tensor) -> Tensor:
        y = self.depthwise(self.expand(x))
        gate = F.hardsigmoid(self.excite(F.relu(self.squeeze(F.adaptive_avg_pool2d(y, 1)))))
        y = self.project(gate * y)
        return x + y if x.shape[1] == y.shape[1] else y


class Foreign(nn.Module):
    """Two blocks, an average, a nearest resize, attention over channels, a map and classes of the whole picture."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.fine, self.coarse = (
            nn.Conv2d(3, 8, 3, 2, 1),
            Gated(8, 8, nn.Hardswish()),
            Gated(8, 12, nn.SiLU()),
        )
        self.pool, self.norm = nn.AvgPool2d(2, 2), nn.BatchNorm2d(20)
        self.head, self.linear = nn.Conv2d(20, 5, 1), nn.Linear(12, 7)

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        fine = F.hardswish(self.stem(image))
        fine = fine + self.fine.project(self.fine.depthwise(self.fine.expand(fine)))
        coarse = self.coarse.project(self._gated(self.pool(fine)))
        joined = torch.cat([fine, F.interpolate(coarse, size=fine.shape[2:], mode="nearest")], dim=1)
        joined = F.leaky_relu(self.norm(joined) * torch.sigmoid(joined.mean(1, keepdim=True)), 0.1)
        scores = F.interpolate(self.head(joined), size=image.shape[2:], mode="bilinear", align_corners=False)
        return {"segmentation": scores, "kind": self.linear(coarse.mean((2, 3)))}

    def _gated(self, x: Tensor) -> Tensor:
        y = self.coarse.depthwise(self.coarse.expand(x))
        gate = F.hardsigmoid(self.coarse.excite(F.relu(self.coarse.squeeze(F.adaptive_avg_pool2d(y, 1)))))
        return gate * y


def picture(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (*SIZE, 3)).astype(np.uint8)


@pytest.fixture(scope="module")
def subject(tmp_path_factory):
    torch.manual_seed(0)
    images = [
        to_input(torch.from_numpy(picture(i).transpose(2, 0, 1).copy())[None], CARD.preprocessing) for i in (0, 1)
    ]
    model = prepare(Foreign().eval())
    set_input_range(model, *CARD.preprocessing.input_range)
    calibrate(model, images)
    file = tmp_path_factory.mktemp("foreign") / "model_int8.onnx"
    file.write_bytes(to_onnx(model.eval(), CARD, size=SIZE).SerializeToString())
    return Subject(model, CARD, file)


def test_it_is_proven_at_two_sizes_with_every_layer_and_integer_kernels(subject):
    results = prove(subject, [picture(2)], sizes=[OTHER])
    assert {part["max_difference"] for part in (results["EXTENDED"], results["ALL"], *results["sizes"].values())} == {
        0.0
    }
    kernels = results["integer_kernels"]
    assert kernels["all_integer"]
    assert (kernels["QLinearMul"], kernels["QLinearAveragePool"], kernels["QGemm"]) == (5, 1, 1)
    assert kernels["QLinearLeakyRelu"] == 4  # of three hard-swishes, too
    assert results["products"] == {"tie_safe": 2, "total": 2}
    assert results["functions"] == {"tie_safe": 8, "total": 8}
    assert results["export"] == "equal in every byte"
    assert results["conversion"]["layers"] > 25


def test_the_gate_of_a_hard_swish_is_no_tensor_of_its_own(subject):
    """In a trace of the file; the inside of a SiLU, which is float, is."""
    sides = torch_side("integer_exact", subject.module), file_side("file", subject.file, runtime="ALL")
    found = trace(*sides, [[training_input(picture(2), CARD.preprocessing)]])
    ours, theirs = found.matching.unmatched
    assert (ours, [name for name in theirs if not name.endswith(".sigmoid")]) == ((), [])
    assert found.first_difference is None


@pytest.mark.parametrize("scheme", ["s8s8", pytest.param("tidl_pow2", marks=pytest.mark.slow)])
def test_a_hard_swish_is_exact_at_other_schemes(scheme, tmp_path):
    """Signed codes, and powers of two, where results lie in the middle between two codes."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 16, 3, 2, 1), nn.Hardswish(), nn.Conv2d(16, 5, 1), nn.Hardswish())
    with torch.no_grad():
        network[0].weight *= 4  # values beyond 3 there, and none in the last layer
        network[2].weight /= 4
    card = replace(CARD, outputs={"output": 5})
    model = prepare(network.eval(), scheme)
    set_input_range(model, *card.preprocessing.input_range)
    image = torch.from_numpy(training_input(picture(1), card.preprocessing))
    calibrate(model, [image])
    slopes = [module.slope for module in convert(model).modules() if isinstance(module, IntegerHardswish)]
    assert slopes == [127 / 128, 1.0]
    file = tmp_path / "model_int8.onnx"
    file.write_bytes(to_onnx(model.eval(), card, size=SIZE).SerializeToString())
    expected = integer_exact(model, "onnxruntime_x86")(image)["output"].numpy()
    for level in ("EXTENDED", "ALL"):
        np.testing.assert_array_equal(run(load_onnx(file, level=level), image.numpy())["output"], expected)
    kernels = integer_kernels(file)
    assert (kernels["all_integer"], kernels["QLinearMul"], kernels["QLinearLeakyRelu"]) == (True, 2, 2)


def test_a_contract_holds_the_same_codes_for_every_arithmetic(subject):
    case = golden_case(subject, picture(3))
    assert case["arithmetics"] == {"onnxruntime_sse2": "onnxruntime_x86", "onnxruntime_arm64": "onnxruntime_x86"}
    assert len(case["layers"]) > 25


def test_a_card_with_other_outputs_is_refused(subject):
    card = replace(CARD, outputs={"segmentation": 5})
    with pytest.raises(UsageError, match="the network gives kind, segmentation, but its card describes segmentation"):
        to_onnx(subject.module, card, size=SIZE)


def test_it_has_a_form_in_tensorflow_lite(subject):
    kinds = [operator.kind for operator in lower(convert(subject.module), SIZE).operators]
    assert (kinds.count("CAST"), kinds.count("MUL"), kinds.count("DEPTHWISE_CONV_2D")) == (8, 2, 4)


def test_parts_in_float_are_refused_there_by_name(tmp_path):
    with pytest.raises(UsageError, match=r"^norm: GroupNorm has no form in TensorFlow Lite"):
        lower(convert(normalised(tmp_path).module), SIZE)


class Normalised(nn.Module):
    """Normalisation over channels and a softmax, which stay in float."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm, self.last = nn.Conv2d(3, 8, 3, 2, 1), nn.GroupNorm(2, 8), nn.Conv2d(8, 5, 1)

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        x = F.relu(self.norm(self.first(image)))
        return {"segmentation": self.last(x * torch.softmax(x, 1))}


def normalised(tmp_path) -> Subject:
    torch.manual_seed(0)
    card = replace(CARD, outputs={"segmentation": 5})
    images = [
        to_input(torch.from_numpy(picture(i).transpose(2, 0, 1).copy())[None], card.preprocessing) for i in (0, 1)
    ]
    model = prepare(Normalised().eval(), float_parts=True)
    set_input_range(model, *card.preprocessing.input_range)
    calibrate(model, images)
    file = tmp_path / "model_int8.onnx"
    file.write_bytes(to_onnx(model.eval(), card, size=SIZE).SerializeToString())
    return Subject(model, card, file)


def test_parts_in_float_are_named_and_all_else_is_proven(tmp_path):
    subject = normalised(tmp_path)
    results = prove(subject, [picture(2)], export_again=False)
    assert results["exact"] is False
    assert results["promise"].startswith("proven but for parts in float")
    assert set(results["float_parts"]) == {"norm", "softmax"}
    assert all(part["largest_step"] <= 1 for part in results["float_parts"].values())
    assert results["integer_macs"] == 1.0
    assert {results[level]["max_difference"] for level in ("EXTENDED", "ALL")} == {0.0}


def test_a_fault_outside_of_the_parts_in_float_is_seen(tmp_path):
    """And one inside, of more than a step."""
    subject = normalised(tmp_path)
    with torch.no_grad():
        subject.module.last.weight[0, 0] *= -1
    with pytest.raises(ParityError, match="departs first at"):
        prove(subject, [picture(2)], export_again=False)
    subject = normalised(tmp_path)
    with torch.no_grad():
        subject.module.norm.bias += 0.5
    with pytest.raises(ParityError, match=r"^norm: in float in the file, and \d+ steps from the network's$"):
        prove(subject, [picture(2)], export_again=False)


def test_the_share_of_integers_counts_what_stays_in_float():
    network = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.ConvTranspose2d(8, 8, 2, 2), nn.Conv2d(8, 5, 1)).eval()
    model = prepare(network, float_parts=True)
    calibrate(model, [torch.rand(1, 3, *SIZE)])
    pixels = SIZE[0] * SIZE[1]
    integer, transposed = 3 * 8 * 9 * pixels // 4 + 8 * 5 * pixels, 8 * 8 * 4 * pixels // 4
    assert integer_share(convert(model), SIZE) == pytest.approx(integer / (integer + transposed))


@pytest.mark.parametrize("spelled", ["matmul", "attention"])
def test_products_of_two_tensors_count(spelled):
    """Queries by keys, and weights by values: 2 x positions x positions x channels."""

    class Attention(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem = nn.Conv2d(3, 8, 4, 4)

        def forward(self, image: Tensor) -> Tensor:
            x = self.stem(image).flatten(2).transpose(1, 2)
            if spelled == "attention":
                return F.scaled_dot_product_attention(x, x, x)
            return torch.matmul(torch.softmax(torch.matmul(x, x.transpose(1, 2)), -1), x)

    model = prepare(Attention().eval(), float_parts=True)
    calibrate(model, [torch.rand(1, 3, *SIZE)])
    positions = SIZE[0] * SIZE[1] // 16
    integer, products = 3 * 8 * 16 * positions, 2 * 8 * positions**2
    assert integer_share(convert(model), SIZE) == pytest.approx(integer / (integer + products))


class Tokens(nn.Module):
    """A linear layer on a matrix of tokens, as in transformers."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.mix, self.head = nn.Conv2d(3, 8, 4, 4), nn.Linear(8, 12), nn.Linear(12, 5)

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        x = F.gelu(self.mix(self.stem(image).flatten(2).transpose(1, 2)))
        return {"kind": self.head(x.mean(1))}


def test_linear_layers_on_tokens_are_integer_kernels(tmp_path):
    torch.manual_seed(0)
    card = replace(CARD, outputs={"kind": 5})
    images = [
        to_input(torch.from_numpy(picture(i).transpose(2, 0, 1).copy())[None], card.preprocessing) for i in (0, 1)
    ]
    model = prepare(Tokens().eval())
    set_input_range(model, *card.preprocessing.input_range)
    calibrate(model, images)
    file = tmp_path / "model_int8.onnx"
    file.write_bytes(to_onnx(model.eval(), card, size=SIZE).SerializeToString())
    results = prove(Subject(model, card, file), [picture(2)], export_again=False)
    assert {results[level]["max_difference"] for level in ("EXTENDED", "ALL")} == {0.0}
    assert (results["integer_kernels"]["QGemm"], results["integer_kernels"]["all_integer"]) == (2, True)
