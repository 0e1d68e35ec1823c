"""Times of executed operators reach the layers they belong to."""

from __future__ import annotations

from edgeailite.cost import Layer, Value, onnx_layers
from edgeailite.cost.latency import OperatorTime, layer_times, measure_networks
from edgeailite.cost.random_weights import untrained, untrained_int8
from edgeailite.export import to_onnx

SIZE = (64, 96)


def value(name: str) -> Value:
    return Value(name, (1, 8, 4, 4), 4)


def layer(name: str, operator: str, *taken: str, gives: str = "") -> Layer:
    return Layer(name, operator, tuple(value(t) for t in taken), (value(gives or name),))


LAYERS = [
    layer("conv1", "convolution", "image"),
    layer("relu1", "relu", "conv1", gives="conv1"),
    layer("conv2", "convolution", "conv1"),
    layer("add", "add", "conv1", "conv2"),
    layer("up", "resize", "add"),
    layer("out", "convolution", "up"),
    layer("out", "dequantize", "out", gives="out_float"),
]


def placed(*operators: tuple[str, str, float]) -> list[float | None]:
    return layer_times([OperatorTime(name, kind, ms, ms) for name, kind, ms in operators], LAYERS)


def test_names_and_kinds():
    found = placed(("conv1/Conv", "Conv", 1), ("up/Resize", "Resize", 2), ("out/Conv_token_3", "QLinearConv", 4))
    assert found == [1, None, None, None, 2, 4, None]
    assert placed(("out/DequantizeLinear", "DequantizeLinear", 1))[6] == 1


def test_what_a_convolution_took_in_is_the_convolutions():
    assert placed(("relu1_nchwc", "Conv", 1)) == [1, None, None, None, None, None, None]
    assert placed(("add_nchwc", "Conv", 1)) == [None, None, 1, None, None, None, None]
    assert placed(("add/Add", "Add", 1)) == [None, None, None, 1, None, None, None]


def test_what_the_runtime_adds_counts_for_the_layer_before():
    found = placed(("up/Resize", "Resize", 2), ("ReorderOutput", "ReorderOutput", 0.5), ("out/Conv", "Conv", 1))
    assert found == [None, None, None, None, 2.5, 1, None]


def test_every_costly_layer_of_a_network_is_found(tmp_path):
    network, card = untrained("resnet18_c1", 19, SIZE)
    path = tmp_path / "model.onnx"
    path.write_bytes(to_onnx(untrained_int8(network, card), card, size=SIZE).SerializeToString())
    layers = onnx_layers(path)
    [measured] = measure_networks({"network": (path, layers, None)}, threads=1, rounds=2)
    times = dict(zip([(part.name, part.operator) for part in layers], measured.layer_milliseconds, strict=True))
    assert not [name for name, time in times.items() if time is None and name[1] in ("convolution", "resize")]
    assert sum(time or 0 for time in times.values()) > 0
