"""Opening what training or export left: a run folder, a checkpoint or an exported file, as one predictor.

Files are opened without torch.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edgeailite.errors import UsageError, option
from edgeailite.modelcard import NETWORK, ModelCard
from edgeailite.runs.folder import find_checkpoint, run_folder
from edgeailite.runs.predictors import Predict, file_predictor, torch_predictor
from edgeailite.runtime import Compute, ExportedModel, load_onnx, load_tflite, openvino_run

if TYPE_CHECKING:
    import torch
    from torch import nn

ONNXRUNTIME = "onnxruntime"
FILE_KINDS = {".onnx": "onnx", ".tflite": "tflite"}
"""Exported files, by the ends of their names."""


@dataclass(frozen=True)
class OpenModel:
    """A network that is ready to predict, whether it came from a run folder, a checkpoint or a file.

    `predict` takes uint8 RGB pictures (N,3,H,W), one per input, and returns every output by name. `kind` is float,
    quantized, onnx or tflite, `folder` where it lies. `module` is the torch network (None for a file), `fixed_size` the
    (height, width) of pictures that a file insists on (None if any will do), `number_type` float or int8. `arithmetic`
    names the integer kernels that a quantized run is computed as (None if it is not), `file` the checkpoint or file.
    """

    card: ModelCard
    predict: Predict
    kind: str
    folder: Path
    module: nn.Module | None
    fixed_size: tuple[int, int] | None = None
    number_type: str = "float"
    arithmetic: str | None = None
    file: Path = Path()

    @property
    def is_file(self) -> bool:
        """Whether this is an exported file, which has no torch network."""
        return self.kind in FILE_KINDS.values()


def is_exported(path: Path) -> bool:
    """Return whether a path is that of an exported file, by its name."""
    return path.suffix in FILE_KINDS


def open_model(
    source: Path,
    *,
    device: torch.device | str = "auto",
    integer_exact_mode: bool = False,
    arithmetic: str | None = None,
    threads: int | None = None,
    runtime: str = ONNXRUNTIME,
) -> OpenModel:
    """Open a run folder, a .pt checkpoint, an .onnx or .tflite file, and return a network that is ready to predict.

    `device` computes torch networks: auto, cpu, cuda or torch's own record. `integer_exact_mode` makes a quantized run
    compute what its int8 file computes on this machine, `arithmetic` what it computes with other kernels (a row of
    `quantization.arithmetic`); `runtime` (onnxruntime or openvino) computes .onnx files, LiteRT .tflite files. Raises
    DataError for what is missing or damaged, UsageError for options that do not suit what was opened.

    >>> import numpy as np
    >>> model = open_model(Path("runs/night/model.onnx"))
    >>> picture = np.zeros((1, 3, *model.card.preprocessing.size), np.uint8)  # RGB
    >>> model.predict((picture,))["segmentation"].dtype
    dtype('float32')
    """
    if is_exported(source) and arithmetic is not None:
        raise UsageError(
            f"{source} is computed by a runtime, with its own",
            about="arithmetic",
            value=arithmetic,
            fix="give the run",
        )
    if source.suffix == ".onnx":
        return _open_onnx(source, threads=threads, runtime=runtime)
    if runtime != ONNXRUNTIME:
        raise UsageError(
            f"{option('runtime')} {runtime}: computes .onnx files; {source} is none, write one with `edgeailite export`"
        )
    if source.suffix == ".tflite":
        return _of_file(source, load_tflite(source, threads=threads))
    return _open_run(source, device, integer_exact_mode=integer_exact_mode, arithmetic=arithmetic, threads=threads)


def _open_run(
    source: Path, device: torch.device | str, *, integer_exact_mode: bool, arithmetic: str | None, threads: int | None
) -> OpenModel:
    from edgeailite.device import select_device, set_threads
    from edgeailite.quantization import integer_exact
    from edgeailite.quantization.integer import IntegerModel
    from edgeailite.runs.network import load_network

    set_threads(threads)
    device = select_device(device) if isinstance(device, str) else device
    file = find_checkpoint(source)
    checkpoint, module = load_network(file)
    module.to(device)
    kind = "float" if checkpoint.quantization is None else "quantized"
    exact = integer_exact_mode or arithmetic is not None
    if arithmetic is not None and kind == "float":
        raise UsageError(f"{source} is a float run", about="arithmetic", value=arithmetic, fix="quantize it first")
    if exact and kind == "float":
        raise UsageError(f"{option('integer_exact')}: {source} is a float run; quantize it first")
    network = integer_exact(module, arithmetic).to(device) if exact else module  # type: ignore[arg-type]
    card = checkpoint.card
    one = NETWORK in card.options  # such a network may be made for one picture alone
    predict = torch_predictor(network, card.preprocessing, where=str(source), one_at_a_time=one)
    numbers = "float" if kind == "float" else "int8"
    computed = network.arithmetic.name if isinstance(network, IntegerModel) else None
    folder = run_folder(source)
    return OpenModel(card, predict, kind, folder, module, number_type=numbers, arithmetic=computed, file=file)


def _open_onnx(source: Path, *, threads: int | None, runtime: str) -> OpenModel:
    model = load_onnx(source, threads=threads)
    compute = (
        None
        if runtime == ONNXRUNTIME
        else openvino_run(source, option=f"{option('runtime')} openvino", threads=threads)
    )
    return _of_file(source, model, compute)


def _of_file(source: Path, model: ExportedModel, compute: Compute | None = None) -> OpenModel:
    predict, kind = file_predictor(model, compute), FILE_KINDS[source.suffix]
    return OpenModel(model.card, predict, kind, source.parent, None, model.fixed_size, model.kind, file=source)
