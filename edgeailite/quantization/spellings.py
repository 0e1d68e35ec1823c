"""Spellings of operators in torch: which functions, methods and modules mean the same, and how arguments are read.

`normalise` brings a network to one of them. A row here is a function that only needs another name: a module of torch,
and the names and defaults of the function's arguments behind the tensor, which are those of the module's constructor.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from edgeailite.errors import UsageError
from edgeailite.quantization.graph import of_sizes

NEEDED: Any = object()  # an argument without default
DROPPED = (
    nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout, nn.FeatureAlphaDropout, nn.Identity,
)  # fmt: skip
DROPPED_FUNCTIONS = (F.dropout, F.dropout1d, F.dropout2d, F.dropout3d, F.alpha_dropout, torch.dropout)
DROPPED_NAMES = ("stochastic_depth",)  # of torchvision, which this package does not import here
DROPPED_METHODS = ("contiguous", "clone")
IN_PLACE = {"inplace": False}

MODULES: dict[Any, tuple[type[nn.Module], dict[str, Any]]] = {
    F.relu: (nn.ReLU, IN_PLACE),
    torch.relu: (nn.ReLU, {}),
    F.relu6: (nn.ReLU6, IN_PLACE),
    F.hardtanh: (nn.Hardtanh, {"min_val": -1.0, "max_val": 1.0, **IN_PLACE}),
    torch.sigmoid: (nn.Sigmoid, {}),
    F.sigmoid: (nn.Sigmoid, {}),
    torch.tanh: (nn.Tanh, {}),
    F.tanh: (nn.Tanh, {}),
    F.hardsigmoid: (nn.Hardsigmoid, IN_PLACE),
    F.hardswish: (nn.Hardswish, IN_PLACE),
    F.silu: (nn.SiLU, IN_PLACE),
    F.mish: (nn.Mish, IN_PLACE),
    F.gelu: (nn.GELU, {"approximate": "none"}),
    F.leaky_relu: (nn.LeakyReLU, {"negative_slope": 0.01, **IN_PLACE}),
    F.elu: (nn.ELU, {"alpha": 1.0, **IN_PLACE}),
    F.softplus: (nn.Softplus, {"beta": 1.0, "threshold": 20.0}),
    F.adaptive_avg_pool2d: (nn.AdaptiveAvgPool2d, {"output_size": NEEDED}),
    F.adaptive_max_pool2d: (nn.AdaptiveMaxPool2d, {"output_size": NEEDED, "return_indices": False}),
    F.pixel_shuffle: (nn.PixelShuffle, {"upscale_factor": NEEDED}),
    F.pixel_unshuffle: (nn.PixelUnshuffle, {"downscale_factor": NEEDED}),
    F.channel_shuffle: (nn.ChannelShuffle, {"groups": NEEDED}),
    F.max_pool2d: (
        nn.MaxPool2d,
        {
            "kernel_size": NEEDED,
            "stride": None,
            "padding": 0,
            "dilation": 1,
            "ceil_mode": False,
            "return_indices": False,
        },
    ),
    F.avg_pool2d: (
        nn.AvgPool2d,
        {
            "kernel_size": NEEDED,
            "stride": None,
            "padding": 0,
            "ceil_mode": False,
            "count_include_pad": True,
            "divisor_override": None,
        },
    ),
}
MODULES[torch.max_pool2d] = MODULES[F.max_pool2d]
MODULES[torch.channel_shuffle] = MODULES[F.channel_shuffle]

METHODS: dict[str, Any] = {
    "relu": torch.relu, "relu_": torch.relu, "sigmoid": torch.sigmoid, "sigmoid_": torch.sigmoid,
    "tanh": torch.tanh, "tanh_": torch.tanh, "hardtanh": F.hardtanh,
    "add": torch.add, "add_": torch.add, "sub": torch.sub, "sub_": torch.sub, "mul": torch.mul, "mul_": torch.mul,
    "div": torch.div, "div_": torch.div, "neg": torch.neg, "abs": torch.abs, "pow": torch.pow, "sqrt": torch.sqrt,
    "exp": torch.exp, "square": torch.square, "rsqrt": torch.rsqrt, "clamp": torch.clamp, "clamp_": torch.clamp,
    "clip": torch.clamp, "mean": torch.mean, "sum": torch.sum, "amax": torch.amax, "amin": torch.amin,
    "max": torch.max, "chunk": torch.chunk, "split": torch.split, "flatten": torch.flatten,
    "reshape": torch.reshape, "view": torch.reshape, "permute": torch.permute, "transpose": torch.transpose,
    "unsqueeze": torch.unsqueeze, "squeeze": torch.squeeze, "unflatten": torch.unflatten, "flip": torch.flip,
    "roll": torch.roll, "narrow": torch.narrow, "softmax": torch.softmax, "matmul": torch.matmul, "bmm": torch.bmm,
    "expand": torch.Tensor.expand, "broadcast_to": torch.broadcast_to, "repeat": torch.Tensor.repeat,
}  # fmt: skip
MOVED = (
    torch.flatten, torch.reshape, torch.permute, torch.transpose, torch.swapaxes, torch.movedim, torch.unsqueeze,
    torch.squeeze, torch.unflatten, torch.flip, torch.roll, torch.narrow, torch.amax, torch.amin, torch.tile,
    torch.Tensor.expand, torch.Tensor.repeat, torch.broadcast_to,
)  # fmt: skip
SHAPED = (torch.reshape, torch.permute, torch.flip, torch.Tensor.expand, torch.Tensor.repeat)  # (x, 1, 2) or (x, (1,2))
IN_FLOAT = (
    F.softmax, torch.softmax, torch.matmul, operator.matmul, torch.bmm, F.normalize, F.scaled_dot_product_attention,
    torch.linalg.vector_norm,
)  # fmt: skip
ONE_VALUE = (torch.neg, operator.neg, torch.abs, torch.sqrt, torch.exp, torch.square, torch.rsqrt, torch.reciprocal)


def tensor(node: fx.Node) -> Any:
    """Return the first argument of a call, by position or name."""
    return node.args[0] if node.args else node.kwargs.get("input", node.kwargs.get("self"))


def arguments(node: fx.Node, **defaults: Any) -> dict[str, Any]:
    """Return the arguments behind the first, by name. Raises UsageError for one that is not known."""
    values = defaults | dict(zip(defaults, node.args[1:], strict=False))
    given = {key: value for key, value in node.kwargs.items() if key not in ("input", "self")}
    ignored = {key for key in given if key.startswith("_") or (key in ("dtype", "out") and given[key] is None)}
    unknown = [key for key in given if key not in defaults and key not in ignored]
    if unknown or len(node.args) - 1 > len(defaults):
        raise UsageError(
            f"{called(node)} with {unknown or list(node.args)} cannot be quantized",
            path=node.name,
            code="no-integer-form",
        )
    values |= {key: value for key, value in given.items() if key in defaults}
    for key, value in values.items():
        if value is NEEDED:
            raise UsageError(
                f"{called(node)} without {key} cannot be quantized", path=node.name, code="no-integer-form"
            )
    return values


def operands(node: fx.Node) -> tuple[Any, Any, Any]:
    """Return both operands and the factor of the second. Raises UsageError for an operand made of sizes."""
    a, b = (*node.args, *(node.kwargs[key] for key in ("other",) if key in node.kwargs))[:2]
    for operand in (a, b):
        if isinstance(operand, fx.Node) and of_sizes(operand):
            raise UsageError(
                f"{called(node)} of a tensor and a size cannot be quantized", path=node.name, code="no-integer-form"
            )
    return a, b, node.kwargs.get("alpha", 1)


def called(node: fx.Node) -> str:
    """Return the name of the function or method that a node calls, for messages."""
    return str(getattr(node.target, "__name__", node.target))


def complete_statistics(path: str, bn: nn.BatchNorm2d) -> None:
    """Give a BatchNorm without weight and bias those of 1 and 0. Raises UsageError for one without statistics."""
    if bn.running_mean is None or bn.running_var is None:
        raise UsageError(
            "a BatchNorm without running statistics normalises by the picture at hand, which no integer kernel does",
            path=path,
            fix="train it with track_running_stats=True",
            code="no-integer-form",
        )
    for name, value in (("weight", 1.0), ("bias", 0.0)):
        if getattr(bn, name) is None:
            del bn._parameters[name]
            bn.register_buffer(name, torch.full_like(bn.running_mean, value), persistent=False)


def batch_norm_of(node: fx.Node, tensors: Mapping[str, Tensor]) -> nn.Module:
    """Return the layer that does what a call of `F.batch_norm` does; its tensors are set later."""
    how = arguments(
        node, running_mean=None, running_var=None, weight=None, bias=None, training=False, momentum=0.1, eps=1e-5
    )
    statistics = "running_mean" in tensors
    count = next(iter(tensors.values())).numel()
    return nn.BatchNorm2d(count, how["eps"], how["momentum"], "weight" in tensors, statistics and not how["training"])


def convolution_of(node: fx.Node, tensors: Mapping[str, Tensor]) -> nn.Module:
    """Return the layer that does what a call of `F.conv2d` does; its tensors are set later."""
    how = arguments(node, weight=NEEDED, bias=None, stride=1, padding=0, dilation=1, groups=1)
    out, channels, *kernel = tensors["weight"].shape
    geometry = {key: how[key] for key in ("stride", "padding", "dilation", "groups")}
    geometry = {key: tuple(value) if isinstance(value, list) else value for key, value in geometry.items()}
    return nn.Conv2d(channels * how["groups"], out, tuple(kernel), bias="bias" in tensors, **geometry)


def linear_of(node: fx.Node, tensors: Mapping[str, Tensor]) -> nn.Module:
    """Return the layer that does what a call of `F.linear` does; its tensors are set later."""
    arguments(node, weight=NEEDED, bias=None)
    out, channels = tensors["weight"].shape
    return nn.Linear(channels, out, bias="bias" in tensors)


def pad_value(node: fx.Node, how: Mapping[str, Any]) -> tuple[float, ...]:
    """Return the number that `F.pad` fills with, () for 0. Raises UsageError for one that has no code."""
    value = float(how["value"] or 0.0) if how["mode"] == "constant" else 0.0
    if not math.isfinite(value):
        problem = f"F.pad with {value} cannot be quantized, only with finite numbers"
        raise UsageError(problem, path=node.name, code="no-integer-form")
    return (value,) if value else ()


def is_length(arguments: tuple[Any, ...]) -> bool:
    """Tell if an argument is a single number, not a list of them: `x.flip(3)`, `x.view(-1)`."""
    return any(isinstance(a, int) or (isinstance(a, fx.Node) and is_one_size(a)) for a in arguments)


def is_one_size(node: fx.Node) -> bool:
    """Tell if a node of sizes is a single number: an entry of a shape, or arithmetic."""
    if node.target is operator.getitem:
        return isinstance(node.args[1], int)
    return node.target is not getattr


def has_module(root: nn.Module, path: str) -> bool:
    """Tell if there is a module of this path."""
    try:
        root.get_submodule(path)
    except AttributeError:
        return False
    return True


def has_attribute(root: nn.Module, path: str) -> bool:
    """Tell if there is a module, parameter or other attribute of this path."""
    parent, _, name = path.rpartition(".")
    return has_module(root, parent) and hasattr(root.get_submodule(parent), name)
