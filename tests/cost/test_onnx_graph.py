"""Layers of ONNX files: exported ones against torch, small ones written by hand against formulas."""

import numpy as np
import onnx
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from edgeailite.cost import onnx_cost, onnx_layers, torch_cost, torch_layers
from edgeailite.export import to_onnx
from tests.golden import golden_model
from tests.sweep import sweep_card

SIZE = (97, 161)
FLOAT = TensorProto.FLOAT
slow = pytest.mark.slow


def write(path, nodes, weights, *, inputs, outputs, opset=21):
    """An ONNX file of nodes and arrays by name; `inputs` and `outputs` are shapes of float tensors by name."""
    tensors = [numpy_helper.from_array(np.asarray(value), name) for name, value in weights.items()]
    values = [
        [helper.make_tensor_value_info(name, FLOAT, shape) for name, shape in group.items()]
        for group in (inputs, outputs)
    ]
    graph = helper.make_graph(nodes, "hand", *values, tensors)
    domains = [helper.make_opsetid("", opset), helper.make_opsetid("com.microsoft", 1)]
    path.write_bytes(helper.make_model(graph, opset_imports=domains, ir_version=10).SerializeToString())
    return path


EXPORTED = [
    ("unet_aspp_mobilenetv2_tv_edgeailite", {"upsampling": "deconvolution"}, 1),
    ("resnet18_ppm", {}, 1),  # pooling written as products
    pytest.param("fpn_aspp_regnetx400mf_fd_edgeailite", {"outputs": {"segmentation": 19, "depth": 1}}, 1, marks=slow),
    pytest.param("mobilenetv2dilated_upernet_lite", {}, 2, marks=slow),
]


@pytest.mark.parametrize(("name", "options", "inputs"), EXPORTED)
@pytest.mark.parametrize("open_size", [False, True])
def test_an_exported_float_file_counts_as_its_network(name, options, inputs, open_size, tmp_path):
    model = golden_model(
        name, inputs=inputs, **options
    ).eval()  # with biases that are not zero, which simplifying drops
    file = tmp_path / "model.onnx"
    file.write_bytes(to_onnx(model, sweep_card(model), size=None if open_size else SIZE).SerializeToString())
    cost, expected = onnx_cost(file, SIZE if open_size else None), torch_cost(model, SIZE, inputs=inputs)
    assert cost.macs == expected.macs
    counted = [sorted((layer.operator, layer.macs, layer.output_shape) for layer in table if layer.macs)
               for table in (cost.layers, expected.layers)]  # fmt: skip
    assert counted[0] == counted[1]
    assert not any(layer.integer for layer in cost.layers)
    assert cost.peak_int8_bytes is None
    assert cost.peak_bytes <= expected.peak_bytes  # BatchNorm is folded, nothing is held longer than it is read
    # a folded BatchNorm leaves one bias of its two values per channel
    folded = sum(layer.parameters for layer in expected.layers if layer.operator == "batch_norm") // 2
    read = sum(layer.parameters for layer in expected.layers)
    assert sum(layer.parameters for layer in cost.layers) == read - folded
    assert cost.weight_bytes == 4 * cost.parameters


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_hand_formula_on_random_convolutions(tmp_path_factory, data):
    small = st.integers(1, 3)
    groups, stride, dilation, padding = (
        data.draw(small),
        data.draw(small),
        data.draw(small),
        data.draw(st.integers(0, 2)),
    )
    height, width = data.draw(small), data.draw(small)
    transposed, bias = data.draw(st.booleans()), data.draw(st.booleans())
    kind = torch.nn.ConvTranspose2d if transposed else torch.nn.Conv2d
    layer = kind(6 // groups * groups, 2 * groups, (height, width), stride=stride, dilation=dilation, groups=groups,
                 padding=padding, bias=bias)  # fmt: skip
    x = torch.zeros(1, layer.in_channels, 17, 20)
    result = layer(x)
    weights = {name: value.detach().numpy() for name, value in layer.named_parameters()}
    node = helper.make_node("ConvTranspose" if transposed else "Conv", ["x", *weights], ["y"], group=groups,
                            strides=[stride] * 2, dilations=[dilation] * 2, pads=[padding] * 4)  # fmt: skip
    file = write(
        tmp_path_factory.mktemp("conv") / "a.onnx", [node], weights, inputs={"x": x.shape}, outputs={"y": None}
    )
    [counted] = onnx_layers(file)
    positions = (x if transposed else result).shape[2:]
    per_position = height * width * layer.in_channels * layer.out_channels // groups
    assert counted.macs == positions[0] * positions[1] * per_position
    assert counted.output_shape == result.shape
    assert counted.parameters == sum(p.numel() for p in layer.parameters())
    assert counted.element_operations == (result.numel() if bias else 0)
    assert (counted.bytes_read, counted.bytes_written) == (4 * (x.numel() + counted.parameters), 4 * result.numel())


