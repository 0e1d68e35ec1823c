"""A planted fault is found by the name of its layer; equal sides do not depart; what cannot be paired is said."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper
from torch import fx, nn

from edgeailite.errors import DataError, UsageError
from edgeailite.export import to_onnx
from edgeailite.export.self_test import SIZE, quantized, random_images, small_card, small_network
from edgeailite.export.trace.compare import Trace, trace
from edgeailite.export.trace.file_side import file_side
from edgeailite.export.trace.matching import BY_NAME, BY_ORDER, longest_common
from edgeailite.export.trace.sides import Grid, Place
from edgeailite.export.trace.torch_side import torch_side
from edgeailite.runtime.saturation import sums_saturate

IMAGES = random_images(2)
CONV, TENSOR = "depthwise.0", "depthwise.2"


@dataclass(frozen=True)
class Forms:
    """The small network, prepared and calibrated, and its two files."""

    network: nn.Module
    prepared: fx.GraphModule
    float_file: Path
    int8_file: Path


@pytest.fixture(scope="module")
def forms(tmp_path_factory) -> Forms:
    folder, network = tmp_path_factory.mktemp("forms"), small_network()
    prepared = quantized(network, IMAGES)
    files = {"model.onnx": network, "model_int8.onnx": prepared}
    for name, model in files.items():
        (folder / name).write_bytes(to_onnx(model, small_card(), size=SIZE).SerializeToString())
    return Forms(network, prepared, *(folder / name for name in files))


def compared(
    forms: Forms, first: str | Path, second: str | Path, *, runtime: str = "ALL", local: bool = False
) -> Trace:
    def side(word: str | Path):
        if isinstance(word, Path):
            return file_side(word.name, word, runtime=runtime)
        return torch_side(word, forms.network if word == "float" else forms.prepared)

    return trace(side(first), side(second), IMAGES, local=local)


def changed(source: Path, target: Path, change: Callable[[onnx.ModelProto], None]) -> Path:
    model = onnx.load(str(source))
    change(model)
    onnx.save(model, str(target))
    return target


def replace_values(model: onnx.ModelProto, name: str, change: Callable[[np.ndarray], np.ndarray]) -> None:
    tensor = next(tensor for tensor in model.graph.initializer if tensor.name == name)
    values = change(numpy_helper.to_array(tensor).copy())
    tensor.CopyFrom(numpy_helper.from_array(values, name))


@pytest.mark.parametrize("runtime", ["EXTENDED", "ALL"])
def test_the_int8_file_is_the_integer_exact_network(forms, runtime):
    found = compared(forms, "integer_exact", forms.int8_file, runtime=runtime)
    assert (found.first_difference, found.first_departure, found.costliest) == (None, None, ())
    assert found.matching.unmatched == ((), ())
    assert len(found.rows) == 16
    assert found.outputs == {"segmentation": {"equal_argmax": 1.0, "max_difference": 0.0}}
    assert found.disturbed == (0, 0)


def test_the_float_file_differs_by_rounding_alone(forms):
    found = compared(forms, "float", forms.float_file)
    assert found.first_difference is not None
    assert (found.first_departure, found.costliest) == (None, ())
    assert min(row.sqnr_db for row in found.rows if row.sqnr_db is not None) > 100


def test_the_figures_are_those_of_the_definition(forms):
    row = next(row for row in compared(forms, "float", "fake_quant").rows if row.second == "stem.2")
    kept: dict[str, list[np.ndarray]] = {"a": [], "b": []}
    quantizer = forms.prepared.ranges.stem_2
    handles = [
        forms.network.stem.register_forward_hook(lambda module, args, out: kept["a"].append(out.numpy())),
        quantizer.register_forward_hook(lambda module, args, out: kept["b"].append(out.numpy())),
    ]
    with torch.no_grad():
        for (image,) in IMAGES:
            forms.network(torch.from_numpy(image))
            forms.prepared(torch.from_numpy(image))
    for handle in handles:
        handle.remove()
    a, b = (np.stack(kept[name]).astype(np.float64) for name in "ab")
    scale = float(quantizer.scale)
    assert row.sqnr_db == pytest.approx(10 * np.log10((a**2).sum() / ((a - b) ** 2).sum()))
    assert row.max_difference == pytest.approx(np.abs(a - b).max())
    assert row.mean_shift == pytest.approx((b - a).mean() / scale)
    steps = np.clip(np.rint(a / scale), 0, 255) - np.rint(b / scale)
    assert row.max_steps == np.abs(steps).max()
    assert row.equal == (steps == 0).mean()
    assert row.shape == (1, 16, 23, 34)


def _flip_weight_code(model: onnx.ModelProto) -> None:
    def flip(codes: np.ndarray) -> np.ndarray:
        codes.reshape(-1)[codes.size // 2] ^= 0x40
        return codes

    replace_values(model, f"{CONV}.weight", flip)


def _double_scale(model: onnx.ModelProto) -> None:
    node = next(node for node in model.graph.node if node.output[0] == f"{TENSOR}_quantized")
    copy = next(tensor for tensor in model.graph.initializer if tensor.name == node.input[1])
    model.graph.initializer.append(numpy_helper.from_array(numpy_helper.to_array(copy) * 2, "doubled"))
    for node in model.graph.node:
        if f"{TENSOR}_quantized" in (node.output[0], node.input[0]):
            node.input[1] = "doubled"


INTEGER_FAULTS = {"weight code": _flip_weight_code, "scale": _double_scale}


@pytest.mark.parametrize("reference", ["integer_exact", "fake_quant"])
@pytest.mark.parametrize("fault", INTEGER_FAULTS)
def test_a_fault_in_the_int8_file_is_found_by_the_name_of_its_layer(fault, reference, forms, tmp_path):
    broken = changed(forms.int8_file, tmp_path / "broken.onnx", INTEGER_FAULTS[fault])
    found = compared(forms, reference, broken)
    assert found.first_departure.second == TENSOR
    assert found.first_departure.layer == CONV
    assert reference == "fake_quant" or found.first_difference.second == TENSOR


def test_a_perturbed_layer_of_the_float_file_is_found(forms, tmp_path):
    def scaled(model: onnx.ModelProto) -> None:
        replace_values(model, "deep.0.weight", lambda weight: weight * np.float32(1.05))

    broken = changed(forms.float_file, tmp_path / "broken.onnx", scaled)
    for first in ("float", forms.float_file):
        found = compared(forms, first, broken)
        assert found.first_departure.second == "deep.2"
        assert found.costliest[0].second == "deep.2"
        assert found.costliest[0].layer.startswith("deep.0")
        assert all(row.sqnr_db is None or row.sqnr_db > 100 for row in found.rows if row.second in ("stem.2", "add"))


def test_local_shows_the_faulty_layer_alone(forms, tmp_path):
    broken = changed(forms.int8_file, tmp_path / "broken.onnx", _flip_weight_code)
    departing = {local: [r.second for r in compared(forms, broken, "integer_exact", local=local).rows if r.departs]
                 for local in (False, True)}  # fmt: skip
    assert departing[True] == [TENSOR]
    assert len(departing[False]) > 5
    with pytest.raises(UsageError, match=r"--trace_local: broken\.onnx is a file"):
        compared(forms, "float", broken, local=True)


def test_local_does_not_blame_the_last_resize_for_the_codes_it_is_fed(forms):
    rows = {row.second: row for row in compared(forms, "float", "integer_exact", local=True).rows}
    output = rows["segmentation"]
    assert output.operator == "Resize"
    assert output.max_difference > 0
    assert output.fall_db < 1


def test_codes_around_0_and_around_128_are_one_quantization(forms):
    side = torch_side("fake_quant", forms.prepared)

    def recoded(place: Place) -> Place:
        if place.grid is None:
            return place
        zero = place.grid.zero_point - 128
        return replace(place, grid=replace(place.grid, zero_point=zero, low=-128, high=127))

    other = replace(side, places={name: recoded(place) for name, place in side.places.items()})
    assert trace(side, other, IMAGES).first_departure is None


def test_the_quantizers_of_a_prepared_network_are_off_in_its_float_form(forms):
    found = trace(torch_side("float", forms.prepared), torch_side("float", forms.network), IMAGES)
    assert found.first_departure is None
    with pytest.raises(UsageError, match="--trace integer_exact: the run is float"):
        torch_side("integer_exact", forms.network)


def _with_heavy_dead_channel(model: onnx.ModelProto) -> None:
    """A weight that no picture reaches, but that sets the scale of all weights of its layer."""

    def dead(weight: np.ndarray) -> np.ndarray:
        weight[0] = 0
        return weight

    def never(bias: np.ndarray) -> np.ndarray:
        bias[0] = -10
        return bias

    def heavy(weight: np.ndarray) -> np.ndarray:
        weight[0] *= 200
        return weight

    def not_shifted(bias: np.ndarray) -> np.ndarray:
        bias[0] = 0
        return bias

    for name, change in (("stem.0.weight", dead), ("stem.0.bias", never), (f"{CONV}.weight", heavy)):
        replace_values(model, name, change)
    replace_values(model, f"{CONV}.bias", not_shifted)


@pytest.fixture(scope="module", params=["QDQ", "QOperator"])
def elsewhere(request, forms, tmp_path_factory) -> tuple[Path, Path]:
    """A float file with one layer that per-tensor weights cannot hold, and what `quantize_static` makes of it."""
    quantization = pytest.importorskip("onnxruntime.quantization")
    folder = tmp_path_factory.mktemp("elsewhere")
    source, target = changed(forms.float_file, folder / "float.onnx", _with_heavy_dead_channel), folder / "int8.onnx"
    quant_format = quantization.QuantFormat[request.param]

    class Reader(quantization.CalibrationDataReader):
        images = iter([{"image": image} for (image,) in IMAGES])

        def get_next(self):
            return next(self.images, None)

    quantization.quantize_static(str(source), str(target), Reader(), quant_format=quant_format, per_channel=False)
    return source, target


def test_a_file_from_elsewhere_is_blamed_by_its_costliest_layer(elsewhere, forms):
    found = compared(forms, *elsewhere)
    assert found.matching.by == BY_NAME
    assert len(found.rows) >= 11  # of QOperator, what moves codes (a pooling, a resize) is none
    assert found.costliest[0].first == TENSOR
    assert found.costliest[0].fall_db > 10
    assert found.outputs["segmentation"]["equal_argmax"] < 1


def _renamed(model: onnx.ModelProto) -> None:
    """Names as another exporter gives them."""
    before = {tensor.name: index for index, tensor in enumerate(model.graph.initializer)}
    for node in model.graph.node:
        node.input[:] = [f"w{before[name]}" if name in before else name for name in node.input]
    for index, tensor in enumerate(model.graph.initializer):
        tensor.name = f"w{index}"
    kept = {value.name for value in (*model.graph.input, *model.graph.output)}
    inner = [name for node in model.graph.node for name in node.output if name not in kept]
    names = {name: f"t{index}" for index, name in enumerate(inner)}
    for index, node in enumerate(model.graph.node):
        node.name = f"node_{index}"
        node.input[:] = [names.get(name, name) for name in node.input]
        node.output[:] = [names.get(name, name) for name in node.output]


@pytest.mark.parametrize("word", ["float", "integer_exact"])
def test_other_names_are_matched_by_order_and_shape(word, forms, tmp_path):
    source = forms.float_file if word == "float" else forms.int8_file
    file = changed(source, tmp_path / "renamed.onnx", _renamed)
    found = compared(forms, word, file)
    assert found.matching.by == BY_ORDER
    assert found.first_departure is None
    assert len(found.rows) >= 13
    weight = next(
        index for index, t in enumerate(onnx.load(str(source)).graph.initializer) if t.name == f"{CONV}.weight"
    )

    def halved(model: onnx.ModelProto) -> None:
        replace_values(model, f"w{weight}", lambda values: values // 2 if word != "float" else values / 2)

    found = compared(forms, word, changed(file, tmp_path / "broken.onnx", halved))
    assert (found.first_departure.first, found.first_departure.layer) == (TENSOR, CONV)


def test_what_has_no_partner_is_named(forms, tmp_path):
    def without_addition(model: onnx.ModelProto) -> None:
        add = next(node for node in model.graph.node if node.op_type == "Add" and node.output[0] == "add")
        for node in model.graph.node:
            node.input[:] = [add.input[0] if name == "add" else name for name in node.input]
        model.graph.node.remove(add)

    shorter = changed(forms.float_file, tmp_path / "shorter.onnx", without_addition)
    found = compared(forms, "float", shorter)
    assert "add" in found.matching.unmatched[0]
    assert found.first_departure.second == "shrink"
    other = tmp_path / "other.onnx"
    nothing = onnx.helper.make_node("Flatten", ["image"], ["flat"], axis=2)
    picture = onnx.helper.make_tensor_value_info("image", 1, [1, 3, *SIZE])
    graph = onnx.helper.make_graph([nothing], "g", [picture], [onnx.helper.make_tensor_value_info("flat", 1, None)])
    onnx.save(
        onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 21)], ir_version=10), str(other)
    )
    found = compared(forms, "float", other)
    assert [row.second for row in found.rows] == ["image"]
    assert "stem.2" in found.matching.unmatched[0]
    assert found.matching.unmatched[1] == ("flat",)


def test_where_a_quantizer_stands_for_relu6_the_values_behind_it_are_compared():
    network = small_network()
    for module in list(network.modules()):
        for name, child in module.named_children():
            if isinstance(child, nn.ReLU):
                setattr(module, name, nn.ReLU6())
    prepared = quantized(network, IMAGES)
    found = trace(torch_side("float", network), torch_side("integer_exact", prepared), IMAGES)
    assert "stem.2" in dict(found.matching.pairs)
    assert found.matching.by == BY_NAME
    assert all(row.sqnr_db is None or row.sqnr_db > 25 for row in found.rows)
    again = trace(torch_side("fake_quant", prepared), torch_side("integer_exact", prepared), IMAGES)
    assert all(row.max_steps is None or row.max_steps <= 2 for row in again.rows)
    assert len(again.rows) >= 13


@pytest.mark.openvino
def test_openvino_is_a_side_too(forms):
    found = compared(forms, "integer_exact", forms.int8_file, runtime="openvino")
    assert found.unread == ("stem.2", "project.0")
    assert len(found.rows) == 14
    assert found.matching.unmatched == ((), ())
    least = 0.95 if sums_saturate() else 0.98  # without VNNI OpenVINO's sums saturate, and no setting avoids it
    assert found.outputs["segmentation"]["equal_argmax"] > least
    assert found.disturbed[1] < 0.02
    exact = compared(forms, "float", forms.float_file, runtime="openvino:f32")
    assert exact.first_departure is None
    assert exact.outputs["segmentation"]["equal_argmax"] > 0.99


def test_without_openvino_the_fix_is_named(forms, monkeypatch):
    monkeypatch.setattr("edgeailite.runtime.openvino_session.find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"--trace model_int8\.onnx: not installed; pip install openvino"):
        compared(forms, "float", forms.int8_file, runtime="openvino")


def test_files_that_cannot_be_traced(forms, tmp_path):
    with pytest.raises(DataError, match="no such ONNX file"):
        file_side("x", tmp_path / "none.onnx", runtime="ALL")
    (tmp_path / "bad.onnx").write_bytes(b"nothing")
    with pytest.raises(DataError, match=r"bad\.onnx"):
        file_side("x", tmp_path / "bad.onnx", runtime="ALL")
    with pytest.raises(UsageError, match="unknown runtime or level 'FAST'"):
        file_side("x", forms.float_file, runtime="FAST")
    with pytest.raises(UsageError, match="no picture was compared"):
        trace(torch_side("float", forms.network), torch_side("float", forms.network), [])


def test_longest_common_keeps_the_order():
    def signatures(letters: str) -> dict[str, tuple[str, tuple[int, ...], tuple[int, ...]]]:
        return {f"{letter}{index}": (letter, (), ()) for index, letter in enumerate(letters)}

    pairs = longest_common(signatures("abcbdab"), signatures("bdcaba"))
    assert len(pairs) == 4
    assert all(a[0] == b[0] for a, b in pairs)
    assert [a for a, _ in pairs] == sorted((a for a, _ in pairs), key=lambda name: int(name[1:]))


@pytest.mark.parametrize("bits, low, high", [(8, 0, 255), (8, -128, 127), (4, -8, 7), (16, 0, 65535)])
def test_a_grid_knows_its_bits_and_keeps_its_codes(bits, low, high):
    grid = Grid(0.5, low + 3, low, high)
    codes = np.arange(low, high + 1)
    assert grid.bits == bits
    assert np.array_equal(grid.codes(((codes - grid.zero_point) * grid.scale).astype(np.float32)), codes)
    assert grid.codes(np.float32([1e9, -1e9])).tolist() == [high, low]
