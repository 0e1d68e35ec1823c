"""Every rule of the operators of other people's networks, against the file's form run by onnxruntime.

python -m pytest -m slow -s tests/quantization/test_operator_rules.py      prints the table: a million codes each
"""

from __future__ import annotations

import numpy as np
import pytest

from tests.quantization.operator_cases import CASES, Compared

MANY = 1_000_000
DEFAULT = (
    "Sigmoid", "Hardswish", "GELU", "PReLU", "Mul", "Mul (N,C,1,1)", "Sub", "AvgPool2d 3/2 padded", "nearest 77x91",
    "aligned corners", "MaxPool2d ceil", "Pad", "slice",
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