def test_linear_layers_and_products(tmp_path):
    nodes = [
        helper.make_node("Gemm", ["x", "w", "b"], ["a"], transB=1),
        helper.make_node("MatMul", ["a", "v"], ["c"], name="second/MatMul"),
        helper.make_node("MatMul", ["c", "pool"], ["d"]),
        helper.make_node("MatMul", ["d", "d"], ["e"]),
    ]
    random = np.random.default_rng(0)
    weights = {
        "w": random.normal(size=(7, 3)).astype(np.float32),
        "b": np.ones(7, np.float32),
        "v": random.normal(size=(7, 4)).astype(np.float32),
        "pool": np.eye(4, 5, dtype=np.float32),
    }
    file = write(tmp_path / "a.onnx", nodes, weights, inputs={"x": (5, 3)}, outputs={"e": None})
    told = [(layer.name, layer.operator, layer.macs, layer.parameters) for layer in onnx_layers(file)]
    assert told == [
        ("a", "linear", 5 * 7 * 3, 28),
        ("second", "linear", 5 * 7 * 4, 28),
        ("d", "matmul", 0, 0),  # zeros and ones: a pooling
        ("e", "matmul", 0, 0),  # nothing learned
    ]


def quantized_pair(name, scale="s", zero="z"):
    """QuantizeLinear and DequantizeLinear behind `name`."""
    return [
        helper.make_node("QuantizeLinear", [name, scale, zero], [f"{name}_q"]),
        helper.make_node("DequantizeLinear", [f"{name}_q", scale, zero], [f"{name}_d"]),
    ]


CODES = {"s": np.float32(0.1), "z": np.uint8(3), "w": np.ones((4, 3, 3, 3), np.int8), "b": np.ones(4, np.int32),
         "ws": np.ones(4, np.float32), "wz": np.zeros(4, np.int8)}  # fmt: skip
DEQUANTIZED_WEIGHTS = [
    helper.make_node("DequantizeLinear", ["w", "ws", "wz"], ["w_d"], axis=0),
    helper.make_node("DequantizeLinear", ["b", "ws"], ["b_d"], axis=0),
]


def test_quantize_dequantize_is_an_integer_layer(tmp_path):
    nodes = [
        *quantized_pair("x"),
        *DEQUANTIZED_WEIGHTS,
        helper.make_node("Conv", ["x_d", "w_d", "b_d"], ["c"], name="conv/Conv"),
        helper.make_node("Relu", ["c"], ["r"]),
        *quantized_pair("r"),
        helper.make_node("Softmax", ["r_d"], ["y"]),
    ]
    file = write(tmp_path / "a.onnx", nodes, CODES, inputs={"x": (1, 3, 8, 8)}, outputs={"y": None})
    quantize, conv, dequantize, softmax = onnx_layers(file)
    assert (conv.name, conv.operator, conv.macs, conv.integer) == ("conv", "convolution", 36 * 108, True)
    assert (conv.bytes_read, conv.bytes_written, conv.parameters) == (192 + 108 + 4 * 4, 144, 112)
    assert conv.element_operations == 3 * 144  # bias, scale, round
    assert (quantize.bytes_read, quantize.bytes_written) == (4 * 192, 192)
    assert (dequantize.bytes_read, dequantize.bytes_written) == (144, 4 * 144)
    assert (softmax.operator, softmax.integer) == ("softmax", False)
    cost = onnx_cost(file)
    assert cost.memory == (4 * 192 + 192, 4 * 192 + 192 + 144, 4 * 192 + 144 + 576, 4 * 192 + 576 + 576)
    assert cost.peak_int8_bytes == cost.peak_bytes
    assert cost.weight_int8_bytes == 108 + 16


def test_a_convolution_whose_result_somebody_reads_as_float_is_float(tmp_path):
    nodes = [
        *quantized_pair("x"),
        *DEQUANTIZED_WEIGHTS,
        helper.make_node("Conv", ["x_d", "w_d", "b_d"], ["c"]),
        *quantized_pair("c"),
        helper.make_node("Add", ["c_d", "c"], ["y"]),
    ]
    file = write(tmp_path / "a.onnx", nodes, CODES, inputs={"x": (1, 3, 8, 8)}, outputs={"y": None})
    [conv] = [layer for layer in onnx_layers(file) if layer.macs]
    assert (conv.integer, conv.bytes_written) == (False, 4 * 144)
    assert onnx_cost(file).integer_macs == 0


