"""Max unpooling (SegNet, ENet): values go back to where a maximum pooling found its own.

In a file, places are a second output of the pooling, whole numbers that no graph of codes carries. Here an unpooling
takes the tensor that was pooled instead, and finds the places again: codes tell them as well as the values they stand
for.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import handle_torch_function, has_torch_function

from edgeailite.foreign.windows import Pair

WHOLE = [1, 1]  # window of an unpooling: torch does not keep it, and the size says more


def max_unpool(values: Tensor, pooled: Tensor, kernel: Pair, stride: Pair, padding: Pair) -> Tensor:
    """Put values (N,C,h,w) to where a maximum pooling of `pooled` (N,C,H,W) finds its own; zeros elsewhere (N,C,H,W).

    SegNet and ENet enlarge so. Of equal values the first in a window counts, as in torch and onnxruntime. Windows do
    not overlap. torch.fx keeps a call of it as one node.
    """
    if has_torch_function((values, pooled)):
        found: Tensor = handle_torch_function(max_unpool, (values, pooled), values, pooled, kernel, stride, padding)
        return found
    if torch.onnx.is_in_onnx_export():
        return _exported_unpool(values, pooled, kernel, stride, padding)
    _, places = F.max_pool2d(pooled, kernel, stride, padding, return_indices=True)
    flat = values.new_zeros((*pooled.shape[:2], pooled.shape[2] * pooled.shape[3]))
    return flat.scatter(2, places.flatten(2), values.flatten(2)).reshape(pooled.shape)


def _exported_unpool(values: Tensor, pooled: Tensor, kernel: Pair, stride: Pair, padding: Pair) -> Tensor:
    window = {"kernel_shape": list(kernel), "strides": list(stride), "pads": [*padding, *padding]}
    found = torch.onnx.ops.symbolic_multi_out(
        "MaxPool",
        (pooled,),
        window,
        dtypes=(pooled.dtype, torch.int64),
        shapes=(values.shape, values.shape),
    )
    size = torch.onnx.ops.symbolic("Shape", (pooled,), dtype=torch.int64, shape=(pooled.dim(),))
    result: Tensor = torch.onnx.ops.symbolic(
        "MaxUnpool", (values, found[1], size), window, dtype=values.dtype, shape=pooled.shape
    )
    return result


def unpooling_translations() -> dict[Callable[..., Any], Callable[..., Any] | Sequence[Callable[..., Any]]]:
    """Return what lets torch's exporter write max unpooling as ONNX has it; else it writes a scattering of places.

    For `torch.onnx.export(..., dynamo=True, custom_translation_table=unpooling_translations())`. Needs onnxscript.
    """
    from onnxscript import opset18 as ops

    def max_pool(
        x: Any, kernel: Sequence[int], stride: Sequence[int] = (), padding: Sequence[int] = (0, 0),
        dilation: Sequence[int] = (1, 1), ceil_mode: bool = False,
    ) -> Any:  # fmt: skip
        pair = [(side * 2)[:2] for side in (list(kernel), list(stride or kernel), list(padding), list(dilation))]
        kernel, stride, padding, dilation = pair
        return ops.MaxPool(
            x,
            kernel_shape=kernel,
            strides=stride,
            pads=[*padding, *padding],
            dilations=dilation,
            ceil_mode=int(ceil_mode),
        )

    def max_unpool(x: Any, places: Any, size: Sequence[Any]) -> Any:
        sides = [side if not isinstance(side, int) else ops.Constant(value_ints=[side]) for side in size]
        shape = ops.Concat(ops.Shape(x, start=0, end=2), *(ops.Reshape(side, [-1]) for side in sides), axis=0)
        return ops.MaxUnpool(x, places, shape, kernel_shape=WHOLE)

    aten = torch.ops.aten
    return {aten.max_pool2d_with_indices.default: max_pool, aten.max_unpool2d.default: max_unpool}
