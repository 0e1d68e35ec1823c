"""Checks that a graph is in the normal form that `edgeailite.foreign` describes, and that its parts fit each other."""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from edgeailite.errors import DataError, UsageError, first_line
from edgeailite.foreign.unpooling import max_unpool
from edgeailite.untrusted import printable

MODULES = (
    nn.Conv2d, nn.BatchNorm2d, nn.Linear, nn.PixelShuffle,
    nn.ReLU, nn.ReLU6, nn.Hardtanh, nn.Sigmoid, nn.Tanh, nn.Hardsigmoid, nn.Hardswish, nn.SiLU, nn.GELU, nn.Mish,
    nn.LeakyReLU, nn.PReLU, nn.ELU, nn.Softplus,
    nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d,
    nn.LayerNorm, nn.GroupNorm, nn.InstanceNorm2d,
)  # fmt: skip
FUNCTIONS = (
    operator.add, operator.sub, operator.mul, operator.truediv, operator.floordiv, operator.getitem, getattr,
    torch.cat, F.interpolate, F.pad, torch.flatten, torch.reshape, torch.permute,
    torch.mean, torch.amax, torch.sum, torch.softmax, torch.matmul, torch.broadcast_to, max_unpool,
    torch.linalg.vector_norm,
)  # fmt: skip


def check_normal_form(network: fx.GraphModule, *, where: str) -> None:
    """Raise UsageError, naming the file `where` and the operator, for what the normal form does not have."""
    for node in network.graph.nodes:
        if node.op == "call_module":
            found = type(network.get_submodule(str(node.target)))
            known = found in MODULES
        elif node.op == "call_function":
            found, known = node.target, node.target in FUNCTIONS
        else:
            continue
        if not known:
            what = node.meta.get("onnx", getattr(found, "__name__", str(found)))
            raise UsageError(
                f"operator {printable(what)[:300]} has no int8 form here",
                path=where,
                fix="export the network without it, or cut the graph in front of it",
                code="wrong-kind",
            )


class _Shapes(fx.Interpreter):
    """Runs a network on tensors without values, whatever its weights are on."""

    def get_attr(self, target: Any, args: Any, kwargs: Any) -> Any:
        return super().get_attr(target, args, kwargs).to("meta")

    def call_module(self, target: Any, args: Any, kwargs: Any) -> Any:
        module = self.fetch_attr(target)
        tensors = {**dict(module.named_parameters()), **dict(module.named_buffers())}
        state = {name: tensor.to("meta") for name, tensor in tensors.items()}
        return torch.func.functional_call(module, state, args, kwargs)


def _output_shapes(network: fx.GraphModule, inputs: Sequence[Sequence[int]]) -> dict[str, tuple[int, ...]]:
    """Run a network without values. Raises whatever torch raises on shapes that do not fit."""
    images = [torch.empty(tuple(shape), device="meta") for shape in inputs]
    with torch.no_grad():
        found: Mapping[str, Tensor] = _Shapes(network).run(*images)
    return {name: tuple(value.shape) for name, value in found.items()}


def check_shapes(
    network: fx.GraphModule, inputs: Sequence[Sequence[int]], outputs: Mapping[str, Sequence[int]], *, where: str
) -> None:
    """Run a network without values and compare the shapes of its outputs with those that are expected.

    Raises DataError, naming the file `where`, for parts that do not fit each other.
    """
    try:
        shapes = _output_shapes(network, inputs)
        problem = "" if shapes == {name: tuple(shape) for name, shape in outputs.items()} else "its outputs differ"
    except Exception as error:  # noqa: BLE001 - torch raises many kinds on shapes that do not fit
        problem = first_line(error)
    if problem:
        raise DataError(
            f"its layers do not fit each other ({printable(problem)[:200]})",
            path=where,
            fix="export it again",
            code="damaged",
        )


def keeps_batch(network: fx.GraphModule, inputs: Sequence[Sequence[int]]) -> bool:
    """Tell if a network gives an answer for each picture of a batch with these shapes of inputs."""
    try:
        shapes = _output_shapes(network, inputs)
    except Exception:  # noqa: BLE001 - torch raises many kinds on shapes that do not fit
        return False
    return all(shape[:1] == tuple(inputs[0][:1]) for shape in shapes.values())
