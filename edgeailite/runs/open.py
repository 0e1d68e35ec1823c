"""Opening what training or export left: a run folder, a checkpoint or an exported file, as one predictor."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from edgeailite.errors import DataError, UsageError, option
from edgeailite.modelcard import DEFAULT_OPTIONS, NETWORK, ModelCard
from edgeailite.models import create_model
from edgeailite.quantization import OBSERVERS, SCHEMES, Plan, integer_exact, learn_ranges, prepare, set_state
from edgeailite.quantization.integer import IntegerModel
from edgeailite.quantization.modules import ActivationQuantizer
from edgeailite.quantization.plan_files import as_dict, saved_plan
from edgeailite.runs.checkpoint import Checkpoint, find_checkpoint, load_checkpoint, run_folder
from edgeailite.runs.network_file import float_network, kept_network
from edgeailite.runs.predictors import Predict, file_predictor, torch_predictor
from edgeailite.runtime import Compute, ExportedModel, load_onnx, load_tflite, openvino_run
from edgeailite.untrusted import Fields, shown

ONNXRUNTIME = "onnxruntime"
FILE_KINDS = {".onnx": "onnx", ".tflite": "tflite"}
"""Exported files, by the ends of their names."""
MOST_INPUTS = 8


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
    device: torch.device,
    integer_exact_mode: bool = False,
    arithmetic: str | None = None,
    threads: int | None = None,
    runtime: str = ONNXRUNTIME,
) -> OpenModel:
    """Open a run folder, a .pt checkpoint, an .onnx or .tflite file, and return a network that is ready to predict.

    `device` computes torch networks; `integer_exact_mode` makes a quantized run compute what its int8 file computes on
    this machine, `arithmetic` what it computes with other kernels (a row of `quantization.arithmetic`); `runtime`
    (onnxruntime or openvino) computes .onnx files, LiteRT .tflite files. Raises DataError for what is missing or
    damaged, UsageError for options that do not suit what was opened.

    >>> model = open_model(Path("runs/night"), device=torch.device("cpu"))
    >>> picture = torch.zeros((1, 3, 64, 64), dtype=torch.uint8)  # RGB
    >>> model.predict((picture,))["segmentation"].shape
    torch.Size([1, 19, 64, 64])
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
    predict = torch_predictor(network, checkpoint.card.preprocessing, where=str(source))
    numbers = "float" if kind == "float" else "int8"
    computed = network.arithmetic.name if isinstance(network, IntegerModel) else None
    folder = run_folder(source)
    return OpenModel(
        checkpoint.card, predict, kind, folder, module, number_type=numbers, arithmetic=computed, file=file
    )


def load_network(source: Path) -> tuple[Checkpoint, nn.Module]:
    """Load the checkpoint of a run folder or file, and its network in eval mode: float, or prepared with its ranges.

    A float .onnx file with a card gives the network that is read from it, and a checkpoint as of a run.
    Raises DataError for a file whose parts do not fit each other, or whose values cannot be used.
    """
    if source.suffix == ".onnx":
        card, network = float_network(source)
        return Checkpoint(card, network.state_dict(), {}), network
    file = find_checkpoint(source)
    checkpoint = load_checkpoint(file)
    _check_room(checkpoint, file)
    model: nn.Module = build_network(checkpoint.card, where=str(file), folder=run_folder(source))
    if checkpoint.quantization is not None:
        checkpoint = replace(checkpoint, quantization=checked_quantization(checkpoint.quantization, where=str(file)))
        model = _prepared(model, checkpoint.quantization or {}, file)
    try:
        model.load_state_dict(checkpoint.state_dict)
    except RuntimeError as error:
        reason = str(error).splitlines()[-1].strip()
        raise DataError(f"{file}: weights do not fit {checkpoint.card.model_name} ({reason[:200]})") from None
    _check_ranges(model, file)
    return checkpoint, model.eval()


