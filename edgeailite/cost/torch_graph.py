"""The layers of a torch network, seen while it runs on shapes without values (device "meta").

Nothing is parsed: a dispatch mode sees every operator that torch executes in eval mode, hooks say which module runs,
and weak references to each tensor's storage say when torch lets it go. The network is left as it was.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook
from torch.utils._python_dispatch import TorchDispatchMode

from edgeailite.cost.layer import Layer, Value
from edgeailite.cost.operations import CONVOLUTION, LINEAR, TORCH_WORDS, TRANSPOSED, element_operations

NOT_LEARNED = 0  # a buffer: read, but no parameter
FUNCTION_NAMES = {"upsample_bilinear2d": "interpolate", "upsample_nearest2d": "interpolate"}  # as in exported files
POOL_WINDOW = {"max_pool2d_with_indices", "avg_pool2d"}  # their second argument is the kernel's size

# On "meta" torch answers these by Python decompositions, for which it first loads its compiler: more than a second.
aten = torch.ops.aten
SHORT_WAY: dict[Any, Callable[..., Any]] = {
    aten.add.Tensor: lambda x, y: torch.empty_like(x) if _alike(x, y) else x + y,
    aten.cat.default: lambda parts, axis=0: parts[0].new_empty(_joined([part.shape for part in parts], axis)),
    aten.mean.dim: lambda x, axes, keep=False: x.new_empty(_reduced(x.shape, axes)) if keep else x.mean(axes),
    aten.convolution.default: lambda x, w, b, *geometry: x.new_empty(_convolved(x.shape, w.shape, *geometry)),
    aten.relu.default: torch.empty_like,
    aten.relu_.default: lambda x: x,
    aten.hardtanh.default: lambda x, *limits: torch.empty_like(x),
    aten.hardtanh_.default: lambda x, *limits: x,
    aten.native_batch_norm.default: lambda x, *others: (torch.empty_like(x), x.new_empty(0), x.new_empty(0)),
    aten.upsample_bilinear2d.default: lambda x, size, *how: x.new_empty(*x.shape[:2], *size),
}


@dataclass(frozen=True)
class Recording:
    """Result of one forward pass. `paths` are the layers' modules, `memory` is as torch holds tensors."""

    layers: tuple[Layer, ...]
    paths: tuple[str, ...]
    inputs: tuple[Value, ...]
    outputs: tuple[Value, ...]
    memory: tuple[int, ...]
    weight_bytes: int


def record(model: nn.Module, height_width: tuple[int, int], *, inputs: int) -> Recording:
    """Run `model` in eval mode on `inputs` pictures (1,3,*height_width) without values."""
    images = tuple(torch.empty(1, 3, *height_width, device="meta") for _ in range(inputs))
    state = {name: value.to("meta") for name, value in (*model.named_parameters(), *model.named_buffers())}
    learned = {name for name, _ in model.named_parameters()}
    recorder = _Recorder(images, state, learned)
    paths = {module: name for name, module in model.named_modules()}
    with _evaluating(model), _telling(recorder, paths), torch.no_grad(), recorder:
        results = functional_call(model, state, images)
    outputs = tuple(recorder.value_of(tensor) for tensor in _tensors(results))
    return Recording(
        tuple(recorder.layers),
        tuple(recorder.paths),
        tuple(recorder.value_of(image) for image in images),
        outputs,
        memory=tuple(recorder.memory),
        weight_bytes=sum(recorder.read_weights.values()),
    )


