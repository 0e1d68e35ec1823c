"""`sensitivity`: measures how much quantizing each part alone changes the tensors and outputs that depend on it.

The measure is the signal-to-quantization-noise ratio against float, 10 log10(sum x^2 / sum (x - x')^2) in dB over all
pictures. The caller can measure accuracy as well: it gets the outputs of every run (`on_outputs`). Subjects are sets of
parts: each part alone (`single_parts`), and each section of the network as a whole (`sections`): the encoder, every
decoder, all.
"""

from __future__ import annotations

import math
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, fx

from edgeailite.quantization.graph import is_module
from edgeailite.quantization.modules import ActivationQuantizer, QuantConv2d
from edgeailite.quantization.partial import RANGES, Part, PartialRuns, parts_of
from edgeailite.quantization.schemes import Plan

FLOAT, EVERYTHING = "float", "everything"
Subjects = Mapping[str, Collection[Part]]


@dataclass(frozen=True)
class Effect:
    """Effect of quantizing one subject: noise-to-signal ratio of each output, and of each tensor that changed."""

    outputs: Mapping[str, float]
    tensors: Mapping[str, float]


@dataclass(frozen=True)
class Sensitivity:
    """Effects by subject, and the nodes and seconds that partial runs took beside those of whole runs."""

    effects: Mapping[str, Effect]
    pictures: int
    kept_bytes: int
    executed_share: float
    seconds: float
    whole_seconds: float


def decibels(noise_to_signal: float) -> float | None:
    """Return the SQNR in dB; None if there is no noise."""
    return None if noise_to_signal == 0 else -10 * math.log10(noise_to_signal)


def label_of(part: Part) -> str:
    """The name of a part alone among subjects."""
    return f"{part.kind}:{part.name}"


def single_parts(model: fx.GraphModule) -> dict[str, tuple[Part, ...]]:
    """Make one subject of every single part of a prepared network."""
    return {label_of(part): (part,) for part in parts_of(model)}


def sections(model: fx.GraphModule) -> dict[str, tuple[Part, ...]]:
    """Make subjects of the whole network, the encoder, and every decoder.

    A range belongs where the convolution before it is.
    """
    found: dict[str, list[Part]] = defaultdict(list)
    places: dict[fx.Node, str] = {}
    for node in model.graph.nodes:
        inherited = next((places[source] for source in node.all_input_nodes if source in places), None)
        if is_module(node, QuantConv2d):
            inherited = _section(str(node.target))
            found[inherited].append(Part("weights", str(node.target)))
        if inherited is not None:
            places[node] = inherited
        if is_module(node, ActivationQuantizer) and inherited is not None:
            found[inherited].append(Part("activations", str(node.target).removeprefix(RANGES)))
    every = parts_of(model)
    taken: set[Part] = set()
    result = {EVERYTHING: every}
    for name, parts in found.items():
        own = [part for part in dict.fromkeys(parts) if part not in taken]  # a shared range: where it stands first
        taken.update(own)
        result[name] = tuple(own)
    return result


def _section(target: str) -> str:
    """`encoder.features.0` -> encoder, `decoders.0.aspp` -> decoders.0."""
    first, _, rest = target.partition(".")
    index = rest.partition(".")[0]
    return f"{first}.{index}" if first == "decoders" and index.isdigit() else first


def sensitivity(
    model: fx.GraphModule,
    pictures: Iterable[tuple[Tensor, ...]],
    subjects: Subjects,
    *,
    plan: Plan | None = None,
    on_outputs: Callable[[str, dict[str, Tensor]], None] = lambda subject, outputs: None,
) -> Sensitivity:
    """Measure the effects of `subjects` in a calibrated network, on normalised inputs (N,3,H,W), one per input.

    `on_outputs` is called for every picture: with FLOAT first, then with each subject. `plan`: bits other than the
    network's own. Raises ValueError without pictures.
    """
    runs = PartialRuns(model, subjects.values())
    if plan is not None:
        runs.set_bits(plan)
    sums = {name: _Sums() for name in subjects}
    count = kept = 0
    spent = whole = 0.0
    for images in pictures:
        began = time.perf_counter()
        exact = runs.float_pass(*images)
        whole += time.perf_counter() - began
        count, kept = count + 1, max(kept, runs.kept_bytes)
        on_outputs(FLOAT, exact)
        for name, parts in subjects.items():
            began = time.perf_counter()
            outputs = runs.quantized(parts)
            spent += time.perf_counter() - began
            sums[name].add(outputs, exact, runs)
            on_outputs(name, outputs)
    if not count:
        raise ValueError("no picture was analysed; give at least one")
    effects = {name: one.effect() for name, one in sums.items()}
    total = runs.nodes * count * len(subjects)
    return Sensitivity(effects, count, kept, runs.executed / total, seconds=spent, whole_seconds=whole * len(subjects))


class _Sums:
    """Squares of signal and noise, by output and by tensor."""

    def __init__(self) -> None:
        self.outputs: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])
        self.tensors: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])

    def add(self, outputs: Mapping[str, Tensor], exact: Mapping[str, Tensor], runs: PartialRuns) -> None:
        for name, value in outputs.items():
            _add(self.outputs[name], value, exact[name])
        for name, value in runs.noisy.items():
            _add(self.tensors[name], value, runs.values[name])

    def effect(self) -> Effect:
        ratios = [{name: _ratio(*pair) for name, pair in group.items()} for group in (self.outputs, self.tensors)]
        return Effect(ratios[0], ratios[1])


def _add(pair: list[float], value: Tensor, exact: Tensor) -> None:
    pair[0] += float(torch.linalg.vector_norm(exact)) ** 2
    if value is not exact:
        pair[1] += float(torch.linalg.vector_norm(value - exact)) ** 2


def _ratio(signal: float, noise: float) -> float:
    return noise / max(signal, 1e-30)
