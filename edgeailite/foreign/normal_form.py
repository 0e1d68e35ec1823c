"""Checks that a graph is in the normal form that `edgeailite.foreign` describes."""

from __future__ import annotations

import operator

import torch
import torch.nn.functional as F
from torch import fx, nn

from edgeailite.errors import UsageError
from edgeailite.untrusted import printable

MODULES = (
    nn.Conv2d, nn.BatchNorm2d, nn.Linear, nn.PixelShuffle,
    nn.ReLU, nn.ReLU6, nn.Hardtanh, nn.Sigmoid, nn.Tanh, nn.Hardsigmoid, nn.Hardswish, nn.SiLU, nn.GELU, nn.Mish,
    nn.LeakyReLU, nn.PReLU, nn.ELU, nn.Softplus,
    nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d,
)  # fmt: skip
FUNCTIONS = (
    operator.add, operator.sub, operator.mul, operator.floordiv, operator.getitem, getattr, torch.cat, F.interpolate,
    F.pad, torch.flatten, torch.reshape, torch.permute, torch.mean, torch.amax, torch.sum, torch.softmax,
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
