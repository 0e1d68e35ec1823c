"""The kernels that are measured on a machine: hashes are those of the rows, files are those that `onnx` would write."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from edgeailite.environment import VNNI, cpu_features, machine_arithmetic
from edgeailite.files import sha256_of
from edgeailite.quantization.arithmetic import ARITHMETICS, ONNXRUNTIME_ROWS, arithmetic_of
from edgeailite.quantization.integer import Codes, resize_bilinear
from edgeailite.runtime import kernels
from edgeailite.runtime.kernels import ADDITIONS, EXACT_SUM, RESIZES, kernel_facts, operator_file, run_operator
from tests.quantization.test_integer import quantize


def given(monkeypatch: pytest.MonkeyPatch, function: str) -> list:
    """The inputs that a measurement hands to its operator."""
    kept: list = []
    monkeypatch.setattr(kernels, "run_operator", lambda kind, inputs, **_: kept.extend(inputs) or np.zeros(1))
    getattr(kernels, function)()
    return kept


@pytest.mark.parametrize("name", ONNXRUNTIME_ROWS)
def test_hashes_are_those_of_the_rows(name, monkeypatch):
    row = ARITHMETICS[name]
    a, sa, za, b, sb, zb, sy, zy = given(monkeypatch, "added")
    (first, second, end) = (quantize(scale, int(zero)) for scale, zero in ((sa, za), (sb, zb), (sy, zy)))
    sides = [
        Codes(torch.from_numpy(codes.astype(np.float32)), side.scale, side.zero_point.float())
        for codes, side in ((a, first), (b, second))
    ]
    sums = row.add(*sides, end).clamp(0, 255).numpy().astype(np.uint8)
    assert ADDITIONS[name] == sha256_of(sums.tobytes())[:16]
    x, _, _, sizes = given(monkeypatch, "resized")
    values = resize_bilinear(torch.from_numpy(x), tuple(sizes[2:].tolist()), row.blend).numpy()
    assert RESIZES[name] == sha256_of(values.tobytes())[:16]


def test_every_row_is_told_from_the_others():
    assert set(ADDITIONS) == set(RESIZES) == set(ONNXRUNTIME_ROWS)
    assert len(set(ADDITIONS.values())) == len(ADDITIONS)
    assert len(set(RESIZES.values())) == len({arithmetic_of(name).blend for name in ONNXRUNTIME_ROWS})


def test_this_machine_has_the_kernels_of_its_row():
    facts = kernel_facts()
    assert machine_arithmetic() in facts["additions"]
    assert machine_arithmetic() in facts["resizes"]
    exact = machine_arithmetic() != "onnxruntime_x86" or bool(VNNI & set(cpu_features()))
    assert (facts["values"] == [EXACT_SUM]) == exact


def test_a_file_is_what_onnx_would_write():
    arrays = [np.zeros((2, 3), np.uint8), np.array(0.5, np.float32), None, np.array([1, 2], np.int64)]
    data = operator_file("Resize", arrays, output=(2, 3), domain="some.domain", mode="linear")
    names = ["i0", "i1", "", "i3"]
    node = helper.make_node("Resize", names, ["y"], domain="some.domain", mode="linear")
    values = [helper.make_tensor_value_info(name, TensorProto.UINT8, [2, 3]) for name in ("i0", "y")]
    constants = [numpy_helper.from_array(arrays[index], names[index]) for index in (1, 3)]
    graph = helper.make_graph([node], "Resize", values[:1], values[1:], constants)
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    assert onnx.ModelProto.FromString(data) == helper.make_model(graph, opset_imports=opsets, ir_version=8)


def test_an_operator_is_run():
    x = np.arange(6, dtype=np.float32).reshape(1, 1, 2, 3)
    doubled = run_operator("Resize", [x, None, None, np.array([1, 1, 2, 6])], mode="nearest", output=(1, 1, 2, 6))
    np.testing.assert_array_equal(doubled, x.repeat(2, 3))
