"""Measured latency: whole networks in turn, and their operators one by one, on the machine at hand."""

from __future__ import annotations

from edgeailite.cost.latency.layer_times import layer_times, measure_networks
from edgeailite.cost.latency.measure import Timing, alternate
from edgeailite.cost.latency.operators import OperatorTime, onnx_operators, torch_operators
from edgeailite.cost.latency.runners import RUNTIMES, onnx_runner, onnx_session, random_inputs, torch_runner

__all__ = [
    "RUNTIMES", "OperatorTime", "Timing", "alternate", "layer_times", "measure_networks",
    "onnx_operators", "onnx_runner", "onnx_session", "random_inputs", "torch_operators", "torch_runner",
]  # fmt: skip
