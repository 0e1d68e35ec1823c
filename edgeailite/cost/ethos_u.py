"""Cost of networks on Arm's Ethos-U: each is quantized if it is not, written as .tflite, and compiled by Vela.

The files give the decoder's codes (`head` codes): the last up-sampling is left out, since U55 and U65 would leave it to
their CPU, which Vela does not estimate. Ranges are those of random pictures where a network is not quantized; they
change the cost by nothing that matters.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from torch import fx

from edgeailite.config import ComplexityConfig, Size
from edgeailite.cost.random_weights import settle, untrained, untrained_int8
from edgeailite.errors import UsageError, option
from edgeailite.export.to_tflite import to_tflite
from edgeailite.export.vela import VelaEstimate, check_vela, compile_tflite
from edgeailite.runs.network import load_network
from edgeailite.runtime.tflite_file import read_tflite

HEAD = "codes"


def estimate_name(name: str, size: Size, *, classes: int | None, accelerator: str) -> VelaEstimate:
    """Estimate a network by its name at a size (height, width), with its initial weights.

    Raises UsageError for one that has no int8 .tflite form, and as `compile_tflite`.
    """
    check_vela(accelerator)
    return compile_tflite(untrained_tflite(name, size, classes=classes), accelerator, name=name).estimate


def untrained_tflite(name: str, size: Size, *, classes: int | None = None) -> bytes:
    """Return the int8 .tflite file of a network by its name, with random weights; it gives the decoder's codes.

    Raises UsageError for one that has no such form.
    """
    network, card = untrained(name, classes, size)
    settle(network, card)
    return to_tflite(untrained_int8(network, card), card, size=size, head=HEAD).data


def estimate_model(config: ComplexityConfig, sizes: Iterable[Size]) -> dict[Size, VelaEstimate]:
    """Estimate `config.model`, a name, run or .tflite file, on `config.accelerator`, at each size (height, width).

    A file has one size. Raises UsageError for an ONNX file, DataError for damaged files.
    """
    accelerator, name = config.accelerator, str(config.model)
    assert accelerator is not None
    check_vela(accelerator)
    if name.endswith(".onnx"):
        raise UsageError(
            "Vela reads .tflite files",
            about="accelerator",
            value=accelerator,
            fix=f"give the run, or what {option('target')} tflite wrote",
        )
    if name.endswith(".tflite"):
        file = read_tflite(Path(name))
        return {size: compile_tflite(file.data, accelerator, name=file.name).estimate for size in sizes}
    if config.inputs != 1:
        raise UsageError(
            f"with {option('accelerator')} for runs alone", about="inputs", value=config.inputs, fix="give a run folder"
        )
    if not Path(name).exists():
        return {size: estimate_name(name, size, classes=config.num_classes, accelerator=accelerator) for size in sizes}
    checkpoint, network = load_network(Path(name))
    card = checkpoint.card
    quantized = network if isinstance(network, fx.GraphModule) else untrained_int8(network, card)
    return {
        size: compile_tflite(to_tflite(quantized, card, size=size, head=HEAD).data, accelerator, name=name).estimate
        for size in sizes
    }
