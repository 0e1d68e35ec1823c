"""Hand-made int8 files against onnxruntime: rules of single kernels, moves, what has no rule, and refusals."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from edgeailite.errors import DataError
from edgeailite.export.int8_files.file import int8_file
from edgeailite.export.int8_files.prove import prove_int8
from edgeailite.onnxfile import read_onnx
from edgeailite.preprocessing import Preprocessing
from tests.export.int8_files.files import SIZE, model, pictures

BETWEEN = {"image": (0.0313, 128), "a": (0.0291, 49), "b": (0.0181, 141), "y": (0.0237, 61)}


def grid(name: str, kind: type = np.uint8) -> dict[str, np.ndarray]:
    scale, zero = BETWEEN[name]
    return {f"{name}_s": np.float32(scale), f"{name}_z": kind(zero - (128 if kind is np.int8 else 0))}


def pair(source: str, name: str, result: str):
    """QuantizeLinear and DequantizeLinear of a tensor at the grid of a name."""
    ends = [f"{name}_s", f"{name}_z"]
    return [
        ("QuantizeLinear", [source, *ends], [f"{result}_q"], {}),
        ("DequantizeLinear", [f"{result}_q", *ends], [result], {}),
    ]


def between(operator, *, inputs=("u",), extra=(), constants=None, kind=np.uint8, **attributes) -> onnx.ModelProto:
    """A QDQ file: the picture, an operator on its codes at the grids a and b, and the quantized result."""
    nodes = [*pair("image", "a", "u"), *pair("image", "b", "v"), *extra]
    nodes += [(operator, [*inputs], ["w"], attributes), *pair("w", "y", "y")]
    used = {name for _, names, _, _ in nodes for name in names}
    nodes = [node for node in nodes if node[1][0] != "image" or f"{node[2][0][0]}_q" in used]
    held = {**grid("a", kind), **grid("b", kind), **grid("y", kind), **(constants or {})}
    readers = {name for _, names, _, _ in nodes for name in names}
    keep = [node for node in nodes if node[2][0] == "y" or set(node[2]) & readers]
    return model(keep, {name: value for name, value in held.items() if name in readers})


def weights(*shape, zero=0, kind=np.int8, per_channel=True, name="k"):
    codes = np.random.default_rng(shape[0]).integers(-127, 128, shape)
    codes = codes.astype(np.int8) if kind is np.int8 else (codes + 128).astype(np.uint8)
    size = (shape[0],) if per_channel else ()
    scales = np.full(size, 0.004, np.float32) * (1 + np.arange(size[0]) / 7 if per_channel else 1)
    held = {f"{name}_c": codes, f"{name}_s": scales.astype(np.float32), f"{name}_z": np.full(size, zero, kind)}
    return held, [("DequantizeLinear", [f"{name}_c", f"{name}_s", f"{name}_z"], [name], {"axis": 0})]


def convolution(*, zero=0, kind=np.int8, per_channel=True, bias_scale=1.0, activations=np.uint8, **attributes):
    held, extra = weights(4, 3, 3, 3, zero=zero, kind=kind, per_channel=per_channel)
    inputs = ["u", "k"]
    if bias_scale:
        held["bias_c"] = np.array([900, -700, 0, 12345], np.int32)
        held["bias_s"] = np.float32(BETWEEN["a"][0]) * held["k_s"] * np.float32(bias_scale)
        held["bias_z"] = np.zeros(held["bias_s"].shape, np.int32)
        extra = [*extra, ("DequantizeLinear", ["bias_c", "bias_s", "bias_z"], ["bias"], {"axis": 0})]
        inputs.append("bias")
    return between("Conv", inputs=inputs, extra=extra, constants=held, kind=activations, **attributes)


EXACT = {
    "Conv": lambda: convolution(pads=[1, 1, 1, 1]),
    "Conv without bias": lambda: convolution(bias_scale=0),
    "Conv, one scale": lambda: convolution(per_channel=False),
    "Conv, uint8 weights around 128": lambda: convolution(zero=128, kind=np.uint8, per_channel=False),
    "Conv, uint8 weights around 7": lambda: convolution(zero=7, kind=np.uint8, per_channel=False),
    "Conv, SAME_UPPER": lambda: convolution(auto_pad="SAME_UPPER", strides=[2, 2]),
    "Conv, SAME_LOWER": lambda: convolution(auto_pad="SAME_LOWER", strides=[2, 2]),
    "Conv, dilated": lambda: convolution(pads=[2, 2, 2, 2], dilations=[2, 2]),
    "Conv, uneven padding": lambda: convolution(pads=[0, 1, 2, 0]),
    "Conv, signed codes": lambda: convolution(activations=np.int8),
    "Add": lambda: between("Add", inputs=("u", "v")),
    "Add, signed codes": lambda: between("Add", inputs=("u", "v"), kind=np.int8),
    "Sub": lambda: between("Sub", inputs=("u", "v")),
    "Mul": lambda: between("Mul", inputs=("u", "v")),
    "Mul, signed codes": lambda: between("Mul", inputs=("u", "v"), kind=np.int8),
    "Concat at three scales": lambda: between("Concat", inputs=("u", "v"), axis=1),
    "GlobalAveragePool": lambda: between("GlobalAveragePool"),
    "GlobalAveragePool, signed codes": lambda: between("GlobalAveragePool", kind=np.int8),
    "AveragePool": lambda: between("AveragePool", kernel_shape=[3, 2], strides=[2, 1], pads=[1, 0, 1, 0]),
    "AveragePool, padding counts": lambda: between("AveragePool", kernel_shape=[3, 3], pads=[1, 1, 1, 1],
                                                   count_include_pad=1),
    "MaxPool": lambda: between("MaxPool", kernel_shape=[2, 2], strides=[2, 2]),
    "Relu of codes": lambda: between("Relu"),
    "Transpose": lambda: between("Transpose", perm=[0, 2, 3, 1]),
    "Reshape": lambda: between("Reshape", inputs=("u", "to"), constants={"to": np.array([1, 3, -1])}),
    "Pad": lambda: between("Pad", inputs=("u", "by"), constants={"by": np.array([0, 0, 1, 2, 0, 0, 0, 3])}),
    "Resize nearest": lambda: between("Resize", inputs=("u", "", "by"), mode="nearest", nearest_mode="floor",
                                      coordinate_transformation_mode="asymmetric",
                                      constants={"by": np.array([1, 1, 2, 2], np.float32)}),
    "Resize linear": lambda: between("Resize", inputs=("u", "", "by"), mode="linear",
                                     constants={"by": np.array([1, 1, 2, 3], np.float32)}),
}  # fmt: skip


def proof_of(tmp_path, file: onnx.ModelProto, **options):
    path = tmp_path / "theirs.onnx"
    onnx.save(file, str(path))
    return prove_int8(int8_file(read_onnx(path)), pictures(1), Preprocessing(*SIZE), **options)


@pytest.mark.parametrize("kind", EXACT)
def test_a_rule_has_every_bit_of_onnxruntime(tmp_path, kind):
    proof = proof_of(tmp_path, EXACT[kind]())
    assert proof.exact, (proof.parts, proof.without_rule, proof.float_layers)


FUNCTIONS = {
    "Sigmoid": {},
    "LeakyRelu": {"alpha": 0.1},
    "HardSigmoid": {},
    "HardSwish": {},
    "Tanh": {},
    "Elu": {},
    "Softplus": {},
}


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_function_is_a_table_or_next_to_a_tie(tmp_path, function):
    proof = proof_of(tmp_path, between(function, **FUNCTIONS[function]))
    assert not proof.without_rule
    assert all(part.read and part.largest_step <= 1 and part.equal > 0.9 for part in proof.parts.values())


def test_an_operator_without_a_rule_is_named_and_what_follows_is_exact(tmp_path):
    held, extra = weights(4, 3, 3, 3)
    nodes = [
        *pair("image", "a", "u"), ("Softmax", ["u"], ["soft"], {"axis": 1}), *pair("soft", "b", "v"), *extra,
        ("Conv", ["v", "k"], ["w"], {}), *pair("w", "y", "y"),
    ]  # fmt: skip
    proof = proof_of(tmp_path, model(nodes, {**grid("a"), **grid("b"), **grid("y"), **held}))
    assert list(proof.without_rule) == ["Softmax node_2"] and not proof.exact and proof.integer_macs == 1
    assert not proof.inexact_outputs and proof.agreements["ALL"][0].max_difference == 0
    assert all(part.read and part.largest_step <= 1 for part in proof.parts.values())


def test_a_layer_that_nothing_quantizes_is_in_float_with_its_share(tmp_path):
    held, extra = weights(4, 3, 3, 3)
    more, second = weights(4, 4, 1, 1, name="l")
    nodes = [
        *pair("image", "a", "u"), *extra, ("Conv", ["u", "k"], ["w"], {}), *pair("w", "y", "v"), *second,
        ("Conv", ["v", "l"], ["y"], {}),
    ]  # fmt: skip
    proof = proof_of(tmp_path, model(nodes, {**grid("a"), **grid("y"), **held, **more}))
    assert proof.float_layers == ["node_7"] and list(proof.inexact_outputs) == ["y"]
    assert proof.integer_macs == pytest.approx(27 / 31)


def test_a_bias_of_another_scale_keeps_its_layer_in_float(tmp_path):
    """The kernel takes the bias as multiples of input scale x weight scale; onnxruntime sees that this is none."""
    proof = proof_of(tmp_path, convolution(bias_scale=3.0))
    assert proof.float_layers == ["node_5"] and not proof.exact and proof.integer_macs == 0


def test_open_sizes_are_compared_too(tmp_path):
    nodes = [*pair("image", "a", "u"), ("Reshape", ["u", "to"], ["w"], {}), *pair("w", "a", "y")]
    file = model(nodes, {**grid("a"), "to": np.array([1, 3, 8, -1])}, shape=("N", 3, "H", "W"))
    proof = proof_of(tmp_path, file, sizes=((17, 24), (17, 23)))
    assert proof.sizes["17x24 ALL"]["max_difference"] == 0.0
    assert "onnxruntime cannot run it" in proof.sizes["17x23"]["refused"]


REFUSED = {
    "float": (lambda: model([("Relu", ["image"], ["y"], {})], {}), "has no quantizers, so it is a float file"),
    "batch": (lambda: model(pair("image", "a", "y"), grid("a"), shape=(2, 3, *SIZE)), "takes 2 pictures at once"),
    "grey": (lambda: model(pair("image", "a", "y"), grid("a"), shape=(1, 1, *SIZE)), "expected float32 pictures"),
    "rank": (lambda: model(pair("image", "a", "y"), grid("a"), shape=(1, 3)), "expected float32 pictures"),
}  # fmt: skip


@pytest.mark.parametrize("kind", REFUSED)
def test_other_files_are_refused_in_one_line(tmp_path, kind):
    make, said = REFUSED[kind]
    with pytest.raises(DataError, match=said) as caught:
        proof_of(tmp_path, make())
    assert "\n" not in str(caught.value)


def test_sizes_that_are_computed_from_the_picture(tmp_path):
    """As torch's exporter writes `interpolate(y, size=x.shape[2:])`."""
    nodes = [
        *pair("image", "a", "u"), ("MaxPool", ["u"], ["p"], {"kernel_shape": [2, 2], "strides": [2, 2]}),
        ("Shape", ["image"], ["sides"], {}), ("Resize", ["p", "", "", "sides"], ["y"], {"mode": "linear"}),
    ]  # fmt: skip
    proof = proof_of(tmp_path, model(nodes, grid("a"), shape=("N", 3, "H", "W")), sizes=((17, 24),))
    assert proof.exact and proof.sizes["17x24 EXTENDED"]["max_difference"] == 0.0
