"""Checkpoints to torch networks: float ones, and quantized ones prepared with their ranges."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import nn

from edgeailite.errors import DataError, UsageError
from edgeailite.modelcard import DEFAULT_OPTIONS, NETWORK, ModelCard
from edgeailite.models import create_model
from edgeailite.quantization import OBSERVERS, SCHEMES, Plan, learn_ranges, prepare, set_state
from edgeailite.quantization.modules import ActivationQuantizer
from edgeailite.quantization.plan_files import as_dict, saved_plan
from edgeailite.runs.checkpoint import Checkpoint, load_checkpoint
from edgeailite.runs.folder import find_checkpoint, run_folder
from edgeailite.runs.network_file import float_network, kept_network
from edgeailite.untrusted import Fields, shown

MOST_INPUTS = 8


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
