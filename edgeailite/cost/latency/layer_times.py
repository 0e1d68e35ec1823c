"""Times of executed operators, given to the layers of the file that they compute.

Rules: (1) an operator belongs to the layer of its name, and of two with one name to that of its kind; (2) where a
convolution took in what follows, its name is that of the last, and the time is the convolution's; (3) what onnxruntime
adds (changes of layout, conversions around an operator that it computes in float) counts for the layer before it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from edgeailite.cost import Layer
from edgeailite.cost.devices import MeasuredNetwork
from edgeailite.cost.latency.measure import alternate
from edgeailite.cost.latency.operators import OperatorTime, onnx_operators, source_name
from edgeailite.cost.latency.runners import onnx_runner

RESIZES = ("resize", "resize_nearest")
WORDS = {  # of the executed graph: of a layer
    "Conv": ("convolution",),
    "FusedConv": ("convolution",),
    "QLinearConv": ("convolution",),
    "Upsample": RESIZES,
    "Resize": RESIZES,
    "QuantizeLinear": ("quantize",),
    "DequantizeLinear": ("dequantize",),
}


def measure_networks(
    networks: Mapping[str, tuple[Path, Sequence[Layer], tuple[int, int] | None]], *, threads: int, rounds: int
) -> list[MeasuredNetwork]:
    """Time files with layers and sizes (height, width) in onnxruntime: whole networks in turns, then their operators.

    All times are those of the least disturbed round: an estimate is about the machine without other work. Operators
    that together take longer than the network did were disturbed in every round, and are scaled down to it.
    """
    runs = {
        name: onnx_runner(path, "onnxruntime", threads=threads, height_width=size)
        for name, (path, _, size) in networks.items()
    }
    totals = alternate(runs, rounds=rounds, warmup=3)
    del runs
    measured = []
    for name, (path, layers, size) in networks.items():
        operators = onnx_operators(path, threads=threads, height_width=size, rounds=rounds)
        total = totals[name].minimum
        times = layer_times(operators, layers)
        excess = max(1.0, sum(time or 0.0 for time in times) / total)
        measured.append(MeasuredNetwork(name, layers, [None if t is None else t / excess for t in times], total))
    return measured


def layer_times(operators: Sequence[OperatorTime], layers: Sequence[Layer]) -> list[float | None]:
    """Return milliseconds (of the least disturbed round) per layer; None for one that the profile lacks."""
    times: list[float | None] = [None] * len(layers)
    before = 0
    for operator in operators:
        found = _layer_of(operator, layers)
        index = before if found is None else found
        times[index] = (times[index] or 0.0) + operator.minimum
        before = index
    return times


def _layer_of(operator: OperatorTime, layers: Sequence[Layer]) -> int | None:
    """Rules 1 and 2; None where the file has no such layer."""
    name = source_name(operator.name)
    names = {name, name.rpartition("/")[0]}
    named = [index for index, layer in enumerate(layers) if layer.name in names]
    if not named:
        return None
    words = WORDS.get(operator.kind, ())
    alike = [index for index in named if layers[index].operator in words]
    if alike or "convolution" not in words:
        return (alike or named)[0]
    return _convolution_before(named[0], layers)


def _convolution_before(index: int, layers: Sequence[Layer]) -> int:
    """The last convolution whose result reaches this layer through activations and additions alone."""
    while layers[index].operator != "convolution":
        made = [before for before in range(index) if layers[before].outputs[0].name in _names(layers[index])]
        convolutions = [before for before in made if layers[before].operator == "convolution"]
        if not made:
            return index
        index = (convolutions or made)[-1]
    return index


def _names(layer: Layer) -> set[str]:
    return {value.name for value in layer.inputs}
