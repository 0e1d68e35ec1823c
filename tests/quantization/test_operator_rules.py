"""Every rule of the operators of other people's networks, against the file's form run by onnxruntime.

python -m pytest -m slow -s tests/quantization/test_operator_rules.py      prints the table: a million codes each
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch

from edgeailite.errors import UsageError
from edgeailite.quantization.codes import Codes
from edgeailite.quantization.convert import CodeTotal, Quantize
from edgeailite.quantization.operator_rules import run_operator
from edgeailite.quantization.operators import Divide, Multiply, Total
from tests.quantization.operator_cases import CASES, Compared

MANY = 1_000_000
DEFAULT = (
    "Sigmoid", "Hardswish", "GELU", "PReLU", "Linear", "Mul", "Mul (N,C,1,1)", "Sub", "Div", "AvgPool2d 3/2 padded",
    "nearest 77x91", "aligned corners", "MaxPool2d ceil", "Pad", "slice",
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
