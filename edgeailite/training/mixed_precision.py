"""Mixed precision for the forward pass, and where it must not be used."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch.overrides import TorchFunctionMode


@contextmanager
def mixed_precision(device_type: str, dtype: torch.dtype | None) -> Iterator[None]:
    """Compute the block in torch's autocast to `dtype`; None computes in float32.

    On CPUs depthwise convolutions are computed in float32, because oneDNN's bf16 kernels for their gradients take up to
    ten times as long: with AMX a training step of an FPN on EfficientNet-Lite0 takes 0.71 of its time in float32, and
    1.12 with bf16 throughout (`benchmarks/train_step.py`).
    """
    if dtype is None:
        yield
        return
    with torch.autocast(device_type, dtype=dtype):
        if device_type != "cpu":
            yield
            return
        with _DepthwiseInFloat32(dtype):
            yield


class _DepthwiseInFloat32(TorchFunctionMode):
    """Leave depthwise convolutions out of autocast; their outputs are of `dtype`, as autocast gives them."""

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        self._dtype = dtype

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Compute `func`, in float32 if it is a depthwise convolution."""
        kwargs = kwargs or {}
        if func is not torch.conv2d or not _depthwise(args, kwargs):
            return func(*args, **kwargs)
        with torch.autocast("cpu", enabled=False):
            return func(*map(_float32, args), **{name: _float32(value) for name, value in kwargs.items()}).to(
                self._dtype
            )


def _depthwise(args: Sequence[Any], kwargs: Mapping[str, Any]) -> bool:
    weight = args[1] if len(args) > 1 else kwargs["weight"]
    groups = args[6] if len(args) > 6 else kwargs.get("groups", 1)
    return bool(groups > 1 and weight.shape[1] == 1)


def _float32(value: Any) -> Any:
    return value.float() if isinstance(value, torch.Tensor) else value
