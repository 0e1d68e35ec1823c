"""Opening what training or export left: a run folder, a checkpoint or an ONNX file, as one predictor."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from edgeailite.checkpoint import Checkpoint, find_checkpoint, load_checkpoint, run_folder
from edgeailite.data.source import SEGMENTATION
from edgeailite.errors import DataError, UsageError
from edgeailite.evaluation import Predict, onnx_predictor, torch_predictor
from edgeailite.modelcard import REGRESSION, ModelCard
from edgeailite.models import create_model
from edgeailite.quantization import Plan, integer_exact, learn_ranges, prepare, set_state
from edgeailite.runtime import load_onnx, openvino_run

ONNXRUNTIME = "onnxruntime"


@dataclass(frozen=True)
class Opened:
    """A network ready to predict.

    `predict` gives every output of uint8 RGB pictures, one per input. `kind`: float, quantized or onnx. `module` is the
    torch network, None for a file; `fixed_size` the (height, width) that a file insists on, None if any will do;
    `arithmetic` float or int8.
    """

    card: ModelCard
    predict: Predict
    kind: str
    folder: Path
    module: nn.Module | None
    fixed_size: tuple[int, int] | None = None
    arithmetic: str = "float"


def open_model(
    source: Path,
    *,
    device: torch.device,
    integer_exact_mode: bool = False,
    threads: int | None = None,
    runtime: str = ONNXRUNTIME,
) -> Opened:
    """Open a run folder, a .pt checkpoint or an .onnx file (`runtime` computes it). Raises DataError or UsageError."""
    if source.suffix == ".onnx":
        return _open_onnx(source, threads=threads, runtime=runtime)
    if runtime != ONNXRUNTIME:
        raise UsageError(
            f"--runtime {runtime}: computes .onnx files; {source} is none, write one with `edgeailite export`"
        )
    checkpoint, module = load_network(source)
    module.to(device)
    kind = "float" if checkpoint.quantization is None else "quantized"
    if integer_exact_mode and kind == "float":
        raise UsageError(f"--integer_exact: {source} is a float run; quantize it first")
    network = integer_exact(module).to(device) if integer_exact_mode else module  # type: ignore[arg-type]
    predict = torch_predictor(network, checkpoint.card.preprocessing, where=str(source))
    return Opened(
        checkpoint.card, predict, kind, run_folder(source), module, arithmetic="float" if kind == "float" else "int8"
    )


def load_network(source: Path) -> tuple[Checkpoint, nn.Module]:
    """Checkpoint of a run folder or file, and its network in eval mode: float, or prepared with its ranges."""
    checkpoint = load_checkpoint(find_checkpoint(source))
    model: nn.Module = build_network(checkpoint.card)
    if checkpoint.quantization is not None:
        how = checkpoint.quantization
        model = prepare(model, how["scheme"], plan=Plan(**how.get("plan", {})), percentile=how["percentile"])
        if how.get("ranges") == "learned":
            learn_ranges(model)
        set_state(model, observing=False, enabled=True)
    try:
        model.load_state_dict(checkpoint.state_dict)
    except RuntimeError as error:
        reason = str(error).splitlines()[-1].strip()
        raise DataError(f"{source}: weights do not fit {checkpoint.card.model_name} ({reason[:200]})") from None
    return checkpoint, model.eval()


def build_network(card: ModelCard) -> nn.Module:
    """The network of a card, with its initial weights."""
    return create_model(card.model_name, outputs=card.outputs, **card.options)


def classified(card: ModelCard) -> list[str]:
    """Outputs with classes, `segmentation` first: the one that the card's class names and colours belong to."""
    names = [output for output, task in card.tasks.items() if task != REGRESSION]
    return sorted(names, key=lambda name: name != SEGMENTATION)


def _open_onnx(source: Path, *, threads: int | None, runtime: str) -> Opened:
    model = load_onnx(source, threads=threads)
    compute = None if runtime == ONNXRUNTIME else openvino_run(source, option="--runtime openvino", threads=threads)
    predict = onnx_predictor(model, compute)
    return Opened(model.card, predict, "onnx", source.parent, None, model.fixed_size, model.kind)
