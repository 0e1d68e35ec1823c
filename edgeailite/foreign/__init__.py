"""Reads networks that were not made here, ONNX files and torch modules, into one form that `prepare` takes.

The **normal form** is a `torch.fx.GraphModule` in evaluation mode. Reader and quantization rely on it:

- Inputs are `operator.getitem(images, i)` of the placeholder `*images`, or plain placeholders. The output is a dict of
  nodes by name.
- `call_module` calls these classes only: Conv2d (zero padding), BatchNorm2d (after a convolution alone), ReLU, ReLU6,
  Hardtanh, Sigmoid, Tanh, Hardsigmoid, Hardswish, SiLU, GELU, Mish, LeakyReLU, PReLU, ELU, Softplus, MaxPool2d (also
  with ceil_mode), AvgPool2d, AdaptiveAvgPool2d, Linear, PixelShuffle; and LayerNorm, GroupNorm, InstanceNorm2d, which
  have no integer form. A module is called once: layers that share
  weights are two modules with the same parameters.
- `call_function` calls, with positional arguments where none is named here: `operator.add(a, b)`, `operator.sub(a,
  b)`, `operator.mul(a, b)`, `operator.truediv(a, b)`, whose operands are tensors or one `get_attr` of a constant
  buffer of one number or of as many sides as the result; `torch.cat([...], dim)`; `F.interpolate(x, size=, mode=,
  align_corners=)` with mode "nearest" or "bilinear"; `F.pad(x, [left, right, top, bottom])` with zeros, or cropping
  by negative amounts, or with `"constant", number`, or with two more amounts, of channels of zeros; `torch.flatten(x,
  1)`; `torch.reshape(x, shape)`; `torch.permute(x, dims)`; `operator.getitem(x, (slice, ...))` with steps of 1;
  `torch.mean`, `torch.amax` and `torch.sum(x, dims, keepdim)`; `torch.softmax(x, dim)`; `torch.matmul(a, b)`;
  `torch.broadcast_to(x, sides)`, -1 for those that stay; `torch.linalg.vector_norm(x, 2, dims, keepdim)`;
  `max_unpool(values, pooled, kernel, stride, padding)`. Dimensions are not negative.
- Sizes are whole numbers, or nodes computed from `getattr(x, "shape")` by `operator.getitem`, `operator.add`,
  `operator.sub`, `operator.mul` and `operator.floordiv`. `size=` of a resize is a tuple of two of them, or
  `getattr(other, "shape")[-2:]`.
"""

from __future__ import annotations

from edgeailite.foreign.read_module import read_module
from edgeailite.foreign.read_onnx import read_onnx
from edgeailite.foreign.unpooling import unpooling_translations

__all__ = ["read_module", "read_onnx", "unpooling_translations"]
