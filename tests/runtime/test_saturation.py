"""Exact sums on CPUs without VNNI: who is asked, which files get the entry, and that they load with it."""

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgeailite.export import to_onnx
from edgeailite.export.self_test import quantized, random_images, small_card, small_network
from edgeailite.onnxfile import read_onnx
from edgeailite.quantization import SCHEMES, calibrate, integer_exact, prepare, set_input_range
from edgeailite.runtime import load_onnx, run, saturation
from edgeailite.runtime.metadata import SIGNED_CODES
from edgeailite.runtime.saturation import EXACT_SUMS, PROBE, exact_sums, sums_saturate

torch = pytest.importorskip("torch")


def small_file(scheme: str = "ort_u8s8") -> bytes:
    prepared = prepare(small_network(), scheme)
    set_input_range(prepared, *small_card().preprocessing.input_range)
    calibrate(prepared, [torch.from_numpy(image) for (image,) in random_images(2)])
    return to_onnx(prepared.eval(), small_card(), simplify=False).SerializeToString()


def test_the_probe_is_the_model_that_its_comment_says() -> None:
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        [helper.make_node("MatMulInteger", ["a", "b"], ["c"])],
        "g",
        [value("a", TensorProto.UINT8, [1, 4]), value("b", TensorProto.INT8, [4, 1])],
        [value("c", TensorProto.INT32, [1, 1])],
    )
    assert onnx.load_from_string(PROBE) == helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8
    )


@pytest.mark.parametrize("scheme", [name for name in SCHEMES if name != "portable"])  # average pooling
def test_files_get_the_entry_where_sums_saturate(scheme: str, monkeypatch: pytest.MonkeyPatch) -> None:
    file = read_onnx(small_file(scheme))
    settings = SIGNED_CODES if SCHEMES[scheme].signed else {}
    monkeypatch.setattr(saturation, "sums_saturate", lambda: True)
    wanted = {} if scheme in ("ort_u8s7", "s8s8") else EXACT_SUMS
    assert exact_sums(file, settings) == wanted
    monkeypatch.setattr(saturation, "sums_saturate", lambda: False)
    assert exact_sums(file, settings) == {}


def test_no_entry_for_float_files_nor_for_files_that_share_a_zero_point(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(saturation, "sums_saturate", lambda: True)
    assert exact_sums(read_onnx(to_onnx(small_network(), small_card()).SerializeToString()), {}) == {}
    model = onnx.load_from_string(small_file())
    codes = {tensor.name for tensor in model.graph.initializer if tensor.data_type == TensorProto.INT8}
    pairs = [n for n in model.graph.node if n.op_type == "DequantizeLinear" and n.input[0] in codes]
    same = [node for node in pairs if len(node.input) > 2][:2]
    same[1].input[2] = same[0].input[2]
    assert exact_sums(read_onnx(model.SerializeToString()), {}) == {}


def test_the_entry_changes_no_code_where_sums_are_exact() -> None:
    """With the entry on any CPU, and so here: the file gives the integer-exact codes."""
    (image,) = random_images(1)[0]
    prepared = quantized(small_network(), random_images(2))
    data = to_onnx(prepared, small_card(), simplify=False).SerializeToString()
    expected = integer_exact(prepared)(torch.from_numpy(image))["segmentation"].numpy()
    options = onnxruntime.SessionOptions()
    for key, value in EXACT_SUMS.items():
        options.add_session_config_entry(key, value)
    session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    np.testing.assert_array_equal(session.run(None, {"image": image})[0], expected)
    np.testing.assert_array_equal(run(load_onnx(data), image)["segmentation"], expected)


def test_a_cpu_with_vnni_does_not_saturate() -> None:
    from edgeailite.environment import VNNI, cpu_features

    features = set(cpu_features())
    if not features:
        pytest.skip("this system does not tell its CPU's features")
    assert sums_saturate() == ("avx2" in features and not VNNI & features)


@pytest.mark.parametrize(("activations", "weights", "wanted"), [
    (np.uint8, np.int8, EXACT_SUMS), (np.int8, np.int8, {}), (np.uint8, np.uint8, {}),
], ids=["u8s8", "s8s8", "u8u8"])  # fmt: skip
def test_files_in_qoperator_form_get_the_entry_too(activations, weights, wanted, monkeypatch) -> None:
    monkeypatch.setattr(saturation, "sums_saturate", lambda: True)
    arrays = {
        "s": np.float32(0.1), "z": activations(0), "w": np.zeros((2, 3, 1, 1), weights), "wz": weights(0),
    }  # fmt: skip
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(activations))
    graph = helper.make_graph(
        [helper.make_node("QLinearConv", ["x", "s", "z", "w", "s", "wz", "s", "z"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", kind, [1, 3, 4, 4])],
        [helper.make_tensor_value_info("y", kind, None)],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in arrays.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    assert exact_sums(read_onnx(model.SerializeToString()), {}) == wanted
