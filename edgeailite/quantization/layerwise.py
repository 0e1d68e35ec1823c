"""Walks through a prepared network layer by layer, over all calibration batches, float and quantized side by side.

Methods that correct one convolution after the other (`bias_correction`, `adaround`) need its input as the layers
corrected before it give it. Executing the graph once, node by node with all batches, provides that in one pass instead
of one pass per layer. Memory holds, for all batches, every value that a later node still reads: use few pictures.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx

from edgeailite.console import progress
from edgeailite.quantization.graph import ACTIVATIONS, is_module
from edgeailite.quantization.modules import ActivationQuantizer, QuantConv2d, set_state
from edgeailite.quantization.tie_free import TieFreeResize

Batch = Tensor | tuple[Tensor, ...]
Values = dict[fx.Node, Any]


@dataclass(frozen=True)
class Layer:
    """One convolution of the walk. `inputs` come from the quantized network, `targets` are the float network's outputs.

    `arguments` are the other arguments of its call: the scale of the input, and BatchNorm's tensors if it has one.
    """

    name: str
    module: QuantConv2d
    arguments: tuple[Tensor, ...]
    inputs: list[Tensor]
    targets: list[Tensor]
    activation: torch.nn.Module | None


@torch.no_grad()
def visit_layers(
    model: fx.GraphModule, batches: Sequence[Batch], visit: Callable[[Layer], None], *, label: str = "layers"
) -> None:
    """Call `visit` with each convolution of a calibrated network in order; later layers see the changes that it makes.

    `label` stands beside the progress bar. The network is left in eval mode, quantization on. Raises ValueError
    without batches.
    """
    model.eval()
    set_state(model, observing=False, enabled=True)
    exact, quantized = _start(model, batches), _start(model, batches)
    waiting = {node: len(node.users) for node in model.graph.nodes}
    interpreter = fx.Interpreter(model, garbage_collect_values=False)
    nodes = [node for node in model.graph.nodes if node.op not in ("placeholder", "output")]
    with progress(label, sum(is_module(node, QuantConv2d) for node in nodes)) as (bar, task):
        for node in nodes:
            _compute(interpreter, node, exact, enabled=False)
            if is_module(node, QuantConv2d):
                visit(_layer(model, node, exact, quantized))
                bar.advance(task)
            _compute(interpreter, node, quantized, enabled=True)
            for source in node.all_input_nodes:
                waiting[source] -= 1
                if not waiting[source]:
                    for values in (*exact, *quantized):
                        del values[source]


def _start(model: fx.GraphModule, batches: Sequence[Batch]) -> list[Values]:
    """Return the initial values: per batch, a dictionary with the network's inputs."""
    if not batches:
        raise ValueError("no calibration data; give at least one batch")
    inputs = [node for node in model.graph.nodes if node.op == "placeholder"]
    found: list[Values] = []
    for batch in batches:
        images = batch if isinstance(batch, tuple) else (batch,)
        several = str(inputs[0].target).startswith("*")
        found.append({inputs[0]: images} if several else dict(zip(inputs, images, strict=True)))
    return found


def _compute(interpreter: fx.Interpreter, node: fx.Node, streams: list[Values], *, enabled: bool) -> None:
    module = interpreter.module.get_submodule(str(node.target)) if node.op == "call_module" else None
    if isinstance(module, QuantConv2d | ActivationQuantizer | TieFreeResize):
        module.enabled = enabled
    for values in streams:
        args = fx.node.map_arg(node.args, values.__getitem__)
        kwargs = fx.node.map_arg(node.kwargs, values.__getitem__)
        values[node] = getattr(interpreter, node.op)(node.target, args, kwargs)


def _layer(model: fx.GraphModule, node: fx.Node, exact: list[Values], quantized: list[Values]) -> Layer:
    module, users = model.get_submodule(str(node.target)), list(node.users)
    assert isinstance(module, QuantConv2d)
    module.enabled = True
    return Layer(
        name=str(node.target),
        module=module,
        arguments=tuple(quantized[0][argument] for argument in node.args[1:]),
        inputs=[_as_picture(values[node.args[0]]) for values in quantized],
        targets=[_as_picture(values[node]) for values in exact],
        activation=model.get_submodule(str(users[0].target)) if is_module(users[0], ACTIVATIONS) else None,
    )


def _as_picture(x: Tensor) -> Tensor:
    """(N,C) of a linear layer -> (N,C,1,1), which it takes as well."""
    return x if x.dim() == 4 else x[:, :, None, None]
