"""Every rule of the operators of other people's networks, against the file's form run by onnxruntime.

python -m pytest -m slow -s tests/quantization/test_operator_rules.py      prints the table: a million codes each
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper

from edgeailite.errors import UsageError
from edgeailite.quantization.codes import Codes
from edgeailite.quantization.convert import CodeTotal, IntegerHardswish, Quantize
from edgeailite.quantization.operator_rules import all_results, concatenate_rescaled, global_average, run_operator
from edgeailite.quantization.operators import Divide, Multiply, Total
from tests.quantization.operator_cases import CASES, Compared

MANY = 1_000_000
DEFAULT = (
    "Sigmoid", "Hardswish", "GELU", "PReLU", "Linear", "Mul", "Mul (N,C,1,1)", "Sub", "Div", "AvgPool2d 3/2 padded",
    "nearest 77x91", "aligned corners", "MaxPool2d ceil", "Pad", "slice", "max unpooling",
)  # fmt: skip


@pytest.mark.parametrize("name", [
    pytest.param(name, marks=() if name in DEFAULT else pytest.mark.slow) for name in CASES
])  # fmt: skip
def test_the_rule_is_the_kernel(name, tmp_path):
    compared = Compared(CASES[name], tmp_path)
    rng = np.random.default_rng(0)
    for _ in range(3):
        compared.compare(rng)
    assert compared.found.differing == {"EXTENDED": 0, "ALL": 0}
    assert CASES[name].kernel in compared.found.kernels


@pytest.mark.slow
def test_the_table_of_operators(tmp_path):
    print(f"\n| {'operator':24} | {'kernels':44} | {'codes':>10} | EXTENDED | ALL |")
    print(f"|{'-' * 26}|{'-' * 46}|{'-' * 12}|----------|-----|")
    wrong = {}
    for name, case in CASES.items():
        compared = Compared(case, tmp_path)
        rng = np.random.default_rng(1)
        while compared.found.compared < MANY:
            compared.compare(rng)
        found = compared.found
        kernels = ", ".join(found.kernels)
        counts = found.differing
        print(f"| {name:24} | {kernels:44} | {found.compared:10,} | {counts['EXTENDED']:8} | {counts['ALL']:3} |")
        if any(counts.values()):
            wrong[name] = counts
    assert not wrong


def test_a_quotient_by_zero_is_a_number():
    a, b = torch.tensor([0.0, 1.0, -1.0, 3.0]), torch.tensor([0.0, 0.0, 0.0, 2.0])
    assert Divide()(a, b).tolist() == [0.0, 2.0**60, -(2.0**60), 1.5]
    grid = Quantize(torch.tensor(0.5), torch.tensor(100, dtype=torch.uint8), opset=21)
    given = [Codes(value / grid.scale + 100, grid.scale, grid.zero_point.float()) for value in (a, b)]
    found = run_operator(Divide(), given, {}, "onnxruntime_arm64")(grid)
    assert found.clamp(0, 255).tolist() == [100, 255, 0, 103]


def test_ties_of_a_hard_swish_are_sought_among_its_results():
    rng = np.random.default_rng(0)
    for _ in range(40):
        x, y = drawn(rng), drawn(rng)
        module, codes = IntegerHardswish(x), codes_of(np.arange(256), x)
        steps = all_results(module, codes, y).numpy()
        apart = np.abs(steps - np.floor(steps) - 0.5) > 1e-3
        found = run_operator(module, [codes], {}, "onnxruntime_x86")(y).numpy() - int(y.zero_point)
        np.testing.assert_array_equal(found[apart], np.rint(steps)[apart])


# --- kernels that files of other tools have, and ours avoid


def kernel(name: str, inputs: tuple[str, ...], **attributes: int) -> onnxruntime.InferenceSession:
    """An integer kernel of onnxruntime alone; scales and zero points are inputs, as the codes are."""
    kinds = {name: TensorProto.FLOAT if name.endswith("scale") else TensorProto.UINT8 for name in inputs}
    shapes = {name: [] if name.endswith(("scale", "zero")) else [None] * 4 for name in inputs}
    graph = helper.make_graph(
        [helper.make_node(name, inputs, ["y"], domain="com.microsoft", **attributes)],
        "kernel",
        [helper.make_tensor_value_info(name, kinds[name], shapes[name]) for name in inputs],
        [helper.make_tensor_value_info("y", TensorProto.UINT8, None)],
    )
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid("com.microsoft", 1)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=10)
    return onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])


def drawn(rng: np.random.Generator) -> Quantize:
    scale = torch.tensor(np.float32(np.exp(rng.uniform(np.log(1 / 400), np.log(1 / 8)))))
    return Quantize(scale, torch.tensor(int(rng.choice([0, 128, rng.integers(256)])), dtype=torch.uint8), opset=21)


def codes_of(values: np.ndarray, grid: Quantize) -> Codes:
    return Codes(torch.from_numpy(values.astype(np.float32)), grid.scale, grid.zero_point.float())


def test_rule_15_is_the_average_over_a_whole_picture():
    rng = np.random.default_rng(0)
    session = kernel("QLinearGlobalAveragePool", ("x", "x_scale", "x_zero", "y_scale", "y_zero"), channels_last=0)
    compared = number = 0
    while compared < MANY:
        codes = rng.integers(0, 256, (100, 400, *rng.integers(1, 7, 2)), np.uint8)
        x, y = drawn(rng), drawn(rng)
        if number % 2:  # every second sum lies in the middle between two codes
            x.scale = y.scale * float(codes.shape[2] * codes.shape[3]) / 2
        given = [codes, x.scale.numpy(), x.zero_point.numpy(), y.scale.numpy(), y.zero_point.numpy()]
        (got,) = session.run(None, dict(zip([value.name for value in session.get_inputs()], given, strict=True)))
        expected = global_average(codes_of(codes, x))(y).clamp(0, 255).numpy()
        np.testing.assert_array_equal(got, expected)
        compared, number = compared + got.size, number + 1


def test_rule_16_is_a_concatenation_at_other_scales():
    rng = np.random.default_rng(0)
    names = ("y_scale", "y_zero", "a", "a_scale", "a_zero", "b", "b_scale", "b_zero", "c", "c_scale", "c_zero")
    session = kernel("QLinearConcat", names, axis=1)
    compared = 0
    while compared < MANY:
        grids = [drawn(rng) for _ in "yab"]
        y, a, b = grids
        codes = [rng.integers(0, 256, (2, channels, 64, 80), np.uint8) for channels in (5, 3, 2)]
        given = [
            y.scale,
            y.zero_point,
            *(v for q, c in zip((a, b, y), codes, strict=True) for v in (c, q.scale, q.zero_point)),
        ]
        feed = {
            name: value if isinstance(value, np.ndarray) else value.numpy()
            for name, value in zip(names, given, strict=True)
        }
        (got,) = session.run(None, feed)
        parts = [codes_of(value, grid) for value, grid in zip(codes, (a, b, y), strict=True)]
        np.testing.assert_array_equal(got, concatenate_rescaled(parts, 1, y).clamp(0, 255).numpy())
        compared += got.size


@pytest.mark.parametrize(("dims", "keepdim", "mean"), [((1,), True, True), ((1,), False, False), ((2, 3), True, False)])
def test_sums_are_whole_and_one_factor_follows(dims, keepdim, mean):
    codes = np.random.default_rng(0).integers(0, 256, (2, 7, 9, 5)).astype(np.float32)
    grid = Quantize(torch.tensor(0.0371), torch.tensor(91, dtype=torch.uint8), opset=21)
    module = CodeTotal(Total(dims, keepdim=keepdim, mean=mean), grid)
    given = Codes(torch.from_numpy(codes), grid.scale, grid.zero_point.float())
    got = run_operator(module, [given], {}, "onnxruntime_x86").numpy()
    sums = (codes.astype(np.int64) - 91).sum(dims, keepdims=keepdim)
    count = int(np.prod([codes.shape[dim] for dim in dims])) if mean else 1
    np.testing.assert_array_equal(got, sums.astype(np.float32) * (grid.scale.numpy() / np.float32(count)))


def test_a_sum_that_float32_cannot_hold_is_refused():
    grid = Quantize(torch.tensor(0.1), torch.tensor(0, dtype=torch.uint8), opset=21)
    module = CodeTotal(Total((2, 3), keepdim=True, mean=True), grid)
    given = Codes(torch.zeros(1, 1, 300, 300), grid.scale, grid.zero_point.float())
    with pytest.raises(UsageError, match="a sum of 90000 codes is not exact"):
        run_operator(module, [given], {}, "onnxruntime_x86")


def test_what_lies_next_to_a_tie_is_refused_where_kernels_were_never_compared():
    a, b, y = (Quantize(torch.tensor(s), torch.tensor(0, dtype=torch.uint8), opset=21) for s in (0.5, 0.5, 0.5))
    given = [Codes(torch.tensor([3.0]), q.scale, q.zero_point.float()) for q in (a, b)]
    assert run_operator(Multiply(), given, {}, "onnxruntime_sse2")(y).tolist() == [4.0]  # 4.5, halves to even
    with pytest.raises(UsageError, match="onnxruntime_arm64: a Multiply has results next to a tie"):
        run_operator(Multiply(), given, {}, "onnxruntime_arm64")(y)
    y.scale.fill_(0.5001)
    assert run_operator(Multiply(), given, {}, "onnxruntime_arm64")(y).tolist() == [4.0]


def test_the_page_lists_every_case_and_its_kernel():
    page = (Path(__file__).parents[2] / "docs" / "operators.md").read_text()
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in page.splitlines() if line.startswith("| ")]
    listed = {name.strip(): row[1] for row in rows[1:] for name in re.split(r"; |, (?![^(]*\))", row[0])}
    for name, case in CASES.items():
        assert case.kernel in listed[name], name
