"""A file in OpenVINO, which is optional (extra `openvino`): compiled for the CPU, with inner tensors as outputs.

Nothing of OpenVINO is imported before it is asked for. Only onnxruntime is proven equal to what was validated: OpenVINO
has integer kernels of its own, whose results may differ in the last bit of a code.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeailite.errors import UsageError
from edgeailite.runtime.failures import check_finite, said

Compute = Callable[..., dict[str, NDArray[Any]]]
"""Normalised inputs (N,3,H,W) in a file's order -> its outputs by name."""


def openvino_session(
    source: Path | bytes,
    *,
    option: str,
    threads: int | None = None,
    shapes: Mapping[str, Sequence[int]] | None = None,
    outputs: Sequence[str] = (),
    precision: str | None = None,
) -> Any:
    """Compile an ONNX file (or its bytes) with OpenVINO, with further tensors as outputs.

    `precision` (f32, bf16) is that of float layers; None: OpenVINO's choice, bf16 on CPUs with AMX. `option` is the
    option that asked for OpenVINO, named in the UsageError if it is not installed. Raises DataError if OpenVINO refuses
    the file.
    """
    if find_spec("openvino") is None:
        raise UsageError("not installed", path=option, fix="pip install openvino", code="not-installed")
    import openvino

    settings: dict[str, str] = {"PERFORMANCE_HINT": "LATENCY"}
    if threads is not None:
        settings["INFERENCE_NUM_THREADS"] = str(threads)
    if precision is not None:
        settings["INFERENCE_PRECISION_HINT"] = precision
    core = openvino.Core()
    name = source if isinstance(source, Path) else "ONNX model"
    with said(f"{name}: OpenVINO cannot load it"):
        model = core.read_model(str(source) if isinstance(source, Path) else source)
        if shapes is not None:
            model.reshape({name: list(shape) for name, shape in shapes.items()})
        if outputs:
            model.add_outputs(list(outputs))
        return core.compile_model(model, "CPU", settings)


def openvino_run(source: Path, *, option: str, threads: int | None = None) -> Compute:
    """The file as a function. Float is computed in float32: in bfloat16 one label in a hundred changes.

    Raises as `openvino_session`; DataError where it fails to run, or for outputs that are not finite.
    """
    compiled = openvino_session(source, option=option, threads=threads, precision="f32")
    request = compiled.create_infer_request()
    names = [port.get_any_name() for port in compiled.outputs]

    def compute(*images: NDArray[np.float32]) -> dict[str, NDArray[Any]]:
        with said(f"{source}: OpenVINO cannot run it"):
            request.infer(dict(enumerate(images)))
            found = {name: request.get_output_tensor(index).data.copy() for index, name in enumerate(names)}
        check_finite(found, where=str(source))
        return found

    return compute


def openvino_tensors(
    compiled: Any, names: Sequence[str], feed: Mapping[str, NDArray[np.float32]]
) -> dict[str, NDArray[Any]]:
    """Outputs by name; those that the compiled model does not know by that name are left out."""
    with said("inner tensors: OpenVINO cannot run the file"):
        results = compiled(dict(feed))
    ports = {name: port for port in compiled.outputs for name in port.get_names()}
    return {name: np.array(results[ports[name]]) for name in names if name in ports}
