"""Profilers of onnxruntime and torch, by operator."""

from __future__ import annotations

import pytest
import torch

from edgeailite.cost.latency import onnx_operators, torch_operators
from edgeailite.cost.latency.operators import _medians, source_name
from tests.cost.latency.tiny import tiny_file

NAMES = [
    ("encoder.stem.0/Conv_token_5", "encoder.stem.0/Conv"),
    ("encoder.stem.2_nchwc", "encoder.stem.2"),
    ("fused encoder.stem.0/Conv", "encoder.stem.0/Conv"),
    ("segmentation/Resize", "segmentation/Resize"),
]


@pytest.mark.parametrize(("executed", "source"), NAMES)
def test_names_of_the_file_are_found_again(executed, source):
    assert source_name(executed) == source


def test_onnxruntime_tells_every_operator(tmp_path):
    found = onnx_operators(tiny_file(tmp_path / "tiny.onnx"), threads=1, rounds=3)
    kinds = [operator.kind for operator in found]
    assert any("Conv" in kind for kind in kinds)
    assert {"Resize", "Upsample"} & set(kinds)
    assert "Relu" not in kinds, "onnxruntime computes it inside the convolution"
    assert all(0 <= operator.minimum <= operator.milliseconds < 1000 for operator in found)
    assert list(tmp_path.iterdir()) == [tmp_path / "tiny.onnx"], "no profile is left behind"


def test_a_node_of_a_branch_that_ran_less_often():
    """Nodes inside an If run in the rounds that take their branch: perhaps in none after the warm-up."""
    events = [
        {"cat": "Node", "name": f"{name}_kernel_time", "dur": 1000 * ms, "args": {"op_name": "Conv"}}
        for name, ms in (("always", 9), ("always", 9), ("branch", 2), ("always", 4))
    ]
    found = {operator.name: operator.milliseconds for operator in _medians(events, warmup=2)}
    assert found == {"always": 4, "branch": 2}


def test_torch_tells_kinds_slowest_first():
    found = torch_operators(
        torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.ReLU()), (32, 48), threads=1, rounds=2
    )
    assert any("conv" in operator.kind for operator in found)
    times = [operator.milliseconds for operator in found]
    assert times == sorted(times, reverse=True)