class _Recorder(TorchDispatchMode):
    """Makes a layer of every operator that computes, and adds up the storages that are alive."""

    def __init__(self, images: Sequence[Tensor], state: Mapping[str, Tensor], learned: set[str]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # torch annotates none of it
        self.layers: list[Layer] = []
        self.paths: list[str] = []
        self.modules: list[tuple[str, bool]] = [("", False)]  # path, and whether it is one of torch's own layers
        self.memory: list[int] = []
        self._live = self._most = 0  # bytes alive, and the most of them in one operator
        self.read_weights: dict[int, int] = {}
        self._taken: dict[str, int] = {}
        self._names: dict[int, str] = {}
        self._references: dict[int, Any] = {}
        self._weights = {
            _storage(tensor): tensor.numel() if name in learned else NOT_LEARNED for name, tensor in state.items()
        }
        for index, image in enumerate(images):
            self._hold(image, f"image{index or ''}")

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """False, or torch would load its compiler to keep it away from this mode; saves a second, changes nothing."""
        return False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self._most = self._live
        answer = SHORT_WAY.get(func)
        result = func(*args, **(kwargs or {})) if answer is None else answer(*args, **(kwargs or {}))
        given = _tensors(result)
        taken = _tensors((args, kwargs))
        storages = {_storage(tensor) for tensor in taken}
        looks = bool(given) and all(_storage(tensor) in storages for tensor in given) and not func._schema.is_mutable
        name = self._layer_name(func) if taken and not looks else "empty"
        for tensor in given:
            if _storage(tensor) not in self._names and _storage(tensor) not in self._weights:
                self._hold(tensor, name)
        given = [tensor for tensor in given if tensor.numel()]
        if taken and given and not looks:
            self.layers.append(self._layer(func, name, args, taken, given))
            self.paths.append(self.modules[-1][0])
            self.memory.append(self._most)
        return result

    def value_of(self, tensor: Tensor) -> Value:
        """The memory of a tensor, in the tensor's shape."""
        return Value(self._names[_storage(tensor)], tuple(tensor.shape), tensor.element_size())

    def _layer(self, func: Any, name: str, args: Any, taken: list[Tensor], given: list[Tensor]) -> Layer:
        weights = [tensor for tensor in taken if _storage(tensor) in self._weights]
        activations = [tensor for tensor in taken if _storage(tensor) not in self._weights and tensor.numel()]
        self.read_weights |= {_storage(tensor): _bytes(tensor) for tensor in weights}
        kind = func.overloadpacket.__name__.rstrip("_")
        operator, macs, groups = TORCH_WORDS.get(kind, kind), 0, 1
        kernel: tuple[int, ...] = ()
        if kind == "convolution":
            operator = TRANSPOSED if args[6] else CONVOLUTION
            positions = args[0] if args[6] else given[0]
            macs = positions.shape[0] * prod(positions.shape[2:]) * args[1].numel()
            kernel, groups = tuple(args[1].shape), args[8]
        elif kind in ("mm", "addmm") and any(tensor.dim() == 2 for tensor in weights):
            matrix = next(tensor for tensor in weights if tensor.dim() == 2)
            operator, kernel = LINEAR, (given[0].shape[1], matrix.numel() // given[0].shape[1])
            macs = given[0].shape[0] * matrix.numel()
        operations = element_operations(
            operator,
            sum(tensor.numel() for tensor in activations),
            given[0].numel(),
            window=_window(kind, args),
            bias=len(weights) > 1,
        )
        return Layer(
            name,
            operator,
            tuple(self.value_of(tensor) for tensor in activations),
            tuple(self.value_of(tensor) for tensor in given),
            macs=macs,
            parameters=sum(self._weights[_storage(tensor)] for tensor in weights),
            weight_bytes=sum(_bytes(tensor) for tensor in weights),
            element_operations=operations,
            kernel=kernel,
            groups=groups,
        )

    def _layer_name(self, func: Any) -> str:
        """Return the path of torch's layer; a numbered `path.function` for what other modules compute."""
        path, is_layer = self.modules[-1]
        if path and is_layer:
            return path
        kind = func.overloadpacket.__name__.rstrip("_")
        return self._unused(f"{path}.{FUNCTION_NAMES.get(kind, kind)}".lstrip("."), "layer")

    def _unused(self, name: str, kind: str) -> str:
        count = self._taken[f"{kind} {name}"] = self._taken.get(f"{kind} {name}", -1) + 1
        return f"{name}_{count}" if count else name

    def _hold(self, tensor: Tensor, name: str) -> None:
        """Count a storage from now until torch lets it go."""
        storage = tensor.untyped_storage()
        key, size = storage._cdata, storage.nbytes()
        self._names[key] = self._unused(name, "value")
        self._references[key] = weakref.ref(storage, lambda _: self._release(key, size))
        self._live += size
        self._most = max(self._most, self._live)

    def _release(self, key: int, size: int) -> None:
        self._live -= size
        del self._names[key], self._references[key]


def _alike(x: Any, y: Any) -> bool:
    """Return True if an element-wise result has the shape of both operands."""
    return isinstance(y, Tensor) and x.shape == y.shape and x.dtype == y.dtype


def _convolved(taken: Sequence[int], kernel: Sequence[int], *geometry: Any) -> list[int]:
    """Shape of a convolution's result (torch's documented formula); the tests hold it against real passes."""
    stride, padding, dilation, transposed, output_padding, groups = geometry
    shape = [taken[0], kernel[1] * groups if transposed else kernel[0]]
    for axis, size in enumerate(taken[2:]):
        s, p, d, o = (values[axis if len(values) > 1 else 0] for values in (stride, padding, dilation, output_padding))
        reach = d * (kernel[axis + 2] - 1)
        shape.append((size - 1) * s - 2 * p + reach + o + 1 if transposed else (size + 2 * p - reach - 1) // s + 1)
    return shape


def _joined(shapes: Sequence[Sequence[int]], axis: int) -> list[int]:
    """Shape of tensors joined along `axis`."""
    shape = list(shapes[0])
    shape[axis] = sum(one[axis] for one in shapes)
    return shape


def _reduced(shape: Sequence[int], axes: Sequence[int]) -> list[int]:
    """Shape after a mean over `axes` that keeps them."""
    return [1 if axis in axes or axis - len(shape) in axes else size for axis, size in enumerate(shape)]


def _window(kind: str, args: Any) -> int:
    """Area of a pooling's kernel; 1 for others."""
    if kind not in POOL_WINDOW:
        return 1
    size = args[1] if isinstance(args[1], Sequence) else (args[1],)
    return prod(size) if len(size) > 1 else size[0] ** 2


def _storage(tensor: Tensor) -> int:
    return tensor.untyped_storage()._cdata


def _bytes(tensor: Tensor) -> int:
    return tensor.numel() * tensor.element_size()


def _tensors(value: Any) -> list[Tensor]:
    """The tensors in nested arguments or results, in order."""
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, Mapping):
        return [tensor for part in value.values() for tensor in _tensors(part)]
    if isinstance(value, list | tuple):
        return [tensor for part in value for tensor in _tensors(part)]
    return []


@contextmanager
def _telling(recorder: _Recorder, paths: Mapping[nn.Module, str]) -> Iterator[None]:
    """Tell the recorder which module of the network runs."""

    def enter(module: nn.Module, args: Any) -> None:
        if module in paths:
            recorder.modules.append((paths[module], type(module).__module__.startswith("torch.nn.")))

    def leave(module: nn.Module, args: Any, result: Any) -> None:
        if module in paths:
            recorder.modules.pop()

    handles = register_module_forward_pre_hook(enter), register_module_forward_hook(leave)
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    """Eval mode; afterwards every module is in the mode it was in."""
    training = {module: module.training for module in model.modules()}
    model.eval()
    try:
        yield
    finally:
        for module, mode in training.items():
            module.training = mode
