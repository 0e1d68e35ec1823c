"""Runs a prepared network in which only chosen parts are quantized, recomputing only the nodes that depend on them.

A part is the weight of one convolution or the range of one activation. One float pass per picture keeps the values that
later runs start from, so memory is that of one picture, whatever the number of pictures and parts. A run for some parts
then executes their nodes and the nodes that depend on these, nothing else.
"""

from __future__ import annotations

import copy
from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, fx

from edgeailite.quantization.graph import ACTIVATIONS as ACTIVATION_MODULES
from edgeailite.quantization.graph import is_module, named_outputs, output_nodes, reads_shape
from edgeailite.quantization.grids import WeightGrid
from edgeailite.quantization.modules import INTEGER_BITS, ActivationQuantizer, QuantConv2d, set_state
from edgeailite.quantization.schemes import Plan

WEIGHTS, ACTIVATIONS = "weights", "activations"
RANGES = "ranges."


@dataclass(frozen=True, order=True)
class Part:
    """A part that can be quantized alone: `kind` is weights or activations, the name is that in a `Plan`."""

    kind: str
    name: str

    @property
    def target(self) -> str:
        """Its module in a prepared network."""
        return self.name if self.kind == WEIGHTS else RANGES + self.name


def parts_of(model: fx.GraphModule) -> tuple[Part, ...]:
    """List all parts of a prepared network, in graph order."""
    found = []
    for node in model.graph.nodes:
        if is_module(node, QuantConv2d):
            found.append(Part(WEIGHTS, str(node.target)))
        elif is_module(node, ActivationQuantizer):
            found.append(Part(ACTIVATIONS, str(node.target).removeprefix(RANGES)))
    return tuple(dict.fromkeys(found))


def set_bits(model: fx.GraphModule, plan: Plan) -> None:
    """Give a calibrated network the bits of another plan, in place; its ranges stay.

    With observers that choose a range by its codes, `prepare` and `calibrate` with the plan may choose another.
    """
    for part in parts_of(model):
        module: Any = model.get_submodule(part.target)
        scheme = module.grid.scheme
        if isinstance(module, QuantConv2d):
            module.grid = WeightGrid(scheme, plan.weights.get(part.name, scheme.weight_bits))
        elif isinstance(module, ActivationQuantizer):
            module.grid = replace(module.grid, bits=plan.activations.get(part.name, 8))
            module.update_scale()
    for node in model.graph.nodes:
        if is_module(node, QuantConv2d):
            conv: Any = model.get_submodule(str(node.target))
            source: Any = model.get_submodule(str(node.args[0].target))
            conv.integer = max(conv.grid.bits, source.grid.bits) <= INTEGER_BITS


class PartialRuns:
    """Call `float_pass` on a picture, then `quantized(parts)` any number of times; both return every output by name.

    `values` holds the float tensors after each quantizer by node name (the network's tensors), `noisy` the tensors of
    the last run that its parts changed. `executed` counts the nodes that were run.
    """

    def __init__(self, model: fx.GraphModule, subjects: Iterable[Collection[Part]]) -> None:
        self._model = copy.deepcopy(model).eval()
        for module in self._model.modules():
            if isinstance(module, ACTIVATION_MODULES):
                module.inplace = False  # it would change kept values
        set_state(self._model, observing=False, enabled=False)
        self._nodes = list(self._model.graph.nodes)
        self._behind = {frozenset(parts): self._affected(parts) for parts in subjects}
        self._kept = self._needed()
        self._outputs = output_nodes(self._model.graph)
        self._values: dict[fx.Node, Any] = {}
        self.values: dict[str, Tensor] = {}
        self.noisy: dict[str, Tensor] = {}
        self.executed = 0

    @property
    def nodes(self) -> int:
        """Number of nodes that a whole run computes; reading a parameter does not count."""
        return sum(node.op in ("call_module", "call_function", "call_method") for node in self._nodes)

    @property
    def kept_bytes(self) -> int:
        """Memory of the values that are kept of the picture at hand."""
        tensors = [value for value in self._values.values() if isinstance(value, Tensor)]
        storages = {tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes() for tensor in tensors}
        return sum(storages.values())

    @torch.no_grad()
    def float_pass(self, *images: Tensor) -> dict[str, Tensor]:
        """Run without quantization and keep the values that later runs need, in place of the previous picture's."""
        self._values, self.values, self.noisy = {}, {}, {}
        runner = _Keeping(self._model, self._kept)
        outputs: dict[str, Tensor] = named_outputs(runner.run(*images))
        self._values = runner.kept
        self.values = {n.name: v for n, v in self._values.items() if is_module(n, ActivationQuantizer)}
        return outputs

    @torch.no_grad()
    def quantized(self, parts: Collection[Part]) -> dict[str, Tensor]:
        """Return the outputs with these parts quantized and all else float. `parts` must be one of the subjects."""
        modules: list[Any] = [self._model.get_submodule(part.target) for part in parts]
        for module in modules:
            module.enabled = True
        runner = fx.Interpreter(self._model)
        runner.env = dict(self._values)
        self.noisy = {}
        for node in self._behind[frozenset(parts)]:
            value = runner.env[node] = runner.run_node(node)
            if is_module(node, ActivationQuantizer):
                self.noisy[node.name] = value
            for last in runner.user_to_last_uses.get(node, ()):
                runner.env.pop(last, None)
            self.executed += 1
        for module in modules:
            module.enabled = False
        return {name: runner.env.get(node, self._values.get(node)) for name, node in self._outputs.items()}

    def set_bits(self, plan: Plan) -> None:
        """Bits of the parts in the runs that follow."""
        set_bits(self._model, plan)

    def _affected(self, parts: Collection[Part]) -> list[fx.Node]:
        """Nodes, in graph order, whose value changes when these parts are quantized. Shapes never change."""
        targets = {part.target for part in parts}
        found: dict[fx.Node, None] = {}
        for node in self._nodes:
            starts = node.op == "call_module" and node.target in targets
            behind = any(source in found for source in node.all_input_nodes) and not reads_shape(node)
            if node.op != "output" and (starts or behind):
                found[node] = None
        return list(found)

    def _needed(self) -> set[fx.Node]:
        """Values that the runs read without computing them, and the tensors that they are compared with."""
        kept = {node for node in self._nodes if is_module(node, ActivationQuantizer)}
        for nodes in self._behind.values():
            inside = set(nodes)
            kept.update(source for node in nodes for source in node.all_input_nodes if source not in inside)
        output = next(node for node in self._nodes if node.op == "output")
        return kept | set(output.all_input_nodes)


class _Keeping(fx.Interpreter):
    """A whole run that keeps some values."""

    def __init__(self, model: fx.GraphModule, wanted: Collection[fx.Node]) -> None:
        super().__init__(model)
        self.wanted = wanted
        self.kept: dict[fx.Node, Any] = {}

    def run_node(self, n: fx.Node) -> Any:
        value = super().run_node(n)
        if n in self.wanted:
            self.kept[n] = value
        return value