def test_qlinear_operators_are_integer(tmp_path):
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"]),
        helper.make_node("QLinearConv", ["q", "s", "z", "w", "ws", "wz", "s", "z", "b"], ["c"]),
        helper.make_node("DequantizeLinear", ["c", "s", "z"], ["y"]),
    ]
    file = write(tmp_path / "a.onnx", nodes, CODES, inputs={"x": (1, 3, 8, 8)}, outputs={"y": None})
    conv = onnx_layers(file)[1]
    assert (conv.operator, conv.macs, conv.integer, conv.parameters) == ("convolution", 36 * 108, True, 112)
    assert (conv.bytes_read, conv.bytes_written) == (192 + 108 + 16, 144)


def test_float_memory_reuses_what_an_activation_alone_reads(tmp_path):
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"]),
        helper.make_node("Relu", ["c"], ["r"]),
        helper.make_node("Reshape", ["r", "shape"], ["flat"]),
        helper.make_node("Sigmoid", ["flat"], ["s"]),
        helper.make_node("Add", ["flat", "s"], ["y"]),
    ]
    weights = {"w": np.ones((4, 3, 1, 1), np.float32), "shape": np.array([1, -1])}
    file = write(tmp_path / "a.onnx", nodes, weights, inputs={"x": (1, 3, 8, 8)}, outputs={"y": None})
    cost = onnx_cost(file)
    assert [layer.operator for layer in cost.layers] == ["convolution", "relu", "sigmoid", "add"]
    x, one = 4 * 192, 4 * 256
    assert cost.memory == (x + one, x + one, x + 2 * one, x + 3 * one)
    assert (cost.parameters, onnx.load(file).graph.initializer[0].name) == (12, "w")


def test_resizes_and_looks_count_as_in_torch(tmp_path):
    """Nearest neighbours are moved, not computed; a slice or a split is another look at the same memory."""

    class Network(torch.nn.Module):
        def forward(self, x):
            first, second = torch.nn.functional.interpolate(x, scale_factor=2, mode="nearest").split((1, 2), 1)
            return torch.nn.functional.leaky_relu(first[:, :, 1:]) + torch.sigmoid(second[:, :, 1:])

    expected = torch_layers(Network(), (4, 6))
    nodes = [
        helper.make_node("Resize", ["x", "", "scales"], ["up"], mode="nearest"),
        helper.make_node("Split", ["up", "parts"], ["first", "second"], axis=1),
        helper.make_node("Slice", ["first", "one", "end", "two"], ["a"]),
        helper.make_node("Slice", ["second", "one", "end", "two"], ["b"]),
        helper.make_node("LeakyRelu", ["a"], ["c"]),
        helper.make_node("Sigmoid", ["b"], ["d"]),
        helper.make_node("Add", ["c", "d"], ["y"]),
    ]
    weights = {
        "scales": np.array([1, 1, 2, 2], np.float32),
        "parts": np.array([1, 2]),
        "one": np.array([1]),
        "end": np.array([2**31]),
        "two": np.array([2]),
    }
    file = write(tmp_path / "a.onnx", nodes, weights, inputs={"x": (1, 3, 4, 6)}, outputs={"y": None})
    found = onnx_layers(file)
    assert [layer.operator for layer in found] == [layer.operator for layer in expected]
    assert [layer.element_operations for layer in found] == [layer.element_operations for layer in expected]


def test_an_activation_behind_an_integer_convolution_by_any_name(tmp_path):
    """LeakyRelu and HardSwish are computed with it, as Relu is."""
    for activation in ("LeakyRelu", "HardSwish", "Sigmoid"):
        nodes = [
            helper.make_node("QuantizeLinear", ["picture", "s", "z"], ["x8"]),
            helper.make_node("DequantizeLinear", ["x8", "s", "z"], ["x"]),
            helper.make_node("DequantizeLinear", ["w8", "s", "z"], ["w"]),
            helper.make_node("Conv", ["x", "w"], ["c"]),
            helper.make_node(activation, ["c"], ["r"]),
            helper.make_node("QuantizeLinear", ["r", "s", "z"], ["y8"]),
            helper.make_node("DequantizeLinear", ["y8", "s", "z"], ["y"]),
        ]
        weights = {"s": np.float32(0.1), "z": np.int8(0), "w8": np.ones((4, 3, 1, 1), np.int8)}
        file = write(tmp_path / "a.onnx", nodes, weights, inputs={"picture": (1, 3, 4, 4)}, outputs={"y": None})
        layers = onnx_layers(file)
        assert [layer.operator for layer in layers] == ["quantize", "convolution", "dequantize"], activation
        assert layers[1].integer
