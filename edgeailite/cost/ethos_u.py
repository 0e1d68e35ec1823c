"""Cost of networks on Arm's Ethos-U: each is quantized if it is not, written as .tflite, and compiled by Vela.

The files give the decoder's codes (`head` codes): the last up-sampling is left out, since U55 and U65 would leave it to
their CPU, which Vela does not estimate. Ranges are those of random pictures where a network is not quantized; they
change the cost by nothing that matters.
"""

from __future__ import annotations

from pathlib import Path

from edgeailite.config import DEFAULT_SIZE, ComplexityConfig, Size
from edgeailite.cost.random_weights import untrained, untrained_int8
from edgeailite.errors import UsageError, option
from edgeailite.export.to_tflite import to_tflite
from edgeailite.export.vela import VelaEstimate, check_vela, compile_tflite
from edgeailite.models import ALIASES, MODELS
from edgeailite.runs.open import load_network
from edgeailite.runtime.tflite_file import read_tflite

HEAD = "codes"


def estimate_name(name: str, size: Size, *, classes: int | None, accelerator: str) -> VelaEstimate:
    """Estimate a network by its name at a size (height, width), with its initial weights.

    Raises UsageError for one that has no int8 .tflite form, and as `compile_tflite`.
    """
    check_vela(accelerator)
    network, card = untrained(name, classes, size)
    written = to_tflite(untrained_int8(network, card), card, size=size, head=HEAD)
    return compile_tflite(written.data, accelerator, name=name).estimate


def estimate_model(config: ComplexityConfig) -> dict[Size, VelaEstimate]:
    """Estimate `config.model`, a name, run or .tflite file, on `config.accelerator`, at each size (height, width).

    Raises UsageError for an ONNX file, and for options that a file or run has itself; DataError for damaged ones.
    """
    accelerator, name = config.accelerator, str(config.model)
    assert accelerator is not None
    check_vela(accelerator)
    path = Path(name)
    if path.suffix == ".onnx":
        raise UsageError(
            f"Vela reads .tflite files; give the run, or what {option('target')} tflite wrote",
            about="accelerator",
            value=accelerator,
        )
    if path.suffix == ".tflite":
        return _estimate_file(path, accelerator)
    if config.inputs != 1:
        raise UsageError(
            f"with {option('accelerator')} only for runs", about="inputs", value=config.inputs, fix="give a run folder"
        )
    if name in MODELS or name in ALIASES:
        sizes = config.img_resize or (DEFAULT_SIZE,)
        return {size: estimate_name(name, size, classes=config.num_classes, accelerator=accelerator) for size in sizes}
    checkpoint, network = load_network(path)
    card = checkpoint.card
    quantized = untrained_int8(network, card) if checkpoint.quantization is None else network
    return {
        size: compile_tflite(to_tflite(quantized, card, size=size, head=HEAD).data, accelerator, name=name).estimate
        for size in config.img_resize or (card.preprocessing.size,)
    }


def _estimate_file(path: Path, accelerator: str) -> dict[Size, VelaEstimate]:
    """Estimate a .tflite file as it is; the size is that of its first input, (0, 0) where that is no picture."""
    file = read_tflite(path)
    shape = file.tensors[next(iter(file.inputs.values()))].shape if file.inputs else ()
    size = (shape[1], shape[2]) if len(shape) == 4 else (0, 0)
    return {size: compile_tflite(file.data, accelerator, name=file.name).estimate}