def build_network(card: ModelCard, *, where: str = "card", folder: Path | None = None) -> nn.Module:
    """Build the network of a card, with initial weights. Raises DataError, naming `where`, for an unknown network.

    A network that came from an ONNX file is read from the copy in the run's `folder`, with the file's weights.
    """
    if NETWORK in card.options:
        return kept_network(card, folder, where=where)
    unknown = sorted(set(card.options) - set(DEFAULT_OPTIONS))
    if unknown:
        raise DataError(f"{where}: options: {shown(unknown[0])} is none; known are {', '.join(DEFAULT_OPTIONS)}")
    try:
        if len(card.inputs) > MOST_INPUTS:
            raise UsageError(f"{len(card.inputs)} inputs, more than {MOST_INPUTS}")
        return create_model(card.model_name, outputs=card.outputs, **card.options)
    except (UsageError, TypeError) as error:
        raise DataError(f"{where}: {error}") from None


def checked_quantization(values: Mapping[str, Any], *, where: str) -> dict[str, Any]:
    """Check how a checkpoint says that it was quantized; leave out names of other versions. Raises DataError."""
    fields = Fields.of(values, where=f"{where}: quantization")
    found: dict[str, Any] = {"scheme": fields.text("scheme", choices=list(SCHEMES))}
    found["percentile"] = fields.number("percentile", 50, 100)
    readers: dict[str, Callable[[str], Any]] = {
        "observer": lambda name: fields.text(name, choices=list(OBSERVERS)),
        "equalize": fields.truth,
        "correct_bias": fields.truth,
        "adaround": lambda name: fields.whole(name, 0, 2**31),
        "refine_images": lambda name: fields.whole(name, 0, 2**31),
        "method": lambda name: fields.text(name, longest=100),
        "ranges": lambda name: fields.text(name, choices=["tracked", "learned"]),
        "exact_resizes": fields.truth,
        "float_parts": fields.truth,
        "plan": lambda name: as_dict(saved_plan(fields.fields(name))),
    }
    return {
        name: found[name] if name in found else readers[name](name) for name in values if name in {*found, *readers}
    }


def _check_room(checkpoint: Checkpoint, file: Path) -> None:
    """Refuse a card that asks for more than its file holds, before a network of that size is built."""
    weights, card = checkpoint.state_dict, checkpoint.card
    if NETWORK in card.options:  # the size of its file is what the network takes
        return
    decoders = {key.split(".")[1] for key in weights if key.startswith("decoders.")}
    largest = max((max(value.shape, default=0) for value in weights.values()), default=0)
    channels = max(card.outputs.values(), default=0)
    if len(decoders) != len(card.outputs) or channels > largest:
        asked = f"{len(card.outputs)} outputs of up to {channels} channels, the weights are of {len(decoders)}"
        raise DataError(f"{file}: weights do not fit {card.model_name} (its card says {asked} of up to {largest})")


def _prepared(model: nn.Module, how: Mapping[str, Any], file: Path) -> nn.Module:
    """Insert the quantizers that the checkpoint was made with."""
    try:
        prepared = prepare(
            model,
            how["scheme"],
            plan=Plan(**how.get("plan", {})),
            percentile=how["percentile"],
            exact_resizes=how.get("exact_resizes", False),
            float_parts=how.get("float_parts", False),
        )
    except UsageError as error:
        raise DataError(f"{file}: quantization: {error}") from None
    if how.get("ranges") == "learned":
        learn_ranges(prepared)
    set_state(prepared, observing=False, enabled=True)
    return prepared


def _check_ranges(model: nn.Module, file: Path) -> None:
    """Raise DataError for scales or zero points with which every output would be 0 or NaN."""
    for name, module in model.named_modules():
        if not isinstance(module, ActivationQuantizer):
            continue
        scale, zero = float(module.scale), int(module.zero_point)
        if scale <= 0 or not module.grid.low <= zero <= module.grid.high:
            codes = f"{module.grid.low}..{module.grid.high}"
            raise DataError(
                f"{file}: {name}: scale {scale:g}, zero point {zero}: expected one above 0, and one of the codes "
                f"{codes}; quantize again"
            )


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
