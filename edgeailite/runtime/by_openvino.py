"""An exported file computed by OpenVINO on the CPU, which is optional (`pip install openvino`).

Only onnxruntime is proven equal to what was validated: OpenVINO has integer kernels of its own, whose results may
differ in the last bit of a code. Float is computed in float32: left to itself it takes bfloat16 where the processor has
it, and one label in a hundred changes.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeailite.errors import DataError, UsageError

Compute = Callable[..., dict[str, NDArray[Any]]]


def openvino_run(source: Path, *, threads: int | None = None) -> Compute:
    """The file as a function: normalised inputs (N,3,H,W) in the file's order -> outputs by name.

    Raises UsageError where OpenVINO is not installed, DataError for a file that it refuses.
    """
    if find_spec("openvino") is None:
        raise UsageError("--runtime openvino: not installed; pip install openvino")
    import openvino

    settings = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}
    settings |= {"INFERENCE_NUM_THREADS": str(threads)} if threads else {}
    try:
        core = openvino.Core()
        compiled = core.compile_model(core.read_model(str(source)), "CPU", settings)
    except RuntimeError as error:
        raise DataError(f"{source}: OpenVINO cannot load it ({str(error).splitlines()[0][:200]})") from None
    request = compiled.create_infer_request()
    names = [port.get_any_name() for port in compiled.outputs]

    def compute(*images: NDArray[np.float32]) -> dict[str, NDArray[Any]]:
        request.infer(dict(enumerate(images)))
        return {name: request.get_output_tensor(index).data.copy() for index, name in enumerate(names)}

    return compute
