"""A network as a function without arguments, ready to be timed: by onnxruntime, OpenVINO, LiteRT or torch, on the CPU.

Any ONNX or .tflite file will do, also one that was not exported here. Inputs are random: how long a network takes does
not depend on them. Open batch sizes become 1, open heights and widths those asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from edgeailite.errors import DataError, UsageError, option
from edgeailite.runtime.failures import run_session, said
from edgeailite.runtime.openvino_session import openvino_session
from edgeailite.runtime.session import cpu_session
from edgeailite.runtime.tflite_file import read_tflite
from edgeailite.runtime.tflite_session import tflite_interpreter

if TYPE_CHECKING:
    import torch
    from torch import nn

RUNTIMES = ("onnxruntime", "openvino", "torch")
LITERT = "litert"  # runs .tflite files, whatever is asked for
ELEMENT_TYPES = {"tensor(float)": np.float32, "tensor(float16)": np.float16, "tensor(uint8)": np.uint8}
Runner = Callable[[], object]


def onnx_session(
    source: Path | bytes, *, threads: int, profile_prefix: Path | None = None
) -> onnxruntime.InferenceSession:
    """Open a file (or its bytes), fully optimised. Raises DataError for one that is missing or damaged."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.add_session_config_entry("session.force_spinning_stop", "1")  # or its threads disturb whoever comes next
    if profile_prefix is not None:
        options.enable_profiling = True
        options.profile_file_prefix = str(profile_prefix)
    if isinstance(source, Path) and not source.is_file():
        raise DataError(f"{source}: no such ONNX file; write it with `edgeailite export`", code="missing-file")
    model: Any = str(source) if isinstance(source, Path) else source
    with said(f"{source if isinstance(source, Path) else 'ONNX model'}: onnxruntime cannot load it"):
        return cpu_session(model, options)


def random_inputs(
    session: onnxruntime.InferenceSession, height_width: tuple[int, int] | None
) -> dict[str, NDArray[Any]]:
    """Make an array per input, -2..2 (floats) or 0..255 (bytes). UsageError if an open size is not given."""
    rng = np.random.default_rng(0)
    arrays = {}
    for value in session.get_inputs():
        if value.type not in ELEMENT_TYPES:
            raise UsageError(f"input {value.name} is {value.type}; known are {', '.join(ELEMENT_TYPES)}")
        shape = _shape(value.name, value.shape, height_width)
        numbers = rng.uniform(0, 255, shape) if value.type == "tensor(uint8)" else rng.uniform(-2, 2, shape)
        arrays[value.name] = numbers.astype(ELEMENT_TYPES[value.type])
    return arrays


def _shape(name: str, shape: Sequence[Any], height_width: tuple[int, int] | None) -> list[int]:
    """Fixed sizes stay; of the open ones the first is the batch."""
    if all(isinstance(size, int) for size in shape):
        return list(shape)
    if height_width is None or len(shape) != 4:
        raise UsageError(f"input {name} has the open size {list(shape)}; give {option('img_resize')} H W")
    wanted = (1, 3, *height_width)
    return [size if isinstance(size, int) else given for size, given in zip(shape, wanted, strict=True)]


def onnx_runner(path: Path, runtime: str, *, threads: int, height_width: tuple[int, int] | None = None) -> Runner:
    """Return a call that runs a file. UsageError without OpenVINO, DataError if it refuses the file."""
    session = onnx_session(path, threads=threads)
    inputs = random_inputs(session, height_width)
    if runtime == "openvino":
        return _openvino_runner(path, inputs, threads)
    return bound(session, inputs, where=path)


def bound(
    session: onnxruntime.InferenceSession, inputs: Mapping[str, NDArray[Any]], *, where: object = "ONNX model"
) -> Runner:
    """Return a call that runs a session on fixed arrays: a fresh result costs page faults, 2 ms for 6 MB."""
    names = [output.name for output in session.get_outputs()]
    arrays = run_session(session, inputs, names, where=str(where)).values()
    with said(f"{where}: onnxruntime cannot run it"):  # text has no memory of its own to bind
        results = [onnxruntime.OrtValue.ortvalue_from_numpy(array) for array in arrays]
        binding = session.io_binding()
        for name, array in inputs.items():
            binding.bind_cpu_input(name, array)
        for name, result in zip(names, results, strict=True):
            binding.bind_ortvalue_output(name, result)

    def run() -> list[NDArray[Any]]:
        with said(f"{where}: onnxruntime cannot run it"):
            session.run_with_iobinding(binding)
        return [result.numpy() for result in results]

    return run


def _openvino_runner(path: Path, inputs: dict[str, NDArray[Any]], threads: int) -> Runner:
    shapes = {name: array.shape for name, array in inputs.items()}
    compiled = openvino_session(path, option=f"{option('runtimes')} openvino", threads=threads, shapes=shapes)
    request = compiled.create_infer_request()

    def run() -> object:
        with said(f"{path}: OpenVINO cannot run it"):
            return request.infer(inputs)

    return run


def tflite_runner(path: Path, *, threads: int) -> Runner:
    """The .tflite file by LiteRT, as it is by default. Raises DataError for one that is damaged or that it refuses."""
    model = tflite_interpreter(read_tflite(path).data, name=str(path), threads=threads, kernels="xnnpack")
    rng = np.random.default_rng(0)
    for details in model.get_input_details():
        kind, shape = details["dtype"], details["shape"]
        whole = np.issubdtype(kind, np.integer)
        low, high = (np.iinfo(kind).min, np.iinfo(kind).max) if whole else (-2, 2)
        model.set_tensor(details["index"], rng.uniform(low, high, shape).astype(kind))

    def run() -> object:
        with said(f"{path}: LiteRT cannot run it"):
            return model.invoke()

    return run


def torch_runner(model: nn.Module, height_width: tuple[int, int], *, inputs: int = 1, threads: int) -> Runner:
    """Return a call that runs a network eagerly on the CPU, batch 1; `threads` holds for the whole process."""
    import torch

    torch.set_num_threads(threads)
    images = torch_images(height_width, inputs)
    model = model.eval().to("cpu")

    def run() -> object:
        with torch.inference_mode():
            return model(*images)

    return run


def torch_images(height_width: tuple[int, int], inputs: int) -> tuple[torch.Tensor, ...]:
    """Make random pictures (1,3,H,W) from -2 to 2."""
    import torch

    generator = torch.Generator().manual_seed(0)
    return tuple(torch.rand(1, 3, *height_width, generator=generator) * 4 - 2 for _ in range(inputs))
